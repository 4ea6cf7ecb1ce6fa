// What the policy let through: rewritten before nginx reads it, and remembered for $tidegate_tolerated.
//
// nginx's parser is neither as lenient as a policy can be nor lenient in the same places, and it would pass control
// characters on. So a head that was tolerated is replaced, in nginx's own buffer, by the one that the library writes:
// the strictest form of the same. What nginx then sends to the client it composes from that. Chunks need no such care:
// nginx takes the framing off and puts its own on.

#include "tidegate_module.h"

// The first thing that a strict reader would have refused.
void
tg_tolerate_note(tg_request_t *p, const tidegate_verdict *verdict)
{
    if (verdict->tolerated == TIDEGATE_REASON_NONE || p->tolerated != TIDEGATE_REASON_NONE) {
        return;
    }

    p->tolerated = verdict->tolerated;
    ngx_log_error(NGX_LOG_INFO, p->r->connection->log, 0,
                  "tidegate: tolerated in the upstream's response: %s (%s) at byte %uL",
                  tidegate_reason_name(verdict->tolerated), tidegate_reason_clause(verdict->tolerated),
                  verdict->tolerated_offset);
}

// The final head has passed; it takes the first `p->fed` bytes of the buffer.
ngx_int_t
tg_tolerate_head(tg_request_t *p, const tidegate_verdict *verdict)
{
    ngx_buf_t *b = &p->r->upstream->buffer;
    size_t head = p->fed, behind = b->last - b->pos - head, len = 0;
    size_t cap = 2 * head + 16;
    u_char *strict;

    tg_tolerate_note(p, verdict);

    // Of a 101 the fields that name the protocol have to stay, which a rewritten head does not have.
    if (!(verdict->flags & TIDEGATE_VERDICT_FLAG_NORMALISE) || verdict->status == NGX_HTTP_SWITCHING_PROTOCOLS) {
        return NGX_OK;
    }

    strict = ngx_pnalloc(p->r->pool, cap);

    if (strict == NULL
        || tidegate_head_rewrite((char *) b->pos, head, (char *) strict, cap, &len) != TIDEGATE_OK
        || len + behind > (size_t) (b->end - b->pos))
    {
        ngx_log_error(NGX_LOG_ERR, p->r->connection->log, 0,
                      "upstream sent a head that does not fit the buffer in its strict form");
        p->cause = TIDEGATE_CAUSE_HTTP_RESPONSE_HEADER_SECTION_SIZE;
        return NGX_ERROR;
    }

    ngx_memmove(b->pos + len, b->pos + head, behind);
    ngx_memcpy(b->pos, strict, len);
    b->last = b->pos + len + behind;
    p->fed = len;

    return NGX_OK;
}
