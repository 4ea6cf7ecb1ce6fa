// The event loop of one worker: epoll, level-triggered, and a timer wheel. It knows nothing of HTTP or Tidegate.
//
// A source that closes in the middle of a round may still have an event waiting in that round: its memory is given
// back (`bury`) only when the round is over, and a closed source gets no events. Timers are intrusive: arming costs
// O(1) and can't fail. They fire on time or up to 4 ms late, never early.
#ifndef PROXY_LOOP_H
#define PROXY_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONTAINER_OF(pointer, type, member) ((type *)((char *)(pointer) - offsetof(type, member)))
#define MS ((uint64_t)1000000)  // nanoseconds

struct source {
    int fd;         // -1: closed
    bool watched;   // in the epoll set
    uint32_t mask;  // what it waits for
    void (*ready)(struct source *, uint32_t events);
    void (*bury)(struct source *);  // frees it; may be NULL
    struct source *next_dead;
};

struct timer {
    uint64_t tick;  // when it is due
    struct timer *next, **link;  // link NULL: not armed
    void (*fire)(struct timer *);
};

enum { WHEEL_SLOTS = 1024 };

struct loop {
    int epoll;
    uint64_t now;   // CLOCK_MONOTONIC in nanoseconds, read once a round
    uint64_t tick;  // the wheel has turned up to here
    struct timer *wheel[WHEEL_SLOTS];
    uint64_t occupied[WHEEL_SLOTS / 64];
    struct source *dead;
};

uint64_t clock_now(void);
bool loop_open(struct loop *);  // false: errno says why
void loop_close(struct loop *);
// Waits for events or the next timer and handles them.
void loop_turn(struct loop *);

// Sets what a source waits for; a system call only if that changes. False: it could not be added.
bool source_watch(struct loop *, struct source *, uint32_t mask);
// Takes it out of the epoll set; the descriptor stays open.
void source_unwatch(struct loop *, struct source *);
// Closes the descriptor; `bury` is called at the end of the round.
void source_close(struct loop *, struct source *);

void timer_arm(struct loop *, struct timer *, uint64_t at_ns);
void timer_disarm(struct loop *, struct timer *);

#endif
