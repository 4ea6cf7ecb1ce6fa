// The objects of the proxy, and what its files ask of each other.
//
//   main.c     the master: options, the table, workers by fork
//   options.c  the command line
//   worker.c   one worker: accept, tick, graceful stop
//   client.c   a client's connection and its requests, one at a time
//   attempt.c  one try of a request on a peer: everything Tidegate is asked and told is in here
//   pool.c     connections to peers, idle ones by slot
//   rewrite.c  heads: the request's towards the peer, the response's towards the client
//   status.c   the status page
//   errors.c   what its own errors look like
//   log.c      the access log
//   request.c, buffer.c, loop.c know nothing of the rest
//
// Who frees what: a worker owns its clients, a client owns its request and its attempt, an attempt owns its connection
// until the pool does. Closed objects stay readable until the round of the loop ends, so a function may close its
// own client and return; callers look at `state` or `connection` afterwards.
#ifndef PROXY_H
#define PROXY_H

#include "buffer.h"
#include "loop.h"
#include "request.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <tidegate.h>

enum { MAX_PEERS = 256, MAX_WORKERS = 64 };

enum {
    BODY_KEPT = 64 * 1024,   // a longer request body is streamed and can't be sent twice
    OUT_HIGH = 256 * 1024,   // waiting for the client: stop reading from the peer
    OUT_LOW = 64 * 1024,     // go on
    SCRATCH = 64 * 1024,     // read at once from a peer
};

struct peer_option {
    struct sockaddr_storage address;
    socklen_t address_len;
    uint32_t weight, backup, max;
};

struct error_options {
    uint32_t format;
    tidegate_template *html, *json, *text;  // NULL: the default body
    const char *type_base;
    size_t most;  // no answer is larger
};

bool errors_format(const char *name, uint32_t *format);
bool errors_template(struct error_options *, const char *text, char *why, size_t size);
bool errors_type(const char *base);
size_t errors_most(const struct error_options *);
void errors_apply(const struct error_options *, tidegate_answer *);

struct options {
    struct sockaddr_storage listen;
    socklen_t listen_len;
    struct peer_option peers[MAX_PEERS];
    uint32_t peer_count;
    uint32_t workers;
    uint32_t connect_timeout_ms, read_timeout_ms, client_timeout_ms, idle_timeout_ms, stop_timeout_ms, deadline_ms;
    uint32_t idle_per_peer;
    uint32_t hold_bytes, hold_ms;
    uint32_t timeout_floor_ms, queue_ms;
    bool no_keepalive;  // towards peers
    uint32_t eject_base_ms, retry_percent;
    tidegate_upstream_options upstream;
    struct error_options errors;
    const char *upstream_name, *label, *status_path, *access_log;
};

// Fills in `o`, or prints what is wrong and exits with 2. `--help` exits with 0.
void options_parse(struct options *o, int argc, char **argv);

struct client;
struct connection;

struct worker {
    const struct options *options;
    const tidegate_table *table;
    tidegate_worker *tidegate;
    uint32_t upstream;
    struct loop loop;
    struct source listener, signals;
    struct timer tick, resume, stop;
    struct client *clients;  // all of them
    uint32_t client_count, most_clients;
    struct connection **idle;  // by slot, most recent first
    uint32_t slots;
    struct buffer log;
    int log_fd;
    uint64_t requests;  // a part of request ids
    bool stopping, done;
    char scratch[SCRATCH];  // for bytes that need not be kept
};

// Serves until a graceful stop; the process's exit code.
int worker_run(const struct options *, const tidegate_table *, uint32_t upstream, int listener, int log_fd);

struct connection {
    struct source source;
    struct timer timer;  // while idle
    struct worker *worker;
    struct client *client;  // NULL: idle
    struct connection *next, **link;
    uint64_t peer;  // Tidegate's handle
    uint32_t slot;
    struct buffer out;
};

// A connection to the picked peer: an idle one that is still usable (`*reused`), or a new one whose connect is under
// way. NULL: errno says why.
struct connection *pool_take(struct worker *, const tidegate_pick *, bool *reused);
// Keeps a connection on which a response was complete.
void pool_keep(struct connection *);
void pool_close_idle(struct worker *);
void connection_close(struct connection *);

enum attempt_state {
    ATTEMPT_NONE,
    ATTEMPT_PICK,     // attempt_run picks at once
    ATTEMPT_WAIT,     // it picks when the timer fires
    ATTEMPT_CONNECT,
    ATTEMPT_ACTIVE,   // the request is being sent, or the response read
};

struct attempt {
    enum attempt_state state;
    struct connection *connection;
    struct timer timer;
    int waits_for;        // what the timer is armed for
    struct timer patience;  // when the library would rather ask another peer
    uint64_t head_due;      // 0: never
    uint64_t connect_due;   // 0: never
    bool progress;        // bytes moved since it was armed
    bool reused, sent, received, paused;
    bool queued;          // all of the request is in the connection's buffer or gone
    bool head_done;
    int send_error;
    size_t body_at;       // bytes of a kept body already queued
    uint64_t started, connect_ns, head_ns;
    struct buffer head;   // of the response, as it came
    uint32_t status;
    tidegate_pick pick;
    tidegate_validator validator;
};

// Starts the request's attempts. They end in one of the client_* calls below.
void attempt_begin(struct client *);
// Does what `state` asks for: to be called after anything that may have set ATTEMPT_PICK.
void attempt_run(struct client *);
// More of the request's body has come.
void attempt_send(struct client *);
// Drops the attempt, charged to nobody.
void attempt_drop(struct client *);
// Sets what the connection waits for, and for how long.
void attempt_settle(struct client *);

enum client_state {
    CLIENT_HEAD,    // waiting for a request, or reading its head
    CLIENT_BODY,    // keeping its body, so that it can be sent twice
    CLIENT_PROXY,   // an attempt is under way
    CLIENT_FLUSH,   // the response is complete in `out`
    CLIENT_LINGER,  // answered and half closed: let the client read it before the reset that unread bytes cause
    CLIENT_CLOSED,
};

struct client {
    struct source source;
    struct timer timer;
    int waits_for;
    bool progress;
    struct worker *worker;
    struct client *next, **link;
    enum client_state state;
    char address[INET6_ADDRSTRLEN];
    bool open;         // a request has begun and is not yet in the log
    uint32_t served;   // requests that ended on this connection
    struct buffer in, out, body;
    size_t before;     // bytes in `out` that belong to no response (100 Continue)
    bool delivered;    // a byte of the response went to the socket
    uint32_t hold_bytes;  // keep so much of the body back, for so long: what breaks off can still be tried again
    uint64_t hold_until;
    bool body_done;    // the request's body is complete in, or has passed, `body`
    bool streaming;    // the body was too long to keep
    bool keep_alive;   // after this response
    bool chunk;        // the response's body is chunked towards the client
    bool cut_by_reset; // only a reset can tell the client that the body was cut
    struct request request;
    struct attempt attempt;
    tidegate_request tidegate;
    bool judged;       // `tidegate` was started for this request
    uint32_t method;   // TIDEGATE_METHOD_*
    // For the log.
    char id[40];
    uint64_t started;
    uint64_t body_bytes;
    uint32_t status, cause;
    const char *origin;
};

void client_accept(struct worker *, int fd, const struct sockaddr_storage *address);
// Moves the client on as far as it goes: to be called last by every handler that touched it.
void client_drive(struct client *);
// The client is told nothing more.
void client_close(struct client *);
// How a worker's stop shows to a client that waits for nothing.
void client_stop(struct client *);

// What an attempt tells its client.
void client_respond(struct client *, const tidegate_verdict *head, const tidegate_decision *);
void client_data(struct client *, const char *bytes, size_t len);
void client_complete(struct client *);
void client_take_back(struct client *);  // forget the response so far: nothing of it was delivered
void client_answer(struct client *);     // Tidegate answers
void client_abort(struct client *);      // cut the connection visibly
void client_fail(struct client *);       // something that can't happen did

// Writes the request's head for the peer.
void rewrite_request(const struct client *, struct buffer *out);
// Writes the response's head for the client.
void rewrite_response(const struct client *, const tidegate_verdict *head, struct buffer *out);
// The value of a field of this (lower-case) name, or NULL.
const char *rewrite_field(const struct buffer *head, const char *name, size_t *len);
// Retry-After in seconds, 0 if there is none.
uint32_t rewrite_retry_after(const struct buffer *head);

// Answers the request if it is for the status page.
bool status_answer(struct client *);

// One line for each request that ended. It is written when the round ends (log_flush).
void log_request(struct client *);
void log_flush(struct worker *);

#endif
