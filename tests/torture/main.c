// Which kills are made, and what came of them.
//
//   torture          after every instruction of every operation, the table's bytes are compared with those before it,
//                    and each image that differs is judged with the victim dead: between two images a death leaves the
//                    same bytes wherever it comes. Besides, short operations are killed at every instruction, long ones
//                    (system calls, /proc) before and behind every instruction that changed the table, and at a sample
//   torture full     every operation is killed at every instruction
//
// What works on a file changes it by system calls alone until it has its name: those are killed before and behind each
// system call, and at a few other places.
//
// Exit status: 0 all as it should be, 1 not, 77 ptrace is not permitted here.

#include "torture.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SHORT = 3000, SAMPLE = 100, FILE_SAMPLE = 10, CALLS_MOST = 512, IMAGES_MOST = 4096, INSTRUCTIONS_MOST = 1 << 18, HANG_S = 20, NOT_PERMITTED = 77 };

// The library sleeps nowhere but in these: a survivor that had to wait for the dead is seen without a clock.
volatile long sleeps;

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *time, struct timespec *left) {
  sleeps++;
  return (int)syscall(SYS_clock_nanosleep, clock, flags, time, left);
}

int nanosleep(const struct timespec *time, struct timespec *left) {
  sleeps++;
  return (int)syscall(SYS_nanosleep, time, left);
}

// The C library's, but for membarrier: a fence in processes that run meanwhile costs milliseconds, and none does.
long syscall(long number, ...) {
  register long r10 __asm__("r10");
  register long r8 __asm__("r8");
  register long r9 __asm__("r9");
  long argument[6], result;
  va_list list;
  int i;
  if (number == SYS_membarrier) return 0;
  va_start(list, number);
  for (i = 0; i < 6; i++) argument[i] = va_arg(list, long);
  va_end(list);
  r10 = argument[3];
  r8 = argument[4];
  r9 = argument[5];
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(argument[0]), "S"(argument[1]), "d"(argument[2]), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  if (result >= -4095 && result < 0) {
    errno = (int)-result;
    return -1;
  }
  return result;
}

struct run {
  const struct operation *operation;
  struct view before, after;
  unsigned long instructions, kills, images, violations;
  // Kills that came elsewhere than where the recorded path was: numbers read from /proc differ in length.
  unsigned long strayed;
  // The instructions that left them.
  unsigned long left_by[IMAGES_MOST];
  // Instructions that are system calls.
  unsigned long calls, call[CALLS_MOST];
  char first[240];
};

// The path of the run that is traced: each instruction, the how-manieth time it is met, and from which instruction on
// the way there is stepped, because a breakpoint that is met so often costs least.
static struct {
  uintptr_t address;
  unsigned times, stepped_from, cost;
} path[INSTRUCTIONS_MOST];

// A hash table of addresses: how often each was met.
static struct {
  uintptr_t address;
  unsigned times;
} met[2 * INSTRUCTIONS_MOST];

// Meeting a breakpoint once costs as much as so many steps.
enum { BREAKPOINT_COST = 4 };

static void record(unsigned long k, uintptr_t address) {
  size_t place = address * 0x9e3779b97f4a7c15u >> 45;
  must(k < INSTRUCTIONS_MOST, "the operation is too long");
  if (k == 0) memset(met, 0, sizeof met);
  while (met[place].address != 0 && met[place].address != address) place = (place + 1) % (2 * INSTRUCTIONS_MOST);
  met[place].address = address;
  path[k].address = address;
  path[k].times = ++met[place].times;
  path[k].stepped_from = (unsigned)k;
  path[k].cost = k == 0 ? 0 : path[k].times * BREAKPOINT_COST;
  if (k > 0 && path[k - 1].cost + 1 < path[k].cost) {
    path[k].stepped_from = path[k - 1].stepped_from;
    path[k].cost = path[k - 1].cost + 1;
  }
}

static void hang(int signal) {
  static const char text[] = "torture: a survivor's operation did not end\n";
  (void)signal;
  if (write(1, text, sizeof text - 1) < 0) _exit(2);
  _exit(1);
}

static void judge(struct run *run, unsigned long at, unsigned turn) {
  const char *wrong;
  alarm(HANG_S);
  wrong = check(run->operation, &run->before, &run->after, turn);
  alarm(0);
  if (wrong == NULL) return;
  if (run->violations++ == 0) snprintf(run->first, sizeof run->first, "after instruction %lu: %s", at, wrong);
}

// A complete run at full speed: what the table looks like before and after.
static int reference(struct run *run) {
  const uint32_t wanted = run->operation->wanted;
  for (world.seed = 1; world.seed < 100; world.seed++) {
    pid_t victim;
    world_restore();
    victim = victim_start(run->operation);
    if (victim < 0) return 0;
    look(&run->before);
    victim_finish(victim);
    look(&run->after);
    victim_kill(victim);
    victim_bury(victim);
    if ((stage->flags & wanted) == wanted) return 1;
  }
  must(0, "the operation never did what its name says");
  return 0;
}

// Every instruction once, and every image that one leaves behind.
static void trace(struct run *run) {
  static unsigned char *image[IMAGES_MOST];
  unsigned char *last = malloc(world.size);
  size_t images = 0, i;
  pid_t victim;
  int state;
  must(last != NULL, "malloc");
  world_restore();
  victim = victim_start(run->operation);
  memcpy(last, world.memory, world.size);
  do {
    record(run->instructions, victim_at(victim));
    if (run->operation->file && victim_at_syscall(victim)) {
      must(run->calls < CALLS_MOST, "too many system calls");
      run->call[run->calls++] = run->instructions;
    }
    state = victim_step(victim);
    run->instructions++;
    if (memcmp(last, world.memory, world.size) == 0) continue;
    memcpy(last, world.memory, world.size);
    must(images < IMAGES_MOST, "too many images");
    image[images] = malloc(world.size);
    must(image[images] != NULL, "malloc");
    memcpy(image[images], last, world.size);
    run->left_by[images++] = run->instructions;
  } while (state == STEPPED);
  victim_kill(victim);
  victim_bury(victim);
  for (i = 0; i < images; i++) {
    world_restore();
    memcpy(world.memory, image[i], world.size);
    judge(run, run->left_by[i], (unsigned)i);
    free(image[i]);
  }
  run->images = images;
  free(last);
}

// One victim, killed after so many instructions.
static void kill_after(struct run *run, unsigned long steps) {
  unsigned long done = 0;
  int state = STEPPED;
  pid_t victim;
  world_restore();
  victim = victim_start(run->operation);
  if (steps < run->instructions) done = path[steps].stepped_from;
  if (done != 0) state = victim_run_to(victim, path[done].address, path[done].times);
  for (; done < steps && state == STEPPED; done++) state = victim_step(victim);
  if (steps < run->instructions) run->strayed += state == COMPLETED || victim_at(victim) != path[steps].address;
  victim_kill(victim);
  // Half of the dead have not been waited for by their parent when the survivor meets them.
  if (steps % 2) victim_bury(victim);
  judge(run, steps, (unsigned)(steps / 2));
  if (steps % 2 == 0) victim_bury(victim);
  run->kills++;
}

// Whether an instruction of a long operation is killed at, though not all are.
static int chosen(const struct run *run, unsigned long steps) {
  unsigned long i;
  for (i = 0; i < run->images; i++) {
    if (steps == run->left_by[i] || steps + 1 == run->left_by[i]) return 1;
  }
  for (i = 0; i < run->calls; i++) {
    if (steps == run->call[i] || steps == run->call[i] + 1) return 1;
  }
  return steps % (run->instructions / (run->operation->file ? FILE_SAMPLE : SAMPLE)) == 0 || steps == run->instructions;
}

static int torture(const struct operation *operation, int full) {
  static struct run run;
  unsigned long steps;
  int good;
  memset(&run, 0, sizeof run);
  run.operation = operation;
  events_lost = half_declared = 0;
  operation->prepare();
  world_keep();
  if (!reference(&run)) return NOT_PERMITTED;
  trace(&run);
  for (steps = 0; steps <= run.instructions; steps++) {
    if ((full && !operation->file) || run.instructions <= SHORT || chosen(&run, steps)) kill_after(&run, steps);
  }
  world_free();
  good = (run.violations != 0) == (operation->planted != 0);
  printf("%-28s %6lu instructions %4lu images %6lu kills %5lu violations", operation->name, run.instructions,
         run.images, run.kills, run.violations);
  if (events_lost) printf(", %lu died between a change and its event", events_lost);
  if (half_declared) printf(", %lu between a list and its limits", half_declared);
  if (run.strayed) printf(", %lu off the recorded path", run.strayed);
  printf("%s\n", good ? "" : operation->planted ? ": THE PLANTED FAULT WAS NOT FOUND" : ": WRONG");
  if (run.violations) printf("  first: %s\n", run.first);
  fflush(stdout);
  return good ? 0 : 1;
}

// A writer that is stopped in the middle of a declaration, not dead, holds up other writers for a bounded time and
// requests not at all. Here the count of sleeps must move, or it proves nothing above.
static int stopped(const struct operation *operation) {
  static struct run run;
  tidegate_decision decision = TIDEGATE_DECISION_INIT;
  tidegate_pick pick = TIDEGATE_PICK_INIT;
  tidegate_request request;
  unsigned long i;
  pid_t victim;
  long slept;
  memset(&run, 0, sizeof run);
  run.operation = operation;
  operation->prepare();
  world_keep();
  must(reference(&run), "reference");
  trace(&run);
  world_restore();
  victim = victim_start(operation);
  // The first and the last change are those of the word that names the writer.
  for (i = 0; i < (run.left_by[0] + run.left_by[run.images - 1]) / 2; i++) victim_step(victim);
  slept = sleeps;
  alarm(HANG_S);
  for (i = 0; i < 1000; i++) {
    must(begin(world.survivor, &request, TIDEGATE_METHOD_GET, &pick) == 0, "a pick beside a stopped writer");
    must(report(&request, TIDEGATE_CAUSE_NONE, &decision) == 0, "a report beside a stopped writer");
  }
  must(sleeps == slept, "a request waited for a stopped writer");
  must(declare(operation->after, NULL) == TIDEGATE_ERR_BUSY, "a second writer did not find the first one busy");
  must(sleeps > slept, "sleeps are not counted");
  alarm(0);
  victim_kill(victim);
  victim_bury(victim);
  world_restore();
  world_free();
  printf("a stopped writer: no request waited, a second writer was told BUSY after %ld sleeps\n", sleeps - slept);
  return 0;
}

int main(int count, char **arguments) {
  const int full = count > 1 && strcmp(arguments[1], "full") == 0;
  const char *only = getenv("TORTURE_ONLY");
  cpu_set_t here;
  size_t i;
  int failed = 0;
  // Two processes that take turns do so fastest on one processor.
  CPU_ZERO(&here);
  CPU_SET(sched_getcpu(), &here);
  sched_setaffinity(0, sizeof here, &here);
  signal(SIGALRM, hang);
  for (i = 0; i < operations_count; i++) {
    int result;
    if (only != NULL && strstr(operations[i].name, only) == NULL) continue;
    result = torture(&operations[i], full);
    if (result == NOT_PERMITTED) {
      printf("ptrace is not permitted here\n");
      return NOT_PERMITTED;
    }
    failed |= result;
    if (strcmp(operations[i].name, "set_peers: all at once") == 0) failed |= stopped(&operations[i]);
  }
  return failed;
}
