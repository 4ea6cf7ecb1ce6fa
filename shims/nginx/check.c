// tidegate_check: active checks, made by a thread of one worker for all of them.
//
// The thread is the library's: it touches nothing of nginx's, blocks every signal, and lives from a worker's start to its
// end, or until that worker is told to retire: then one of the new workers takes over, so that a reload brings the new
// configuration into force and doubles no check. The master, cache helpers and `nginx -t` start none.

#include "tidegate_module.h"

typedef enum { COUNT, TIME, TEXT, FLAG, ADDRESS, HEADER } tg_check_kind_t;

typedef struct {
    const char *name;
    tg_check_kind_t kind;
    // Of the number, or of the pointer with its length behind it.
    size_t offset;
    uint32_t least;
    uint32_t most;
    // A FLAG's bit.
    uint32_t bit;
    const char *allowed;
    // Only `http` has it.
    unsigned http : 1;
} tg_check_key_t;

#define CHECK(field) offsetof(tidegate_check_options, field)
#define ONE_HOUR_MS 3600000
#define ON_OFF "\"on\" or \"off\""

static const tg_check_key_t tg_check_keys[] = {
    { "interval", TIME, CHECK(interval_ns), 10, ONE_HOUR_MS, 0, "a time from 10ms to 1h", 0 },
    { "fast", TIME, CHECK(fast_interval_ns), 10, ONE_HOUR_MS, 0, "a time from 10ms to the interval", 0 },
    { "timeout", TIME, CHECK(timeout_ns), 1, ONE_HOUR_MS, 0, "a time from 1ms to 1h", 0 },
    { "rise", COUNT, CHECK(rise), 1, 100, 0, "a number from 1 to 100", 0 },
    { "fall", COUNT, CHECK(fall), 1, 100, 0, "a number from 1 to 100", 0 },
    { "port", COUNT, CHECK(port), 1, 65535, 0, "a number from 1 to 65535", 0 },
    { "source", ADDRESS, CHECK(source), 0, 0, 0, "an IP address", 0 },
    { "proxy_protocol", FLAG, CHECK(flags), 0, 0, TIDEGATE_CHECK_PROXY_V2, ON_OFF, 0 },
    { "ssl", FLAG, CHECK(flags), 0, 0, TIDEGATE_CHECK_TLS, ON_OFF, 0 },
    { "ssl_name", TEXT, CHECK(server_name), 1, 255, 0, "1 to 255 characters", 0 },
    { "on_time", FLAG, CHECK(flags), 0, 0, TIDEGATE_CHECK_IGNORE_TRAFFIC, ON_OFF, 0 },
    { "keepalive", FLAG, CHECK(flags), 0, 0, TIDEGATE_CHECK_KEEP_ALIVE, ON_OFF, 1 },
    { "method", TEXT, CHECK(method), 1, 16, 0, "GET, HEAD or OPTIONS", 1 },
    { "uri", TEXT, CHECK(path), 1, 2048, 0, "\"/\" and at most 2047 characters", 1 },
    { "host", TEXT, CHECK(host), 1, 255, 0, "1 to 255 characters", 1 },
    { "header", HEADER, CHECK(headers), 1, 1024, 0, "\"Name: value\"", 1 },
    { "status", TEXT, CHECK(statuses), 1, 255, 0, "a list like \"200-299,401\"", 1 },
    { "field", TEXT, CHECK(field), 1, 256, 0, "\"Name\" or \"Name: value\"", 1 },
    { "body", TEXT, CHECK(body), 1, 256, 0, "1 to 256 characters", 1 },
    { NULL, COUNT, 0, 0, 0, 0, NULL, 0 },
};

static ngx_int_t
tg_check_header(ngx_conf_t *cf, tidegate_check_options *options, const ngx_str_t *value)
{
    u_char *lines = ngx_pnalloc(cf->pool, options->headers_len + value->len + 2), *p = lines;

    if (lines == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(p, options->headers, options->headers_len);
    p = ngx_cpymem(p, value->data, value->len);
    *p++ = '\r';
    *p++ = '\n';
    options->headers = (const char *) lines;
    options->headers_len = p - lines;

    return NGX_OK;
}

static ngx_int_t
tg_check_source(ngx_conf_t *cf, tidegate_check_options *options, const ngx_str_t *value)
{
    ngx_addr_t address;

    if (ngx_parse_addr(cf->pool, &address, value->data, value->len) != NGX_OK) {
        return NGX_ERROR;
    }

    options->source = address.sockaddr;
    options->source_len = address.socklen;

    return NGX_OK;
}

// NGX_ERROR: the value is not one that the key allows.
static ngx_int_t
tg_check_value(ngx_conf_t *cf, const tg_check_key_t *key, tidegate_check_options *options, ngx_str_t *value)
{
    char *field = (char *) options + key->offset;
    ngx_uint_t on = value->len == 2 && ngx_strncmp(value->data, "on", 2) == 0;
    ngx_uint_t off = value->len == 3 && ngx_strncmp(value->data, "off", 3) == 0;
    ngx_int_t n = value->len;

    if (key->kind == ADDRESS) {
        return tg_check_source(cf, options, value);
    }

    if (key->kind == FLAG) {
        *(uint32_t *) field |= on ? key->bit : 0;
        return on || off ? NGX_OK : NGX_ERROR;
    }

    if (key->kind == TIME) {
        n = ngx_parse_time(value, 0);
    } else if (key->kind == COUNT) {
        n = ngx_atoi(value->data, value->len);
    }

    if (n < (ngx_int_t) key->least || n > (ngx_int_t) key->most) {
        return NGX_ERROR;
    }

    switch (key->kind) {

    case TIME:
        *(uint64_t *) field = (uint64_t) n * 1000000;
        break;

    case COUNT:
        *(uint32_t *) field = (uint32_t) n;
        break;

    case HEADER:
        return tg_check_header(cf, options, value);

    default: /* TEXT */
        *(const char **) field = (const char *) value->data;
        *(size_t *) (field + sizeof(char *)) = value->len;
    }

    return NGX_OK;
}

static const tg_check_key_t *
tg_check_key(const ngx_str_t *arg, const u_char *equals)
{
    for (const tg_check_key_t *key = tg_check_keys; key->name != NULL; key++) {
        size_t len = ngx_strlen(key->name);

        if (equals != NULL && len == (size_t) (equals - arg->data) && ngx_strncmp(key->name, arg->data, len) == 0) {
            return key;
        }
    }

    return NULL;
}

char *
tg_directive_check(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    tg_upstream_t *upstream = conf;
    tidegate_check_options *options = &upstream->check;
    ngx_str_t *args = cf->args->elts;
    uint32_t seen = 0;

    if (upstream->check_set) {
        return "is duplicate";
    }

    upstream->check_set = 1;

    if (args[1].len == 3 && ngx_strncmp(args[1].data, "off", 3) == 0) {
        return cf->args->nelts == 2 ? NGX_CONF_OK : "has parameters behind \"off\"";
    }

    if (args[1].len == 4 && ngx_strncmp(args[1].data, "http", 4) == 0) {
        options->check_type = TIDEGATE_CHECK_HTTP;
    } else if (args[1].len == 3 && ngx_strncmp(args[1].data, "tcp", 3) == 0) {
        options->check_type = TIDEGATE_CHECK_TCP;
    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" of \"tidegate_check\": one of http, tcp, off is allowed", &args[1]);
        return NGX_CONF_ERROR;
    }

    upstream->checked = 1;

    for (ngx_uint_t i = 2; i < cf->args->nelts; i++) {
        ngx_str_t *arg = &args[i], value;
        u_char *equals = ngx_strlchr(arg->data, arg->data + arg->len, '=');
        const tg_check_key_t *key = tg_check_key(arg, equals);

        if (key == NULL || (key->http && options->check_type != TIDEGATE_CHECK_HTTP)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "unknown parameter \"%V\" of \"tidegate_check %V\": interval, fast, timeout, rise, fall, "
                               "port, source, proxy_protocol, ssl, ssl_name, on_time are allowed, and for http keepalive, "
                               "method, uri, host, header, status, field, body, each followed by \"=\" and a value",
                               arg, &args[1]);
            return NGX_CONF_ERROR;
        }

        if (key->kind != HEADER && (seen & (1u << (key - tg_check_keys)))) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%s\" is given twice in \"tidegate_check\"", key->name);
            return NGX_CONF_ERROR;
        }

        seen |= 1u << (key - tg_check_keys);
        value.data = equals + 1;
        value.len = arg->data + arg->len - value.data;

        if (tg_check_value(cf, key, options, &value) != NGX_OK) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid value \"%V\" of \"%s\" in \"tidegate_check\": %s is allowed", &value, key->name,
                               key->allowed);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}

// A checker of all upstreams that have checks; NULL if none has.
static tidegate_status
tg_check_new(tg_main_t *main, tidegate_table *table, tidegate_checker **checker)
{
    tg_upstream_t **upstreams = main->upstreams.elts;
    tidegate_status status = TIDEGATE_OK;

    *checker = NULL;

    for (ngx_uint_t i = 0; i < main->upstreams.nelts && status == TIDEGATE_OK; i++) {
        if (!upstreams[i]->checked) {
            continue;
        }

        if (*checker == NULL) {
            status = tidegate_checker_new(table, NULL, checker);
        }

        if (status == TIDEGATE_OK) {
            status = tidegate_checker_set_check(*checker, upstreams[i]->id, &upstreams[i]->check);
        }
    }

    return status;
}

// Whatever the library would refuse, `nginx -t` refuses. The upstreams are those of a table that is thrown away.
tidegate_status
tg_check_try(tg_main_t *main, tidegate_table *table)
{
    tidegate_checker *checker;
    tidegate_status status = tg_check_new(main, table, &checker);

    tidegate_checker_free(checker);

    return status;
}

// Lets go of what checks said of upstreams that have none any more. Every second, because a worker that retires may still
// check by the configuration of before.
void
tg_check_forget(tg_main_t *main)
{
    tg_upstream_t **upstreams = main->upstreams.elts;

    for (ngx_uint_t i = 0; i < main->upstreams.nelts; i++) {
        if (upstreams[i]->declared && !upstreams[i]->checked) {
            (void) tidegate_upstream_forget_checks(main->table, upstreams[i]->id, tg_now());
        }
    }
}

// A worker that can't check goes on without: the others do.
void
tg_check_start(tg_main_t *main, ngx_log_t *log)
{
    tidegate_status status = tg_check_new(main, main->table, &main->checker);

    if (status == TIDEGATE_OK && main->checker != NULL) {
        status = tidegate_checker_start(main->checker);
    }

    if (status != TIDEGATE_OK) {
        char text[240];
        size_t len = 0;

        (void) tidegate_last_error(text, sizeof(text), &len);
        ngx_log_error(NGX_LOG_ERR, log, 0, "tidegate: this worker can't make active checks: %s: %*s",
                      tidegate_strerror(status), ngx_min(len, sizeof(text)), text);
        tg_check_stop(main);
    }
}

void
tg_check_stop(tg_main_t *main)
{
    tidegate_checker_free(main->checker);
    main->checker = NULL;
}
