// How the proxy's own errors look: the format, the operator's templates and the type of problem details. All of it is
// read before the first worker starts, and what is wrong is named then.
#include "proxy.h"

#include <stdio.h>
#include <string.h>

static const char *const formats[] = {
    [TIDEGATE_FORMAT_AUTO] = "auto",       [TIDEGATE_FORMAT_JSON] = "json", [TIDEGATE_FORMAT_JSON_FLAT] = "json_flat",
    [TIDEGATE_FORMAT_PROBLEM] = "problem", [TIDEGATE_FORMAT_HTML] = "html", [TIDEGATE_FORMAT_TEXT] = "text",
};
enum { FORMATS = sizeof formats / sizeof *formats };

bool errors_format(const char *name, uint32_t *format) {
    for (uint32_t i = 0; i < FORMATS; i++) {
        if (strcmp(name, formats[i]) == 0) {
            *format = i;
            return true;
        }
    }
    return false;
}

// Where a format's template stands; NULL: it can't have one.
static tidegate_template **template_of(struct error_options *o, const char *name, size_t len) {
    if (len == 4 && memcmp(name, "html", 4) == 0) return &o->html;
    if (len == 4 && memcmp(name, "json", 4) == 0) return &o->json;
    return len == 4 && memcmp(name, "text", 4) == 0 ? &o->text : NULL;
}

// `html=PATH`. On failure `why` says what is wrong.
bool errors_template(struct error_options *o, const char *text, char *why, size_t size) {
    const char *equals = strchr(text, '=');
    tidegate_template **to = equals ? template_of(o, text, (size_t)(equals - text)) : NULL;
    if (!to || *to) {
        snprintf(why, size, "html=PATH, json=PATH or text=PATH, each once");
        return false;
    }
    static char body[TIDEGATE_TEMPLATE_MAX + 1];
    FILE *file = fopen(equals + 1, "rb");
    if (!file) {
        snprintf(why, size, "it can't be read");
        return false;
    }
    size_t len = fread(body, 1, sizeof body, file);
    bool failed = ferror(file) != 0;
    fclose(file);
    uint32_t format = to == &o->html ? TIDEGATE_FORMAT_HTML : to == &o->json ? TIDEGATE_FORMAT_JSON : TIDEGATE_FORMAT_TEXT;
    if (failed || tidegate_template_new(format, body, len, to) != TIDEGATE_OK) {
        size_t said = 0;
        char words[240] = "it can't be read";
        if (!failed && tidegate_last_error(words, sizeof words - 1, &said) == TIDEGATE_OK) words[said] = 0;
        snprintf(why, size, "%s", words);
        return false;
    }
    return true;
}

// Whether an answer may have this type: the library says so of one for which it has no room.
bool errors_type(const char *base) {
    tidegate_answer a = TIDEGATE_ANSWER_INIT;
    a.status = 502;
    a.type_base = base;
    a.type_base_len = strlen(base);
    return *base && tidegate_answer_write(&a, NULL, 0, NULL) == TIDEGATE_ERR_BUFFER;
}

// A size that no answer with these templates exceeds.
size_t errors_most(const struct error_options *o) {
    size_t most = TIDEGATE_ANSWER_MAX;
    const tidegate_template *templates[] = {o->html, o->json, o->text};
    for (int i = 0; i < 3; i++) {
        size_t n = tidegate_template_answer_max(templates[i]);
        if (n > most) most = n;
    }
    return most;
}

void errors_apply(const struct error_options *o, tidegate_answer *a) {
    a->format = o->format;
    a->html_template = o->html;
    a->json_template = o->json;
    a->text_template = o->text;
    if (o->type_base) {
        a->type_base = o->type_base;
        a->type_base_len = strlen(o->type_base);
    }
}
