// Threads on one table under ThreadSanitizer (scripts/tsan.sh): three with a worker each, four that share one, one that
// changes the membership, one that reads everything, and processes forked meanwhile that die without leaving. The same
// in a process forked before the threads. Prints one line if the counts are right at the end.
//
//   driver planted    only a race on purpose, inside the library: the sanitizer must report it

#include "tidegate.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS = 3, SHARERS = 4, ROUNDS = 4000, CHANGES = 60, PEERS = 6 };

static const uint64_t SECOND = 1000000000u;
static tidegate_table *table;
static uint32_t upstream[2];
static atomic_uint_fast64_t ticks;
static atomic_int serving;

static void must(int holds, const char *what) {
  if (!holds) {
    printf("tsan: %s does not hold\n", what);
    fflush(stdout);
    _exit(1);
  }
}
#define MUST(condition) must(condition, #condition)

// Every look at the clock finds it 10 ms on.
static uint64_t now(void) { return 1000 * SECOND + atomic_fetch_add(&ticks, 1) * 10000000u; }

static tidegate_worker *join(uint32_t flags) {
  tidegate_worker_options options = TIDEGATE_WORKER_OPTIONS_INIT;
  tidegate_worker *worker = NULL;
  options.flags = flags;
  MUST(tidegate_worker_join(table, &options, now(), &worker) == 0);
  return worker;
}

// A list of two to six peers, with other weights and limits each time.
static void declare(uint32_t id, unsigned round) {
  uint8_t address[PEERS][16];
  tidegate_peer peer[PEERS];
  const unsigned count = 2 + round % (PEERS - 1);
  const uint16_t family = 2;
  unsigned i;
  tidegate_status status;
  memset(address, 0, sizeof address);
  for (i = 0; i < count; i++) {
    memcpy(address[i], &family, 2);
    address[i][3] = (uint8_t)(i < 2 ? i + 1 : (round + i) % 20 + 3);
    peer[i] = (tidegate_peer)TIDEGATE_PEER_INIT;
    peer[i].address = address[i];
    peer[i].address_len = sizeof address[i];
    peer[i].weight = 1 + (round + i) % 5;
    peer[i].max_in_flight = i % 2 ? 1000 : 0;
  }
  status = tidegate_upstream_set_peers(table, id, peer, count, now(), NULL);
  MUST(status == 0 || status == TIDEGATE_ERR_BUSY || status == TIDEGATE_ERR_FULL);
}

static void serve(tidegate_worker *worker, unsigned round) {
  tidegate_request request;
  tidegate_request_options options = TIDEGATE_REQUEST_OPTIONS_INIT;
  tidegate_pick pick = TIDEGATE_PICK_INIT;
  tidegate_decision decision = TIDEGATE_DECISION_INIT;
  tidegate_answer answer = TIDEGATE_ANSWER_INIT;
  char record[1024];
  options.upstream = upstream[round % 2];
  MUST(tidegate_request_start(worker, &request, &options, now()) == 0);
  while (tidegate_request_pick(&request, now(), &pick) == 0) {
    tidegate_outcome outcome = TIDEGATE_OUTCOME_INIT;
    outcome.phase = TIDEGATE_PHASE_DONE;
    outcome.flags = TIDEGATE_OUTCOME_SENT | TIDEGATE_OUTCOME_RECEIVED;
    outcome.status = 200;
    if (round % 7 == 0) {
      tidegate_request_end(&request, now());
      return;
    }
    if (round % 5 == 0 && pick.attempt == 1) {
      outcome.cause = round % 2 ? TIDEGATE_CAUSE_CONNECTION_REFUSED : TIDEGATE_CAUSE_CONNECTION_TERMINATED;
      outcome.phase = TIDEGATE_PHASE_CONNECT;
      outcome.flags = 0;
      outcome.status = 0;
    }
    MUST(tidegate_request_report(&request, &outcome, now(), &decision) == 0);
    if (decision.verdict != TIDEGATE_DECISION_RETRY) break;
  }
  tidegate_request_answer(&request, now(), &answer);
  tidegate_request_describe(&request, record, sizeof record, NULL);
  tidegate_request_end(&request, now());
}

static void serve_all(tidegate_worker *worker) {
  unsigned round;
  for (round = 0; round < ROUNDS; round++) {
    serve(worker, round);
    if (round % 50 == 0) MUST(tidegate_worker_tick(worker, now()) == 0);
  }
}

static void *own_worker(void *unused) {
  tidegate_worker *worker = join(0);
  serve_all(worker);
  tidegate_worker_leave(worker);
  atomic_fetch_sub(&serving, 1);
  return unused;
}

static void *shared_worker(void *worker) {
  serve_all(worker);
  atomic_fetch_sub(&serving, 1);
  return NULL;
}

// Changes lists, and forks processes that die with a request open.
static void *change(void *unused) {
  unsigned round;
  for (round = 0; round < CHANGES || atomic_load(&serving) > 0; round++) {
    declare(upstream[round % 2], round);
    if (round < CHANGES && round % 10 == 0) {
      pid_t child = fork();
      MUST(child >= 0);
      if (child == 0) {
        tidegate_worker *worker = join(0);
        tidegate_request request;
        tidegate_request_options options = TIDEGATE_REQUEST_OPTIONS_INIT;
        tidegate_pick pick = TIDEGATE_PICK_INIT;
        options.upstream = upstream[0];
        MUST(tidegate_request_start(worker, &request, &options, now()) == 0);
        tidegate_request_pick(&request, now(), &pick);
        _exit(0);
      }
      MUST(waitpid(child, NULL, 0) == child);
    }
  }
  return unused;
}

static void *read_all(void *unused) {
  static char text[1 << 20];
  uint64_t cursor = 0, peer, count;
  unsigned i;
  while (atomic_load(&serving) > 0) {
    tidegate_event event = TIDEGATE_EVENT_INIT;
    tidegate_peer_info info = TIDEGATE_PEER_INFO_INIT;
    size_t needed;
    char name[128];
    MUST(tidegate_table_write_status(table, TIDEGATE_STATUS_FORMAT_JSON, now(), text, sizeof text, &needed) == 0);
    while (tidegate_table_next_event(table, &cursor, &event) == 0) MUST(event.kind >= 1 && event.kind <= 7);
    for (i = 0; tidegate_upstream_peer_at(table, upstream[0], i, &peer) == 0; i++) {
      tidegate_peer_describe(table, peer, now(), &info);
      tidegate_peer_name(table, peer, name, sizeof name, &needed);
      if (i == 1) tidegate_peer_set_admin(table, peer, (uint32_t)(cursor % 2), now());
    }
    MUST(tidegate_upstream_count(table, upstream[0], TIDEGATE_CAUSE_CONNECTION_REFUSED, &count) == 0);
  }
  return unused;
}

static void run_threads(void) {
  pthread_t thread[WORKERS + SHARERS + 2];
  tidegate_worker *shared = join(TIDEGATE_WORKER_SHARED);
  int i, n = 0;
  atomic_store(&serving, WORKERS + SHARERS);
  for (i = 0; i < WORKERS; i++) MUST(pthread_create(&thread[n++], NULL, own_worker, NULL) == 0);
  for (i = 0; i < SHARERS; i++) MUST(pthread_create(&thread[n++], NULL, shared_worker, shared) == 0);
  MUST(pthread_create(&thread[n++], NULL, change, NULL) == 0);
  MUST(pthread_create(&thread[n++], NULL, read_all, NULL) == 0);
  for (i = 0; i < n; i++) MUST(pthread_join(thread[i], NULL) == 0);
  tidegate_worker_leave(shared);
}

static tidegate_pick contested;

// Both threads have the library write the same bytes.
static void *race(void *unused) {
  tidegate_pick_init(&contested, sizeof contested);
  return unused;
}

int main(int count, char **arguments) {
  tidegate_table_options options = TIDEGATE_TABLE_OPTIONS_INIT;
  tidegate_upstream_options least = TIDEGATE_UPSTREAM_OPTIONS_INIT;
  tidegate_worker *worker;
  pid_t child;
  uint64_t peer;
  int i, status;
  if (count > 1 && strcmp(arguments[1], "planted") == 0) {
    pthread_t thread[2];
    for (i = 0; i < 2; i++) MUST(pthread_create(&thread[i], NULL, race, NULL) == 0);
    for (i = 0; i < 2; i++) MUST(pthread_join(thread[i], NULL) == 0);
    return 0;
  }
  options.max_peers = 64;
  options.max_workers = 32;
  options.events = 256;
  least.selector = TIDEGATE_SELECTOR_LEAST_REQUEST;
  least.eject_base_ns = SECOND / 10;
  MUST(tidegate_table_new(&options, now(), &table) == 0);
  MUST(tidegate_upstream_open(table, "least", 5, &least, &upstream[0]) == 0);
  MUST(tidegate_upstream_open(table, "robin", 5, NULL, &upstream[1]) == 0);
  declare(upstream[0], 0);
  declare(upstream[1], 1);
  child = fork();
  MUST(child >= 0);
  run_threads();
  if (child == 0) _exit(0);
  MUST(waitpid(child, &status, 0) == child);
  MUST(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  worker = join(0);
  for (i = 0; i < 2; i++) {
    atomic_fetch_add(&ticks, 100);
    MUST(tidegate_worker_tick(worker, now()) == 0);
  }
  for (i = 0; tidegate_upstream_peer_at(table, upstream[0], (uint32_t)i, &peer) == 0; i++) {
    tidegate_peer_info info = TIDEGATE_PEER_INFO_INIT;
    MUST(tidegate_peer_describe(table, peer, now(), &info) == 0);
    MUST(info.in_flight == 0);
  }
  tidegate_worker_leave(worker);
  tidegate_table_free(table);
  printf("no race: %d threads in each of 2 processes, %d requests each\n", WORKERS + SHARERS + 2, ROUNDS);
  return 0;
}
