// What a survivor demands of a table whose victim was killed: untouched or complete, never torn, usable at once.

#include "torture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { REQUESTS_MOST = 128 };

// Transitions that were made but whose event was not: the victim died between the two.
unsigned long events_lost;
// Lists that were published whose limits and administrative states were not written yet.
unsigned long half_declared;

static char complaint[200];

#define DEMAND(condition, ...)                               \
  do {                                                       \
    if (!(condition)) {                                      \
      snprintf(complaint, sizeof complaint, __VA_ARGS__);    \
      return complaint;                                      \
    }                                                        \
  } while (0)

static const struct known *find(const struct view *view, uint64_t handle) {
  unsigned i;
  for (i = 0; i < view->count; i++) {
    if (view->peer[i].handle == handle) return &view->peer[i];
  }
  return NULL;
}

static int same_list(const struct view *a, const struct view *b) {
  unsigned i;
  if (a->count != b->count) return 0;
  for (i = 0; i < a->count; i++) {
    if (a->peer[i].handle != b->peer[i].handle) return 0;
  }
  return 1;
}

static int same_state(const tidegate_peer_info *a, const tidegate_peer_info *b) {
  return a->health == b->health && a->streak == b->streak && a->ejections == b->ejections &&
         a->ejected_for_ns == b->ejected_for_ns && a->admin == b->admin;
}

static int same_parameters(const tidegate_peer_info *a, const tidegate_peer_info *b) {
  return a->weight == b->weight && a->priority == b->priority && a->max_in_flight == b->max_in_flight;
}

static int same_event(const tidegate_event *a, const tidegate_event *b) {
  return memcmp(a, b, sizeof *a) == 0;
}

// Membership, every peer and every cause are as before or as after.
static const char *check_peers(const struct view *now, const struct view *before, const struct view *after) {
  const int published = same_list(now, after);
  int behind = 0;
  unsigned i;
  DEMAND(published || same_list(now, before), "the list of %u peers is neither of the declared ones", now->count);
  for (i = 0; i < now->count; i++) {
    const struct known *peer = &now->peer[i], *was = find(before, peer->handle), *is = find(after, peer->handle);
    const struct known *any = was != NULL ? was : is;
    DEMAND(peer->there, "peer %u of the list can't be described", i);
    DEMAND(peer->port == any->port, "peer %u has the address of another: port %u", i, peer->port);
    DEMAND((was != NULL && same_state(&peer->info, &was->info)) || (is != NULL && same_state(&peer->info, &is->info)),
           "peer %u has neither its state before nor after: health %u, streak %u, ejections %u", i,
           peer->info.health, peer->info.streak, peer->info.ejections);
    DEMAND((was != NULL && same_parameters(&peer->info, &was->info)) ||
               (is != NULL && same_parameters(&peer->info, &is->info)),
           "peer %u has neither its parameters before nor after: weight %u, limit %u", i, peer->info.weight,
           peer->info.max_in_flight);
    if (was == NULL || is == NULL) continue;
    DEMAND(peer->info.picks >= was->info.picks && peer->info.picks <= is->info.picks, "peer %u: picks", i);
    DEMAND(peer->info.failures >= was->info.failures && peer->info.failures <= is->info.failures,
           "peer %u: failures", i);
    behind |= !same_parameters(&peer->info, &is->info) || peer->info.admin != is->info.admin;
  }
  half_declared += published && behind && !same_list(before, after);
  DEMAND(now->refused >= before->refused && now->refused <= after->refused, "refused connections counted");
  DEMAND(now->terminated >= before->terminated && now->terminated <= after->terminated, "broken connections counted");
  DEMAND(now->second == before->second || now->second == after->second, "the second upstream is half there");
  return NULL;
}

// The events before are all there, and each one more is one that a complete run writes.
static const char *check_events(const struct view *now, const struct view *before, const struct view *after) {
  unsigned i, at = 0;
  for (i = 0; i < now->events; i++) {
    while (at < after->events && after->event[at].number < now->event[i].number) at++;
    DEMAND(at < after->events && same_event(&now->event[i], &after->event[at]), "event %llu is not whole: kind %u",
           (unsigned long long)now->event[i].number, now->event[i].kind);
  }
  DEMAND(now->events >= before->events && now->events <= after->events, "%u events", now->events);
  for (i = 0; i < before->events; i++) {
    DEMAND(same_event(&now->event[i], &before->event[i]), "an older event has gone");
  }
  return NULL;
}

static int changed(const struct view *now, const struct view *before) {
  unsigned i;
  if (!same_list(now, before)) return 1;
  for (i = 0; i < now->count; i++) {
    const tidegate_peer_info *a = &now->peer[i].info, *b = &before->peer[i].info;
    if (a->health != b->health || a->admin != b->admin || a->ejections > b->ejections) return 1;
  }
  return 0;
}

// In flight is what the survivor itself holds.
static const char *check_in_flight(int own) {
  struct view now;
  unsigned i;
  look(&now);
  for (i = 0; i < now.count; i++) {
    const uint32_t held = own && now.peer[i].handle == world.own_peer;
    DEMAND(now.peer[i].info.in_flight == held, "in flight on peer %u: %u, and the living hold %u", i,
           now.peer[i].info.in_flight, held);
  }
  return NULL;
}

// Every eligible peer takes as many requests as its limit says, not one more or less: the aggregates are exact.
static const char *check_limits(void) {
  static tidegate_request request[REQUESTS_MOST];
  tidegate_pick pick = TIDEGATE_PICK_INIT;
  unsigned taken[PEERS_MOST] = {0}, open = 0, i;
  struct view now;
  look(&now);
  while (open < REQUESTS_MOST && begin(world.survivor, &request[open], TIDEGATE_METHOD_POST, &pick) == 0) {
    const struct known *peer = find(&now, pick.peer);
    DEMAND(peer != NULL, "a pick is not in the list");
    taken[peer - now.peer]++;
    open++;
  }
  for (i = 0; i < open; i++) tidegate_request_end(&request[i], world.now);
  for (i = 0; i < now.count; i++) {
    const tidegate_peer_info *info = &now.peer[i].info;
    const int eligible = info->health == TIDEGATE_HEALTH_HEALTHY && info->admin == TIDEGATE_ADMIN_ENABLED;
    const unsigned held = taken[i] + (now.peer[i].handle == world.own_peer);
    DEMAND(!eligible || held == info->max_in_flight, "peer %u took %u requests, and its limit is %u", i, held,
           info->max_in_flight);
    DEMAND(eligible || taken[i] == 0, "peer %u is out and was picked", i);
  }
  return NULL;
}

// The survivor declares a list: at once, exactly that list, and who stays keeps its handle.
static const char *check_declaring(const struct list *wanted) {
  uint64_t handles[PEERS_MOST];
  struct list list = *wanted;
  struct view was, now;
  unsigned i, j;
  look(&was);
  for (i = 0; i < list.count; i++) list.peer[i].limit = LIMIT;
  DEMAND(declare(&list, handles) == 0, "a declaration after the death was refused");
  look(&now);
  DEMAND(now.count == list.count, "%u peers were declared and %u are there", list.count, now.count);
  for (i = 0; i < now.count; i++) {
    const struct declared *d = &list.peer[i];
    const tidegate_peer_info *info = &now.peer[i].info;
    DEMAND(now.peer[i].handle == handles[i] && now.peer[i].port == d->port, "peer %u is not the one declared", i);
    DEMAND(info->weight == d->weight && info->max_in_flight == LIMIT && info->admin == d->admin,
           "peer %u has other parameters than declared", i);
    for (j = 0; j < was.count; j++) {
      DEMAND(was.peer[j].port != d->port || was.peer[j].handle == handles[i], "peer %u stayed and lost its handle", i);
    }
  }
  return NULL;
}

// A full cycle of the round robin: the shares of the weights, to the turn.
static const char *check_shares(void) {
  tidegate_pick pick = TIDEGATE_PICK_INIT;
  tidegate_decision decision = TIDEGATE_DECISION_INIT;
  unsigned taken[PEERS_MOST] = {0}, turns = 0, i;
  struct view now;
  if (world.selector != TIDEGATE_SELECTOR_ROUND_ROBIN) return NULL;
  look(&now);
  for (i = 0; i < now.count; i++) {
    if (now.peer[i].info.health != TIDEGATE_HEALTH_HEALTHY || now.peer[i].info.admin != 0) return NULL;
    turns += now.peer[i].info.weight;
  }
  for (i = 0; i < turns; i++) {
    tidegate_request request;
    const struct known *peer;
    DEMAND(begin(world.survivor, &request, TIDEGATE_METHOD_GET, &pick) == 0, "no peer in a full cycle");
    peer = find(&now, pick.peer);
    DEMAND(peer != NULL, "a pick is not in the list");
    taken[peer - now.peer]++;
    DEMAND(report(&request, TIDEGATE_CAUSE_NONE, &decision) == 0 && decision.verdict == TIDEGATE_DECISION_DELIVER,
           "a success was not taken");
  }
  for (i = 0; i < now.count; i++) {
    DEMAND(taken[i] == now.peer[i].info.weight, "peer %u got %u of %u turns", i, taken[i], now.peer[i].info.weight);
  }
  return NULL;
}

// Peers that were out come back by trials, and one that fails goes out, with its event.
static const char *check_healing(void) {
  tidegate_pick pick = TIDEGATE_PICK_INIT;
  tidegate_decision decision = TIDEGATE_DECISION_INIT;
  tidegate_request request;
  struct view now;
  unsigned i;
  world.now += 100 * SECOND;
  for (i = 0; i < 64; i++) {
    DEMAND(begin(world.survivor, &request, TIDEGATE_METHOD_GET, &pick) == 0, "no peer for a later request");
    DEMAND(report(&request, TIDEGATE_CAUSE_NONE, &decision) == 0, "a later success was not taken");
  }
  look(&now);
  for (i = 0; i < now.count; i++) {
    DEMAND(now.peer[i].info.health == TIDEGATE_HEALTH_HEALTHY || now.peer[i].info.admin != 0,
           "peer %u never got its trial", i);
  }
  DEMAND(begin(world.survivor, &request, TIDEGATE_METHOD_GET, &pick) == 0, "no peer for a failing request");
  DEMAND(report(&request, TIDEGATE_CAUSE_CONNECTION_REFUSED, &decision) == 0 &&
             decision.flags & TIDEGATE_DECISION_FLAG_EJECTED,
         "a failing peer was not ejected");
  look(&now);
  DEMAND(now.events > 0 && now.event[now.events - 1].kind == TIDEGATE_EVENT_PEER_EJECTED &&
             now.event[now.events - 1].peer == pick.peer,
         "an ejection after the death left no event");
  return NULL;
}

// No lane is lost: all but the survivor's can be joined, and no more.
static const char *check_lanes(void) {
  tidegate_worker *worker[WORKERS_MOST];
  unsigned i;
  for (i = 0; i < WORKERS_MOST; i++) worker[i] = join(2);
  for (i = 0; i < WORKERS_MOST; i++) {
    DEMAND((worker[i] != NULL) == (i < WORKERS_MOST - 1), "worker %u: %s", i, worker[i] ? "joined" : "found no lane");
    tidegate_worker_leave(worker[i]);
  }
  return NULL;
}

// Nor is a place in the ring: after two rounds every event is whole, without a gap.
static const char *check_ring(void) {
  struct view now;
  unsigned i;
  uint64_t peer;
  DEMAND(tidegate_upstream_peer_at(world.table, world.upstream, 0, &peer) == 0, "no first peer");
  for (i = 1; i <= 2 * EVENTS_MOST; i++) {
    DEMAND(tidegate_peer_set_admin(world.table, peer, i % 2, world.now) == 0, "tidegate_peer_set_admin");
  }
  look(&now);
  DEMAND(now.events == EVENTS_MOST, "%u events of %u are readable", now.events, EVENTS_MOST);
  for (i = 1; i < now.events; i++) {
    DEMAND(now.event[i].number == now.event[i - 1].number + 1, "a gap in the events");
  }
  return NULL;
}

// Nor a slot: as many new peers as there are slots can be declared.
static const char *check_slots(void) {
  struct list all = {PEERS_MOST, {{0, 0, 0, 0}}};
  const struct list none = {0, {{0, 0, 0, 0}}};
  unsigned i;
  for (i = 0; i < PEERS_MOST; i++) all.peer[i] = (struct declared){(uint16_t)(1000 + i), 1, 0, 0};
  DEMAND(declare(&none, NULL) == 0, "the empty list was refused");
  DEMAND(declare(&all, NULL) == 0, "a slot was lost");
  return NULL;
}

// The file is not there, or opens at once; then it is a table that can be used, and the next opener finds the same.
static const char *check_file(void) {
  tidegate_table *table = NULL, *again = NULL;
  tidegate_event event = TIDEGATE_EVENT_INIT;
  uint64_t cursor = 0, second = 0;
  uint32_t id;
  DEMAND(file_open(2, &table) == 0, "the file does not open");
  DEMAND(tidegate_upstream_open(table, "app", 3, NULL, &id) == 0, "the table in the file can't be used");
  DEMAND(file_open(2, &again) == 0 && tidegate_upstream_find(again, "app", 3, &id) == 0, "two openers, two tables");
  if (tidegate_table_next_event(again, &cursor, &event) == 0) {
    DEMAND(event.kind == TIDEGATE_EVENT_TABLE_REPLACED && event.number == 1, "an event that nobody wrote");
    second = cursor;
    DEMAND(tidegate_table_next_event(again, &second, &event) != 0, "it was replaced twice");
  }
  tidegate_table_free(table);
  tidegate_table_free(again);
  unlink(file_path());
  return NULL;
}

static const char *check_on(const struct operation *operation, const struct view *before, const struct view *after,
                            unsigned turn) {
  const char *wrong;
  struct view now;
  tidegate_decision decision = TIDEGATE_DECISION_INIT;
  const long slept = sleeps;
  int i;
  DEMAND(stage->planted[0] == stage->planted[1], "the record is torn: %llu and %llu",
         (unsigned long long)stage->planted[0], (unsigned long long)stage->planted[1]);
  look(&now);
  if ((wrong = check_peers(&now, before, after)) != NULL) return wrong;
  if ((wrong = check_events(&now, before, after)) != NULL) return wrong;
  if (changed(&now, before) && now.events == before->events && after->events > before->events) events_lost++;
  for (i = 0; i < 2; i++) {
    world.now += SECOND;
    DEMAND(tidegate_worker_tick(world.survivor, world.now) == 0, "tidegate_worker_tick");
  }
  if ((wrong = check_in_flight(1)) != NULL) return wrong;
  if (operation->limited && (wrong = check_limits()) != NULL) return wrong;
  if ((wrong = check_declaring(turn % 2 ? operation->after : operation->before)) != NULL) return wrong;
  if ((wrong = check_limits()) != NULL) return wrong;
  if ((wrong = check_shares()) != NULL) return wrong;
  if ((wrong = check_healing()) != NULL) return wrong;
  if ((wrong = check_lanes()) != NULL) return wrong;
  if ((wrong = check_ring()) != NULL) return wrong;
  // Its peer may have been removed meanwhile: then the outcome is dropped, but not the count.
  DEMAND(report(&world.own, TIDEGATE_CAUSE_NONE, &decision) == 0, "the survivor's own request was lost");
  if ((wrong = check_in_flight(0)) != NULL) return wrong;
  if (operation->membership && (wrong = check_slots()) != NULL) return wrong;
  if (operation->file && (wrong = check_file()) != NULL) return wrong;
  DEMAND(sleeps == slept, "the survivor had to sleep");
  return NULL;
}

const char *check(const struct operation *operation, const struct view *before, const struct view *after,
                  unsigned turn) {
  const uint64_t then = world.now;
  const char *wrong = check_on(operation, before, after, turn);
  world.now = then;
  return wrong;
}
