// The true cause of an attempt's end, read from what nginx left behind.
//
// free() is told no more than "failed" or not. The events' flags, the phase and the counters say the rest; the order
// of the tests matters, since later flags may be set by nginx's own closing. Two things can't be seen: the errno of a
// failed asynchronous connect, which nginx's own test consumes (it reads as a refusal, which it nearly always is),
// and whether TLS failed by an alert.

#include "tidegate_module.h"

uint32_t
tg_outcome_flags(tg_request_t *p, ngx_peer_connection_t *pc)
{
    ngx_http_upstream_t *u = p->r->upstream;
    ngx_connection_t *c = pc->connection;
    uint32_t flags = 0;

    if (pc->cached) {
        flags |= TIDEGATE_OUTCOME_REUSED;
    }

    // request_sent is set when nginx is about to write; without a connection it is the former attempt's.
    if (c == NULL ? u->state->bytes_sent > 0 || u->state->bytes_received > 0 : u->request_sent && c->sent > 0) {
        flags |= TIDEGATE_OUTCOME_SENT;
    }

    if (u->state->bytes_received > 0) {
        flags |= TIDEGATE_OUTCOME_RECEIVED;
    }

    if (p->r->header_sent) {
        flags |= TIDEGATE_OUTCOME_DELIVERED;
    }

    return flags;
}

// connect() failed at once; nginx has closed the socket and left errno.
static uint32_t
tg_cause_connect(int error)
{
    switch (error) {

    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EADDRNOTAVAIL:
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
    case EAGAIN:
        return tidegate_cause_from_errno(error, TIDEGATE_PHASE_CONNECT, 0);

    default:
        return TIDEGATE_CAUSE_CONNECTION_REFUSED;
    }
}

// An attempt that ended before its response was accepted.
static void
tg_outcome_failed(tg_request_t *p, ngx_peer_connection_t *pc, int error, tidegate_outcome *o)
{
    ngx_http_upstream_t *u = p->r->upstream;
    ngx_connection_t *c = pc->connection;
    ngx_uint_t received = o->flags & TIDEGATE_OUTCOME_RECEIVED;

    if (p->cause != TIDEGATE_CAUSE_NONE) {
        o->cause = p->cause;
        o->reason = p->reason;
        o->phase = p->head_seen ? TIDEGATE_PHASE_BODY : TIDEGATE_PHASE_HEAD;

    } else if (c == NULL) {
        o->cause = tg_cause_connect(error);
        o->phase = TIDEGATE_PHASE_CONNECT;

#if (NGX_HTTP_SSL)
    } else if (c->ssl != NULL && !c->ssl->handshaked) {
        o->cause = c->write->timedout ? TIDEGATE_CAUSE_CONNECTION_TIMEOUT : TIDEGATE_CAUSE_TLS_PROTOCOL_ERROR;
        o->phase = TIDEGATE_PHASE_TLS;

    } else if (c->ssl != NULL && !u->request_sent) {
        // nginx refused the peer after a complete handshake: its certificate did not pass.
        o->cause = TIDEGATE_CAUSE_TLS_CERTIFICATE_ERROR;
        o->phase = TIDEGATE_PHASE_TLS;
#endif

    } else if (!u->request_sent) {
        o->cause = c->write->timedout ? TIDEGATE_CAUSE_CONNECTION_TIMEOUT : TIDEGATE_CAUSE_CONNECTION_REFUSED;
        o->phase = TIDEGATE_PHASE_CONNECT;

    } else if (c->write->timedout) {
        o->cause = TIDEGATE_CAUSE_CONNECTION_WRITE_TIMEOUT;
        o->phase = TIDEGATE_PHASE_SEND;

    } else {
        o->phase = u->request_body_sent ? TIDEGATE_PHASE_HEAD : TIDEGATE_PHASE_SEND;

        if (c->read->timedout) {
            o->cause = TIDEGATE_CAUSE_CONNECTION_READ_TIMEOUT;
        } else if (received) {
            o->cause = TIDEGATE_CAUSE_HTTP_RESPONSE_INCOMPLETE;
        } else if (pc->cached) {
            o->cause = TIDEGATE_CAUSE_CONNECTION_REUSED_CLOSED;
        } else {
            o->cause = TIDEGATE_CAUSE_CONNECTION_TERMINATED;
        }
    }
}

// The request was finalised: a success, the client's fault, or a body that broke off.
static void
tg_outcome_final(tg_request_t *p, ngx_peer_connection_t *pc, tidegate_outcome *o)
{
    ngx_http_request_t *r = p->r;
    ngx_http_upstream_t *u = r->upstream;
    ngx_connection_t *c = pc->connection;
    ngx_uint_t client = (r->connection->error && !p->cut) || (u->pipe != NULL && u->pipe->downstream_error);

    o->phase = TIDEGATE_PHASE_DONE;

    if (!p->head_done) {
        // No head was accepted and no peer failed: the client went, or this machine ran out of something.
        o->cause = p->rc == NGX_HTTP_INTERNAL_SERVER_ERROR ? TIDEGATE_CAUSE_LOCAL_FAULT : TIDEGATE_CAUSE_CLIENT_CLOSED;
        o->phase = TIDEGATE_PHASE_CONNECT;

    } else if (u->upgrade || !r->header_sent || p->rc == NGX_OK || p->rc == NGX_DECLINED) {
        // Accepted, and then ended as asked: complete, redirected by X-Accel-Redirect, replaced by an error_page. A
        // tunnel has no end that would be early.
        return;

    } else if (p->cause != TIDEGATE_CAUSE_NONE) {
        // The body was refused as it streamed.
        o->cause = p->cause;
        o->reason = p->reason;
        o->phase = TIDEGATE_PHASE_BODY;

    } else if (client || p->rc == NGX_DONE || p->rc == NGX_HTTP_CLIENT_CLOSED_REQUEST
               || p->rc == NGX_HTTP_REQUEST_TIME_OUT)
    {
        o->cause = TIDEGATE_CAUSE_CLIENT_CLOSED;

    } else if (c != NULL && c->read->timedout) {
        o->cause = TIDEGATE_CAUSE_CONNECTION_READ_TIMEOUT;
        o->phase = TIDEGATE_PHASE_BODY;

    } else if (p->rc == NGX_HTTP_BAD_GATEWAY) {
        o->cause = TIDEGATE_CAUSE_HTTP_RESPONSE_INCOMPLETE;
        o->phase = TIDEGATE_PHASE_BODY;

    } else if (p->rc == NGX_ERROR && u->headers_in.chunked) {
        o->cause = TIDEGATE_CAUSE_HTTP_RESPONSE_TRANSFER_CODING;
        o->phase = TIDEGATE_PHASE_BODY;
    }
}

// Fills in the outcome of the open attempt. Returns the status that nginx itself would answer with.
ngx_uint_t
tg_outcome(tg_request_t *p, ngx_peer_connection_t *pc, ngx_uint_t state, int error, uint64_t now,
           tidegate_outcome *o)
{
    ngx_http_upstream_t *u = p->r->upstream;
    ngx_connection_t *c = pc->connection;

    o->flags = tg_outcome_flags(p, pc);
    o->total_ns = now - p->picked_ns;

    if (state != 0) {
        tg_outcome_failed(p, pc, error, o);
    } else {
        tg_outcome_final(p, pc, o);
    }

    if (p->head_done) {
        o->status = (uint32_t) u->headers_in.status_n;
        o->head_ns = p->head_ns;
    }

    if (!pc->cached && u->state->connect_time != (ngx_msec_t) -1) {
        o->connect_ns = (uint64_t) u->state->connect_time * 1000000;
    }

    if (state == 0) {
        return (ngx_uint_t) p->rc;
    }

    return c != NULL && (c->read->timedout || c->write->timedout) ? NGX_HTTP_GATEWAY_TIME_OUT : NGX_HTTP_BAD_GATEWAY;
}
