// stepper: the exact cost of a piece of code in instructions, where hardware counters do not exist or do not repeat.
//
// A measured program brackets what it wants counted:
//
//     STEPPER_MARK(); tidegate_request_pick(&request, now, &pick); STEPPER_MARK();
//
// stepper_run forks, lets the child run at full speed outside brackets and by single steps inside them. Everything
// between the marks counts: the caller's own instructions that load arguments, the call and the return. SIMD is
// counted as it is; a `rep` instruction counts once for each repetition. System calls count as one instruction.
//
// x86-64 Linux; about 3 µs a step.
#ifndef STEPPER_H
#define STEPPER_H

#include <stddef.h>

#define STEPPER_MARK() __asm__ volatile("int3" ::: "memory")

struct stepper_cost {
  long runs;         // brackets seen
  long instructions; // over all of them
  long least, most;  // of one bracket
  long locked;       // locked read-modify-writes over all of them
};

// Runs `body(argument)` in a child. Its brackets belong to `kinds` kinds in turn: the first to costs[0], the second to
// costs[1], and so on. 0, or -1 after a message on stderr.
int stepper_run(void (*body)(const void *argument), const void *argument, struct stepper_cost *costs, size_t kinds);

#endif
