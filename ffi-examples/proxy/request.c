#include "request.h"

#include <string.h>

enum { MAX_OVERHEAD = 16 * 1024 };

// A character's classes in one table: 1 may stand in a token, 2 in a request target, 4 in a Host value.
static const unsigned char classes[128] = {
    ['!'] = 7, ['#'] = 1, ['$'] = 7, ['%'] = 7, ['&'] = 7, ['\''] = 7, ['('] = 6, [')'] = 6, ['*'] = 7, ['+'] = 7,
    [','] = 6, ['-'] = 7, ['.'] = 7, ['/'] = 2, ['0'] = 7, ['1'] = 7, ['2'] = 7, ['3'] = 7, ['4'] = 7, ['5'] = 7,
    ['6'] = 7, ['7'] = 7, ['8'] = 7, ['9'] = 7, [':'] = 6, [';'] = 6, ['='] = 6, ['?'] = 2, ['@'] = 2, ['A'] = 7,
    ['B'] = 7, ['C'] = 7, ['D'] = 7, ['E'] = 7, ['F'] = 7, ['G'] = 7, ['H'] = 7, ['I'] = 7, ['J'] = 7, ['K'] = 7,
    ['L'] = 7, ['M'] = 7, ['N'] = 7, ['O'] = 7, ['P'] = 7, ['Q'] = 7, ['R'] = 7, ['S'] = 7, ['T'] = 7, ['U'] = 7,
    ['V'] = 7, ['W'] = 7, ['X'] = 7, ['Y'] = 7, ['Z'] = 7, ['['] = 6, [']'] = 6, ['^'] = 1, ['_'] = 7, ['`'] = 1,
    ['a'] = 7, ['b'] = 7, ['c'] = 7, ['d'] = 7, ['e'] = 7, ['f'] = 7, ['g'] = 7, ['h'] = 7, ['i'] = 7, ['j'] = 7,
    ['k'] = 7, ['l'] = 7, ['m'] = 7, ['n'] = 7, ['o'] = 7, ['p'] = 7, ['q'] = 7, ['r'] = 7, ['s'] = 7, ['t'] = 7,
    ['u'] = 7, ['v'] = 7, ['w'] = 7, ['x'] = 7, ['y'] = 7, ['z'] = 7, ['|'] = 1, ['~'] = 7,
};
enum { TOKEN = 1, TARGET = 2, HOST = 4 };

static bool all(const char *text, size_t len, int class) {
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 128 || !(classes[c] & class)) return false;
    }
    return true;
}

bool is_token(const char *text, size_t len) { return len && all(text, len, TOKEN); }

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }

bool name_is(const char *name, size_t len, const char *want) {
    size_t i = 0;
    while (i < len && want[i] && lower(name[i]) == want[i]) i++;
    return i == len && !want[i];
}

bool list_next(const char **list, size_t *len, const char **item, size_t *item_len) {
    const char *p = *list, *end = p + *len;
    while (p < end && (*p == ',' || *p == ' ' || *p == '\t')) p++;
    const char *start = p;
    while (p < end && *p != ',') p++;
    *list = p;
    *len = (size_t)(end - p);
    while (p > start && (p[-1] == ' ' || p[-1] == '\t')) p--;
    *item = start;
    *item_len = (size_t)(p - start);
    return p > start;
}

void request_reset(struct request *r) {
    struct buffer head = r->head;
    buffer_reset(&head);
    // The fields behind field_count are never read: no need to clear them for each request.
    memset(r, 0, offsetof(struct request, fields));
    memset(&r->field_count, 0, sizeof *r - offsetof(struct request, field_count));
    r->head = head;
}

void request_free(struct request *r) { buffer_free(&r->head); }

const struct field *request_field(const struct request *r, const char *name) {
    for (size_t i = 0; i < r->field_count; i++) {
        const struct field *f = &r->fields[i];
        if (name_is(request_text(r, f->name), f->name.len, name)) return f;
    }
    return NULL;
}

static enum parsed refuse(struct request *r, int status) {
    r->refused = status;
    return PARSED_BAD;
}

// method SP target SP HTTP/1.x
static enum parsed parse_line(struct request *r, const char *p, uint32_t len) {
    const char *first = memchr(p, ' ', len);
    if (!first || !is_token(p, (size_t)(first - p))) return refuse(r, 400);
    r->method = (struct span){0, (uint32_t)(first - p)};
    const char *target = first + 1;
    const char *second = memchr(target, ' ', (size_t)(p + len - target));
    if (!second || second == target) return refuse(r, 400);
    r->target = (struct span){(uint32_t)(target - p), (uint32_t)(second - target)};
    if (!all(target, r->target.len, TARGET)) return refuse(r, 400);
    const char *version = second + 1;
    if (p + len - version != 8 || memcmp(version, "HTTP/", 5) != 0 || version[6] != '.') return refuse(r, 400);
    if (version[5] != '1' || (version[7] != '0' && version[7] != '1')) return refuse(r, 505);
    r->minor = (unsigned)(version[7] - '0');
    r->keep_alive = r->minor == 1;
    return PARSED_DONE;
}

// Origin form stays; absolute form gives Host and becomes origin form; `*` is for OPTIONS. Anything else is CONNECT's.
static enum parsed parse_target(struct request *r) {
    const char *target = request_text(r, r->target);
    const char *method = request_text(r, r->method);
    size_t len = r->target.len;
    if (r->method.len == 7 && memcmp(method, "CONNECT", 7) == 0) return refuse(r, 501);
    if (target[0] == '/') return PARSED_DONE;
    if (len == 1 && target[0] == '*' && r->method.len == 7 && memcmp(method, "OPTIONS", 7) == 0) return PARSED_DONE;
    if (len < 8 || !name_is(target, 7, "http://")) return refuse(r, 400);
    size_t end = 7;
    while (end < len && target[end] != '/' && target[end] != '?') end++;
    // A user name in the authority is how one site is dressed up as another: all() refuses its `@`.
    if (end == 7 || !all(target + 7, end - 7, HOST)) return refuse(r, 400);
    r->host = (struct span){r->target.at + 7, (uint32_t)(end - 7)};
    // "http://host?query" has no path to send on; nobody sends it.
    if (end < len && target[end] == '?') return refuse(r, 400);
    r->target = (struct span){r->target.at + (uint32_t)end, (uint32_t)(len - end)};
    return PARSED_DONE;
}

static enum parsed parse_field(struct request *r, uint32_t at, uint32_t len) {
    const char *p = buffer_bytes(&r->head) + at;
    const char *colon = memchr(p, ':', len);
    // A line that begins with a space (a folded one) has no token before its colon either.
    if (!colon || !is_token(p, (size_t)(colon - p))) return refuse(r, 400);
    if (r->field_count == REQUEST_MAX_FIELDS) return refuse(r, 431);
    uint32_t from = (uint32_t)(colon - p) + 1, to = len;
    while (from < to && (p[from] == ' ' || p[from] == '\t')) from++;
    while (to > from && (p[to - 1] == ' ' || p[to - 1] == '\t')) to--;
    r->fields[r->field_count++] = (struct field){{at, (uint32_t)(colon - p)}, {at + from, to - from}};
    return PARSED_DONE;
}

static enum parsed parse_length(struct request *r, const char *value, size_t len) {
    if (r->has_length || !len) return refuse(r, 400);
    r->has_length = true;
    for (size_t i = 0; i < len; i++) {
        if (value[i] < '0' || value[i] > '9' || r->length > INT64_MAX / 10 - 1) return refuse(r, 400);
        r->length = r->length * 10 + (uint64_t)(value[i] - '0');
    }
    return PARSED_DONE;
}

// What the fields mean for this connection and for the body's framing.
static enum parsed interpret(struct request *r) {
    bool host = false, coded = false;
    bool from_target = r->host.len != 0;
    for (size_t i = 0; i < r->field_count; i++) {
        struct field f = r->fields[i];
        const char *name = request_text(r, f.name), *value = request_text(r, f.value);
        size_t len = f.value.len;
        if (name_is(name, f.name.len, "host")) {
            if (host || !all(value, len, HOST)) return refuse(r, 400);
            host = true;
            if (!from_target) r->host = f.value;
        } else if (name_is(name, f.name.len, "content-length")) {
            if (parse_length(r, value, len) != PARSED_DONE) return PARSED_BAD;
        } else if (name_is(name, f.name.len, "transfer-encoding")) {
            if (coded || r->minor == 0) return refuse(r, 400);
            coded = true;
            if (!name_is(value, len, "chunked")) return refuse(r, 501);
            r->chunked = true;
        } else if (name_is(name, f.name.len, "connection")) {
            const char *item;
            size_t item_len;
            while (list_next(&value, &len, &item, &item_len)) {
                if (name_is(item, item_len, "close")) r->keep_alive = false;
                if (name_is(item, item_len, "keep-alive") && r->minor == 0) r->keep_alive = true;
            }
        } else if (name_is(name, f.name.len, "upgrade")) {
            r->upgrade = true;
        } else if (name_is(name, f.name.len, "expect") && r->minor == 1) {
            if (!name_is(value, len, "100-continue")) return refuse(r, 417);
            r->expect = true;
        }
    }
    if (r->minor == 1 && !host) return refuse(r, 400);
    if (coded && r->has_length) return refuse(r, 400);
    if (!r->has_length && !r->chunked) r->expect = false;
    r->left = r->length;
    return PARSED_DONE;
}

static enum parsed parse_head(struct request *r) {
    const char *p = buffer_bytes(&r->head);
    uint32_t total = (uint32_t)buffer_len(&r->head), at = 0;
    while (at + 2 < total) {
        uint32_t len = (uint32_t)((const char *)memchr(p + at, '\r', total - at) - (p + at));
        enum parsed done = at == 0 ? parse_line(r, p, len) : parse_field(r, at, len);
        if (done != PARSED_DONE) return done;
        at += len + 2;
    }
    if (parse_target(r) != PARSED_DONE) return PARSED_BAD;
    return interpret(r);
}

enum parsed request_read_head(struct request *r, struct buffer *in) {
    const char *p = buffer_bytes(in);
    size_t len = buffer_len(in);
    for (size_t i = r->scanned; i < len; i++) {
        unsigned char c = (unsigned char)p[i];
        bool after_cr = i > r->line && p[i - 1] == '\r';
        // Bytes that no head may contain are refused at once, not when the head is complete: garbage never is.
        if ((c == '\n') != after_cr || (c < ' ' && c != '\t' && c != '\r' && c != '\n') || c == 127) {
            return refuse(r, 400);
        }
        if (c == '\n' && i == r->line + 1) {
            if (r->line == 0 && !r->skipped) {
                // RFC 9112 section 2.2: one empty line before a request is forgiven.
                r->skipped = true;
                r->scanned = 0;
                buffer_consume(in, 2);
                return request_read_head(r, in);
            }
            if (r->line == 0) return refuse(r, 400);
            buffer_append(&r->head, p, i + 1);
            buffer_consume(in, i + 1);
            return r->head.failed ? refuse(r, 500) : parse_head(r);
        }
        if (c == '\n') r->line = i + 1;
        if (r->line == 0 && i >= REQUEST_MAX_LINE) return refuse(r, 414);
        if (i >= REQUEST_MAX_HEAD) return refuse(r, 431);
    }
    r->scanned = len;
    return PARSED_MORE;
}

// Where the chunked coding stands. SIZE is 0: where every body begins.
enum { SIZE, EXTENSION, SIZE_LF, DATA, DATA_CR, DATA_LF, TRAILER, TRAILER_LF, END };

static int hex(unsigned char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 32;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// One byte of the coding itself. False: it is broken.
static bool chunk_step(struct request *r, unsigned char c) {
    bool text = (c >= ' ' && c != 127) || c == '\t';
    switch (r->state) {
    case SIZE:
        if (hex(c) >= 0) {
            // 15 digits are room for 2^60 bytes, and no overflow below.
            if (++r->column > 15) return false;
            r->left = r->left * 16 + (uint64_t)hex(c);
            return true;
        }
        if (r->column == 0 || (c != ';' && c != '\r')) return false;
        r->state = c == ';' ? EXTENSION : SIZE_LF;
        return true;
    case EXTENSION:
        if (c == '\r') r->state = SIZE_LF;
        return c == '\r' || (text && ++r->overhead <= MAX_OVERHEAD);
    case SIZE_LF:
        r->column = 0;
        r->state = r->left ? DATA : TRAILER;
        return c == '\n';
    case DATA_CR:
        r->state = DATA_LF;
        return c == '\r';
    case DATA_LF:
        r->state = SIZE;
        return c == '\n';
    case TRAILER:  // read and dropped: nothing may depend on them
        if (c == '\r') {
            r->state = TRAILER_LF;
            return true;
        }
        r->column++;
        return text && ++r->overhead <= MAX_OVERHEAD;
    default:  // TRAILER_LF
        r->state = r->column ? TRAILER : END;
        r->column = 0;
        return c == '\n';
    }
}

enum parsed request_read_body(struct request *r, struct buffer *in, struct buffer *body, size_t limit) {
    while (r->chunked ? r->state != END : r->left != 0) {
        size_t len = buffer_len(in);
        if (!len) return PARSED_MORE;
        if (r->chunked && r->state != DATA) {
            unsigned char c = (unsigned char)*buffer_bytes(in);
            buffer_consume(in, 1);
            if (!chunk_step(r, c)) return refuse(r, 400);
            continue;
        }
        if (buffer_len(body) >= limit) return PARSED_MORE;
        size_t take = limit - buffer_len(body);
        if (take > len) take = len;
        if (take > r->left) take = (size_t)r->left;
        buffer_append(body, buffer_bytes(in), take);
        buffer_consume(in, take);
        r->left -= take;
        if (r->chunked && !r->left) r->state = DATA_CR;
    }
    return PARSED_DONE;
}
