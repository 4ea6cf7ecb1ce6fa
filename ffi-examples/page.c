// Prints the default HTML page for a status, a cause by name and a Retry-After: what `make screenshots` looks at, and the
// shortest use of the responder for a host that builds the head itself.
//
//   page 503 no_eligible_peer 30

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tidegate.h"

static uint32_t cause_of(const char *name) {
  for (uint32_t cause = 0; cause < 256; cause++) {
    const char *known = tidegate_cause_name(cause);
    if (known != NULL && strcmp(known, name) == 0) return cause;
  }
  return UINT32_MAX;
}

int main(int argc, char **argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: page STATUS CAUSE RETRY_AFTER\n");
    return 2;
  }

  tidegate_answer answer = TIDEGATE_ANSWER_INIT;
  answer.status = (uint32_t)atoi(argv[1]);
  answer.cause = cause_of(argv[2]);
  answer.retry_after_s = (uint32_t)atoi(argv[3]);
  answer.format = TIDEGATE_FORMAT_HTML;
  answer.upstream = "orders";
  answer.upstream_len = strlen(answer.upstream);
  answer.request_id = "5f0c2b9e7a4d4f1d9c3e8b6a12d07f45";
  answer.request_id_len = strlen(answer.request_id);

  static char buffer[TIDEGATE_ANSWER_MAX];
  tidegate_answer_parts parts = TIDEGATE_ANSWER_PARTS_INIT;
  tidegate_status status = tidegate_answer_write_parts(&answer, buffer, sizeof buffer, &parts);
  if (status != TIDEGATE_OK) {
    fprintf(stderr, "page: %s\n", tidegate_strerror(status));
    return 1;
  }
  return fwrite(parts.body, 1, parts.body_len, stdout) == parts.body_len ? 0 : 1;
}
