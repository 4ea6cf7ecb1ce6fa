// The victim, and the hand that kills it: ptrace's single step, one instruction (one round of a REP) at a time.
//
// A step costs microseconds, so a death after k steps is not reached by k of them: a breakpoint is set on an
// instruction that the recorded path met only a few times before, and the rest is stepped. Source: ptrace(2).

#include "torture.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOT_PERMITTED = 77 };

// A trap that the tracer sees as a stop, exactly here.
#define MARK() __asm__ volatile("int3" ::: "memory")

static void be_victim(const struct operation *operation) {
  // Not left behind, should the survivor itself be killed.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  operation->stage();
  if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) _exit(NOT_PERMITTED);
  MARK();
  operation->act();
  stage->done = 1;
  MARK();
  for (;;) pause();
}

pid_t victim_start(const struct operation *operation) {
  int status;
  pid_t victim = fork();
  must(victim >= 0, "fork");
  if (victim == 0) be_victim(operation);
  must(waitpid(victim, &status, 0) == victim, "waitpid");
  if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_PERMITTED) return -1;
  must(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP, "the victim did not reach its mark");
  return victim;
}

static void await_trap(pid_t victim) {
  int status;
  must(waitpid(victim, &status, 0) == victim, "waitpid");
  must(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP, "the victim stopped for another reason than a step");
}

int victim_step(pid_t victim) {
  must(ptrace(PTRACE_SINGLESTEP, victim, NULL, NULL) == 0, "PTRACE_SINGLESTEP");
  await_trap(victim);
  return stage->done ? COMPLETED : STEPPED;
}

uintptr_t victim_at(pid_t victim) {
  long address;
  errno = 0;
  address = ptrace(PTRACE_PEEKUSER, victim, offsetof(struct user_regs_struct, rip), NULL);
  must(errno == 0, "PTRACE_PEEKUSER");
  return (uintptr_t)address;
}

int victim_at_syscall(pid_t victim) {
  static const unsigned long code = 0x050f, two_bytes = 0xffff;
  long word;
  errno = 0;
  word = ptrace(PTRACE_PEEKTEXT, victim, victim_at(victim), NULL);
  return errno == 0 && ((unsigned long)word & two_bytes) == code;
}

int victim_run_to(pid_t victim, uintptr_t address, unsigned times) {
  static const unsigned long trap = 0xcc, low_byte = 0xff;
  long word;
  errno = 0;
  word = ptrace(PTRACE_PEEKTEXT, victim, address, NULL);
  must(errno == 0, "PTRACE_PEEKTEXT");
  if (victim_at(victim) == address) times--;
  while (times > 0) {
    // From the instruction itself its trap would be met at once: step off it first.
    if (victim_at(victim) == address && victim_step(victim) == COMPLETED) return COMPLETED;
    if (victim_at(victim) != address) {
      must(ptrace(PTRACE_POKETEXT, victim, address, ((unsigned long)word & ~low_byte) | trap) == 0, "PTRACE_POKETEXT");
      must(ptrace(PTRACE_CONT, victim, NULL, NULL) == 0, "PTRACE_CONT");
      await_trap(victim);
      if (stage->done) return COMPLETED;
      must(victim_at(victim) == address + 1, "the victim stopped elsewhere than at the breakpoint");
      must(ptrace(PTRACE_POKETEXT, victim, address, word) == 0, "PTRACE_POKETEXT");
      must(ptrace(PTRACE_POKEUSER, victim, offsetof(struct user_regs_struct, rip), address) == 0, "PTRACE_POKEUSER");
    }
    times--;
  }
  return STEPPED;
}

void victim_finish(pid_t victim) {
  must(ptrace(PTRACE_CONT, victim, NULL, NULL) == 0, "PTRACE_CONT");
  await_trap(victim);
  must(stage->done, "the victim's operation did not return");
}

void victim_kill(pid_t victim) {
  siginfo_t info;
  must(kill(victim, SIGKILL) == 0, "kill");
  // Waits for the death and leaves the zombie.
  must(waitid(P_PID, (id_t)victim, &info, WEXITED | WNOWAIT) == 0, "waitid");
  must(info.si_code == CLD_KILLED && info.si_status == SIGKILL, "the victim ended before it was killed");
}

void victim_bury(pid_t victim) {
  int status;
  must(waitpid(victim, &status, 0) == victim, "waitpid");
}
