// What the gateway's own errors look like: tidegate_errors, tidegate_error_template, tidegate_upstream_label.
//
// Templates are read and compiled when the configuration is, by `nginx -t` too: a bad one refuses the configuration
// with its own line and column. They live as long as the configuration, in the memory that the workers inherit.

#include "tidegate_module.h"

// TG_ERRORS_OFF is the shim's own: nginx's built-in page.
static const tg_word_t tg_formats[] = {
    { "auto", TIDEGATE_FORMAT_AUTO },       { "json", TIDEGATE_FORMAT_JSON }, { "json_flat", TIDEGATE_FORMAT_JSON_FLAT },
    { "problem", TIDEGATE_FORMAT_PROBLEM }, { "html", TIDEGATE_FORMAT_HTML }, { "text", TIDEGATE_FORMAT_TEXT },
    { "off", TG_ERRORS_OFF },               { NULL, 0 },
};

// The value is the index; which format of the library's it is stands in tg_template_formats.
static const tg_word_t tg_template_words[] = {
    { "html", TG_HTML }, { "json", TG_JSON }, { "text", TG_TEXT }, { NULL, 0 },
};

static const uint32_t tg_template_formats[TG_TEMPLATES] = {
    [TG_HTML] = TIDEGATE_FORMAT_HTML, [TG_JSON] = TIDEGATE_FORMAT_JSON, [TG_TEXT] = TIDEGATE_FORMAT_TEXT,
};

void
tg_errors_create(tg_location_t *location)
{
    location->format = NGX_CONF_UNSET_UINT;
    location->replace = NGX_CONF_UNSET;
    location->request_id = NGX_CONF_UNSET_PTR;

    for (ngx_uint_t i = 0; i < TG_TEMPLATES; i++) {
        location->templates[i] = NGX_CONF_UNSET_PTR;
    }
}

void
tg_errors_merge(tg_location_t *prev, tg_location_t *conf)
{
    // `type=` belongs to the format that it was said with.
    if (conf->format == NGX_CONF_UNSET_UINT) {
        conf->type_base = prev->type_base;
    }

    ngx_conf_merge_uint_value(conf->format, prev->format, TIDEGATE_FORMAT_AUTO);
    ngx_conf_merge_value(conf->replace, prev->replace, 0);
    ngx_conf_merge_ptr_value(conf->request_id, prev->request_id, NULL);
    ngx_conf_merge_str_value(conf->upstream_label, prev->upstream_label, "");

    conf->answer_max = TIDEGATE_ANSWER_MAX;

    for (ngx_uint_t i = 0; i < TG_TEMPLATES; i++) {
        ngx_conf_merge_ptr_value(conf->templates[i], prev->templates[i], NULL);
        conf->answer_max = ngx_max(conf->answer_max, tidegate_template_answer_max(conf->templates[i]));
    }
}

// Asks the library whether a problem's type may begin so: it would answer but for the buffer that is missing.
static ngx_uint_t
tg_is_type_base(const ngx_str_t *base)
{
    tidegate_answer answer = TIDEGATE_ANSWER_INIT;

    answer.status = NGX_HTTP_BAD_GATEWAY;
    answer.type_base = (char *) base->data;
    answer.type_base_len = base->len;

    return base->len != 0 && tidegate_answer_write(&answer, NULL, 0, NULL) == TIDEGATE_ERR_BUFFER;
}

char *
tg_directive_errors(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    tg_location_t *location = conf;
    ngx_str_t *args = cf->args->elts;
    char *rv = tg_directive_word(cf, tg_formats, &location->format);

    if (rv != NGX_CONF_OK || cf->args->nelts == 2) {
        return rv;
    }

    if (args[2].len > 5 && ngx_strncmp(args[2].data, "type=", 5) == 0
        && (location->format == TIDEGATE_FORMAT_AUTO || location->format == TIDEGATE_FORMAT_PROBLEM))
    {
        location->type_base.data = args[2].data + 5;
        location->type_base.len = args[2].len - 5;

        if (tg_is_type_base(&location->type_base)) {
            return NGX_CONF_OK;
        }
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\" of \"tidegate_errors\": \"type=\" and the start of a URI (1 to 255 "
                       "characters) is allowed, with \"auto\" or \"problem\"", &args[2]);

    return NGX_CONF_ERROR;
}

static void
tg_template_cleanup(void *data)
{
    tidegate_template_free(data);
}

// The file's bytes, in the pool; at most one more than a template may have. NGX_CONF_ERROR: it was said why.
static char *
tg_template_read(ngx_conf_t *cf, const ngx_str_t *path, ngx_str_t *text)
{
    ngx_file_t file = { .name = *path, .log = cf->log };
    ssize_t n = -1;

    text->data = ngx_pnalloc(cf->temp_pool, TIDEGATE_TEMPLATE_MAX + 1);
    if (text->data == NULL) {
        return NGX_CONF_ERROR;
    }

    file.fd = ngx_open_file(path->data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (file.fd != NGX_INVALID_FILE) {
        n = ngx_read_file(&file, text->data, TIDEGATE_TEMPLATE_MAX + 1, 0);
    }

    if (n < 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno, "\"tidegate_error_template\" can't read \"%V\"", path);
    }

    if (file.fd != NGX_INVALID_FILE) {
        (void) ngx_close_file(file.fd);
    }

    text->len = (size_t) n;

    return n < 0 ? NGX_CONF_ERROR : NGX_CONF_OK;
}

// `html | json | text PATH | off`
char *
tg_directive_template(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t *args = cf->args->elts, *path = &args[2], text;
    tidegate_template **compiled;
    ngx_uint_t which = NGX_CONF_UNSET_UINT;
    ngx_pool_cleanup_t *cleanup;

    if (tg_directive_word(cf, tg_template_words, &which) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    compiled = &((tg_location_t *) conf)->templates[which];

    if (*compiled != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    *compiled = NULL;

    if (path->len == 3 && ngx_strncmp(path->data, "off", 3) == 0) {
        return NGX_CONF_OK;
    }

    cleanup = ngx_pool_cleanup_add(cf->pool, 0);
    if (cleanup == NULL || ngx_conf_full_name(cf->cycle, path, 1) != NGX_OK
        || tg_template_read(cf, path, &text) != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (tidegate_template_new(tg_template_formats[which], (char *) text.data, text.len, compiled) != TIDEGATE_OK) {
        *compiled = NULL;
        return tg_library_refused(cf, "tidegate_error_template", path);
    }

    cleanup->handler = tg_template_cleanup;
    cleanup->data = *compiled;

    return NGX_CONF_OK;
}

char *
tg_directive_upstream_label(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t *args = cf->args->elts, *label = &((tg_location_t *) conf)->upstream_label;

    if (label->data != NULL) {
        return "is duplicate";
    }

    if (args[1].len == 0 || args[1].len > 255 || !tg_printable(args[1].data, args[1].len)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" of \"tidegate_upstream_label\": 1 to 255 printable ASCII characters are "
                           "allowed", &args[1]);
        return NGX_CONF_ERROR;
    }

    *label = args[1];

    return NGX_CONF_OK;
}
