// The rules of the ABI, from C: versions, statuses, NULLs, struct sizes, buffers, untouched outputs, order of calls.
// Prints one line if all hold; otherwise it says which does not and exits with 1.

#include "tidegate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                  \
  do {                                                                    \
    if (!(condition)) {                                                   \
      printf("%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
      exit(1);                                                            \
    }                                                                     \
  } while (0)

// An IPv4 address as a struct sockaddr_in lies in memory.
struct address {
  uint16_t family;
  uint8_t port[2];
  uint8_t ip[4];
  uint8_t zero[8];
};

static void versions(void) {
  char text[32];
  CHECK(tidegate_abi_version() == TIDEGATE_ABI_VERSION);
  CHECK(tidegate_version(0) != NULL);
  CHECK(tidegate_version(TIDEGATE_VERSION_NUMBER) != NULL);
  CHECK(tidegate_version(TIDEGATE_VERSION_NUMBER + 1) == NULL);
  snprintf(text, sizeof text, "%d.%d.%d", TIDEGATE_VERSION_MAJOR, TIDEGATE_VERSION_MINOR, TIDEGATE_VERSION_PATCH);
  CHECK(strcmp(text, tidegate_version(0)) == 0);
}

static void statuses(void) {
  int status;
  for (status = -100; status < 100; status++) CHECK(tidegate_strerror(status) != NULL);
  CHECK(strcmp(tidegate_strerror(TIDEGATE_OK), "success") == 0);
  CHECK(strcmp(tidegate_cause_name(TIDEGATE_CAUSE_CONNECTION_REFUSED), "connection_refused") == 0);
  CHECK(strcmp(tidegate_cause_name(4711), "internal_error") == 0);
}

static void nulls(void) {
  tidegate_pick pick = TIDEGATE_PICK_INIT;
  tidegate_decision decision = TIDEGATE_DECISION_INIT;
  uint32_t upstream = 77;
  CHECK(tidegate_table_new(NULL, 0, NULL) == TIDEGATE_ERR_NULL);
  CHECK(tidegate_upstream_open(NULL, "a", 1, NULL, &upstream) == TIDEGATE_ERR_NULL && upstream == 77);
  CHECK(tidegate_worker_join(NULL, NULL, 0, NULL) == TIDEGATE_ERR_NULL);
  CHECK(tidegate_request_pick(NULL, 0, &pick) == TIDEGATE_ERR_NULL);
  CHECK(tidegate_request_report(NULL, NULL, 0, &decision) == TIDEGATE_ERR_NULL);
  CHECK(tidegate_answer_write(NULL, NULL, 0, NULL) == TIDEGATE_ERR_NULL);
  CHECK(tidegate_validator_feed(NULL, NULL, 0, NULL) == TIDEGATE_ERR_NULL);
  tidegate_request_end(NULL, 0);
  tidegate_worker_leave(NULL);
  tidegate_table_free(NULL);
}

// A program built against a later header: its struct is longer than the library's.
struct longer_options {
  tidegate_table_options known;
  uint64_t unknown;
};

static void struct_sizes(void) {
  struct longer_options longer;
  tidegate_table_options options = TIDEGATE_TABLE_OPTIONS_INIT;
  tidegate_table *table = NULL;
  size_t size = 0, smaller = 0;
  char why[240];
  size_t len = 0;

  CHECK(tidegate_table_size(&options, &size) == TIDEGATE_OK && size > 4096);
  memset(&longer, 0, sizeof longer);
  longer.known.struct_size = sizeof longer;
  CHECK(tidegate_table_size(&longer.known, &smaller) == TIDEGATE_OK && smaller == size);
  longer.unknown = 1;
  CHECK(tidegate_table_new(&longer.known, 0, &table) == TIDEGATE_ERR_STRUCT_SIZE && table == NULL);

  // And one built against an earlier one: fields beyond its size are not read.
  options.events = 3;
  options.struct_size = offsetof(tidegate_table_options, events);
  CHECK(tidegate_table_size(&options, &smaller) == TIDEGATE_OK && smaller == size);
  options.struct_size = sizeof options;
  CHECK(tidegate_table_size(&options, &smaller) == TIDEGATE_ERR_INVALID);
  CHECK(tidegate_last_error(why, sizeof why, &len) == TIDEGATE_OK);
  CHECK(len > 10 && memcmp(why, "events is 3", 11) == 0);
  CHECK(tidegate_last_error(why, 1, &len) == TIDEGATE_ERR_BUFFER);
  options.struct_size = 0;
  CHECK(tidegate_table_size(&options, &smaller) == TIDEGATE_ERR_STRUCT_SIZE);
  CHECK(tidegate_table_options_init(&options, sizeof options) == TIDEGATE_OK && options.events == 0);
}

static void memory(void) {
  tidegate_table_options options = TIDEGATE_TABLE_OPTIONS_INIT;
  tidegate_table *table = NULL, *again = NULL;
  uint32_t upstream = 0, found = 9;
  size_t size = 0;
  char *raw, *memory;

  options.max_peers = 16;
  options.max_upstreams = 2;
  options.max_workers = 2;
  options.events = 16;
  CHECK(tidegate_table_size(&options, &size) == TIDEGATE_OK);
  raw = (char *)calloc(1, size + 64);
  CHECK(raw != NULL);
  memory = raw + (64 - (uintptr_t)raw % 64);
  CHECK(tidegate_table_attach_at(memory, size, &table) == TIDEGATE_ERR_LAYOUT && table == NULL);
  CHECK(tidegate_table_new_at(memory, size - 1, &options, 1, &table) == TIDEGATE_ERR_INVALID);
  CHECK(tidegate_table_new_at(memory + 8, size - 8, &options, 1, &table) == TIDEGATE_ERR_INVALID);
  CHECK(tidegate_table_new_at(memory, size, &options, 1, &table) == TIDEGATE_OK);
  CHECK(tidegate_upstream_open(table, "app", 3, NULL, &upstream) == TIDEGATE_OK);
  CHECK(tidegate_table_attach_at(memory, size, &again) == TIDEGATE_OK);
  CHECK(tidegate_upstream_find(again, "app", 3, &found) == TIDEGATE_OK && found == upstream);
  CHECK(tidegate_upstream_find(again, "other", 5, &found) == TIDEGATE_ERR_NOT_FOUND && found == upstream);
  CHECK(tidegate_table_attach_at(memory, size - 64, &again) == TIDEGATE_ERR_LAYOUT);
  memory[8] ^= 1;
  CHECK(tidegate_table_attach_at(memory, size, &again) == TIDEGATE_ERR_LAYOUT);
  tidegate_table_free(again);
  tidegate_table_free(table);
  free(raw);
}

static void requests(void) {
  struct address where;
  tidegate_table *table = NULL;
  tidegate_worker *worker = NULL;
  tidegate_peer peers[2] = {TIDEGATE_PEER_INIT, TIDEGATE_PEER_INIT};
  tidegate_request_options options = TIDEGATE_REQUEST_OPTIONS_INIT;
  tidegate_request request;
  tidegate_pick pick = TIDEGATE_PICK_INIT;
  tidegate_outcome outcome = TIDEGATE_OUTCOME_INIT;
  tidegate_decision decision = TIDEGATE_DECISION_INIT;
  tidegate_answer answer = TIDEGATE_ANSWER_INIT;
  tidegate_peer_info info = TIDEGATE_PEER_INFO_INIT;
  uint64_t handles[2] = {0, 0};
  uint32_t upstream = 0;
  char text[TIDEGATE_ANSWER_MAX];
  size_t len = 0;

  memset(&where, 0, sizeof where);
  where.family = 2;
  where.port[1] = 80;
  where.ip[0] = 10;
  peers[0].address = &where;
  peers[0].address_len = sizeof where;
  peers[1] = peers[0];
  CHECK(tidegate_table_new(NULL, 1, &table) == TIDEGATE_OK);
  CHECK(tidegate_upstream_open(table, "app", 3, NULL, &upstream) == TIDEGATE_OK);
  // Twice the same peer: nothing is half done.
  CHECK(tidegate_upstream_set_peers(table, upstream, peers, 2, 1, handles) == TIDEGATE_ERR_INVALID);
  CHECK(tidegate_upstream_peer_at(table, upstream, 0, handles) == TIDEGATE_ERR_END && handles[0] == 0);
  peers[1].name = "b";
  peers[1].name_len = 1;
  CHECK(tidegate_upstream_set_peers(table, upstream, peers, 2, 1, handles) == TIDEGATE_OK && handles[0] != handles[1]);
  CHECK(tidegate_worker_join(table, NULL, 1, &worker) == TIDEGATE_OK);

  options.upstream = 99;
  CHECK(tidegate_request_start(worker, &request, &options, 1) == TIDEGATE_ERR_NOT_FOUND);
  options.upstream = upstream;
  options.method = tidegate_method_parse("POST", 4);
  CHECK(options.method == TIDEGATE_METHOD_POST);
  CHECK(tidegate_request_start(worker, &request, &options, 1) == TIDEGATE_OK);
  CHECK(tidegate_request_report(&request, &outcome, 1, &decision) == TIDEGATE_ERR_STATE);
  CHECK(tidegate_request_pick(&request, 1, &pick) == TIDEGATE_OK && pick.attempt == 1);
  CHECK(tidegate_request_pick(&request, 1, &pick) == TIDEGATE_ERR_STATE);
  CHECK(tidegate_peer_describe(table, pick.peer, 1, &info) == TIDEGATE_OK && info.in_flight == 1);
  outcome.cause = 4711;
  CHECK(tidegate_request_report(&request, &outcome, 1, &decision) == TIDEGATE_ERR_INVALID);
  outcome.cause = TIDEGATE_CAUSE_HTTP_PROTOCOL_ERROR;
  outcome.phase = TIDEGATE_PHASE_HEAD;
  outcome.flags = TIDEGATE_OUTCOME_SENT | TIDEGATE_OUTCOME_RECEIVED;
  CHECK(tidegate_request_report(&request, &outcome, 2, &decision) == TIDEGATE_OK);
  CHECK(decision.verdict == TIDEGATE_DECISION_ANSWER && decision.status == 502);
  CHECK(decision.reason == TIDEGATE_WHY_NOT_SAFE && (decision.flags & TIDEGATE_DECISION_FLAG_CHARGED));
  CHECK(tidegate_request_answer(&request, 2, &answer) == TIDEGATE_OK && answer.status == 502);
  CHECK(tidegate_answer_write(&answer, text, 10, &len) == TIDEGATE_ERR_BUFFER && len > 10);
  CHECK(tidegate_answer_write(&answer, text, sizeof text, &len) == TIDEGATE_OK);
  CHECK(memcmp(text, "HTTP/1.1 502 Bad Gateway\r\n", 26) == 0);
  CHECK(tidegate_request_describe(&request, text, sizeof text, &len) == TIDEGATE_OK && len > 0);
  CHECK(tidegate_peer_describe(table, pick.peer, 2, &info) == TIDEGATE_OK && info.in_flight == 0 && info.failures == 1);

  // A removed peer's handle is known to be stale.
  CHECK(tidegate_upstream_set_peers(table, upstream, peers, 1, 3, NULL) == TIDEGATE_OK);
  CHECK(tidegate_peer_describe(table, handles[1], 3, &info) == TIDEGATE_ERR_NOT_FOUND);
  CHECK(tidegate_table_write_status(table, TIDEGATE_STATUS_FORMAT_JSON, 3, text, sizeof text, &len) == TIDEGATE_OK);
  CHECK(text[0] == '{' && text[len - 1] == '}');
  tidegate_worker_leave(worker);
  tidegate_table_free(table);
}

static tidegate_field field(const char *name, const char *value) {
  tidegate_field line = TIDEGATE_FIELD_INIT;
  line.name = name;
  line.name_len = strlen(name);
  line.value = value;
  line.value_len = strlen(value);
  return line;
}

// Lists, policies, rules: what a host of HTTP/2 or FastCGI calls, and what an operator asks for.
static void responses(void) {
  static const char folded[] = "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nConnection: y\r\nY: c\r\nContent-Length: 007\r\n\r\n";
  static const char html[] = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\n";
  static const char text[] = "type application/json; no-marker \"oops\" within 1k";
  tidegate_validator validator;
  tidegate_validator_options options = TIDEGATE_VALIDATOR_OPTIONS_INIT;
  tidegate_verdict verdict = TIDEGATE_VERDICT_INIT;
  tidegate_rules *rules = NULL;
  tidegate_field list[3];
  char out[128], why[240];
  size_t len = 0;

  options.protocol = TIDEGATE_PROTOCOL_HTTP_2;
  list[0] = field(":status", "200");
  list[1] = field("content-length", "5");
  list[2] = field("Server", "x");
  CHECK(tidegate_validator_start(&validator, &options) == TIDEGATE_OK);
  CHECK(tidegate_validator_feed(&validator, "x", 1, &verdict) == TIDEGATE_ERR_STATE);
  CHECK(tidegate_validator_fields(&validator, NULL, 1, &verdict) == TIDEGATE_ERR_NULL);
  CHECK(tidegate_validator_fields(&validator, list, 2, &verdict) == TIDEGATE_OK);
  CHECK(verdict.event == TIDEGATE_VERDICT_HEAD && verdict.status == 200 && verdict.consumed == 2);
  CHECK(verdict.framing == TIDEGATE_FRAMING_LENGTH && verdict.content_length == 5);
  CHECK(tidegate_validator_data(&validator, "hel", 3, &verdict) == TIDEGATE_OK);
  CHECK(verdict.event == TIDEGATE_VERDICT_NEED_MORE);
  CHECK(tidegate_validator_finish(&validator, TIDEGATE_END_CLOSE, &verdict) == TIDEGATE_OK);
  CHECK(verdict.event == TIDEGATE_VERDICT_REJECT && verdict.reason == TIDEGATE_REASON_BODY_SHORT_OF_LENGTH);
  CHECK(verdict.cause == TIDEGATE_CAUSE_HTTP_RESPONSE_INCOMPLETE);
  CHECK(tidegate_validator_start(&validator, &options) == TIDEGATE_OK);
  CHECK(tidegate_validator_fields(&validator, list, 3, &verdict) == TIDEGATE_OK);
  CHECK(verdict.event == TIDEGATE_VERDICT_REJECT && verdict.reason == TIDEGATE_REASON_FIELD_NAME_UPPERCASE);
  CHECK(verdict.consumed == 2 && strcmp(tidegate_reason_clause(verdict.reason), "RFC 9113 section 8.2.1") == 0);

  options = (tidegate_validator_options)TIDEGATE_VALIDATOR_OPTIONS_INIT;
  options.policy = 9;
  CHECK(tidegate_validator_start(&validator, &options) == TIDEGATE_ERR_INVALID);
  options.policy = TIDEGATE_POLICY_COMPATIBLE;
  CHECK(tidegate_validator_start(&validator, &options) == TIDEGATE_OK);
  CHECK(tidegate_validator_feed(&validator, folded, sizeof folded - 1, &verdict) == TIDEGATE_OK);
  CHECK(verdict.event == TIDEGATE_VERDICT_HEAD && (verdict.flags & TIDEGATE_VERDICT_FLAG_NORMALISE));
  CHECK(verdict.tolerated == TIDEGATE_REASON_LINE_FOLDED && verdict.tolerated_offset == 23);
  CHECK(verdict.tolerances == TIDEGATE_TOLERATE_FOLDED);
  CHECK(tidegate_head_rewrite(folded, verdict.consumed, out, 3, &len) == TIDEGATE_ERR_BUFFER && len == 46);
  CHECK(tidegate_head_rewrite(folded, verdict.consumed, out, sizeof out, &len) == TIDEGATE_OK);
  CHECK(len == 46 && memcmp(out, "HTTP/1.1 200 OK\r\nX: a b\r\nContent-Length: 7\r\n\r\n", len) == 0);

  CHECK(tidegate_rules_new("min-body x", 10, &rules) == TIDEGATE_ERR_INVALID && rules == NULL);
  CHECK(tidegate_last_error(why, sizeof why, &len) == TIDEGATE_OK && memcmp(why, "rules, byte 9: not a size", 25) == 0);
  CHECK(tidegate_rules_new(text, sizeof text - 1, &rules) == TIDEGATE_OK);
  options = (tidegate_validator_options)TIDEGATE_VALIDATOR_OPTIONS_INIT;
  options.rules = rules;
  CHECK(tidegate_validator_start(&validator, &options) == TIDEGATE_OK);
  CHECK(tidegate_validator_feed(&validator, html, sizeof html - 1, &verdict) == TIDEGATE_OK);
  CHECK(verdict.event == TIDEGATE_VERDICT_REJECT && verdict.reason == TIDEGATE_REASON_CONTENT_TYPE_UNEXPECTED);
  CHECK(verdict.cause == TIDEGATE_CAUSE_RESPONSE_UNEXPECTED);
  tidegate_rules_free(rules);
  tidegate_rules_free(NULL);
}

int main(void) {
  responses();
  versions();
  statuses();
  nulls();
  struct_sizes();
  memory();
  requests();
  printf("every rule holds\n");
  return 0;
}
