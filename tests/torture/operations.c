// What victims do: one operation each, from a state that its preparation and its stage brought about.

#include "torture.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define DONE 0x100

static const struct list three = {3, {{1, 1, 0, 0}, {2, 2, 0, 0}, {3, 3, 0, 0}}};
static const struct list limited = {3, {{1, 1, LIMIT, 0}, {2, 2, LIMIT, 0}, {3, 3, LIMIT, 0}}};
static const struct list four = {4, {{1, 1, 0, 0}, {2, 2, 0, 0}, {4, 5, 0, 0}, {3, 3, 0, 0}}};
static const struct list two = {2, {{3, 3, 0, 0}, {1, 1, 0, 0}}};
static const struct list weighted = {3, {{1, 7, 0, 0}, {2, 1, 0, 0}, {3, 2, 0, 0}}};
static const struct list many = {18, {{1, 1, 0, 0},  {2, 2, 0, 0},  {3, 3, 0, 0},  {4, 1, 0, 0},  {5, 1, 0, 0},  {6, 1, 0, 0},
                                      {7, 1, 0, 0},  {8, 1, 0, 0},  {9, 1, 0, 0},  {10, 1, 0, 0}, {11, 1, 0, 0}, {12, 1, 0, 0},
                                      {13, 1, 0, 0}, {14, 1, 0, 0}, {15, 1, 0, 0}, {16, 1, 0, 0}, {17, 1, 0, 0}, {18, 1, 0, 0}}};
static const struct list replaced = {3, {{3, 5, LIMIT, 0}, {5, 1, 0, 0}, {1, 2, LIMIT, TIDEGATE_ADMIN_DRAINING}}};

// The victim's own: in its copy of the memory.
static tidegate_worker *mine;
static tidegate_request request, second;
static tidegate_decision decision = TIDEGATE_DECISION_INIT;

static void make_round_robin(void) { world_make(TIDEGATE_SELECTOR_ROUND_ROBIN, &three); }
static void make_least_request(void) { world_make(TIDEGATE_SELECTOR_LEAST_REQUEST, &limited); }
static void make_limited(void) { world_make(TIDEGATE_SELECTOR_ROUND_ROBIN, &limited); }

// One peer was ejected, and its trial is due.
static void make_one_out(void) {
  tidegate_pick pick = TIDEGATE_PICK_INIT;
  tidegate_request failing;
  make_limited();
  do {
    must(begin(world.survivor, &failing, TIDEGATE_METHOD_GET, &pick) == 0, "a pick");
    if (pick.peer != world.own_peer) {
      must(report(&failing, TIDEGATE_CAUSE_CONNECTION_REFUSED, &decision) == 0, "a report");
    }
    tidegate_request_end(&failing, world.now);
  } while (pick.peer == world.own_peer);
  must((decision.flags & TIDEGATE_DECISION_FLAG_EJECTED) != 0, "the peer was not ejected");
  world.now += 2 * SECOND;
}

static void refuse_one(void) {
  tidegate_pick pick = TIDEGATE_PICK_INIT;
  tidegate_request failing;
  do {
    must(begin(world.survivor, &failing, TIDEGATE_METHOD_GET, &pick) == 0, "a pick");
    if (pick.peer != world.own_peer) {
      must(report(&failing, TIDEGATE_CAUSE_CONNECTION_REFUSED, &decision) == 0, "a report");
    }
    tidegate_request_end(&failing, world.now);
  } while (pick.peer == world.own_peer);
}

// All but the survivor's own peer are out, and no trial is due.
static void make_two_out(void) {
  make_limited();
  refuse_one();
  refuse_one();
}

// And that one takes no requests: what is left is the last resort.
static void make_none_left(void) {
  make_two_out();
  must(tidegate_peer_set_admin(world.table, world.own_peer, TIDEGATE_ADMIN_DRAINING, world.now) == 0, "draining");
}

static void nothing(void) {}

static void stage_join(void) {
  mine = join(world.seed);
  must(mine != NULL, "the victim's tidegate_worker_join");
}

static void stage_pick(void) {
  tidegate_pick pick = TIDEGATE_PICK_INIT;
  stage_join();
  must(begin(mine, &request, TIDEGATE_METHOD_GET, &pick) == 0, "the victim's pick");
}

static void stage_two_picks(void) {
  tidegate_pick pick = TIDEGATE_PICK_INIT;
  stage_pick();
  must(begin(mine, &second, TIDEGATE_METHOD_GET, &pick) == 0, "the victim's second pick");
}

static void stage_trial(void) {
  tidegate_pick pick = TIDEGATE_PICK_INIT;
  int i;
  stage_join();
  for (i = 0; i < 64; i++) {
    must(begin(mine, &request, TIDEGATE_METHOD_GET, &pick) == 0, "the victim's pick");
    if (pick.flags & TIDEGATE_PICK_TRIAL) return;
    tidegate_request_end(&request, world.now);
  }
  must(0, "the victim got no trial");
}

// A request that may not be repeated has failed.
static void stage_failed(void) {
  tidegate_pick pick = TIDEGATE_PICK_INIT;
  stage_join();
  must(begin(mine, &request, TIDEGATE_METHOD_POST, &pick) == 0, "the victim's pick");
  must(report(&request, TIDEGATE_CAUSE_CONNECTION_TERMINATED, &decision) == 0, "the victim's report");
  must(decision.verdict == TIDEGATE_DECISION_ANSWER, "no answer is due");
}

// Another worker dies with two requests open.
static void stage_dead_worker(void) {
  pid_t other;
  stage_join();
  other = fork();
  must(other >= 0, "fork");
  if (other == 0) {
    stage_two_picks();
    _exit(0);
  }
  must(waitpid(other, NULL, 0) == other, "waitpid");
}

// And this one dies with one of its own.
static void stage_two_deaths(void) {
  tidegate_pick pick = TIDEGATE_PICK_INIT;
  stage_dead_worker();
  must(begin(mine, &request, TIDEGATE_METHOD_GET, &pick) == 0, "the victim's pick");
}

static void stage_dead_only(void) {
  stage_dead_worker();
  tidegate_worker_leave(mine);
}

static void stage_no_file(void) { unlink(file_path()); }

static void stage_other_file(void) {
  tidegate_table *table = NULL;
  unlink(file_path());
  must(file_open(1, &table) == 0, "the victim's first table");
  tidegate_table_free(table);
}

static void act_pick(void) {
  tidegate_pick pick = TIDEGATE_PICK_INIT;
  if (begin(mine, &request, TIDEGATE_METHOD_GET, &pick) == 0) stage->flags = 0x100 | pick.flags;
}

static void act_report(uint32_t cause) {
  if (report(&request, cause, &decision) == 0) stage->flags = 0x100 | decision.flags;
}

static void act_succeed(void) { act_report(TIDEGATE_CAUSE_NONE); }
static void act_break(void) { act_report(TIDEGATE_CAUSE_CONNECTION_TERMINATED); }
static void act_refuse(void) { act_report(TIDEGATE_CAUSE_CONNECTION_REFUSED); }
static void act_end(void) { tidegate_request_end(&request, world.now); }
static void act_declare(const struct list *list) { stage->flags = declare(list, NULL) == 0 ? 0x100 : 0; }
static void act_add(void) { act_declare(&four); }
static void act_remove(void) { act_declare(&two); }
static void act_weigh(void) { act_declare(&weighted); }
static void act_replace(void) { act_declare(&replaced); }
static void act_join(void) { stage->flags = join(world.seed) != NULL ? 0x100 : 0; }
static void act_leave(void) { tidegate_worker_leave(mine); }
static void act_tick(void) { stage->flags = tidegate_worker_tick(mine, world.now) == 0 ? 0x100 : 0; }

static void act_drain(void) {
  stage->flags = tidegate_peer_set_admin(world.table, world.own_peer, TIDEGATE_ADMIN_DRAINING, world.now) == 0 ? 0x100 : 0;
}

static void act_head(void) {
  tidegate_outcome outcome = TIDEGATE_OUTCOME_INIT;
  outcome.status = 503;
  outcome.phase = TIDEGATE_PHASE_HEAD;
  outcome.flags = TIDEGATE_OUTCOME_SENT | TIDEGATE_OUTCOME_RECEIVED;
  if (tidegate_request_head(&request, &outcome, world.now, &decision) == 0 &&
      decision.verdict == TIDEGATE_DECISION_RETRY) {
    stage->flags = DONE;
  }
}

static void act_answer(void) {
  tidegate_answer answer = TIDEGATE_ANSWER_INIT;
  if (tidegate_request_answer(&request, world.now, &answer) == 0 && answer.status >= 500) stage->flags = DONE;
}

// A retry takes a token of the budget.
static void act_retry(void) {
  tidegate_pick pick = TIDEGATE_PICK_INIT;
  if (report(&request, TIDEGATE_CAUSE_CONNECTION_TERMINATED, &decision) == 0 &&
      decision.verdict == TIDEGATE_DECISION_RETRY && tidegate_request_pick(&request, world.now, &pick) == 0) {
    stage->flags = DONE;
  }
}

static void act_spare(void) {
  if (report(&request, TIDEGATE_CAUSE_CONNECTION_REFUSED, &decision) == 0 &&
      (decision.flags & TIDEGATE_DECISION_FLAG_EJECTED) == 0) {
    stage->flags = DONE;
  }
}

static void act_grow(void) { act_declare(&many); }

static void act_attach(void) {
  tidegate_table *table = NULL;
  if (tidegate_table_attach_at(world.memory, world.size, &table) == 0) stage->flags = DONE;
  tidegate_table_free(table);
}

static void act_file(void) {
  tidegate_table *table = NULL;
  if (file_open(2, &table) == 0) stage->flags = DONE;
}

static void act_reopen(void) {
  tidegate_upstream_options options = TIDEGATE_UPSTREAM_OPTIONS_INIT;
  uint32_t id;
  options.selector = world.selector;
  options.eject_failures = 2;
  options.half_open_successes = 1;
  options.slow_start_ns = 1;
  options.deadline_ns = 100 * SECOND;
  options.max_attempts = 2;
  stage->flags = tidegate_upstream_open(world.table, "app", 3, &options, &id) == 0 ? DONE : 0;
}

static void act_open(void) {
  uint32_t id;
  stage->flags = tidegate_upstream_open(world.table, "second", 6, NULL, &id) == 0 ? 0x100 : 0;
}

static void act_planted_record(void) {
  stage->planted[0]++;
  stage->planted[1]++;
}

// The change that `act_replace` makes, by plain copying: every word of it right, and no order.
static struct {
  size_t at;
  uint64_t value;
} copied[256];
static size_t copied_count;

static void stage_planted_copy(void) {
  volatile uint64_t *word = (volatile uint64_t *)(void *)world.memory;
  uint64_t *was = malloc(world.size);
  size_t i;
  stage_pick();
  must(was != NULL, "malloc");
  memcpy(was, world.memory, world.size);
  act_replace();
  for (i = 0; i < world.size / 8; i++) {
    if (word[i] == was[i]) continue;
    must(copied_count < sizeof copied / sizeof *copied, "more words than expected");
    copied[copied_count].at = i;
    copied[copied_count++].value = word[i];
  }
  memcpy(world.memory, was, world.size);
}

static void act_planted_copy(void) {
  volatile uint64_t *word = (volatile uint64_t *)(void *)world.memory;
  size_t i;
  for (i = 0; i < copied_count; i++) word[copied[i].at] = copied[i].value;
}

#define EJECTED (DONE | TIDEGATE_DECISION_FLAG_EJECTED)
#define TRIAL (DONE | TIDEGATE_PICK_TRIAL)

const struct operation operations[] = {
    {"pick, round robin", make_round_robin, stage_join, act_pick, &three, &three, DONE, 0, 0, 0, 0},
    {"pick, round robin, limits", make_limited, stage_join, act_pick, &limited, &limited, DONE, 1, 0, 0, 0},
    {"pick, least request, limits", make_least_request, stage_join, act_pick, &limited, &limited, DONE, 1, 0, 0, 0},
    {"pick that claims a trial", make_one_out, stage_join, act_pick, &limited, &limited, TRIAL, 1, 0, 0, 0},
    {"report success", make_limited, stage_pick, act_succeed, &limited, &limited, DONE, 1, 0, 0, 0},
    {"report failure", make_limited, stage_pick, act_break, &limited, &limited, DONE, 1, 0, 0, 0},
    {"report failure that ejects", make_limited, stage_pick, act_refuse, &limited, &limited, EJECTED, 1, 0, 0, 0},
    {"report failure of a trial", make_one_out, stage_trial, act_refuse, &limited, &limited, EJECTED, 1, 0, 0, 0},
    {"report success that heals", make_one_out, stage_trial, act_succeed, &limited, &limited, DONE, 1, 0, 0, 0},
    {"end an attempt", make_limited, stage_pick, act_end, &limited, &limited, 0, 1, 0, 0, 0},
    {"end a trial", make_one_out, stage_trial, act_end, &limited, &limited, 0, 1, 0, 0, 0},
    {"drain by hand", make_limited, nothing, act_drain, &limited, &limited, DONE, 1, 0, 0, 0},
    {"worker_join", make_limited, nothing, act_join, &limited, &limited, DONE, 1, 0, 0, 0},
    {"worker_leave", make_limited, stage_two_picks, act_leave, &limited, &limited, 0, 1, 0, 0, 0},
    {"tick that reclaims", make_limited, stage_dead_worker, act_tick, &limited, &limited, DONE, 1, 0, 0, 0},
    {"set_peers: add", make_round_robin, stage_pick, act_add, &three, &four, DONE, 0, 1, 0, 0},
    {"set_peers: remove", make_round_robin, stage_pick, act_remove, &three, &two, DONE, 0, 1, 0, 0},
    {"set_peers: weights", make_round_robin, stage_pick, act_weigh, &three, &weighted, DONE, 0, 1, 0, 0},
    {"set_peers: all at once", make_round_robin, stage_pick, act_replace, &three, &replaced, DONE, 0, 1, 0, 0},
    {"upstream_open", make_round_robin, nothing, act_open, &three, &three, DONE, 0, 0, 0, 0},
    {"pick of a last resort", make_none_left, stage_join, act_pick, &limited, &limited, TRIAL, 0, 0, 0, 0},
    {"report failure that is spared", make_two_out, stage_pick, act_spare, &limited, &limited, DONE, 1, 0, 0, 0},
    {"head that is retried", make_limited, stage_pick, act_head, &limited, &limited, DONE, 1, 0, 0, 0},
    {"answer", make_limited, stage_failed, act_answer, &limited, &limited, DONE, 1, 0, 0, 0},
    {"retry by the budget", make_limited, stage_pick, act_retry, &limited, &limited, DONE, 1, 0, 0, 0},
    {"tick that reclaims, with a request open", make_limited, stage_two_deaths, act_tick, &limited, &limited, DONE, 1, 0, 0, 0},
    {"worker_join that reclaims", make_limited, stage_dead_only, act_join, &limited, &limited, DONE, 1, 0, 0, 0},
    {"set_peers: larger buffers", make_round_robin, stage_pick, act_grow, &three, &many, DONE, 0, 1, 0, 0},
    {"upstream_open: another policy", make_limited, nothing, act_reopen, &limited, &limited, DONE, 1, 0, 0, 0},
    {"table_attach_at", make_limited, nothing, act_attach, &limited, &limited, DONE, 1, 0, 0, 0},
    {"table_open: create", make_limited, stage_no_file, act_file, &limited, &limited, DONE, 1, 0, 1, 0},
    {"table_open: replace", make_limited, stage_other_file, act_file, &limited, &limited, DONE, 1, 0, 1, 0},
    {"planted: two words", make_round_robin, nothing, act_planted_record, &three, &three, 0, 0, 0, 0, 1},
    {"planted: set_peers by copy", make_round_robin, stage_planted_copy, act_planted_copy, &three, &replaced, 0, 0, 1, 0, 1},
};
const size_t operations_count = sizeof operations / sizeof *operations;
