// The command line. What can't be understood is named, and nothing starts.
#include "proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: tidegate-proxy --listen ADDRESS:PORT --peer ADDRESS:PORT[,weight=N][,backup][,max=N] ...\n"
    "\n"
    "  --listen ADDRESS:PORT     where clients connect; port 0 takes a free one, the line `listening on` tells which\n"
    "  --peer ADDRESS:PORT[,...] one server behind the proxy, up to 256 times\n"
    "  --workers N               processes that serve (1)\n"
    "  --selector NAME           round_robin (default) or least_request\n"
    "  --panic NAME              when too few peers are eligible: refuse (default) or spread\n"
    "  --max-attempts N          attempts of a request at most (every peer once)\n"
    "  --eject-failures N        consecutive failures that eject a peer (5)\n"
    "  --eject-base-ms N         first ejection (1000)\n"
    "  --eject-rate-percent N    share of failures above the other peers' that ejects (3)\n"
    "  --retry-percent N         retry budget in percent of the requests (20); 100 and more: no budget\n"
    "  --deadline-ms N           no retry starts later than this after the request (no limit)\n"
    "  --connect-timeout-ms N    to connect to a peer (1000)\n"
    "  --read-timeout-ms N       for a peer's head, and between two reads of its body (30000)\n"
    "  --client-timeout-ms N     for a client's head, and between two of its reads or writes (30000)\n"
    "  --idle-timeout-ms N       to keep an idle connection to a peer (30000)\n"
    "  --stop-timeout-ms N       for requests in flight after SIGTERM or SIGQUIT (10000)\n"
    "  --hold-bytes N            keep this much of a body back until it is complete (65536), where one that breaks\n"
    "                            off could be had from another peer; 0: pass it on at once\n"
    "  --hold-ms N               but not for longer than this after its head (50)\n"
    "  --timeout-floor-ms N      give a peer up that is far slower than usual, where another may be asked, but not before\n"
    "                            this (100); 0: never\n"
    "  --max-in-flight N         requests at peers at once, over all workers (no limit)\n"
    "  --queue N                 requests that wait for a place where there is a limit (0: answer 503 at once)\n"
    "  --queue-ms N              for as long (1000)\n"
    "  --idle-per-peer N         idle connections kept by worker and peer (16)\n"
    "  --no-keepalive            a new connection to the peer for each request\n"
    "  --upstream-name NAME      public name of the service behind (upstream)\n"
    "  --label TOKEN             this gateway's name in Proxy-Status and Via (tidegate)\n"
    "  --error-format NAME       of the proxy's own errors: auto (default), json, json_flat, problem, html or text\n"
    "  --error-template F=PATH   a body of your own for F, which is html, json or text; up to once for each\n"
    "  --error-type URL          what the type of problem details begins with (about:blank)\n"
    "  --status-path PATH        answers the table's state as JSON; PATH?text as text\n"
    "  --access-log FILE         one line a request; `-` is standard output\n";

__attribute__((noreturn, format(printf, 1, 2))) static void wrong(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("tidegate-proxy: ", stderr);
    vfprintf(stderr, format, args);
    fputs("\ntry --help\n", stderr);
    va_end(args);
    exit(2);
}

static uint32_t number(const char *option, const char *text, uint32_t least, uint32_t most) {
    char *end;
    errno = 0;
    unsigned long n = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || n < least || n > most) {
        wrong("%s: `%s` is not a number from %u to %u", option, text, least, most);
    }
    return (uint32_t)n;
}

// "127.0.0.1:80" or "[::1]:80". Names are not resolved: that blocks, and a peer is one address.
static socklen_t address(const char *option, const char *text, struct sockaddr_storage *to) {
    const char *colon = strrchr(text, ':');
    char host[64];
    size_t len = colon ? (size_t)(colon - text) : 0;
    const char *start = text;
    if (len > 2 && text[0] == '[' && colon[-1] == ']') {
        start++;
        len -= 2;
    }
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM}, *found;
    if (len == 0 || len >= sizeof host) wrong("%s: `%s` is not ADDRESS:PORT", option, text);
    memcpy(host, start, len);
    host[len] = 0;
    // Digits only and at most 65535: getaddrinfo takes "99999" and counts round.
    number(option, colon + 1, 0, 65535);
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0) wrong("%s: `%s` is not ADDRESS:PORT", option, text);
    socklen_t size = found->ai_addrlen;
    memcpy(to, found->ai_addr, size);
    freeaddrinfo(found);
    return size;
}

static void peer(struct options *o, char *text) {
    if (o->peer_count == MAX_PEERS) wrong("--peer: more than %d", MAX_PEERS);
    struct peer_option *p = &o->peers[o->peer_count++];
    p->weight = 1;
    char *rest = NULL;
    char *part = strtok_r(text, ",", &rest);
    if (!part) wrong("--peer: empty");
    p->address_len = address("--peer", part, &p->address);
    while ((part = strtok_r(NULL, ",", &rest))) {
        if (strncmp(part, "weight=", 7) == 0) {
            p->weight = number("--peer weight", part + 7, 1, 65535);
        } else if (strncmp(part, "max=", 4) == 0) {
            p->max = number("--peer max", part + 4, 1, 1000000);
        } else if (strcmp(part, "backup") == 0) {
            p->backup = 1;
        } else {
            wrong("--peer: `%s` is not weight=N, max=N or backup", part);
        }
    }
}

static uint32_t choice(const char *option, const char *text, const char *first, uint32_t a, const char *second, uint32_t b) {
    if (strcmp(text, first) == 0) return a;
    if (strcmp(text, second) == 0) return b;
    wrong("%s: `%s` is neither %s nor %s", option, text, first, second);
}

enum { LISTEN = 256, PEER, SELECTOR, PANIC, NO_KEEPALIVE, NAME, LABEL, STATUS, LOG, HELP, FORMAT, TEMPLATE, TYPE, FIRST_NUMBER };

void options_parse(struct options *o, int argc, char **argv) {
    *o = (struct options){
        .workers = 1, .connect_timeout_ms = 1000, .read_timeout_ms = 30000, .client_timeout_ms = 30000,
        .idle_timeout_ms = 30000, .stop_timeout_ms = 10000, .idle_per_peer = 16, .retry_percent = 20,
        .hold_bytes = OUT_LOW, .hold_ms = 50, .timeout_floor_ms = 100, .queue_ms = 1000,
        .upstream_name = "upstream", .label = "tidegate", .upstream = TIDEGATE_UPSTREAM_OPTIONS_INIT,
    };
    const uint32_t day = 86400 * 1000;
    struct {
        const char *name;
        uint32_t *to, least, most;
    } numbers[] = {
        {"workers", &o->workers, 1, MAX_WORKERS},
        {"max-attempts", &o->upstream.max_attempts, 1, 16},
        {"eject-failures", &o->upstream.eject_failures, 1, 31},
        {"eject-base-ms", &o->eject_base_ms, 1, day},
        {"eject-rate-percent", &o->upstream.eject_rate_percent, 1, 100},
        {"retry-percent", &o->retry_percent, 0, 1000},
        {"deadline-ms", &o->deadline_ms, 1, day},
        {"connect-timeout-ms", &o->connect_timeout_ms, 1, day},
        {"read-timeout-ms", &o->read_timeout_ms, 1, day},
        {"client-timeout-ms", &o->client_timeout_ms, 1, day},
        {"idle-timeout-ms", &o->idle_timeout_ms, 1, day},
        {"stop-timeout-ms", &o->stop_timeout_ms, 1, day},
        {"hold-bytes", &o->hold_bytes, 0, OUT_LOW},
        {"hold-ms", &o->hold_ms, 1, day},
        {"timeout-floor-ms", &o->timeout_floor_ms, 0, day},
        {"max-in-flight", &o->upstream.max_in_flight, 1, 1000000},
        {"queue", &o->upstream.max_queue, 0, 1000000},
        {"queue-ms", &o->queue_ms, 1, 60000},
        {"idle-per-peer", &o->idle_per_peer, 0, 10000},
    };
    enum { NUMBERS = sizeof numbers / sizeof *numbers };
    struct option table[NUMBERS + 15] = {
        {"listen", required_argument, NULL, LISTEN},     {"peer", required_argument, NULL, PEER},
        {"selector", required_argument, NULL, SELECTOR}, {"panic", required_argument, NULL, PANIC},
        {"no-keepalive", no_argument, NULL, NO_KEEPALIVE}, {"upstream-name", required_argument, NULL, NAME},
        {"label", required_argument, NULL, LABEL},       {"status-path", required_argument, NULL, STATUS},
        {"access-log", required_argument, NULL, LOG},    {"help", no_argument, NULL, HELP},
        {"error-format", required_argument, NULL, FORMAT}, {"error-template", required_argument, NULL, TEMPLATE},
        {"error-type", required_argument, NULL, TYPE},
    };
    char why[256];
    for (int i = 0; i < NUMBERS; i++) {
        table[13 + i] = (struct option){numbers[i].name, required_argument, NULL, FIRST_NUMBER + i};
    }
    for (int c; (c = getopt_long(argc, argv, "", table, NULL)) != -1;) {
        switch (c) {
        case LISTEN: o->listen_len = address("--listen", optarg, &o->listen); break;
        case PEER: peer(o, optarg); break;
        case SELECTOR:
            o->upstream.selector = choice("--selector", optarg, "round_robin", TIDEGATE_SELECTOR_ROUND_ROBIN,
                                          "least_request", TIDEGATE_SELECTOR_LEAST_REQUEST);
            break;
        case PANIC:
            o->upstream.panic = choice("--panic", optarg, "refuse", TIDEGATE_PANIC_REFUSE, "spread", TIDEGATE_PANIC_SPREAD);
            break;
        case NO_KEEPALIVE: o->no_keepalive = true; break;
        case NAME: o->upstream_name = optarg; break;
        case LABEL: o->label = optarg; break;
        case STATUS: o->status_path = optarg; break;
        case LOG: o->access_log = optarg; break;
        case FORMAT:
            if (!errors_format(optarg, &o->errors.format)) wrong("--error-format: `%s` is none", optarg);
            break;
        case TEMPLATE:
            if (!errors_template(&o->errors, optarg, why, sizeof why)) wrong("--error-template %s: %s", optarg, why);
            break;
        case TYPE:
            if (!errors_type(optarg)) wrong("--error-type: `%s` is not the start of a URI of at most 255 characters", optarg);
            o->errors.type_base = optarg;
            break;
        case HELP: fputs(usage, stdout); exit(0);
        case '?': wrong("see the option above");
        default: {
            int i = c - FIRST_NUMBER;
            char option[32];
            snprintf(option, sizeof option, "--%s", numbers[i].name);
            *numbers[i].to = number(option, optarg, numbers[i].least, numbers[i].most);
        }
        }
    }
    if (optind < argc) wrong("`%s` is not an option", argv[optind]);
    if (!o->listen_len) wrong("--listen is missing");
    if (!o->peer_count) wrong("--peer is missing");
    if (!is_token(o->label, strlen(o->label)) || strlen(o->label) > 64) wrong("--label: `%s` is not a token of at most 64 characters", o->label);
    if (!*o->upstream_name || strlen(o->upstream_name) > 255) wrong("--upstream-name: 1 to 255 characters");
    if (o->status_path && o->status_path[0] != '/') wrong("--status-path: `%s` does not begin with a slash", o->status_path);
    o->errors.most = errors_most(&o->errors);
    o->upstream.eject_base_ns = o->eject_base_ms * MS;
    o->upstream.deadline_ns = o->deadline_ms * MS;
    o->upstream.hold_bytes = o->hold_bytes ? o->hold_bytes : TIDEGATE_HOLD_OFF;
    o->upstream.hold_ns = o->hold_ms * MS;
    o->upstream.timeout_floor_ns = o->timeout_floor_ms ? o->timeout_floor_ms * MS : TIDEGATE_OFF;
    o->upstream.queue_ns = o->queue_ms * MS;
    // Tidegate reads 0 as its default, so "no retry by the budget" is one in a million.
    o->upstream.retry_budget_ppm = o->retry_percent >= 100 ? UINT32_MAX : o->retry_percent ? o->retry_percent * 10000 : 1;
}
