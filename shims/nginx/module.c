// The module's table of contents: directives, configurations, hooks. Each directive's own code is in directives.c,
// errors.c, judge.c, hold.c and status.c.

#include "tidegate_module.h"

static void *tg_create_main(ngx_conf_t *cf);
static void *tg_create_upstream(ngx_conf_t *cf);
static void *tg_create_location(ngx_conf_t *cf);
static char *tg_merge_location(ngx_conf_t *cf, void *parent, void *child);
static ngx_int_t tg_postconfiguration(ngx_conf_t *cf);
static ngx_int_t tg_init_module(ngx_cycle_t *cycle);

static ngx_command_t tg_commands[] = {

    { ngx_string("tidegate"), NGX_HTTP_UPS_CONF|NGX_CONF_1MORE,
      tg_directive_upstream, NGX_HTTP_SRV_CONF_OFFSET, 0, NULL },

    { ngx_string("tidegate_shadow"), NGX_HTTP_UPS_CONF|NGX_CONF_1MORE,
      tg_directive_shadow, NGX_HTTP_SRV_CONF_OFFSET, 0, NULL },

    { ngx_string("tidegate_server"), NGX_HTTP_UPS_CONF|NGX_CONF_2MORE,
      tg_directive_server, NGX_HTTP_SRV_CONF_OFFSET, 0, NULL },

    { ngx_string("tidegate_hash_key"), NGX_HTTP_UPS_CONF|NGX_CONF_TAKE1,
      ngx_http_set_complex_value_slot, NGX_HTTP_SRV_CONF_OFFSET, offsetof(tg_upstream_t, hash_key), NULL },
    { ngx_string("tidegate_check"), NGX_HTTP_UPS_CONF|NGX_CONF_1MORE,
      tg_directive_check, NGX_HTTP_SRV_CONF_OFFSET, 0, NULL },

    { ngx_string("tidegate_health"), NGX_HTTP_UPS_CONF|NGX_CONF_1MORE,
      tg_directive_health, NGX_HTTP_SRV_CONF_OFFSET, 0, NULL },

    { ngx_string("tidegate_table"), NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      tg_directive_table, NGX_HTTP_MAIN_CONF_OFFSET, 0, NULL },

    { ngx_string("tidegate_errors"), NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE12,
      tg_directive_errors, NGX_HTTP_LOC_CONF_OFFSET, 0, NULL },

    { ngx_string("tidegate_error_template"), NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE2,
      tg_directive_template, NGX_HTTP_LOC_CONF_OFFSET, 0, NULL },

    { ngx_string("tidegate_upstream_label"), NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      tg_directive_upstream_label, NGX_HTTP_LOC_CONF_OFFSET, 0, NULL },

    { ngx_string("tidegate_replace_upstream_errors"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot, NGX_HTTP_LOC_CONF_OFFSET, offsetof(tg_location_t, replace), NULL },

    { ngx_string("tidegate_request_id"), NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_set_complex_value_slot, NGX_HTTP_LOC_CONF_OFFSET, offsetof(tg_location_t, request_id), NULL },

    { ngx_string("tidegate_validator"), NGX_HTTP_UPS_CONF|NGX_CONF_TAKE12,
      tg_directive_validator, NGX_HTTP_SRV_CONF_OFFSET, offsetof(tg_upstream_t, judge), NULL },

    { ngx_string("tidegate_validator"), NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE12,
      tg_directive_validator, NGX_HTTP_LOC_CONF_OFFSET, offsetof(tg_location_t, judge), NULL },

    { ngx_string("tidegate_expect"), NGX_HTTP_UPS_CONF|NGX_CONF_1MORE,
      tg_directive_expect, NGX_HTTP_SRV_CONF_OFFSET, offsetof(tg_upstream_t, judge), NULL },

    { ngx_string("tidegate_expect"), NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      tg_directive_expect, NGX_HTTP_LOC_CONF_OFFSET, offsetof(tg_location_t, judge), NULL },

    { ngx_string("tidegate_label"), NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      tg_directive_label, NGX_HTTP_LOC_CONF_OFFSET, 0, NULL },

    { ngx_string("tidegate_retry"), NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      tg_directive_retry, NGX_HTTP_LOC_CONF_OFFSET, 0, NULL },

    { ngx_string("tidegate_idempotency_key"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot, NGX_HTTP_LOC_CONF_OFFSET, offsetof(tg_location_t, idempotency_key), NULL },

    { ngx_string("tidegate_hold_back"), NGX_HTTP_UPS_CONF|NGX_CONF_TAKE12,
      tg_directive_hold, NGX_HTTP_SRV_CONF_OFFSET, 0, NULL },

    { ngx_string("tidegate_hold_back"), NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot, NGX_HTTP_LOC_CONF_OFFSET, offsetof(tg_location_t, hold), NULL },

    { ngx_string("tidegate_status"), NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      tg_directive_status, NGX_HTTP_LOC_CONF_OFFSET, 0, NULL },

    ngx_null_command
};

static ngx_http_module_t tg_module_ctx = {
    .preconfiguration = tg_variables,
    .postconfiguration = tg_postconfiguration,
    .create_main_conf = tg_create_main,
    .create_srv_conf = tg_create_upstream,
    .create_loc_conf = tg_create_location,
    .merge_loc_conf = tg_merge_location,
};

ngx_module_t ngx_http_tidegate_module = {
    NGX_MODULE_V1,
    &tg_module_ctx,
    tg_commands,
    NGX_HTTP_MODULE,
    NULL,               // init master
    tg_init_module,
    tg_worker_start,
    NULL, NULL,         // threads
    tg_worker_stop,
    NULL,               // exit master
    NGX_MODULE_V1_PADDING
};

static void *
tg_create_main(ngx_conf_t *cf)
{
    tg_main_t *main = ngx_pcalloc(cf->pool, sizeof(tg_main_t));

    if (main == NULL
        || ngx_array_init(&main->upstreams, cf->pool, 4, sizeof(tg_upstream_t *)) != NGX_OK
        || tidegate_table_options_init(&main->capacity, sizeof(main->capacity)) != TIDEGATE_OK)
    {
        return NULL;
    }

    main->memory_fd = -1;
    main->request_id = NGX_ERROR;

    return main;
}

static void *
tg_create_upstream(ngx_conf_t *cf)
{
    tg_upstream_t *upstream = ngx_pcalloc(cf->pool, sizeof(tg_upstream_t));

    if (upstream == NULL
        || tidegate_upstream_options_init(&upstream->options, sizeof(upstream->options)) != TIDEGATE_OK
        || tidegate_check_options_init(&upstream->check, sizeof(upstream->check)) != TIDEGATE_OK)
    {
        return NULL;
    }

    ngx_queue_init(&upstream->patience);
    ngx_queue_init(&upstream->queue);
    tg_judge_create(&upstream->judge);

    return upstream;
}

static void *
tg_create_location(ngx_conf_t *cf)
{
    tg_location_t *location = ngx_pcalloc(cf->pool, sizeof(tg_location_t));

    if (location != NULL) {
        location->retry = NGX_CONF_UNSET_UINT;
        location->hold = NGX_CONF_UNSET;
        location->idempotency_key = NGX_CONF_UNSET;
        tg_errors_create(location);
        tg_judge_create(&location->judge);
    }

    return location;
}

static char *
tg_merge_location(ngx_conf_t *cf, void *parent, void *child)
{
    tg_location_t *prev = parent, *conf = child;

    ngx_conf_merge_uint_value(conf->retry, prev->retry, TG_RETRY_DEFAULT);
    ngx_conf_merge_value(conf->hold, prev->hold, 1);
    ngx_conf_merge_value(conf->idempotency_key, prev->idempotency_key, 0);
    ngx_conf_merge_str_value(conf->label, prev->label, "");
    tg_errors_merge(prev, conf);
    tg_judge_merge(&prev->judge, &conf->judge);

    return NGX_CONF_OK;
}

// Runs when all of http {} is read and every upstream is initialised.
static ngx_int_t
tg_postconfiguration(ngx_conf_t *cf)
{
    tg_main_t *main = ngx_http_conf_get_module_main_conf(cf, ngx_http_tidegate_module);
    tg_upstream_t **upstreams = main->upstreams.elts;

    for (ngx_uint_t i = 0; i < main->upstreams.nelts; i++) {
        // Another balancer's directive came later and took the upstream over; nginx itself only warns of it.
        if (!upstreams[i]->initialised) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "upstream \"%V\" in %s:%ui has another balancer beside \"tidegate\": remove one of them",
                          &upstreams[i]->uscf->host, upstreams[i]->uscf->file_name, upstreams[i]->uscf->line);
            return NGX_ERROR;
        }
    }

    if (main->upstreams.nelts != 0 && tg_table_zone(cf, main) != NGX_OK) {
        return NGX_ERROR;
    }

    if (main->upstreams.nelts != 0) {
        ngx_str_t name = ngx_string("request_id");

        main->request_id = ngx_http_get_variable_index(cf, &name);
        if (main->request_id == NGX_ERROR) {
            return NGX_ERROR;
        }
    }

    return tg_answer_filters();
}

// Runs in the master once per configuration, after everything that can refuse it: a reload that fails earlier has
// declared nothing.
static ngx_int_t
tg_init_module(ngx_cycle_t *cycle)
{
    tg_main_t *main = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_tidegate_module);

    if (main != NULL && main->table != NULL) {
        tg_declare(main, cycle->log);
        tg_memory_hand_on(main, cycle);
    }

    return NGX_OK;
}
