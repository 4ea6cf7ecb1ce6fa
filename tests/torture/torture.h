// Crash torture: a victim performs one operation on a table, instruction by instruction, and is killed at each; a
// survivor then uses the table. One file a part: world (the table and what can be seen of it), operations (what the
// victim does), stepper (ptrace), check (what the survivor demands), main (which kills are made).

#ifndef TORTURE_H
#define TORTURE_H

#include "tidegate.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { PEERS_MOST = 20, EVENTS_MOST = 16, WORKERS_MOST = 3, LIMIT = 3 };

static const uint64_t SECOND = 1000000000u;

// A peer to declare: its address is 10.0.0.1:port.
struct declared {
  uint16_t port;
  uint16_t weight;
  uint32_t limit;
  uint32_t admin;
};

struct list {
  unsigned count;
  struct declared peer[PEERS_MOST];
};

// What a peer is known for.
struct known {
  uint64_t handle;
  int there;
  uint16_t port;
  tidegate_peer_info info;
};

// Everything that the ABI shows of the table at one moment. The first `count` of `peer` are the published list.
struct view {
  unsigned count;
  struct known peer[PEERS_MOST];
  unsigned events;
  tidegate_event event[EVENTS_MOST];
  uint64_t refused, terminated;
  tidegate_status second;
};

// The survivor's side. A victim, forked from it, has a copy of all but `memory` and `stage`.
struct world {
  unsigned char *memory;
  size_t size;
  tidegate_table *table;
  tidegate_worker *survivor;
  uint32_t upstream, selector;
  uint64_t now;
  // The survivor's own open request, and its peer: what must still be in flight when everybody else is dead.
  tidegate_request own;
  uint64_t own_peer;
  // What the table and `own` are set to before each victim.
  unsigned char *pristine;
  tidegate_request pristine_own;
  uint64_t seed;
};

// Shared between victim and survivor, beside the table.
struct stage {
  volatile int done;
  volatile uint32_t flags;
  // A record that is updated in two steps without a guard: the planted fault.
  volatile uint64_t planted[2];
};

struct operation {
  const char *name;
  // The survivor's, once: the table before the victim comes.
  void (*prepare)(void);
  // The victim's, before the first instruction that counts.
  void (*stage)(void);
  // The victim's, killed at every instruction.
  void (*act)(void);
  // The lists that may be published, for the survivor to declare again.
  const struct list *before, *after;
  // Bits that `stage.flags` must have after a complete run, or the operation did not do what its name says.
  uint32_t wanted;
  // Every peer has its limit all the time: after the tick it must be usable to the full.
  int limited;
  // The lists differ: look for lost slots too.
  int membership;
  // It works on the file of this table besides, which must open whole: see `file_path`.
  int file;
  // Violations must be found: the fault is planted.
  int planted;
};

extern struct world world;
extern struct stage *stage;
extern const struct operation operations[];
extern const size_t operations_count;
// Sleeps of this process: see main.c.
extern volatile long sleeps;

// world.c
void world_make(uint32_t selector, const struct list *list);
void world_keep(void);
void world_restore(void);
void world_free(void);
tidegate_status declare(const struct list *list, uint64_t *handles);
tidegate_worker *join(uint64_t seed);
tidegate_status begin(tidegate_worker *worker, tidegate_request *request, uint32_t method, tidegate_pick *pick);
tidegate_status report(tidegate_request *request, uint32_t cause, tidegate_decision *decision);
void look(struct view *view);
// A name on a tmpfs for this run's file.
const char *file_path(void);
tidegate_status file_open(uint32_t peers, tidegate_table **table);
void must(int holds, const char *what);

// stepper.c
enum { STEPPED, COMPLETED };
// Forks a victim and brings it to the operation's first instruction. -1: ptrace is not permitted.
pid_t victim_start(const struct operation *operation);
// One instruction. COMPLETED: the operation has returned.
int victim_step(pid_t victim);
// The address of its next instruction.
uintptr_t victim_at(pid_t victim);
// Whether that is a system call.
int victim_at_syscall(pid_t victim);
// At full speed to the n-th time that it comes to an address. COMPLETED: it did not so often.
int victim_run_to(pid_t victim, uintptr_t address, unsigned times);
// To the end of the operation, at full speed.
void victim_finish(pid_t victim);
// SIGKILL. Until `victim_bury` the dead process is a zombie.
void victim_kill(pid_t victim);
void victim_bury(pid_t victim);

// check.c
// What is wrong with the table now that the victim is dead, or NULL. `turn` chooses which list is declared again.
const char *check(const struct operation *operation, const struct view *before, const struct view *after,
                  unsigned turn);
extern unsigned long events_lost;
extern unsigned long half_declared;

#endif
