// The nginx shim: what its files share.
//
// The shim owns no policy. It translates: `server` lines into peers, nginx's events into outcomes, decisions into
// nginx's retry mask, answers into headers and a body. Which peer, whether to retry and what to answer come from
// include/tidegate.h. Whatever fails inside the library costs a request its Tidegate, never its answer: it is then
// served by nginx's own round robin.
//
// The key trick is a private copy of the proxy configuration for each request (`conf` below): nginx asks it, after
// every attempt, whether there is to be another one.

#ifndef TIDEGATE_MODULE_H
#define TIDEGATE_MODULE_H

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include <time.h>

#include "tidegate.h"

// A peer's address as this worker last read it, by the peer's slot; `peer` says whose it is.
typedef struct {
    uint64_t peer;
    socklen_t socklen;
    size_t name_len;
    u_char name[128];
    ngx_ssl_session_t *session;
    // 112 bytes are the ABI's bound; the two more keep a full sockaddr_un terminated.
    _Alignas(8) u_char sockaddr[120];
} tg_address_t;

// One nginx configuration, in the master and in each worker.
typedef struct {
    ngx_shm_zone_t *zone;
    ngx_flag_t capacity_set;
    tidegate_table_options capacity;
    // The table's file; empty: it lives in the memory below.
    ngx_str_t path;
    // -1: none.
    int memory_fd;
    void *memory;
    size_t memory_size;
    // tg_upstream_t *
    ngx_array_t upstreams;
    // $request_id
    ngx_int_t request_id;
    tidegate_table *table;
    // NULL in the master, and where joining failed: requests then go round robin.
    tidegate_worker *worker;
    // Active checks; NULL where there are none, and in a worker that retires.
    tidegate_checker *checker;
    // By slot; entries are made on first use.
    tg_address_t **addresses;
    ngx_event_t tick;
} tg_main_t;

// One `tidegate_server`; of `peer` only what it can say is set.
typedef struct {
    ngx_str_t server;
    ngx_str_t name;
    tidegate_peer peer;
    u_char *file_name;
    ngx_uint_t line;
    unsigned used : 1;
} tg_server_t;

// A directive's word and its value.
typedef struct {
    const char *name;
    uint32_t value;
} tg_word_t;

// How responses are judged: said in an upstream and in a location, which wins.
typedef struct {
    // TIDEGATE_POLICY_*; NGX_CONF_UNSET_UINT: nothing was said.
    ngx_uint_t policy;
    uint32_t tolerate;
    // The rules of tidegate_expect as read so far, one a line.
    ngx_str_t text;
    // NGX_CONF_UNSET_PTR: nothing was said; NULL: none.
    tidegate_rules *rules;
} tg_judge_t;

// `tidegate` in one upstream {}.
typedef struct {
    ngx_http_upstream_srv_conf_t *uscf;
    tidegate_upstream_options options;
    // `tidegate_check`; its strings are the configuration's.
    tidegate_check_options check;
    // `tidegate_shadow`.
    tidegate_upstream_options shadow;
    // tg_server_t; unset where there is none.
    ngx_array_t servers;
    // The name that clients may see.
    ngx_str_t label;
    // What maglev hashes; NULL: nothing was said.
    ngx_http_complex_value_t *hash_key;
    tg_judge_t judge;
    uint32_t id;
    tidegate_peer *peers;
    ngx_uint_t npeers;
    unsigned initialised : 1;
    // There is a `tidegate_check`, and it is not "off".
    unsigned check_set : 1;
    unsigned checked : 1;
    // `tidegate_health` was given.
    unsigned health_set : 1;
    unsigned shadowed : 1;
    // The table knows it; otherwise its requests go round robin.
    unsigned declared : 1;
    // Of this worker: attempts by when they are due, requests by when they came; tg_request_t's `patience` and `place`.
    ngx_queue_t patience;
    ngx_event_t patience_look;
    ngx_queue_t queue;
    ngx_event_t queue_look;
} tg_upstream_t;

// The formats that a template can have, as an index.
enum { TG_HTML, TG_JSON, TG_TEXT, TG_TEMPLATES };

typedef struct {
    ngx_uint_t format;
    ngx_uint_t retry;
    ngx_flag_t hold;
    ngx_flag_t idempotency_key;
    ngx_flag_t replace;
    ngx_str_t label;
    // Takes the place of the upstream's own.
    ngx_str_t upstream_label;
    // What a problem's type begins with.
    ngx_str_t type_base;
    ngx_http_complex_value_t *request_id;
    // NGX_CONF_UNSET_PTR: nothing was said; NULL: the default body.
    tidegate_template *templates[TG_TEMPLATES];
    // No answer with these templates is larger.
    size_t answer_max;
    tg_judge_t judge;
} tg_location_t;

// One request, from peer.init to the end of its pool.
typedef struct tg_request_s tg_request_t;

struct tg_request_s {
    tg_request_t *next_free;
    ngx_http_request_t *r;
    tg_main_t *main;
    tg_upstream_t *upstream;
    ngx_http_upstream_conf_t *original;

    ngx_int_t (*process_header)(ngx_http_request_t *r);
    ngx_int_t (*reinit_request)(ngx_http_request_t *r);
    void (*finalize_request)(ngx_http_request_t *r, ngx_int_t rc);
    ngx_int_t (*input_filter_init)(void *data);
    ngx_int_t (*input_filter)(void *data, ssize_t bytes);
    ngx_event_pipe_input_filter_pt pipe_filter;

    // Set once the library failed: round robin's functions and data.
    ngx_event_get_peer_pt robin_get;
    ngx_event_free_peer_pt robin_free;
    void *robin;

    tg_address_t *address;
    ngx_str_t *peer_name;
    ngx_event_t pause;
    // Which of the two comes first, when the response's head is due and when a connection is; 0: never.
    uint64_t due_ns;
    uint64_t head_due_ns;
    uint64_t connect_due_ns;
    ngx_queue_t patience;
    ngx_queue_t place;
    // What the pick said that was made while it waited.
    tidegate_status picked;
    // The hold-back: its end, the operator's buffer where a larger one took its place, and the connection's own recv().
    ngx_event_t hold;
    u_char *buffer_start;
    u_char *buffer_end;
    ngx_recv_pt recv;
    uint64_t wait_ns;
    uint64_t picked_ns;
    uint64_t head_ns;
    // Bytes from u->buffer.pos on that the validator has seen; later those of them that a body filter has yet to see.
    size_t fed;
    uint64_t content_length;
    // TIDEGATE_FRAMING_* of the final head.
    uint32_t framing;
    // What finalize_request was told.
    ngx_int_t rc;
    // Of a response that was refused.
    uint32_t cause;
    uint32_t reason;
    // TIDEGATE_REASON_*: what a strict reader would have refused first.
    uint32_t tolerated;
    uint32_t attempts;

    // An attempt is open in the library.
    unsigned open : 1;
    // The library failed: round robin serves.
    unsigned broken : 1;
    unsigned validate : 1;
    // The validator passed a final head.
    unsigned head_seen : 1;
    // It was judged good, and is being held or delivered.
    unsigned head_done : 1;
    // The validator saw the end of the response, and whether its connection may serve another.
    unsigned complete : 1;
    unsigned reusable : 1;
    unsigned holding : 1;
    // The time of the hold-back is up.
    unsigned let_go : 1;
    // The client's connection is ended by us: nginx's way would not show it the cut.
    unsigned cut : 1;
    unsigned paused : 1;
    // The pause is over, nginx is on its way to get().
    unsigned resuming : 1;
    // It stands in the upstream's queues.
    unsigned patient : 1;
    unsigned queued : 1;
    // The next get() finds its pick made.
    unsigned prepicked : 1;
    // The next get() ends the request with answer.status.
    unsigned give_up : 1;
    // The attempt needs a new connection: an idle one could be closed under it.
    unsigned fresh : 1;
    // The peer's response was accepted.
    unsigned delivered : 1;
    unsigned answered : 1;
    unsigned body_due : 1;

    ngx_str_t body;
    tidegate_pick pick;
    tidegate_decision decision;
    tidegate_answer answer;
    tidegate_request request;
    tidegate_validator validator;
    ngx_http_upstream_conf_t conf;
};

// tidegate_retry.
#define TG_RETRY_DEFAULT 0
#define TG_RETRY_SAFE 1
#define TG_RETRY_OFF 2

// tidegate_errors off: nginx's built-in page. Beside TIDEGATE_FORMAT_*.
#define TG_ERRORS_OFF 100

extern ngx_module_t ngx_http_tidegate_module;

// directives.c
char *tg_directive_upstream(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *tg_directive_health(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *tg_directive_shadow(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *tg_parse_server(ngx_conf_t *cf, tidegate_peer *peer, ngx_str_t *name);
char *tg_directive_table(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *tg_directive_label(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *tg_directive_retry(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *tg_directive_word(ngx_conf_t *cf, const tg_word_t *words, ngx_uint_t *field);
const tg_word_t *tg_word(const tg_word_t *words, const u_char *data, size_t len);
u_char *tg_list_words(u_char *p, u_char *end, const tg_word_t *words);
ngx_uint_t tg_printable(const u_char *data, size_t len);
char *tg_library_refused(ngx_conf_t *cf, const char *directive, const ngx_str_t *value);

// errors.c
char *tg_directive_errors(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *tg_directive_template(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *tg_directive_upstream_label(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
void tg_errors_create(tg_location_t *location);
void tg_errors_merge(tg_location_t *prev, tg_location_t *conf);

// judge.c
char *tg_directive_validator(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *tg_directive_expect(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
void tg_judge_create(tg_judge_t *judge);
void tg_judge_merge(const tg_judge_t *prev, tg_judge_t *conf);
void tg_judge_options(tg_request_t *p, tidegate_validator_options *options);

// servers.c
char *tg_directive_server(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
void tg_server_apply(tg_upstream_t *upstream, const ngx_str_t *server, tidegate_peer *peer);
ngx_int_t tg_server_unused(ngx_conf_t *cf, const tg_upstream_t *upstream);

// peers.c
ngx_int_t tg_upstream_init(ngx_conf_t *cf, ngx_http_upstream_srv_conf_t *us);
tg_address_t *tg_address(tg_main_t *main, const tidegate_pick *pick);
ngx_int_t tg_declare_try(ngx_conf_t *cf, tg_main_t *main);
void tg_declare(tg_main_t *main, ngx_log_t *log);

// memory.c
ngx_int_t tg_memory_keep(tg_main_t *main, const tg_main_t *former, size_t size, ngx_log_t *log);
ngx_int_t tg_memory_new(tg_main_t *main, size_t size, ngx_log_t *log);
void tg_memory_hand_on(tg_main_t *main, ngx_cycle_t *cycle);
void tg_memory_close_descriptor(tg_main_t *main);
void tg_memory_close(tg_main_t *main);

// table.c
ngx_int_t tg_table_zone(ngx_conf_t *cf, tg_main_t *main);
ngx_int_t tg_worker_start(ngx_cycle_t *cycle);
void tg_worker_stop(ngx_cycle_t *cycle);

// check.c
char *tg_directive_check(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
tidegate_status tg_check_try(tg_main_t *main, tidegate_table *table);
void tg_check_forget(tg_main_t *main);
void tg_check_start(tg_main_t *main, ngx_log_t *log);
void tg_check_stop(tg_main_t *main);

// balance.c
ngx_int_t tg_peer_init(ngx_http_request_t *r, ngx_http_upstream_srv_conf_t *us);
tg_request_t *tg_request(ngx_http_request_t *r);
void tg_follow(tg_request_t *p, const tidegate_decision *decision, ngx_uint_t nginx_status);

// fallback.c
void tg_broken(tg_request_t *p, tidegate_status status, const char *call);
ngx_int_t tg_robin_get(tg_request_t *p, ngx_peer_connection_t *pc);

// session.c
#if (NGX_HTTP_SSL)
ngx_int_t tg_set_session(ngx_peer_connection_t *pc, void *data);
void tg_save_session(ngx_peer_connection_t *pc, void *data);
#endif

// pause.c
ngx_int_t tg_pause_open(ngx_log_t *log);
ngx_int_t tg_pause_start(tg_request_t *p, ngx_peer_connection_t *pc, ngx_msec_t wait);
void tg_pause_end(tg_request_t *p);
void tg_pause_resume(tg_request_t *p);

// patience.c
void tg_patience_begin(tg_request_t *p);
void tg_patience_end(tg_request_t *p);

// queue.c
ngx_int_t tg_queue_enter(tg_request_t *p, ngx_peer_connection_t *pc);
void tg_queue_leave(tg_request_t *p);
void tg_queue_wake(tg_upstream_t *upstream);

// head.c
void tg_head_wrap(tg_request_t *p);
void tg_head_start(tg_request_t *p);
ngx_int_t tg_head_reject(tg_request_t *p, const tidegate_verdict *verdict);
void tg_head_complete(tg_request_t *p, const tidegate_verdict *verdict);

// tolerate.c
ngx_int_t tg_tolerate_head(tg_request_t *p, const tidegate_verdict *verdict);
void tg_tolerate_note(tg_request_t *p, const tidegate_verdict *verdict);

// hold.c
char *tg_directive_hold(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
ngx_int_t tg_hold_begin(tg_request_t *p);
ngx_int_t tg_hold_step(tg_request_t *p);
void tg_hold_end(tg_request_t *p);
void tg_hold_reinit(tg_request_t *p);

// body.c
void tg_body_wrap(tg_request_t *p);
void tg_body_finish(tg_request_t *p, ngx_int_t rc);

// cause.c
ngx_uint_t tg_outcome(tg_request_t *p, ngx_peer_connection_t *pc, ngx_uint_t state, int error, uint64_t now,
                      tidegate_outcome *outcome);
uint32_t tg_outcome_flags(tg_request_t *p, ngx_peer_connection_t *pc);

// answer.c
void tg_answer_prepare(tg_request_t *p);
ngx_int_t tg_answer_field(ngx_http_request_t *r, const char *name, size_t name_len, const u_char *value, size_t len);
ngx_int_t tg_answer_filters(void);

// replace.c
ngx_uint_t tg_replace_applies(ngx_http_request_t *r, tg_request_t *p);
ngx_int_t tg_replace_prepare(ngx_http_request_t *r, tg_request_t *p);
ngx_int_t tg_replace_append(ngx_http_request_t *r, tg_request_t *p, const tg_location_t *location);

// variables.c, status.c
ngx_int_t tg_variables(ngx_conf_t *cf);
char *tg_directive_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

// A vDSO call, 17 ns. nginx's own clock has milliseconds and stands still within a turn of its event loop.
static inline uint64_t
tg_now(void)
{
    struct timespec ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000000u + (uint64_t) ts.tv_nsec;
}

#endif
