// The table under torture, set back to the same bytes before each victim, and everything that can be seen of it.

#include "torture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct world world;
struct stage *stage;

// Bytes of a struct sockaddr_in.
struct address {
  uint16_t family;
  uint8_t port[2];
  uint8_t ip[4];
  uint8_t zero[8];
};

void must(int holds, const char *what) {
  if (!holds) {
    char text[240];
    size_t length = 0;
    tidegate_last_error(text, sizeof text, &length);
    printf("torture: %s: %.*s\n", what, (int)length, text);
    fflush(stdout);
    _exit(1);
  }
}

static void *shared(size_t size) {
  void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  must(memory != MAP_FAILED, "mmap");
  return memory;
}

// A fresh table with one upstream and these peers, and the survivor's worker with one request open.
void world_make(uint32_t selector, const struct list *list) {
  tidegate_table_options table = TIDEGATE_TABLE_OPTIONS_INIT;
  tidegate_upstream_options upstream = TIDEGATE_UPSTREAM_OPTIONS_INIT;
  tidegate_pick pick = TIDEGATE_PICK_INIT;
  table.max_upstreams = 2;
  table.max_peers = PEERS_MOST;
  table.max_workers = WORKERS_MOST;
  table.events = EVENTS_MOST;
  upstream.selector = selector;
  upstream.eject_failures = 3;
  upstream.half_open_successes = 1;
  upstream.slow_start_ns = 1;  // shares are checked to the turn
  world.now = 1000 * SECOND;
  world.selector = selector;
  must(tidegate_table_size(&table, &world.size) == 0, "tidegate_table_size");
  world.memory = shared(world.size);
  world.pristine = malloc(world.size);
  if (stage == NULL) stage = shared(sizeof *stage);
  must(world.pristine != NULL, "malloc");
  must(tidegate_table_new_at(world.memory, world.size, &table, world.now, &world.table) == 0, "tidegate_table_new_at");
  must(tidegate_upstream_open(world.table, "app", 3, &upstream, &world.upstream) == 0, "tidegate_upstream_open");
  must(declare(list, NULL) == 0, "tidegate_upstream_set_peers");
  world.survivor = join(1);
  must(world.survivor != NULL, "tidegate_worker_join");
  must(begin(world.survivor, &world.own, TIDEGATE_METHOD_GET, &pick) == 0, "tidegate_request_pick");
  world.own_peer = pick.peer;
}

// Makes the present state the one that every victim meets.
void world_keep(void) {
  memcpy(world.pristine, world.memory, world.size);
  world.pristine_own = world.own;
}

void world_restore(void) {
  memcpy(world.memory, world.pristine, world.size);
  world.own = world.pristine_own;
  memset(stage, 0, sizeof *stage);
}

void world_free(void) {
  tidegate_worker_leave(world.survivor);
  tidegate_table_free(world.table);
  munmap(world.memory, world.size);
  free(world.pristine);
}

tidegate_status declare(const struct list *list, uint64_t *handles) {
  struct address address[PEERS_MOST];
  tidegate_peer peer[PEERS_MOST];
  unsigned i;
  for (i = 0; i < list->count; i++) {
    const struct declared *d = &list->peer[i];
    address[i] = (struct address){2, {(uint8_t)(d->port >> 8), (uint8_t)d->port}, {10, 0, 0, 1}, {0}};
    peer[i] = (tidegate_peer)TIDEGATE_PEER_INIT;
    peer[i].address = &address[i];
    peer[i].address_len = sizeof address[i];
    peer[i].weight = d->weight;
    peer[i].max_in_flight = d->limit;
    peer[i].admin = d->admin;
  }
  return tidegate_upstream_set_peers(world.table, world.upstream, peer, list->count, world.now, handles);
}

// NULL: every lane belongs to a live worker.
tidegate_worker *join(uint64_t seed) {
  tidegate_worker_options options = TIDEGATE_WORKER_OPTIONS_INIT;
  tidegate_worker *worker = NULL;
  options.seed = seed;
  return tidegate_worker_join(world.table, &options, world.now, &worker) == 0 ? worker : NULL;
}

tidegate_status begin(tidegate_worker *worker, tidegate_request *request, uint32_t method, tidegate_pick *pick) {
  tidegate_request_options options = TIDEGATE_REQUEST_OPTIONS_INIT;
  tidegate_status status;
  options.upstream = world.upstream;
  options.method = method;
  status = tidegate_request_start(worker, request, &options, world.now);
  return status != 0 ? status : tidegate_request_pick(request, world.now, pick);
}

// `cause` NONE: a response of 200.
tidegate_status report(tidegate_request *request, uint32_t cause, tidegate_decision *decision) {
  tidegate_outcome outcome = TIDEGATE_OUTCOME_INIT;
  int refused = cause == TIDEGATE_CAUSE_CONNECTION_REFUSED;
  outcome.cause = cause;
  outcome.status = cause == TIDEGATE_CAUSE_NONE ? 200 : 0;
  outcome.phase = refused ? TIDEGATE_PHASE_CONNECT : cause ? TIDEGATE_PHASE_HEAD : TIDEGATE_PHASE_DONE;
  outcome.flags = refused ? 0 : TIDEGATE_OUTCOME_SENT;
  return tidegate_request_report(request, &outcome, world.now, decision);
}

static void describe(struct known *known) {
  struct address address;
  size_t length = 0;
  known->info = (tidegate_peer_info)TIDEGATE_PEER_INFO_INIT;
  known->there = tidegate_peer_describe(world.table, known->handle, world.now, &known->info) == 0 &&
                 tidegate_peer_address(world.table, known->handle, &address, sizeof address, &length) == 0;
  if (known->there) known->port = (uint16_t)(address.port[0] << 8 | address.port[1]);
}

void look(struct view *view) {
  tidegate_event event = TIDEGATE_EVENT_INIT;
  uint64_t cursor = 0, handle;
  uint32_t second;
  memset(view, 0, sizeof *view);
  while (view->count < PEERS_MOST &&
         tidegate_upstream_peer_at(world.table, world.upstream, view->count, &handle) == 0) {
    view->peer[view->count].handle = handle;
    describe(&view->peer[view->count]);
    view->count++;
  }
  while (view->events < EVENTS_MOST && tidegate_table_next_event(world.table, &cursor, &event) == 0) {
    view->event[view->events++] = event;
  }
  tidegate_upstream_count(world.table, world.upstream, TIDEGATE_CAUSE_CONNECTION_REFUSED, &view->refused);
  tidegate_upstream_count(world.table, world.upstream, TIDEGATE_CAUSE_CONNECTION_TERMINATED, &view->terminated);
  view->second = tidegate_upstream_find(world.table, "second", 6, &second);
}

const char *file_path(void) {
  static char path[64];
  // Of the survivor: a victim, forked from it, asks for the same.
  if (path[0] == 0) snprintf(path, sizeof path, "/dev/shm/tidegate-torture-%ld", (long)getpid());
  return path;
}

// Opens it or makes it, in place of one of other capacities.
tidegate_status file_open(uint32_t peers, tidegate_table **table) {
  tidegate_table_options options = TIDEGATE_TABLE_OPTIONS_INIT;
  options.max_upstreams = 1;
  options.max_peers = peers;
  options.max_workers = 2;
  options.events = EVENTS_MOST;
  options.on_mismatch = TIDEGATE_MISMATCH_REPLACE;
  return tidegate_table_open(file_path(), strlen(file_path()), &options, world.now, table);
}
