// Connections to peers. Idle ones are kept by Tidegate's slot, most recent first: the one least likely to be timed out
// by the peer. A slot may go to another peer later, so the peer's handle is compared before reuse.
//
// An idle connection has nothing to say: if it becomes readable, the peer closed it or sent bytes that belong to no
// response, and it is closed. What remains of that race (the peer closes while the request is on its way) is
// TIDEGATE_CAUSE_CONNECTION_REUSED_CLOSED.
#include "proxy.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

static void bury(struct source *source) {
    struct connection *k = CONTAINER_OF(source, struct connection, source);
    buffer_free(&k->out);
    free(k);
}

static void unlink_idle(struct connection *k) {
    if (!k->link) return;
    *k->link = k->next;
    if (k->next) k->next->link = k->link;
    k->link = NULL;
}

void connection_close(struct connection *k) {
    unlink_idle(k);
    timer_disarm(&k->worker->loop, &k->timer);
    source_close(&k->worker->loop, &k->source);
}

static void idle_ready(struct source *source, uint32_t events) {
    (void)events;
    connection_close(CONTAINER_OF(source, struct connection, source));
}

static void idle_expired(struct timer *timer) { connection_close(CONTAINER_OF(timer, struct connection, timer)); }

static struct connection *take_idle(struct worker *w, const tidegate_pick *pick) {
    struct connection *k;
    while (pick->slot < w->slots && (k = w->idle[pick->slot])) {
        char byte;
        // Its closing may have arrived in this very round, after epoll_wait.
        bool quiet = recv(k->source.fd, &byte, 1, MSG_PEEK) < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
        if (quiet && k->peer == pick->peer) {
            unlink_idle(k);
            timer_disarm(&w->loop, &k->timer);
            return k;
        }
        connection_close(k);
    }
    return NULL;
}

struct connection *pool_take(struct worker *w, const tidegate_pick *pick, bool *reused) {
    struct connection *k = pick->flags & TIDEGATE_PICK_FRESH ? NULL : take_idle(w, pick);
    *reused = k != NULL;
    if (k) return k;

    struct sockaddr_storage address;
    size_t len;
    if (tidegate_peer_address(w->table, pick->peer, &address, sizeof address, &len) != TIDEGATE_OK) {
        errno = EHOSTUNREACH;
        return NULL;
    }
    k = calloc(1, sizeof *k);
    if (!k) return NULL;
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        free(k);
        return NULL;
    }
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    k->source = (struct source){.fd = fd, .bury = bury};
    k->worker = w;
    k->peer = pick->peer;
    k->slot = pick->slot;
    if (connect(fd, (struct sockaddr *)&address, (socklen_t)len) != 0 && errno != EINPROGRESS) {
        int error = errno;
        connection_close(k);
        errno = error;
        return NULL;
    }
    return k;
}

void pool_keep(struct connection *k) {
    struct worker *w = k->worker;
    k->client = NULL;
    uint32_t count = 0;
    if (k->slot < w->slots) {
        for (struct connection *i = w->idle[k->slot]; i; i = i->next) count++;
    }
    k->source.ready = idle_ready;
    k->timer.fire = idle_expired;
    if (w->stopping || k->slot >= w->slots || count >= w->options->idle_per_peer ||
        !source_watch(&w->loop, &k->source, EPOLLIN | EPOLLRDHUP)) {
        connection_close(k);
        return;
    }
    k->next = w->idle[k->slot];
    if (k->next) k->next->link = &k->next;
    k->link = &w->idle[k->slot];
    w->idle[k->slot] = k;
    timer_arm(&w->loop, &k->timer, w->loop.now + w->options->idle_timeout_ms * MS);
}

void pool_close_idle(struct worker *w) {
    for (uint32_t slot = 0; slot < w->slots; slot++) {
        while (w->idle[slot]) connection_close(w->idle[slot]);
    }
}
