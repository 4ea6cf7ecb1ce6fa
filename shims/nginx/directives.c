// The directives' arguments: parsed at `nginx -t`, refused with the value and with what is allowed. nginx adds the
// file and the line.

#include "tidegate_module.h"

typedef enum { COUNT, TIME, PERCENT, SHARE, STATUSES, DETECTORS, JUDGE, PANIC, MISMATCH, STATE, LABEL, TIME_OR_OFF, CONCURRENCY } tg_kind_t;

// One key=value. `allowed` is what a refusal tells.
typedef struct {
    const char *name;
    tg_kind_t kind;
    size_t offset;
    uint32_t least;
    uint32_t most;
    const char *allowed;
} tg_key_t;

#define OPTION(field) offsetof(tidegate_upstream_options, field)
#define CAPACITY(field) offsetof(tidegate_table_options, field)
#define ONE_HOUR_MS 3600000

static const tg_key_t tg_upstream_keys[] = {
    { "fails", COUNT, OPTION(eject_failures), 1, 31, "a number from 1 to 31" },
    { "eject", TIME, OPTION(eject_base_ns), 1, ONE_HOUR_MS, "a time from 1ms to 1h" },
    { "eject_max", TIME, OPTION(eject_max_ns), 1, ONE_HOUR_MS, "a time from 1ms to 1h" },
    { "trials", COUNT, OPTION(half_open_successes), 1, 7, "a number from 1 to 7" },
    { "attempts", COUNT, OPTION(max_attempts), 1, 16, "a number from 1 to 16" },
    { "budget", SHARE, OPTION(retry_budget_ppm), 1, 100, "a share from 1% to 100%, or \"off\"" },
    { "budget_min", COUNT, OPTION(retry_budget_min_per_s), 1, 1000000, "a number of retries a second from 1 to 1000000" },
    { "backoff", TIME, OPTION(backoff_base_ns), 1, ONE_HOUR_MS, "a time from 1ms to 1h" },
    { "backoff_max", TIME, OPTION(backoff_max_ns), 1, ONE_HOUR_MS, "a time from 1ms to 1h" },
    { "deadline", TIME, OPTION(deadline_ns), 1, ONE_HOUR_MS, "a time from 1ms to 1h" },
    { "statuses", STATUSES, OPTION(failure_statuses), 0, 0,
      "a list of 500, 502, 503, 504, 429, 403 and 404 (\"502,503\"), or \"off\"" },
    { "panic", PANIC, OPTION(panic_percent), 1, 100, "a share from 1% to 100%, or \"off\"" },
    { "slow_start", TIME, OPTION(slow_start_ns), 1, ONE_HOUR_MS, "a time from 1ms to 1h" },
    { "decay", TIME, OPTION(latency_decay_ns), 10, ONE_HOUR_MS, "a time from 10ms to 1h" },
    { "overflow", PERCENT, OPTION(overflow_percent), 100, 1000, "a share from 100% to 1000%" },
    { "bound", PERCENT, OPTION(load_bound_percent), 100, 1000, "a share from 100% to 1000%" },
    { "zone", COUNT, OPTION(zone), 1, 255, "a number from 1 to 255" },
    { "timeout_floor", TIME_OR_OFF, OPTION(timeout_floor_ns), 1, ONE_HOUR_MS, "a time from 1ms to 1h, or \"off\"" },
    { "retry_after", TIME_OR_OFF, OPTION(retry_after_max_ns), 1, ONE_HOUR_MS, "a time from 1ms to 1h, or \"off\"" },
    { "max_in_flight", COUNT, OPTION(max_in_flight), 1, 1000000, "a number from 1 to 1000000" },
    { "queue", COUNT, OPTION(max_queue), 1, 1000000, "a number from 1 to 1000000" },
    { "queue_time", TIME, OPTION(queue_ns), 1, 60000, "a time from 1ms to 60s" },
    { "concurrency", CONCURRENCY, OPTION(concurrency), 0, 0, "\"fixed\" or \"adaptive\"" },
    { "label", LABEL, 0, 1, 255, "1 to 255 printable ASCII characters" },
    { NULL, COUNT, 0, 0, 0, NULL },
};

static const tg_key_t tg_health_keys[] = {
    { "rate", PERCENT, OPTION(eject_rate_percent), 1, 100, "a share from 1% to 100%" },
    { "pending", TIME, OPTION(eject_pending_ns), 1, ONE_HOUR_MS, "a time from 1ms to 1h" },
    { "without", DETECTORS, OPTION(health), 0, 0, "a list of streak, rate and pending (\"rate,pending\")" },
    { "eject", JUDGE, OPTION(health), 0, 0, "\"on\" or \"off\"" },
    { NULL, COUNT, 0, 0, 0, NULL },
};

static const tg_key_t tg_server_keys[] = {
    { "zone", COUNT, offsetof(tidegate_peer, zone), 1, 255, "a number from 1 to 255" },
    { "state", STATE, offsetof(tidegate_peer, admin), 0, 0, "\"up\", \"drain\" or \"down\"" },
    { "name", LABEL, 0, 1, 63, "1 to 63 printable ASCII characters" },
    { NULL, COUNT, 0, 0, 0, NULL },
};

static const tg_key_t tg_table_keys[] = {
    { "peers", COUNT, CAPACITY(max_peers), 1, 65536, "a number from 1 to 65536" },
    { "upstreams", COUNT, CAPACITY(max_upstreams), 1, 4096, "a number from 1 to 4096" },
    { "workers", COUNT, CAPACITY(max_workers), 1, 1024, "a number from 1 to 1024" },
    { "path", LABEL, 0, 1, 255, "the name of a file on a tmpfs, 1 to 255 printable ASCII characters" },
    { "mismatch", MISMATCH, CAPACITY(on_mismatch), 0, 0, "\"refuse\" or \"replace\"" },
    { NULL, COUNT, 0, 0, 0, NULL },
};

static const tg_word_t tg_selectors[] = {
    { "round_robin", TIDEGATE_SELECTOR_ROUND_ROBIN },
    { "least_request", TIDEGATE_SELECTOR_LEAST_REQUEST },
    { "random", TIDEGATE_SELECTOR_RANDOM },
    { "peak_ewma", TIDEGATE_SELECTOR_PEAK_EWMA },
    { "maglev", TIDEGATE_SELECTOR_MAGLEV },
    { "source_hash", TIDEGATE_SELECTOR_SOURCE_HASH },
    { NULL, 0 },
};

static const tg_word_t tg_statuses[] = {
    { "500", TIDEGATE_STATUS_500 }, { "502", TIDEGATE_STATUS_502 }, { "503", TIDEGATE_STATUS_503 },
    { "504", TIDEGATE_STATUS_504 }, { "429", TIDEGATE_STATUS_429 }, { "403", TIDEGATE_STATUS_403 },
    { "404", TIDEGATE_STATUS_404 }, { NULL, 0 },
};

static const tg_word_t tg_detectors[] = {
    { "streak", TIDEGATE_HEALTH_NO_STREAK }, { "rate", TIDEGATE_HEALTH_NO_RATE },
    { "pending", TIDEGATE_HEALTH_NO_PENDING }, { NULL, 0 },
};

static const tg_word_t tg_retries[] = {
    { "default", TG_RETRY_DEFAULT }, { "safe", TG_RETRY_SAFE }, { "off", TG_RETRY_OFF }, { NULL, 0 },
};

static const tg_word_t tg_mismatches[] = {
    { "refuse", TIDEGATE_MISMATCH_REFUSE }, { "replace", TIDEGATE_MISMATCH_REPLACE }, { NULL, 0 },
};

static const tg_word_t tg_states[] = {
    { "up", TIDEGATE_ADMIN_ENABLED }, { "drain", TIDEGATE_ADMIN_DRAINING }, { "down", TIDEGATE_ADMIN_DISABLED },
    { NULL, 0 },
};

static const tg_word_t tg_concurrencies[] = {
    { "fixed", TIDEGATE_CONCURRENCY_FIXED }, { "adaptive", TIDEGATE_CONCURRENCY_ADAPTIVE }, { NULL, 0 },
};

const tg_word_t *
tg_word(const tg_word_t *words, const u_char *data, size_t len)
{
    for (; words->name != NULL; words++) {
        if (ngx_strlen(words->name) == len && ngx_strncmp(words->name, data, len) == 0) {
            return words;
        }
    }

    return NULL;
}

ngx_uint_t
tg_printable(const u_char *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (data[i] <= ' ' || data[i] > '~') {
            return 0;
        }
    }

    return 1;
}

// A number with `unit` behind it, or NGX_ERROR.
static ngx_int_t
tg_number(ngx_str_t value, char unit)
{
    if (unit != 0) {
        if (value.len == 0 || value.data[value.len - 1] != unit) {
            return NGX_ERROR;
        }
        value.len--;
    }

    return ngx_atoi(value.data, value.len);
}

// The bits of a comma-separated list of these words, 0 if it is not one.
static uint32_t
tg_bits(const tg_word_t *words, const ngx_str_t *value)
{
    u_char *p = value->data, *end = value->data + value->len;
    uint32_t bits = 0;

    for ( ;; ) {
        u_char *comma = ngx_strlchr(p, end, ',');
        const tg_word_t *word = tg_word(words, p, (comma ? comma : end) - p);

        if (word == NULL) {
            return 0;
        }

        bits |= word->value;

        if (comma == NULL) {
            return bits;
        }

        p = comma + 1;
    }
}

// NGX_ERROR: the value is not one that the key allows.
static ngx_int_t
tg_set(const tg_key_t *key, ngx_str_t *value, void *options, ngx_str_t *label)
{
    uint32_t *number = (uint32_t *) ((char *) options + key->offset);
    uint64_t *time_ns = (uint64_t *) ((char *) options + key->offset);
    ngx_uint_t off = value->len == 3 && ngx_strncmp(value->data, "off", 3) == 0;
    const tg_word_t *word;
    ngx_int_t n;

    switch (key->kind) {

    case COUNT:
        n = tg_number(*value, 0);
        break;

    case TIME_OR_OFF:
        if (off) {
            *time_ns = TIDEGATE_OFF;
            return NGX_OK;
        }
        n = ngx_parse_time(value, 0);
        break;

    case TIME:
        n = ngx_parse_time(value, 0);
        break;

    case PERCENT:
        n = tg_number(*value, '%');
        break;

    case SHARE:
    case PANIC:
        n = off ? 1 : tg_number(*value, '%');
        break;

    case STATUSES:
        *number = off ? TIDEGATE_STATUS_NOTHING : tg_bits(tg_statuses, value);
        return *number != 0 ? NGX_OK : NGX_ERROR;

    case DETECTORS:
        n = tg_bits(tg_detectors, value);
        *number |= n;
        return n != 0 ? NGX_OK : NGX_ERROR;

    case JUDGE:
        *number |= off ? TIDEGATE_HEALTH_JUDGE_ONLY : 0;
        return off || (value->len == 2 && ngx_strncmp(value->data, "on", 2) == 0) ? NGX_OK : NGX_ERROR;

    case CONCURRENCY:
        word = tg_word(tg_concurrencies, value->data, value->len);
        *number = word != NULL ? word->value : 0;
        return *number != 0 ? NGX_OK : NGX_ERROR;

    case MISMATCH:
        word = tg_word(tg_mismatches, value->data, value->len);
        *number = word != NULL ? word->value : 0;
        return *number != 0 ? NGX_OK : NGX_ERROR;

    case STATE:
        word = tg_word(tg_states, value->data, value->len);
        *number = word != NULL ? word->value : 0;
        return word != NULL ? NGX_OK : NGX_ERROR;

    default: /* LABEL */
        n = tg_printable(value->data, value->len) ? (ngx_int_t) value->len : NGX_ERROR;
        break;
    }

    if (n < (ngx_int_t) key->least || n > (ngx_int_t) key->most) {
        return NGX_ERROR;
    }

    switch (key->kind) {

    case TIME:
    case TIME_OR_OFF:
        *time_ns = (uint64_t) n * 1000000;
        break;

    case SHARE:
        *number = off ? 0xFFFFFFFF : (uint32_t) n * 10000;
        break;

    case PANIC:
        ((tidegate_upstream_options *) options)->panic = off ? TIDEGATE_PANIC_REFUSE : TIDEGATE_PANIC_SPREAD;
        *number = off ? 0 : (uint32_t) n;
        break;

    case LABEL:
        *label = *value;
        break;

    default:
        *number = (uint32_t) n;
    }

    return NGX_OK;
}

static u_char *
tg_list_keys(u_char *p, u_char *end, const tg_key_t *keys)
{
    for (const tg_key_t *key = keys; key->name != NULL; key++) {
        p = ngx_slprintf(p, end, "%s%s", key == keys ? "" : ", ", key->name);
    }

    return p;
}

u_char *
tg_list_words(u_char *p, u_char *end, const tg_word_t *words)
{
    for (const tg_word_t *word = words; word->name != NULL; word++) {
        p = ngx_slprintf(p, end, "%s%s", word == words ? "" : ", ", word->name);
    }

    return p;
}

// The arguments from `first` on, each a key=value that may be given once.
static char *
tg_parse_keys(ngx_conf_t *cf, ngx_uint_t first, const tg_key_t *keys, void *options, ngx_str_t *label)
{
    ngx_str_t *args = cf->args->elts;
    uint32_t seen = 0;
    u_char list[1024];

    for (ngx_uint_t i = first; i < cf->args->nelts; i++) {
        ngx_str_t *arg = &args[i], value;
        u_char *equals = ngx_strlchr(arg->data, arg->data + arg->len, '=');
        const tg_key_t *key = keys;

        for (; key->name != NULL; key++) {
            if (equals != NULL && ngx_strlen(key->name) == (size_t) (equals - arg->data)
                && ngx_strncmp(key->name, arg->data, equals - arg->data) == 0)
            {
                break;
            }
        }

        if (key->name == NULL) {
            u_char *end = tg_list_keys(list, list + sizeof(list), keys);

            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "unknown parameter \"%V\" of \"%V\": %*s are allowed, each followed by \"=\" and a value",
                               arg, &args[0], end - list, list);
            return NGX_CONF_ERROR;
        }

        if (seen & (1u << (key - keys))) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%s\" is given twice in \"%V\"", key->name, &args[0]);
            return NGX_CONF_ERROR;
        }

        seen |= 1u << (key - keys);
        value.data = equals + 1;
        value.len = arg->data + arg->len - value.data;

        if (tg_set(key, &value, options, label) != NGX_OK) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid value \"%V\" of \"%s\" in \"%V\": %s is allowed",
                               &value, key->name, &args[0], key->allowed);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}

// SELECTOR [key=value …]: what is not said stays.
static char *
tg_parse_policy(ngx_conf_t *cf, tidegate_upstream_options *options, ngx_str_t *label)
{
    ngx_str_t *args = cf->args->elts;
    const tg_word_t *selector = tg_word(tg_selectors, args[1].data, args[1].len);
    u_char list[128];

    if (selector == NULL) {
        u_char *end = tg_list_words(list, list + sizeof(list), tg_selectors);

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "unknown selector \"%V\" in \"%V\": one of %*s is allowed", &args[1],
                           &args[0], end - list, list);
        return NGX_CONF_ERROR;
    }

    options->selector = selector->value;

    return tg_parse_keys(cf, 2, tg_upstream_keys, options, label);
}

char *
tg_parse_server(ngx_conf_t *cf, tidegate_peer *peer, ngx_str_t *name)
{
    return tg_parse_keys(cf, 2, tg_server_keys, peer, name);
}

char *
tg_directive_shadow(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    tg_upstream_t *upstream = conf;
    ngx_str_t label = ngx_null_string;

    if (upstream->uscf == NULL) {
        return "must come behind \"tidegate\"";
    }

    if (upstream->shadowed) {
        return "is duplicate";
    }

    upstream->shadowed = 1;
    upstream->shadow = upstream->options;

    if (tg_parse_policy(cf, &upstream->shadow, &label) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    return label.len != 0 ? "has a \"label\", which nobody would see" : NGX_CONF_OK;
}

// The library's own words on a value that it does not take.
char *
tg_library_refused(ngx_conf_t *cf, const char *directive, const ngx_str_t *value)
{
    char text[240];
    size_t len = 0;

    (void) tidegate_last_error(text, sizeof(text), &len);
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%s\" refuses \"%V\": %*s", directive, value,
                       ngx_min(len, sizeof(text)), text);

    return NGX_CONF_ERROR;
}

char *
tg_directive_upstream(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    tg_upstream_t *upstream = conf, **slot;
    ngx_http_upstream_srv_conf_t *us = ngx_http_conf_get_module_srv_conf(cf, ngx_http_upstream_module);
    tg_main_t *main = ngx_http_conf_get_module_main_conf(cf, ngx_http_tidegate_module);

    if (upstream->uscf != NULL) {
        return "is duplicate";
    }

    // keepalive wraps what stands here when it is read, so it has to come later; any other is a second balancer.
    if (us->peer.init_upstream != NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"tidegate\" must come before \"keepalive\" and be the only balancer of upstream \"%V\"",
                           &us->host);
        return NGX_CONF_ERROR;
    }

    if (us->host.len > 63 || !tg_printable(us->host.data, us->host.len)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the upstream's name \"%V\" can't be used with \"tidegate\": 1 to 63 printable ASCII "
                           "characters are allowed", &us->host);
        return NGX_CONF_ERROR;
    }

    if (tg_parse_policy(cf, &upstream->options, &upstream->label) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    slot = ngx_array_push(&main->upstreams);
    if (slot == NULL) {
        return NGX_CONF_ERROR;
    }

    *slot = upstream;
    upstream->uscf = us;
    us->peer.init_upstream = tg_upstream_init;
    // The parameters of `server` that are accepted; max_fails and fail_timeout serve the fallback only.
    us->flags = NGX_HTTP_UPSTREAM_CREATE | NGX_HTTP_UPSTREAM_WEIGHT | NGX_HTTP_UPSTREAM_MAX_CONNS
                | NGX_HTTP_UPSTREAM_MAX_FAILS | NGX_HTTP_UPSTREAM_FAIL_TIMEOUT | NGX_HTTP_UPSTREAM_DOWN
                | NGX_HTTP_UPSTREAM_BACKUP;

    return NGX_CONF_OK;
}

char *
tg_directive_health(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    tg_upstream_t *upstream = conf;

    if (upstream->health_set) {
        return "is duplicate";
    }

    upstream->health_set = 1;

    return tg_parse_keys(cf, 1, tg_health_keys, &upstream->options, NULL);
}

char *
tg_directive_table(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    tg_main_t *main = conf;

    if (main->capacity_set) {
        return "is duplicate";
    }

    main->capacity_set = 1;

    if (tg_parse_keys(cf, 1, tg_table_keys, &main->capacity, &main->path) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    if (main->path.len == 0) {
        return main->capacity.on_mismatch != 0 ? "has \"mismatch\" without \"path\"" : NGX_CONF_OK;
    }

    return ngx_conf_full_name(cf->cycle, &main->path, 0) == NGX_OK ? NGX_CONF_OK : NGX_CONF_ERROR;
}

// A directive with one word out of a list.
char *
tg_directive_word(ngx_conf_t *cf, const tg_word_t *words, ngx_uint_t *field)
{
    ngx_str_t *args = cf->args->elts;
    const tg_word_t *word;
    u_char list[128];

    if (*field != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    word = tg_word(words, args[1].data, args[1].len);
    if (word == NULL) {
        u_char *end = tg_list_words(list, list + sizeof(list), words);

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid value \"%V\" of \"%V\": one of %*s is allowed",
                           &args[1], &args[0], end - list, list);
        return NGX_CONF_ERROR;
    }

    *field = word->value;

    return NGX_CONF_OK;
}

char *
tg_directive_retry(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    return tg_directive_word(cf, tg_retries, &((tg_location_t *) conf)->retry);
}

char *
tg_directive_label(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    tg_location_t *location = conf;
    ngx_str_t *args = cf->args->elts;

    if (location->label.data != NULL) {
        return "is duplicate";
    }

    if (args[1].len == 0 || args[1].len > 64 || !tg_printable(args[1].data, args[1].len)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" of \"tidegate_label\": 1 to 64 printable ASCII characters are allowed",
                           &args[1]);
        return NGX_CONF_ERROR;
    }

    location->label = args[1];

    return NGX_CONF_OK;
}
