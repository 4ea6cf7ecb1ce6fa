// Hold-back: a response is kept until it is complete, or until it is time to let it go.
//
// nginx sends the head on as soon as process_header says OK. While it says AGAIN, nginx reads on into u->buffer, and
// whatever fails meanwhile can still fail over. How much and how long is the library's advice; where there is no such
// advice nothing here costs anything. The buffer grows only for a response that is held, which is why that waits until
// after the head: nginx's parser has copied what it needs of it.
//
// nginx looks at what it has only after a read. So when the time is up and nothing has come, the last byte is read once
// more, by a recv() of our own.

#include "tidegate_module.h"

// What the library allows.
#define MOST_HELD (16u << 20)

static void tg_hold_over(ngx_event_t *ev);

// `size [time]` or `off`, in an upstream: the policy. Where there is no such directive the library's defaults hold.
char *
tg_directive_hold(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    tidegate_upstream_options *options = &((tg_upstream_t *) conf)->options;
    ngx_str_t *args = cf->args->elts;
    ssize_t size;
    ngx_int_t time;

    if (options->hold_bytes != 0) {
        return "is duplicate";
    }

    if (cf->args->nelts == 2 && args[1].len == 3 && ngx_strncmp(args[1].data, "off", 3) == 0) {
        options->hold_bytes = TIDEGATE_HOLD_OFF;
        return NGX_CONF_OK;
    }

    size = ngx_parse_size(&args[1]);

    if (size < 1 || size > (ssize_t) MOST_HELD) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" of \"tidegate_hold_back\": a size from 1 to 16m, or \"off\" alone, is "
                           "allowed", &args[1]);
        return NGX_CONF_ERROR;
    }

    if (cf->args->nelts == 3) {
        time = ngx_parse_time(&args[2], 0);

        if (time < 1 || time > 60000) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid value \"%V\" of \"tidegate_hold_back\": a time from 1ms to 1m is allowed",
                               &args[2]);
            return NGX_CONF_ERROR;
        }

        options->hold_ns = (uint64_t) time * 1000000;
    }

    options->hold_bytes = (uint32_t) size;

    return NGX_CONF_OK;
}

// Makes room for the rest of the body, or for more of it. NGX_DECLINED: there is no memory.
static ngx_int_t
tg_hold_grow(tg_request_t *p)
{
    ngx_buf_t *b = &p->r->upstream->buffer;
    size_t before = b->pos - b->start, filled = b->last - b->start, held = b->last - b->pos;
    // Of a chunked body nobody knows how long it will be.
    size_t body = p->framing == TIDEGATE_FRAMING_LENGTH ? (size_t) p->content_length
                  : b->last == b->end                   ? ngx_min(ngx_max(2 * held, 4096), p->decision.hold_bytes)
                                                        : held;
    // One byte more than is held: nginx takes a full buffer for a head that is too big.
    size_t size = before + body + 1;
    u_char *start;

    if (size <= (size_t) (b->end - b->start)) {
        return NGX_OK;
    }

    start = ngx_palloc(p->r->pool, size);
    if (start == NULL) {
        return NGX_DECLINED;
    }

    ngx_memcpy(start, b->start, filled);

    if (p->buffer_start == NULL) {
        p->buffer_start = b->start;
        p->buffer_end = b->end;
    } else {
        ngx_pfree(p->r->pool, b->start);
    }

    b->start = start;
    b->pos = start + before;
    b->last = start + filled;
    b->end = start + size;

    return NGX_OK;
}

// The next attempt begins with the operator's buffer: proxy_buffer_size bounds its head too.
void
tg_hold_reinit(tg_request_t *p)
{
    ngx_buf_t *b = &p->r->upstream->buffer;

    if (p->buffer_start != NULL) {
        ngx_pfree(p->r->pool, b->start);
        b->start = p->buffer_start;
        b->end = p->buffer_end;
        p->buffer_start = NULL;
    }
}

void
tg_hold_end(tg_request_t *p)
{
    p->holding = 0;

    if (p->hold.timer_set) {
        ngx_del_timer(&p->hold);
    }
}

static ngx_int_t
tg_hold_release(tg_request_t *p)
{
    ngx_buf_t *b = &p->r->upstream->buffer;

    tg_hold_end(p);

    if (p->buffer_start != NULL) {
        // With buffering nginx passes a buffer on when it is full: this one is, or is no larger than the operator's.
        b->end = b->last != b->pos ? b->last : ngx_min(b->end, b->last + (p->buffer_end - p->buffer_start));
        // And it would wait for ever to send a buffer that is larger than all that it may have under way.
        p->conf.busy_buffers_size = ngx_max(p->conf.busy_buffers_size,
                                            (size_t) (b->end - b->start) + p->conf.bufs.size);
    }

    p->delivered = 1;

    return NGX_OK;
}

// The head was judged good. NGX_OK: let the response go. NGX_AGAIN: read on.
ngx_int_t
tg_hold_begin(tg_request_t *p)
{
    ngx_http_request_t *r = p->r;
    ngx_http_upstream_t *u = r->upstream;
    ngx_buf_t *b = &u->buffer;
    tg_location_t *location = ngx_http_get_module_loc_conf(r, ngx_http_tidegate_module);
    size_t held = b->last - b->pos;

    if (held >= p->decision.hold_bytes || !location->hold) {
        return tg_hold_release(p);
    }

    if (tg_hold_grow(p) != NGX_OK) {
        return tg_hold_release(p);
    }

    p->holding = 1;
    p->let_go = 0;
    p->hold.handler = tg_hold_over;
    p->hold.data = p;
    p->hold.log = r->connection->log;
    ngx_add_timer(&p->hold, (ngx_msec_t) ((p->decision.hold_ns + 999999) / 1000000));

    // From here on it is the body that is waited for, which has its time from each read on.
    ngx_add_timer(u->peer.connection->read, p->conf.read_timeout);

    return NGX_AGAIN;
}

// More has come, and was judged; or the time is up.
ngx_int_t
tg_hold_step(tg_request_t *p)
{
    ngx_buf_t *b = &p->r->upstream->buffer;
    size_t held = b->last - b->pos;

    if (p->complete || p->let_go || p->broken || held >= p->decision.hold_bytes || tg_hold_grow(p) != NGX_OK) {
        return tg_hold_release(p);
    }

    ngx_add_timer(p->r->upstream->peer.connection->read, p->conf.read_timeout);

    return NGX_AGAIN;
}

// Gives the byte that stands behind u->buffer.last already.
static ssize_t
tg_hold_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    tg_request_t *p = tg_request(c->data);

    c->recv = p->recv;

    return 1;
}

static void
tg_hold_over(ngx_event_t *ev)
{
    tg_request_t *p = ev->data;
    ngx_http_request_t *r = p->r;
    ngx_http_upstream_t *u = r->upstream;
    ngx_connection_t *c = u->peer.connection;

    ngx_http_set_log_request(r->connection->log, r);

    p->let_go = 1;
    p->recv = c->recv;
    c->recv = tg_hold_recv;
    u->buffer.last--;
    u->state->bytes_received--;

    c->read->handler(c->read);
}
