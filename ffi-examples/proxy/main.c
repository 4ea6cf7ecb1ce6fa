// tidegate-proxy: a reverse proxy that leaves every decision to Tidegate. This file is the master: it makes the table
// and the listener, forks the workers, replaces one that dies, and stops them all.
//
// The table is made before the fork, so all workers share it; each joins it after the fork. The master serves nothing
// and holds no lane. Signals are blocked everywhere and read when there is time for them: sigtimedwait here, a
// signalfd in the workers; so there is no handler that could interrupt anything.
#include "proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// A worker that dies is replaced, but not more often than this: one that can't start would be forked in a circle.
#define FORK_INTERVAL (500 * MS)

__attribute__((noreturn)) static void die(const char *what, const char *why) {
    fprintf(stderr, "tidegate-proxy: %s: %s\n", what, why);
    exit(1);
}

static void check(const char *what, tidegate_status status) {
    if (status == TIDEGATE_OK) return;
    char detail[256];
    size_t len = 0;
    if (tidegate_last_error(detail, sizeof detail - 1, &len) != TIDEGATE_OK) len = 0;
    detail[len] = 0;
    die(what, len ? detail : tidegate_strerror(status));
}

static tidegate_table *make_table(const struct options *o, uint32_t *upstream) {
    tidegate_table_options table_options = TIDEGATE_TABLE_OPTIONS_INIT;
    table_options.max_upstreams = 1;
    table_options.max_peers = o->peer_count;
    table_options.max_workers = o->workers + 1;  // a dead worker's lane may not be free yet when it is replaced
    tidegate_table *table;
    check("table", tidegate_table_new(&table_options, clock_now(), &table));
    check("upstream", tidegate_upstream_open(table, o->upstream_name, strlen(o->upstream_name), &o->upstream, upstream));
    tidegate_peer peers[MAX_PEERS];
    for (uint32_t i = 0; i < o->peer_count; i++) {
        const struct peer_option *p = &o->peers[i];
        peers[i] = (tidegate_peer)TIDEGATE_PEER_INIT;
        peers[i].address = &p->address;
        peers[i].address_len = p->address_len;
        peers[i].weight = p->weight;
        peers[i].priority = p->backup;
        peers[i].max_in_flight = p->max;
    }
    check("--peer", tidegate_upstream_set_peers(table, *upstream, peers, o->peer_count, clock_now(), NULL));
    return table;
}

static int make_listener(const struct options *o) {
    int fd = socket(o->listen.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;
    if (fd < 0) die("--listen", strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (const struct sockaddr *)&o->listen, o->listen_len) != 0 || listen(fd, SOMAXCONN) != 0) {
        die("--listen", strerror(errno));
    }
    return fd;
}

static void announce(int listener) {
    struct sockaddr_storage at;
    socklen_t len = sizeof at;
    char ip[INET6_ADDRSTRLEN];
    if (getsockname(listener, (struct sockaddr *)&at, &len) != 0) die("--listen", strerror(errno));
    if (at.ss_family == AF_INET6) {
        const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)&at;
        printf("listening on [%s]:%u\n", inet_ntop(AF_INET6, &a->sin6_addr, ip, sizeof ip), ntohs(a->sin6_port));
    } else {
        const struct sockaddr_in *a = (const struct sockaddr_in *)&at;
        printf("listening on %s:%u\n", inet_ntop(AF_INET, &a->sin_addr, ip, sizeof ip), ntohs(a->sin_port));
    }
    // Before the fork: what stays in the buffer is written by every process.
    fflush(stdout);
}

static int open_log(const struct options *o) {
    if (!o->access_log) return -1;
    if (strcmp(o->access_log, "-") == 0) return STDOUT_FILENO;
    int fd = open(o->access_log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0) die("--access-log", strerror(errno));
    return fd;
}

struct master {
    const struct options *options;
    tidegate_table *table;
    uint32_t upstream;
    int listener, log_fd;
    pid_t workers[MAX_WORKERS];  // 0: none
    uint64_t forked;             // when the last one was
    bool failed;                 // a worker did not end as it should have after a stop
};

static void fork_worker(struct master *m, uint32_t i) {
    pid_t master = getpid();
    m->forked = clock_now();
    pid_t pid = fork();
    if (pid != 0) {
        m->workers[i] = pid > 0 ? pid : 0;
        return;
    }
    // Workers don't outlive the master, even if that was killed before this line.
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    int code = getppid() == master ? worker_run(m->options, m->table, m->upstream, m->listener, m->log_fd) : 0;
    tidegate_table_free(m->table);
    exit(code);
}

static uint32_t alive(const struct master *m) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->options->workers; i++) n += m->workers[i] != 0;
    return n;
}

static void signal_workers(const struct master *m, int signal) {
    for (uint32_t i = 0; i < m->options->workers; i++) {
        if (m->workers[i]) kill(m->workers[i], signal);
    }
}

static void reap(struct master *m, bool stopping) {
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        for (uint32_t i = 0; i < m->options->workers; i++) {
            if (m->workers[i] == pid) m->workers[i] = 0;
        }
        if (stopping) {
            m->failed = m->failed || status != 0;
            continue;
        }
        fprintf(stderr, "tidegate-proxy: worker %d %s %d, replaced\n", (int)pid,
                WIFSIGNALED(status) ? "killed by signal" : "exited with", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    }
}

// Runs until all workers have ended after a stop. False: one had to be killed.
static bool supervise(struct master *m, const sigset_t *signals) {
    bool stopping = false;
    uint64_t kill_at = UINT64_MAX;
    while (!stopping || alive(m)) {
        struct timespec wait = {.tv_nsec = (long)(100 * MS)};
        bool all_there = alive(m) == m->options->workers;
        int signal = all_there && !stopping ? sigwaitinfo(signals, NULL) : sigtimedwait(signals, NULL, &wait);
        reap(m, stopping);
        if ((signal == SIGTERM || signal == SIGQUIT || signal == SIGINT) && !stopping) {
            stopping = true;
            kill_at = clock_now() + (m->options->stop_timeout_ms + 2000) * MS;
            close(m->listener);
            signal_workers(m, SIGTERM);
        }
        if (stopping && clock_now() > kill_at) {
            signal_workers(m, SIGKILL);
            return false;
        }
        for (uint32_t i = 0; i < m->options->workers && !stopping; i++) {
            if (!m->workers[i] && clock_now() - m->forked >= FORK_INTERVAL) fork_worker(m, i);
        }
    }
    return true;
}

int main(int argc, char **argv) {
    static struct options options;
    options_parse(&options, argc, argv);
    // The layouts of this header, or none: another ABI must be compiled against.
    if (tidegate_abi_version() != TIDEGATE_ABI_VERSION) die("libtidegate", "its ABI is another than this program's");

    struct master m = {.options = &options, .log_fd = open_log(&options), .listener = make_listener(&options)};
    m.table = make_table(&options, &m.upstream);
    // Sockets are written with MSG_NOSIGNAL; the log may be a pipe whose reader has gone.
    signal(SIGPIPE, SIG_IGN);
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGQUIT);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    announce(m.listener);
    for (uint32_t i = 0; i < options.workers; i++) fork_worker(&m, i);
    bool ended = supervise(&m, &signals);
    tidegate_table_free(m.table);
    return ended && !m.failed ? 0 : 1;
}
