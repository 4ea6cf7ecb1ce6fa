/* The ABI of Tidegate in one page: a table, an upstream of three peers, and requests of which one peer fails.
 * No socket is opened: what an attempt did is made up here, as a server would observe it.
 * Compiles as C99 or later and as C++17. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tidegate.h>
#include <time.h>

/* Tidegate reads no clock: each call is given the time. */
static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void check(tidegate_status status) {
    if (status == TIDEGATE_OK) return;
    fprintf(stderr, "%s\n", tidegate_strerror(status));
    exit(1);
}

int main(void) {
    /* Once, before any fork(): the table in shared memory, an upstream, its peers. */
    tidegate_table *table;
    uint32_t upstream;
    check(tidegate_table_new(NULL, now(), &table));
    check(tidegate_upstream_open(table, "orders", 6, NULL, &upstream));
    struct sockaddr_in addresses[3];
    tidegate_peer peers[3];
    for (int i = 0; i < 3; i++) {
        memset(&addresses[i], 0, sizeof addresses[i]);
        addresses[i].sin_family = AF_INET;
        addresses[i].sin_port = htons((uint16_t)(9001 + i));
        addresses[i].sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        tidegate_peer peer = TIDEGATE_PEER_INIT;
        peer.address = &addresses[i];
        peer.address_len = sizeof addresses[i];
        peer.weight = i == 0 ? 2 : 1;
        peers[i] = peer;
    }
    uint64_t handles[3];
    check(tidegate_upstream_set_peers(table, upstream, peers, 3, now(), handles));

    /* In each process or thread that serves, after fork(). */
    tidegate_worker *worker;
    check(tidegate_worker_join(table, NULL, now(), &worker));

    for (int n = 1; n <= 6; n++) {
        tidegate_request request;
        tidegate_request_options options = TIDEGATE_REQUEST_OPTIONS_INIT;
        options.upstream = upstream;
        options.method = TIDEGATE_METHOD_GET;
        check(tidegate_request_start(worker, &request, &options, now()));
        tidegate_decision decision = TIDEGATE_DECISION_INIT;
        do {
            /* decision.wait_ns is to be waited here; a first retry comes at once. */
            tidegate_pick pick = TIDEGATE_PICK_INIT;
            if (tidegate_request_pick(&request, now(), &pick) != TIDEGATE_OK) break; /* tidegate_request_answer */
            /* The attempt itself. The second peer refuses, the others answer 200. */
            tidegate_outcome outcome = TIDEGATE_OUTCOME_INIT;
            if (pick.peer == handles[1]) {
                outcome.phase = TIDEGATE_PHASE_CONNECT;
                outcome.cause = TIDEGATE_CAUSE_CONNECTION_REFUSED;
            } else {
                outcome.phase = TIDEGATE_PHASE_DONE;
                outcome.flags = TIDEGATE_OUTCOME_SENT | TIDEGATE_OUTCOME_RECEIVED;
                outcome.status = 200;
            }
            check(tidegate_request_report(&request, &outcome, now(), &decision));
        } while (decision.verdict == TIDEGATE_DECISION_RETRY);
        char record[1024];
        size_t len;
        check(tidegate_request_describe(&request, record, sizeof record, &len));
        printf("request %d: %.*s\n", n, (int)len, record);
    }
    tidegate_worker_leave(worker);
    tidegate_table_free(table);
    return 0;
}
