#include "stepper.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { INT3 = 0xCC, LOCK = 0xF0 };

// Legacy prefixes other than LOCK, and REX.
static int is_prefix(unsigned char byte) {
  switch (byte) {
  case 0x26: case 0x2E: case 0x36: case 0x3E: case 0x64: case 0x65: case 0x66: case 0x67: case 0xF2: case 0xF3:
    return 1;
  default:
    return byte >= 0x40 && byte <= 0x4F;
  }
}

// Whether the instruction takes a cache line for itself: a LOCK prefix, or an xchg with memory, which locks without.
static int is_locked(const unsigned char *code) {
  for (;; code++) {
    if (*code == LOCK) return 1;
    if (!is_prefix(*code)) break;
  }
  return (code[0] == 0x86 || code[0] == 0x87) && code[1] < 0xC0;
}

// The child is a fork of this process: what it executes lies at the same address here.
static const unsigned char *next_instruction(pid_t child) {
  return (const unsigned char *)ptrace(PTRACE_PEEKUSER, child, offsetof(struct user_regs_struct, rip), 0);
}

// Lets the child go on by `request` until it stops. 1: it stopped with SIGTRAP. 0: it ended well. -1: it did not.
static int advance(pid_t child, long request) {
  int status;
  if (ptrace(request, child, 0, 0) != 0 || waitpid(child, &status, 0) != child) return -1;
  if (WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP) return 1;
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

// Counts one bracket; the child stands behind its opening mark, and behind the closing one afterwards.
static int count(pid_t child, struct stepper_cost *cost) {
  long instructions = 0;
  for (;;) {
    const unsigned char *code = next_instruction(child);
    if (*code == INT3) break;
    instructions++;
    cost->locked += is_locked(code);
    if (advance(child, PTRACE_SINGLESTEP) != 1) return -1;
  }
  cost->runs++;
  cost->instructions += instructions;
  if (instructions < cost->least) cost->least = instructions;
  if (instructions > cost->most) cost->most = instructions;
  return advance(child, PTRACE_CONT) == 1 ? 0 : -1; // over the closing mark
}

int stepper_run(void (*body)(const void *argument), const void *argument, struct stepper_cost *costs, size_t kinds) {
  for (size_t i = 0; i < kinds; i++) costs[i] = (struct stepper_cost){.least = LONG_MAX};
  fflush(NULL);
  pid_t child = fork();
  if (child == 0) {
    if (ptrace(PTRACE_TRACEME, 0, 0, 0) != 0) _exit(1);
    raise(SIGTRAP);
    body(argument);
    _exit(0);
  }
  int status;
  if (child < 0 || waitpid(child, &status, 0) != child || !WIFSTOPPED(status)) {
    fprintf(stderr, "stepper: can't trace a child (is ptrace forbidden here?)\n");
    return -1;
  }
  ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_EXITKILL);
  int state;
  for (size_t kind = 0; (state = advance(child, PTRACE_CONT)) == 1; kind = (kind + 1) % kinds) {
    if (count(child, &costs[kind]) != 0) {
      state = -1;
      break;
    }
  }
  if (state != 0) {
    fprintf(stderr, "stepper: the measured program failed\n");
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    return -1;
  }
  return 0;
}
