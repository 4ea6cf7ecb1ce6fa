// A strict parser of HTTP/1.x requests, incremental at any cut (RFC 9112 sections 2 to 7, RFC 9110 sections 5 and 7).
//
// Strict means: where two readers could disagree on where a request ends or whom it is for, it is refused and the
// connection ends. No bare CR or LF, no folded lines, no space before a colon, one Host, one Content-Length, never
// together with Transfer-Encoding, no coding but chunked. Linear in the bytes; one copy of the head.
#ifndef PROXY_REQUEST_H
#define PROXY_REQUEST_H

#include "buffer.h"

#include <stdint.h>

enum { REQUEST_MAX_HEAD = 32 * 1024, REQUEST_MAX_LINE = 8 * 1024, REQUEST_MAX_FIELDS = 100 };

// A piece of the head, by position: the buffer may move.
struct span {
    uint32_t at, len;
};

struct field {
    struct span name, value;
};

enum parsed { PARSED_MORE, PARSED_DONE, PARSED_BAD };

struct request {
    struct buffer head;
    struct span method, target, host;
    struct field fields[REQUEST_MAX_FIELDS];
    size_t field_count;
    unsigned minor;     // HTTP/1.minor
    bool keep_alive;    // what the client wants
    bool has_length;    // Content-Length was there
    bool chunked;
    bool expect;        // 100-continue
    bool upgrade;       // another protocol is asked for
    uint64_t length;    // Content-Length
    int refused;        // PARSED_BAD: the status that says why

    size_t scanned, line;  // head: bytes looked at, start of the current line
    bool skipped;          // one empty line before the head was passed over
    int state;             // body: where in the chunked coding
    uint64_t left;         // body: bytes left of it or of the chunk
    size_t overhead;       // body: bytes of extensions and trailers so far
    size_t column;         // body: bytes in this trailer line, digits in this chunk size
};

// Forgets the last request; buffers are kept.
void request_reset(struct request *);
void request_free(struct request *);

// Takes the head from `in`. DONE: all fields above are set and `in` begins with the body.
enum parsed request_read_head(struct request *, struct buffer *in);

// Decodes body bytes from `in` to `body` while that holds less than `limit`. DONE: the request is complete.
enum parsed request_read_body(struct request *, struct buffer *in, struct buffer *body, size_t limit);

static inline const char *request_text(const struct request *r, struct span s) {
    return buffer_bytes(&r->head) + s.at;
}
// The first field of this (lower-case) name, or NULL.
const struct field *request_field(const struct request *, const char *name);

// Words that both directions need. Names are compared without regard to case.
bool name_is(const char *name, size_t len, const char *lower);
bool is_token(const char *text, size_t len);
// Takes the next element off a comma-separated list; false at its end.
bool list_next(const char **list, size_t *len, const char **item, size_t *item_len);

#endif
