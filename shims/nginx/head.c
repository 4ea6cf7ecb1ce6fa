// The response's head: read strictly, judged, and only then parsed by nginx.
//
// u->process_header is wrapped. It sees the raw bytes after each read; nginx's own parser is called once a whole
// final head has passed the validator. Interim responses (1xx) are taken out of the buffer, since nginx would take
// one for the final response. Body bytes that came with the head are checked too: nothing has been delivered yet, so
// a body that is broken there can still fail over.
//
// Only proxy_pass is validated: FastCGI, uwsgi, SCGI and gRPC frame their responses otherwise. Their status is judged.

#include "tidegate_module.h"

static ngx_int_t tg_process_header(ngx_http_request_t *r);
static ngx_int_t tg_reinit_request(ngx_http_request_t *r);
static void tg_finalize_request(ngx_http_request_t *r, ngx_int_t rc);

static ngx_uint_t
tg_is_proxy(const tg_request_t *p)
{
    return p->original->module.len == 5 && ngx_strncmp(p->original->module.data, "proxy", 5) == 0;
}

void
tg_head_wrap(tg_request_t *p)
{
    ngx_http_upstream_t *u = p->r->upstream;

    p->process_header = u->process_header;
    p->reinit_request = u->reinit_request;
    p->finalize_request = u->finalize_request;
    u->process_header = tg_process_header;
    u->reinit_request = tg_reinit_request;
    u->finalize_request = tg_finalize_request;

    if (tg_is_proxy(p)) {
        tg_body_wrap(p);
    }
}

// The method that is sent, which proxy_method may have changed: the request line's first word.
static uint32_t
tg_head_method(ngx_http_upstream_t *u)
{
    ngx_buf_t *b = u->request_bufs != NULL ? u->request_bufs->buf : NULL;
    u_char *space = b != NULL && ngx_buf_in_memory(b) ? ngx_strlchr(b->start, b->last, ' ') : NULL;

    return space != NULL ? tidegate_method_parse((char *) b->start, space - b->start) : TIDEGATE_METHOD_GET;
}

// Before each attempt.
void
tg_head_start(tg_request_t *p)
{
    ngx_http_upstream_t *u = p->r->upstream;
    ngx_table_elt_t *upgrade = p->r->headers_in.upgrade;
    tidegate_validator_options options = TIDEGATE_VALIDATOR_OPTIONS_INIT;
    tidegate_status status;

    p->fed = 0;
    p->cause = TIDEGATE_CAUSE_NONE;
    p->reason = 0;
    p->head_seen = 0;
    p->head_done = 0;
    p->complete = 0;
    p->reusable = 0;
    p->framing = 0;
    p->tolerated = 0;
    p->delivered = 0;
    p->validate = tg_is_proxy(p);

    if (!p->validate) {
        return;
    }

    options.flags = TIDEGATE_VALIDATOR_NO_DATA;
    options.method = tg_head_method(u);
    tg_judge_options(p, &options);

    if (upgrade != NULL && upgrade->value.len <= 64) {
        options.upgrade = (char *) upgrade->value.data;
        options.upgrade_len = upgrade->value.len;
    }

    status = tidegate_validator_start(&p->validator, &options);
    if (status != TIDEGATE_OK) {
        ngx_log_error(NGX_LOG_ERR, p->r->connection->log, 0, "tidegate: validator_start failed: %s",
                      tidegate_strerror(status));
        p->validate = 0;
    }
}

ngx_int_t
tg_head_reject(tg_request_t *p, const tidegate_verdict *verdict)
{
    ngx_log_error(NGX_LOG_ERR, p->r->connection->log, 0,
                  "upstream sent an invalid response: %s (%s) at byte %uL", tidegate_reason_name(verdict->reason),
                  tidegate_reason_clause(verdict->reason), verdict->offset);

    p->cause = verdict->cause;
    p->reason = verdict->reason;

    return NGX_HTTP_UPSTREAM_INVALID_HEADER;
}

void
tg_head_complete(tg_request_t *p, const tidegate_verdict *verdict)
{
    tg_tolerate_note(p, verdict);
    p->complete = 1;
    p->reusable = (verdict->flags & TIDEGATE_VERDICT_FLAG_REUSABLE) != 0;
}

// Judges what came since the last call. NGX_OK: a final head is complete. NGX_AGAIN: it is not.
static ngx_int_t
tg_head_validate(tg_request_t *p)
{
    ngx_buf_t *b = &p->r->upstream->buffer;
    u_char *base = b->pos;
    tidegate_verdict verdict = TIDEGATE_VERDICT_INIT;
    tidegate_status status;

    for ( ;; ) {
        u_char *data = base + p->fed;

        status = tidegate_validator_feed(&p->validator, (char *) data, b->last - data, &verdict);
        if (status != TIDEGATE_OK) {
            tg_broken(p, status, "validator_feed");
            return NGX_OK;
        }

        p->fed += verdict.consumed;

        switch (verdict.event) {

        case TIDEGATE_VERDICT_REJECT:
            return tg_head_reject(p, &verdict);

        case TIDEGATE_VERDICT_INTERIM:
            // It gives its room back, so that interim heads don't count against proxy_buffer_size.
            b->last = ngx_movemem(base, base + p->fed, b->last - base - p->fed);
            p->fed = 0;
            break;

        case TIDEGATE_VERDICT_HEAD:
            p->head_seen = 1;
            p->framing = verdict.framing;
            p->content_length = verdict.content_length;

            if (tg_tolerate_head(p, &verdict) != NGX_OK) {
                return NGX_HTTP_UPSTREAM_INVALID_HEADER;
            }
            break;

        case TIDEGATE_VERDICT_COMPLETE:
            tg_head_complete(p, &verdict);
            return NGX_OK;

        default: /* NEED_MORE */
            return p->head_seen ? NGX_OK : NGX_AGAIN;
        }
    }
}

// The seconds of Retry-After; 0 if there is none.
static uint32_t
tg_head_retry_after(const ngx_http_upstream_headers_in_t *headers)
{
    for (const ngx_list_part_t *part = &headers->headers.part; part != NULL; part = part->next) {
        const ngx_table_elt_t *field = part->elts;

        for (ngx_uint_t i = 0; i < part->nelts; i++) {
            if (field[i].key.len == sizeof("retry-after") - 1
                && ngx_strncmp(field[i].lowcase_key, "retry-after", sizeof("retry-after") - 1) == 0)
            {
                return tidegate_retry_after_parse((char *) field[i].value.data, field[i].value.len, ngx_time());
            }
        }
    }

    return 0;
}

// Asks what to do with the response's status.
static ngx_int_t
tg_head_judge(tg_request_t *p)
{
    ngx_http_upstream_t *u = p->r->upstream;
    tidegate_outcome outcome = TIDEGATE_OUTCOME_INIT;
    tidegate_decision decision = TIDEGATE_DECISION_INIT;
    tidegate_status status;
    uint64_t now = tg_now();

    p->head_ns = now - p->picked_ns;

    outcome.phase = TIDEGATE_PHASE_HEAD;
    outcome.flags = tg_outcome_flags(p, &u->peer);
    outcome.status = (uint32_t) u->headers_in.status_n;
    outcome.head_ns = p->head_ns;
    outcome.total_ns = p->head_ns;

    if (outcome.status == NGX_HTTP_SERVICE_UNAVAILABLE || outcome.status == NGX_HTTP_TOO_MANY_REQUESTS) {
        outcome.retry_after_s = tg_head_retry_after(&u->headers_in);
    }

    // What is complete already needs no hold-back.
    if (!p->complete) {
        outcome.framing = p->framing;
        outcome.content_length = p->content_length;
    }

    if (u->headers_in.content_type != NULL) {
        outcome.content_type = (char *) u->headers_in.content_type->value.data;
        outcome.content_type_len = u->headers_in.content_type->value.len;
    }

    if (!u->peer.cached && u->state->connect_time != (ngx_msec_t) -1) {
        outcome.connect_ns = (uint64_t) ngx_max(u->state->connect_time, 1) * 1000000;
    }

    status = tidegate_request_head(&p->request, &outcome, now, &decision);
    if (status != TIDEGATE_OK) {
        tg_broken(p, status, "request_head");
        return NGX_OK;
    }

    // The connection works: keepalive may store it, under the length that it will look for.
    u->peer.socklen = p->address->socklen;

    if (decision.verdict == TIDEGATE_DECISION_DELIVER) {
        p->decision = decision;
        p->head_done = 1;
        tg_patience_end(p);
        return tg_hold_begin(p);
    }

    p->open = 0;
    tg_queue_wake(p->upstream);
    tg_follow(p, &decision, NGX_HTTP_BAD_GATEWAY);

    // nginx's own test of the status makes the retry, and keeps the status for $upstream_status.
    return decision.verdict == TIDEGATE_DECISION_RETRY && !p->r->request_body_no_buffering
               ? NGX_OK
               : NGX_HTTP_UPSTREAM_INVALID_HEADER;
}

static ngx_int_t
tg_process_header(ngx_http_request_t *r)
{
    tg_request_t *p = tg_request(r);
    ngx_http_upstream_t *u = r->upstream;
    ngx_uint_t version = r->http_version;
    ngx_int_t rc = NGX_OK;

    // A stored response, or one that round robin fetched, is nginx's business.
    if (r->cached || !p->open) {
        p->validate = 0;
    }

    if (p->holding) {
        rc = p->let_go ? NGX_OK : tg_head_validate(p);
        return rc == NGX_OK ? tg_hold_step(p) : rc;
    }

    if (p->validate && !p->head_seen) {
        rc = tg_head_validate(p);
    }

    if (rc == NGX_OK) {
        u_char *head = u->buffer.pos;

        rc = p->process_header(r);

        if (rc == NGX_OK) {
            // What is left of it is body.
            p->fed -= ngx_min(p->fed, (size_t) (u->buffer.pos - head));
        }

        // proxy's parser puts its second half in its own place.
        if (u->process_header != tg_process_header) {
            p->process_header = u->process_header;
            u->process_header = tg_process_header;
        }

        if (rc == NGX_HTTP_UPSTREAM_INVALID_HEADER) {
            p->cause = TIDEGATE_CAUSE_HTTP_PROTOCOL_ERROR;
        }
    }

    if (rc == NGX_AGAIN && u->buffer.last == u->buffer.end) {
        // nginx refuses it now, after this call.
        p->cause = TIDEGATE_CAUSE_HTTP_RESPONSE_HEADER_SECTION_SIZE;
    }

    if (rc != NGX_OK || r->cached || !p->open) {
        return rc;
    }

    if (u->headers_in.status_n == 0) {
        // nginx took it for HTTP/0.9 and changed the client's version by it.
        r->http_version = version;
        p->cause = TIDEGATE_CAUSE_HTTP_PROTOCOL_ERROR;
        return NGX_HTTP_UPSTREAM_INVALID_HEADER;
    }

    return tg_head_judge(p);
}

// Runs before each attempt that follows a sent request; nginx's function puts its own parser back.
static ngx_int_t
tg_reinit_request(ngx_http_request_t *r)
{
    tg_request_t *p = tg_request(r);
    ngx_http_upstream_t *u = r->upstream;
    ngx_int_t rc = p->reinit_request(r);

    tg_hold_reinit(p);

    if (u->process_header != tg_process_header) {
        p->process_header = u->process_header;
        u->process_header = tg_process_header;
    }

    return rc;
}

static void
tg_finalize_request(ngx_http_request_t *r, ngx_int_t rc)
{
    tg_request_t *p = tg_request(r);

    p->rc = rc;

    if (p->queued) {
        tg_queue_leave(p);
        tidegate_request_end(&p->request, tg_now());
        tg_queue_wake(p->upstream);
    }

    tg_pause_end(p);
    tg_body_finish(p, rc);
    p->finalize_request(r, rc);
}
