#include "loop.h"

#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

// The wheel's step. A timer further away than a full turn (4 s) stays in its slot and is passed over until its turn.
#define TICK (4 * MS)

uint64_t clock_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 * MS + (uint64_t)t.tv_nsec;
}

bool loop_open(struct loop *loop) {
    *loop = (struct loop){.now = clock_now()};
    loop->tick = loop->now / TICK;
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    return loop->epoll >= 0;
}

static void bury_dead(struct loop *loop) {
    while (loop->dead) {
        struct source *source = loop->dead;
        loop->dead = source->next_dead;
        if (source->bury) source->bury(source);
    }
}

void loop_close(struct loop *loop) {
    bury_dead(loop);
    close(loop->epoll);
}

bool source_watch(struct loop *loop, struct source *source, uint32_t mask) {
    if (source->watched && source->mask == mask) return true;
    struct epoll_event event = {.events = mask, .data.ptr = source};
    int op = source->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (epoll_ctl(loop->epoll, op, source->fd, &event) != 0) return false;
    source->watched = true;
    source->mask = mask;
    return true;
}

void source_unwatch(struct loop *loop, struct source *source) {
    if (!source->watched) return;
    epoll_ctl(loop->epoll, EPOLL_CTL_DEL, source->fd, NULL);
    source->watched = false;
}

void source_close(struct loop *loop, struct source *source) {
    if (source->fd < 0) return;
    // close() alone leaves a descriptor that another process shares (the listener) in the epoll set.
    source_unwatch(loop, source);
    close(source->fd);
    source->fd = -1;
    source->next_dead = loop->dead;
    loop->dead = source;
}

static void put(struct loop *loop, struct timer *timer) {
    size_t slot = timer->tick % WHEEL_SLOTS;
    timer->next = loop->wheel[slot];
    if (timer->next) timer->next->link = &timer->next;
    timer->link = &loop->wheel[slot];
    loop->wheel[slot] = timer;
    loop->occupied[slot / 64] |= UINT64_C(1) << slot % 64;
}

void timer_arm(struct loop *loop, struct timer *timer, uint64_t at_ns) {
    timer_disarm(loop, timer);
    timer->tick = at_ns / TICK + 1;
    if (timer->tick <= loop->tick) timer->tick = loop->tick + 1;
    put(loop, timer);
}

void timer_disarm(struct loop *loop, struct timer *timer) {
    if (!timer->link) return;
    *timer->link = timer->next;
    if (timer->next) timer->next->link = timer->link;
    timer->link = NULL;
    size_t slot = timer->tick % WHEEL_SLOTS;
    if (!loop->wheel[slot]) loop->occupied[slot / 64] &= ~(UINT64_C(1) << slot % 64);
}

// Milliseconds until the next occupied slot comes up, -1 if there is none.
static int next_wait(const struct loop *loop) {
    for (uint64_t ahead = 1; ahead <= WHEEL_SLOTS;) {
        size_t slot = (loop->tick + ahead) % WHEEL_SLOTS;
        uint64_t bits = loop->occupied[slot / 64] >> slot % 64;
        if (!bits) {
            ahead += 64 - slot % 64;
            continue;
        }
        uint64_t at = (loop->tick + ahead + (uint64_t)__builtin_ctzll(bits)) * TICK;
        return at <= loop->now ? 0 : (int)((at - loop->now + MS - 1) / MS);
    }
    return -1;
}

static void turn_wheel(struct loop *loop) {
    uint64_t now = loop->now / TICK;
    // After a long stop one full turn meets every slot.
    if (now > loop->tick + WHEEL_SLOTS) loop->tick = now - WHEEL_SLOTS;
    while (loop->tick < now) {
        size_t slot = ++loop->tick % WHEEL_SLOTS;
        // The slot's list is taken off first: what fires may arm and disarm any timer, itself too.
        struct timer *due = loop->wheel[slot];
        loop->wheel[slot] = NULL;
        loop->occupied[slot / 64] &= ~(UINT64_C(1) << slot % 64);
        if (due) due->link = &due;
        while (due) {
            struct timer *timer = due;
            due = timer->next;
            if (due) due->link = &due;
            timer->link = NULL;
            if (timer->tick > now) {
                put(loop, timer);
            } else {
                timer->fire(timer);
            }
        }
    }
}

void loop_turn(struct loop *loop) {
    struct epoll_event events[64];
    int n = epoll_wait(loop->epoll, events, 64, next_wait(loop));
    loop->now = clock_now();
    for (int i = 0; i < n; i++) {
        struct source *source = events[i].data.ptr;
        if (source->fd >= 0) source->ready(source, events[i].events);
    }
    turn_wheel(loop);
    bury_dead(loop);
}
