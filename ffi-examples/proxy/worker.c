// One worker: accepts from the listener that all workers share, keeps Tidegate's clock going, and stops gracefully.
#include "proxy.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { ACCEPTS_A_ROUND = 16, PAUSE_MS = 100, TICK_MS = 1000, OTHER_FILES = 16 };

// EPOLLEXCLUSIVE: one connection wakes one worker, not all. Such a source can't be modified, only added and removed.
static bool listen_on(struct worker *w) { return source_watch(&w->loop, &w->listener, EPOLLIN | EPOLLEXCLUSIVE); }

// Not now: the connection that waits in the queue would wake us at once.
static void look_away(struct worker *w) {
    source_unwatch(&w->loop, &w->listener);
    timer_arm(&w->loop, &w->resume, w->loop.now + PAUSE_MS * MS);
}

static void accept_some(struct source *source, uint32_t events) {
    struct worker *w = CONTAINER_OF(source, struct worker, listener);
    (void)events;
    for (int i = 0; i < ACCEPTS_A_ROUND; i++) {
        if (w->client_count >= w->most_clients) {
            look_away(w);
            return;
        }
        struct sockaddr_storage address = {0};
        socklen_t len = sizeof address;
        int fd = accept4(source->fd, (struct sockaddr *)&address, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            client_accept(w, fd, &address);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            look_away(w);
            return;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        }
        // Anything else concerns that connection only (ECONNABORTED).
    }
}

static void resume(struct timer *timer) {
    struct worker *w = CONTAINER_OF(timer, struct worker, resume);
    if (!listen_on(w)) timer_arm(&w->loop, &w->resume, w->loop.now + PAUSE_MS * MS);
}

static void tick(struct timer *timer) {
    struct worker *w = CONTAINER_OF(timer, struct worker, tick);
    tidegate_worker_tick(w->tidegate, w->loop.now);
    timer_arm(&w->loop, &w->tick, w->loop.now + TICK_MS * MS);
}

static void give_up(struct timer *timer) { CONTAINER_OF(timer, struct worker, stop)->done = true; }

// A graceful stop: what waits in the listener's queue is still served; then the requests in flight end, and no other
// begins.
static void on_signal(struct source *source, uint32_t events) {
    struct worker *w = CONTAINER_OF(source, struct worker, signals);
    struct signalfd_siginfo info;
    (void)events;
    if (read(source->fd, &info, sizeof info) < 0 || w->stopping) return;
    accept_some(&w->listener, 0);
    w->stopping = true;
    timer_disarm(&w->loop, &w->resume);
    source_close(&w->loop, &w->listener);
    timer_arm(&w->loop, &w->stop, w->loop.now + w->options->stop_timeout_ms * MS);
    pool_close_idle(w);
    for (struct client *c = w->clients, *next; c; c = next) {
        next = c->next;
        client_stop(c);
    }
}

static int serve(struct worker *w, int listener) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGQUIT);
    sigaddset(&signals, SIGINT);
    w->listener = (struct source){.fd = listener, .ready = accept_some};
    w->signals = (struct source){.fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC), .ready = on_signal};
    w->tick.fire = tick;
    w->resume.fire = resume;
    w->stop.fire = give_up;
    if (w->signals.fd < 0 || !source_watch(&w->loop, &w->signals, EPOLLIN) || !listen_on(w)) {
        fprintf(stderr, "tidegate-proxy: worker: %s\n", strerror(errno));
        return 1;
    }
    timer_arm(&w->loop, &w->tick, w->loop.now + TICK_MS * MS);
    while (!w->done && !(w->stopping && !w->clients)) {
        loop_turn(&w->loop);
        log_flush(w);
    }
    while (w->clients) client_close(w->clients);
    log_flush(w);
    pool_close_idle(w);
    source_close(&w->loop, &w->signals);
    return 0;
}

int worker_run(const struct options *options, const tidegate_table *table, uint32_t upstream, int listener, int log_fd) {
    struct worker *w = calloc(1, sizeof *w);
    int code = 1;
    if (!w) return code;
    w->options = options;
    w->table = table;
    w->upstream = upstream;
    w->log_fd = log_fd;
    w->slots = options->peer_count;
    // A client without a descriptor left for its peer could only be told 500: it waits in the queue instead.
    struct rlimit files = {.rlim_cur = 1024};
    getrlimit(RLIMIT_NOFILE, &files);
    rlim_t most = files.rlim_cur > 4 * OTHER_FILES ? (files.rlim_cur - OTHER_FILES) / 2 : OTHER_FILES;
    w->most_clients = most < UINT32_MAX ? (uint32_t)most : UINT32_MAX;
    w->idle = calloc(w->slots, sizeof *w->idle);
    if (w->idle && loop_open(&w->loop)) {
        tidegate_status status = tidegate_worker_join(table, NULL, w->loop.now, &w->tidegate);
        if (status == TIDEGATE_OK) {
            code = serve(w, listener);
        } else {
            fprintf(stderr, "tidegate-proxy: worker: %s\n", tidegate_strerror(status));
        }
        loop_close(&w->loop);
        tidegate_worker_leave(w->tidegate);
    }
    buffer_free(&w->log);
    free(w->idle);
    free(w);
    return code;
}
