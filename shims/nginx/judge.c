// How an upstream's responses are judged: tidegate_validator chooses the policy, tidegate_expect adds the operator's
// rules. Both may stand in an upstream and in a location; each location's own word, or the one that it inherits, wins
// over the upstream's.
//
// Rules are compiled when they are read, all of a level together, so that `nginx -t` names the line that is wrong.

#include "tidegate_module.h"

static const tg_word_t tg_policies[] = {
    { "strict", TIDEGATE_POLICY_STRICT },
    { "compatible", TIDEGATE_POLICY_COMPATIBLE },
    { "observe", TIDEGATE_POLICY_OBSERVE },
    { NULL, 0 },
};

static const tg_word_t tg_tolerances[] = {
    { "empty_lines", TIDEGATE_TOLERATE_EMPTY_LINES },
    { "version", TIDEGATE_TOLERATE_VERSION },
    { "status_space", TIDEGATE_TOLERATE_STATUS_SPACE },
    { "substatus", TIDEGATE_TOLERATE_SUBSTATUS },
    { "status_range", TIDEGATE_TOLERATE_STATUS_RANGE },
    { "reason_controls", TIDEGATE_TOLERATE_REASON_CONTROLS },
    { "folded", TIDEGATE_TOLERATE_FOLDED },
    { "space_before_colon", TIDEGATE_TOLERATE_SPACE_BEFORE_COLON },
    { "bad_lines", TIDEGATE_TOLERATE_BAD_LINES },
    { "value_controls", TIDEGATE_TOLERATE_VALUE_CONTROLS },
    { "nul", TIDEGATE_TOLERATE_NUL },
    { "length_repeated", TIDEGATE_TOLERATE_LENGTH_REPEATED },
    { "length_and_coding", TIDEGATE_TOLERATE_LENGTH_AND_CODING },
    { "chunk_lf", TIDEGATE_TOLERATE_CHUNK_LF },
    { "chunk_space", TIDEGATE_TOLERATE_CHUNK_SPACE },
    { "chunk_extensions", TIDEGATE_TOLERATE_CHUNK_EXTENSIONS },
    { NULL, 0 },
};

void
tg_judge_create(tg_judge_t *judge)
{
    judge->policy = NGX_CONF_UNSET_UINT;
    judge->rules = NGX_CONF_UNSET_PTR;
}

void
tg_judge_merge(const tg_judge_t *prev, tg_judge_t *conf)
{
    if (conf->policy == NGX_CONF_UNSET_UINT) {
        conf->policy = prev->policy;
        conf->tolerate = prev->tolerate;
    }

    if (conf->rules == NGX_CONF_UNSET_PTR) {
        conf->rules = prev->rules;
    }
}

void
tg_judge_options(tg_request_t *p, tidegate_validator_options *options)
{
    tg_location_t *location = ngx_http_get_module_loc_conf(p->r, ngx_http_tidegate_module);
    const tg_judge_t *here = &location->judge, *there = &p->upstream->judge, *judge;

    judge = here->policy != NGX_CONF_UNSET_UINT ? here : there;

    if (judge->policy != NGX_CONF_UNSET_UINT) {
        options->policy = (uint32_t) judge->policy;
        options->tolerate = judge->tolerate;
    }

    judge = here->rules != NGX_CONF_UNSET_PTR ? here : there;

    if (judge->rules != NGX_CONF_UNSET_PTR) {
        options->rules = judge->rules;
    }
}

// `strict | compatible | observe [tolerate=NAME,…]`
char *
tg_directive_validator(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    tg_judge_t *judge = (tg_judge_t *) ((char *) conf + cmd->offset);
    ngx_str_t *args = cf->args->elts;
    char *rv = tg_directive_word(cf, tg_policies, &judge->policy);
    u_char list[512], *p, *end;

    if (rv != NGX_CONF_OK || cf->args->nelts == 2) {
        return rv;
    }

    p = args[2].data;
    end = p + args[2].len;

    if (args[2].len > 9 && ngx_strncmp(p, "tolerate=", 9) == 0 && judge->policy != TIDEGATE_POLICY_OBSERVE) {
        const tg_word_t *word;

        p += 9;

        do {
            u_char *comma = ngx_strlchr(p, end, ',');
            u_char *stop = comma != NULL ? comma : end;

            word = tg_word(tg_tolerances, p, stop - p);
            judge->tolerate |= word != NULL ? word->value : 0;
            p = stop + 1;
        } while (word != NULL && p <= end);

        if (word != NULL) {
            return NGX_CONF_OK;
        }
    }

    p = tg_list_words(list, list + sizeof(list), tg_tolerances);
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\" of \"tidegate_validator\": with \"strict\" or \"compatible\" "
                       "\"tolerate=\" and names are allowed, separated by commas, out of %*s", &args[2], p - list, list);

    return NGX_CONF_ERROR;
}

static void
tg_rules_cleanup(void *data)
{
    tidegate_rules_free(data);
}

// Joins the arguments to what came before on this level, one a line.
static ngx_int_t
tg_expect_join(ngx_conf_t *cf, ngx_str_t *text)
{
    ngx_str_t *args = cf->args->elts;
    size_t len = text->len;
    u_char *start, *p;

    for (ngx_uint_t i = 1; i < cf->args->nelts; i++) {
        len += args[i].len + 1;
    }

    start = ngx_pnalloc(cf->pool, len);
    if (start == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(start, text->data, text->len);

    for (ngx_uint_t i = 1; i < cf->args->nelts; i++) {
        p = ngx_cpymem(p, args[i].data, args[i].len);
        *p++ = '\n';
    }

    text->data = start;
    text->len = len;

    return NGX_OK;
}

// `RULE …` or `off`; lines of one level add up.
char *
tg_directive_expect(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    tg_judge_t *judge = (tg_judge_t *) ((char *) conf + cmd->offset);
    ngx_str_t *args = cf->args->elts;
    ngx_pool_cleanup_t *cleanup;
    tidegate_rules *rules;

    if (judge->rules == NULL) {
        return "has rules beside \"off\"";
    }

    if (cf->args->nelts == 2 && args[1].len == 3 && ngx_strncmp(args[1].data, "off", 3) == 0) {
        if (judge->rules != NGX_CONF_UNSET_PTR) {
            return "has \"off\" beside rules";
        }
        judge->rules = NULL;
        return NGX_CONF_OK;
    }

    cleanup = ngx_pool_cleanup_add(cf->pool, 0);
    if (cleanup == NULL || tg_expect_join(cf, &judge->text) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    // What a former line made is freed with the configuration.
    if (tidegate_rules_new((char *) judge->text.data, judge->text.len, &rules) != TIDEGATE_OK) {
        return tg_library_refused(cf, "tidegate_expect", &args[1]);
    }

    judge->rules = rules;
    cleanup->handler = tg_rules_cleanup;
    cleanup->data = rules;

    return NGX_CONF_OK;
}
