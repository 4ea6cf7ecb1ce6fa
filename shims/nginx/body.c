// The response's body: its framing is checked as it streams, for nothing can be taken back any more.
//
// nginx's input filters see each piece of the body once, as it came. They are wrapped, and what the validator refuses
// ends the request there: the client's connection is cut, or its stream reset, before any last chunk; nothing is
// cached; the peer is charged. nginx's own reading of chunks is more lenient than the validator's, so a body counts as
// complete only when both say so.
//
// Costs a call for each piece that nginx reads; the bytes themselves are read for chunk framing only.

#include "tidegate_module.h"

static ngx_int_t tg_input_filter_init(void *data);
static ngx_int_t tg_input_filter(void *data, ssize_t bytes);
static ngx_int_t tg_pipe_filter(ngx_event_pipe_t *pipe, ngx_buf_t *buf);

void
tg_body_wrap(tg_request_t *p)
{
    ngx_http_upstream_t *u = p->r->upstream;

    p->input_filter_init = u->input_filter_init;
    u->input_filter_init = tg_input_filter_init;
}

// nginx chooses its filters here, once a response goes to the client.
static ngx_int_t
tg_input_filter_init(void *data)
{
    ngx_http_request_t *r = data;
    ngx_http_upstream_t *u = r->upstream;
    tg_request_t *p = tg_request(r);
    ngx_int_t rc = p->input_filter_init(data);

    if (rc != NGX_OK || !p->validate || p->complete) {
        return rc;
    }

    p->input_filter = u->input_filter;
    u->input_filter = tg_input_filter;

    if (u->pipe != NULL) {
        p->pipe_filter = u->pipe->input_filter;
        u->pipe->input_filter = tg_pipe_filter;
    }

    return NGX_OK;
}

// Judges a piece of the body, apart from what was judged with the head.
static ngx_int_t
tg_body_feed(tg_request_t *p, const u_char *data, size_t len)
{
    tidegate_verdict verdict = TIDEGATE_VERDICT_INIT;
    size_t judged = ngx_min(p->fed, len);
    tidegate_status status;

    p->fed -= judged;
    data += judged;
    len -= judged;

    if (len == 0 || !p->validate) {
        return NGX_OK;
    }

    status = tidegate_validator_feed(&p->validator, (const char *) data, len, &verdict);
    if (status != TIDEGATE_OK) {
        tg_broken(p, status, "validator_feed");
        return NGX_OK;
    }

    if (verdict.event == TIDEGATE_VERDICT_REJECT) {
        tg_head_reject(p, &verdict);
        return NGX_ERROR;
    }

    tg_tolerate_note(p, &verdict);

    if (verdict.event == TIDEGATE_VERDICT_COMPLETE) {
        tg_head_complete(p, &verdict);
    }

    return NGX_OK;
}

// nginx takes the body for complete and would end the client's response so.
static ngx_int_t
tg_body_end(tg_request_t *p)
{
    if (p->complete || !p->validate) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_ERR, p->r->connection->log, 0, "upstream sent an incomplete response");
    p->cause = TIDEGATE_CAUSE_HTTP_RESPONSE_TRANSFER_CODING;

    return NGX_ERROR;
}

static ngx_int_t
tg_input_filter(void *data, ssize_t bytes)
{
    ngx_http_request_t *r = data;
    ngx_http_upstream_t *u = r->upstream;
    tg_request_t *p = tg_request(r);

    if (tg_body_feed(p, u->buffer.last, (size_t) bytes) != NGX_OK
        || p->input_filter(data, bytes) == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    return u->length == 0 ? tg_body_end(p) : NGX_OK;
}

static ngx_int_t
tg_pipe_filter(ngx_event_pipe_t *pipe, ngx_buf_t *buf)
{
    tg_request_t *p = tg_request(pipe->input_ctx);

    if (tg_body_feed(p, buf->pos, buf->last - buf->pos) != NGX_OK || p->pipe_filter(pipe, buf) == NGX_ERROR) {
        return NGX_ERROR;
    }

    return pipe->length == 0 || pipe->upstream_done ? tg_body_end(p) : NGX_OK;
}

// The response ends, by this code of nginx's, and the connections to client and peer are about to be let go.
void
tg_body_finish(tg_request_t *p, ngx_int_t rc)
{
    ngx_http_request_t *r = p->r;
    ngx_http_upstream_t *u = r->upstream;
    ngx_connection_t *client = r->connection;
    struct linger now = { .l_onoff = 1, .l_linger = 0 };

    // Bytes behind the end would be taken for the next response. nginx doesn't look for them where it expects no body.
    if (p->validate && p->head_done && !p->reusable) {
        u->keepalive = 0;
    }

    if ((rc != NGX_ERROR && rc < NGX_HTTP_SPECIAL_RESPONSE) || !r->header_sent || r->header_only || r->background
        || u->upgrade || client->error)
    {
        return;
    }

    if (r->main->http_version < NGX_HTTP_VERSION_20 && !r->main->chunked
        && r->main->headers_out.content_length_n == -1)
    {
        // A body that ends with the connection has no other sign of a cut than a reset.
        (void) setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));

    } else if (r == r->main) {
        return;
    }

    // Or nginx would close it in good order first, and end a response that lacks a part of a subrequest's as whole.
    client->error = 1;
    p->cut = 1;
}
