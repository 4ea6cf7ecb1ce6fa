// tidegate.h: the C ABI of Tidegate, the part of a gateway that decides.
//
// The order of calls. Once: tidegate_table_new, tidegate_upstream_open, tidegate_upstream_set_peers; then fork.
// In each worker: tidegate_worker_join. For each client request: tidegate_request_start; then, until the decision is
// something other than RETRY: tidegate_request_pick, tidegate_validator_start, the attempt itself with
// tidegate_validator_feed, tidegate_request_head when the head has come, tidegate_request_report when it ended. On
// TIDEGATE_ERR_NO_PEER and on ANSWER: tidegate_request_answer, tidegate_answer_write.
//
// Time is always the host's: nanoseconds of CLOCK_MONOTONIC, the same clock in all processes of a table.
//
// Thread rules. any-thread: any thread at any time. worker-owned: only the thread that owns the worker (all threads,
// if the worker joined with TIDEGATE_WORKER_SHARED, but one at a time for one request). set-up only: while no other
// thread uses the object.
//
// Structs begin with `struct_size`: initialise them with their TIDEGATE_*_INIT macro (or tidegate_*_init), and a
// program keeps working with later libraries, whose structs may be longer. Strings are (pointer, length) pairs, not
// terminated. Outputs are written only on success. No function prints, exits, changes a signal or lets a panic out.
//
// Generated from src/ffi by `make header`; do not edit.


#ifndef TIDEGATE_H
#define TIDEGATE_H

#include <stddef.h>
#include <stdint.h>

// Nothing failed.
#define TIDEGATE_CAUSE_NONE 0

// The name of the upstream could not be resolved.
#define TIDEGATE_CAUSE_DNS_ERROR 1

// Resolving it took too long.
#define TIDEGATE_CAUSE_DNS_TIMEOUT 2

// The address is barred by policy.
#define TIDEGATE_CAUSE_DESTINATION_IP_PROHIBITED 3

// No route to the address.
#define TIDEGATE_CAUSE_DESTINATION_IP_UNROUTABLE 4

// Nobody listens on the port.
#define TIDEGATE_CAUSE_CONNECTION_REFUSED 5

// The connection was not established in time.
#define TIDEGATE_CAUSE_CONNECTION_TIMEOUT 6

// The peer closed or reset before its response was complete.
#define TIDEGATE_CAUSE_CONNECTION_TERMINATED 7

// A reused idle connection was closed before any byte of a response: the keep-alive race, nobody's fault.
#define TIDEGATE_CAUSE_CONNECTION_REUSED_CLOSED 8

// The peer sent nothing for too long.
#define TIDEGATE_CAUSE_CONNECTION_READ_TIMEOUT 9

// The peer took nothing for too long.
#define TIDEGATE_CAUSE_CONNECTION_WRITE_TIMEOUT 10

// TLS failed, in the handshake or later.
#define TIDEGATE_CAUSE_TLS_PROTOCOL_ERROR 11

// The peer's certificate was not accepted.
#define TIDEGATE_CAUSE_TLS_CERTIFICATE_ERROR 12

// The peer sent a TLS alert.
#define TIDEGATE_CAUSE_TLS_ALERT_RECEIVED 13

// The whole response took too long.
#define TIDEGATE_CAUSE_HTTP_RESPONSE_TIMEOUT 14

// The response ended early.
#define TIDEGATE_CAUSE_HTTP_RESPONSE_INCOMPLETE 15

// The bytes are not a valid response.
#define TIDEGATE_CAUSE_HTTP_PROTOCOL_ERROR 16

// The head is larger than allowed.
#define TIDEGATE_CAUSE_HTTP_RESPONSE_HEADER_SECTION_SIZE 17

// One field line is larger than allowed.
#define TIDEGATE_CAUSE_HTTP_RESPONSE_HEADER_SIZE 18

// The body is larger than allowed.
#define TIDEGATE_CAUSE_HTTP_RESPONSE_BODY_SIZE 19

// The trailers are larger than allowed.
#define TIDEGATE_CAUSE_HTTP_RESPONSE_TRAILER_SECTION_SIZE 20

// One trailer line is larger than allowed.
#define TIDEGATE_CAUSE_HTTP_RESPONSE_TRAILER_SIZE 21

// Transfer-Encoding or the chunks are broken.
#define TIDEGATE_CAUSE_HTTP_RESPONSE_TRANSFER_CODING 22

// Content-Encoding is broken.
#define TIDEGATE_CAUSE_HTTP_RESPONSE_CONTENT_CODING 23

// The protocol upgrade failed.
#define TIDEGATE_CAUSE_HTTP_UPGRADE_FAILED 24

// The upstream answered with a status that counts as a failure.
#define TIDEGATE_CAUSE_UPSTREAM_STATUS 25

// No peer may be tried now.
#define TIDEGATE_CAUSE_NO_ELIGIBLE_PEER 26

// Every eligible peer is at its limit.
#define TIDEGATE_CAUSE_PEER_LIMIT 27

// The upstream is at its limit.
#define TIDEGATE_CAUSE_UPSTREAM_LIMIT 28

// The queue is full.
#define TIDEGATE_CAUSE_QUEUE_FULL 29

// Waiting in the queue took too long.
#define TIDEGATE_CAUSE_QUEUE_TIMEOUT 30

// The retry budget is spent.
#define TIDEGATE_CAUSE_RETRY_BUDGET 31

// No such upstream.
#define TIDEGATE_CAUSE_UPSTREAM_NOT_FOUND 32

// Tidegate's or its host's own error.
#define TIDEGATE_CAUSE_INTERNAL_ERROR 33

// The gateway's configuration is wrong.
#define TIDEGATE_CAUSE_CONFIGURATION_ERROR 34

// This machine ran out of something (descriptors, ports, memory) before the peer was reached.
#define TIDEGATE_CAUSE_LOCAL_FAULT 35

// The client went away; nothing is answered.
#define TIDEGATE_CAUSE_CLIENT_CLOSED 36

// The request came back to this gateway.
#define TIDEGATE_CAUSE_PROXY_LOOP_DETECTED 37

// A valid response that breaks a rule of the operator's: type, size, fields, a marker in the body.
#define TIDEGATE_CAUSE_RESPONSE_UNEXPECTED 38

// GET; also what 0 means.
#define TIDEGATE_METHOD_GET 1

// HEAD
#define TIDEGATE_METHOD_HEAD 2

// POST
#define TIDEGATE_METHOD_POST 3

// PUT
#define TIDEGATE_METHOD_PUT 4

// DELETE
#define TIDEGATE_METHOD_DELETE 5

// CONNECT
#define TIDEGATE_METHOD_CONNECT 6

// OPTIONS
#define TIDEGATE_METHOD_OPTIONS 7

// TRACE
#define TIDEGATE_METHOD_TRACE 8

// PATCH
#define TIDEGATE_METHOD_PATCH 9

// Any other method: never repeated without proof that it is safe.
#define TIDEGATE_METHOD_OTHER 10

// The body can't be sent a second time: no retry once a part of it left.
#define TIDEGATE_REQUEST_NOT_REPLAYABLE 1

// The embedder's word that repeating is safe whatever the method (an Idempotency-Key, say).
#define TIDEGATE_REQUEST_RETRY_SAFE 2

// Never retry.
#define TIDEGATE_REQUEST_NO_RETRY 4

// How far an attempt had come: connecting.
#define TIDEGATE_PHASE_CONNECT 1

// In the TLS handshake.
#define TIDEGATE_PHASE_TLS 2

// Sending the request.
#define TIDEGATE_PHASE_SEND 3

// Waiting for the response's head, or reading it.
#define TIDEGATE_PHASE_HEAD 4

// Reading the body.
#define TIDEGATE_PHASE_BODY 5

// The response was complete.
#define TIDEGATE_PHASE_DONE 6

// The connection had served a request before.
#define TIDEGATE_OUTCOME_REUSED 1

// A byte of the request, encryption's own not counted, left the gateway.
#define TIDEGATE_OUTCOME_SENT 2

// A byte of a response arrived.
#define TIDEGATE_OUTCOME_RECEIVED 4

// A byte of the response went to the client: nothing can be taken back.
#define TIDEGATE_OUTCOME_DELIVERED 8

// Pass the response on.
#define TIDEGATE_DECISION_DELIVER 1

// Wait `wait_ns`, then pick again.
#define TIDEGATE_DECISION_RETRY 2

// Answer with `status`: `tidegate_request_answer` fills in the answer.
#define TIDEGATE_DECISION_ANSWER 3

// The response is broken and part of it has gone out: end the client's connection so that it can see the cut.
#define TIDEGATE_DECISION_ABORT 4

// Why there was no (further) retry, in `tidegate_decision.reason`: there was one, or none was needed.
#define TIDEGATE_WHY_NONE 0

// The cause is one that a retry can't help.
#define TIDEGATE_WHY_HOPELESS 1

// Repeating the request might run it twice.
#define TIDEGATE_WHY_NOT_SAFE 2

// The body can't be sent again.
#define TIDEGATE_WHY_NOT_REPLAYABLE 3

// Part of the response has gone to the client.
#define TIDEGATE_WHY_DELIVERED 4

// All attempts are used.
#define TIDEGATE_WHY_ATTEMPTS 5

// No untried peer may be picked.
#define TIDEGATE_WHY_NO_PEER 6

// No time is left.
#define TIDEGATE_WHY_DEADLINE 7

// The upstream's retry budget is spent.
#define TIDEGATE_WHY_BUDGET 8

// The host forbade it.
#define TIDEGATE_WHY_FORBIDDEN 9

// The pick is a trial of a half-open peer.
#define TIDEGATE_PICK_TRIAL 1

// Health was ignored.
#define TIDEGATE_PICK_PANIC 2

// The peer is a backup.
#define TIDEGATE_PICK_BACKUP 4

// Use a new connection, no idle one: this request has met one that was closed, or it can't be repeated and others
// have met such ones on this upstream in the last minute.
#define TIDEGATE_PICK_FRESH 8

// The outcome was charged to the peer.
#define TIDEGATE_DECISION_FLAG_CHARGED 1

// It ejected the peer.
#define TIDEGATE_DECISION_FLAG_EJECTED 2

// A buffer of this many bytes holds every answer.
#define TIDEGATE_ANSWER_MAX 8192

// Body format: by the client's `accept`.
#define TIDEGATE_FORMAT_AUTO 0

// `{"error":{"code":502,"message":"Bad Gateway","details":…}}`, application/json.
#define TIDEGATE_FORMAT_JSON 1

// `{"error":"upstream_failure","upstreamService":…,"message":…}`, application/json.
#define TIDEGATE_FORMAT_JSON_FLAT 2

// RFC 9457, application/problem+json.
#define TIDEGATE_FORMAT_PROBLEM 3

// text/html; charset=utf-8.
#define TIDEGATE_FORMAT_HTML 4

// text/plain; charset=utf-8.
#define TIDEGATE_FORMAT_TEXT 5

// The request was HEAD: the same head, no body. The parts' `body` is still there, for its length.
#define TIDEGATE_ANSWER_HEAD 1

// Write `Connection: close`.
#define TIDEGATE_ANSWER_CLOSE 2

// Write `Connection: keep-alive` (for HTTP/1.0 clients). CLOSE wins over it.
#define TIDEGATE_ANSWER_KEEP_ALIVE 4

// Where `accept` asks for JSON, use the flat shape.
#define TIDEGATE_ANSWER_FLAT 8

// Leave Proxy-Status out.
#define TIDEGATE_ANSWER_NO_PROXY_STATUS 16

// One JSON object: table, workers, upstreams, peers, counts by cause.
#define TIDEGATE_STATUS_FORMAT_JSON 1

// Aligned columns for a terminal.
#define TIDEGATE_STATUS_FORMAT_TEXT 2

// A table of another layout or capacity, or a damaged one, stays, and `tidegate_table_open` fails.
#define TIDEGATE_MISMATCH_REFUSE 1

// A fresh table takes its place: TIDEGATE_EVENT_TABLE_REPLACED is its first event. Processes that use the old one go
// on with it, apart from the new.
#define TIDEGATE_MISMATCH_REPLACE 2

// A peer was ejected for failures in traffic.
#define TIDEGATE_EVENT_PEER_EJECTED 1

// An ejection ended: the first trial request was let through.
#define TIDEGATE_EVENT_PEER_HALF_OPEN 2

// The trials succeeded: the peer takes traffic again.
#define TIDEGATE_EVENT_PEER_HEALTHY 3

// A peer failed often enough to be ejected, but nothing else could carry the traffic: it stays.
#define TIDEGATE_EVENT_PEER_SPARED 4

// A peer's administrative state was changed: `value` is the new TIDEGATE_ADMIN_*.
#define TIDEGATE_EVENT_PEER_ADMIN 5

// A new list of peers was published.
#define TIDEGATE_EVENT_MEMBERSHIP 6

// A dead worker's lane was cleared: `value` in-flight requests were taken off.
#define TIDEGATE_EVENT_WORKER_RECLAIMED 7

// A worker that may live was silent for too long: its lane is left out of the sums, and with it `value` requests in
// flight. See `tidegate_worker_join`.
#define TIDEGATE_EVENT_WORKER_OUT 9

// It is back, with `value` requests in flight.
#define TIDEGATE_EVENT_WORKER_BACK 10

// This table took the place of another in its file: `value` says why, TIDEGATE_REPLACED_*.
#define TIDEGATE_EVENT_TABLE_REPLACED 8

// The old table was of another layout version, or had other features.
#define TIDEGATE_REPLACED_LAYOUT 1

// The old table had other capacities.
#define TIDEGATE_REPLACED_CAPACITY 2

// The old table was damaged: its header contradicted itself or the size of the file.
#define TIDEGATE_REPLACED_DAMAGED 3

// The old table was left from before a reboot, which starts CLOCK_MONOTONIC anew.
#define TIDEGATE_REPLACED_REBOOT 4

// Weighted smooth round robin: the default here.
#define TIDEGATE_SELECTOR_ROUND_ROBIN 1

// Weighted power of two choices on requests in flight.
#define TIDEGATE_SELECTOR_LEAST_REQUEST 2

// When fewer peers than `panic_percent` are eligible: spread over all that are enabled.
#define TIDEGATE_PANIC_SPREAD 1

// When no peer is eligible: refuse (503).
#define TIDEGATE_PANIC_REFUSE 2

// The peer takes requests.
#define TIDEGATE_ADMIN_ENABLED 0

// No new requests; those in flight go on.
#define TIDEGATE_ADMIN_DRAINING 1

// No requests, not even in panic.
#define TIDEGATE_ADMIN_DISABLED 2

// The peer takes its share.
#define TIDEGATE_HEALTH_HEALTHY 1

// Out, for failures in traffic.
#define TIDEGATE_HEALTH_EJECTED 2

// On trial after an ejection.
#define TIDEGATE_HEALTH_HALF_OPEN 3

// Statuses that count as failures, for `failure_statuses`: 500.
#define TIDEGATE_STATUS_500 1

// 502
#define TIDEGATE_STATUS_502 2

// 503
#define TIDEGATE_STATUS_503 4

// 504
#define TIDEGATE_STATUS_504 8

// 429
#define TIDEGATE_STATUS_429 16

// 403
#define TIDEGATE_STATUS_403 32

// 404
#define TIDEGATE_STATUS_404 64

// No status counts as a failure.
#define TIDEGATE_STATUS_NOTHING 2147483648

// For `hold_bytes`: hold no response back.
#define TIDEGATE_HOLD_OFF 4294967295

// What the validator saw, in `tidegate_verdict.event`. All bytes were taken and none of these happened: more is needed.
#define TIDEGATE_VERDICT_NEED_MORE 0

// The head of an interim (1xx) response ended. Do not forward it as the final one.
#define TIDEGATE_VERDICT_INTERIM 1

// The head of the final response ended; `status`, `framing`, `content_length` and `flags` are set.
#define TIDEGATE_VERDICT_HEAD 2

// Body bytes: `data_len` bytes from `data` in this call's input, without chunk framing.
#define TIDEGATE_VERDICT_DATA 3

// The response is complete. Bytes after `consumed` belong to no response: close the connection.
#define TIDEGATE_VERDICT_COMPLETE 4

// The bytes are not a valid response: `cause`, `reason` and `offset` say why. Every later call answers the same.
#define TIDEGATE_VERDICT_REJECT 5

// No body: HEAD, 204, 304.
#define TIDEGATE_FRAMING_NONE 1

// `content_length` bytes.
#define TIDEGATE_FRAMING_LENGTH 2

// Chunked transfer coding.
#define TIDEGATE_FRAMING_CHUNKED 3

// Until the peer closes.
#define TIDEGATE_FRAMING_CLOSE 4

// A tunnel: 101 as asked for, or 2xx to CONNECT. All later bytes are DATA.
#define TIDEGATE_FRAMING_TUNNEL 5

// The connection may be used again after this response.
#define TIDEGATE_VERDICT_FLAG_REUSABLE 1

// Bytes came after the end of the response: they were not taken. Never reuse the connection.
#define TIDEGATE_VERDICT_FLAG_EXCESS 2

// The response is HTTP/1.0.
#define TIDEGATE_VERDICT_FLAG_HTTP_1_0 4

// Something was tolerated that must be rewritten before it is forwarded: never forward the head's raw bytes, nor the
// trailers'. `tidegate_head_rewrite` writes a head that can be.
#define TIDEGATE_VERDICT_FLAG_NORMALISE 8

// Chunk extensions came, or chunk framing was tolerated: forward the body in framing of your own. The head is not
// concerned; known with the DATA or COMPLETE behind it.
#define TIDEGATE_VERDICT_FLAG_REFRAME 16

// How the connection ended, for `tidegate_validator_finish`: by FIN.
#define TIDEGATE_END_CLOSE 1

// By a reset or another error.
#define TIDEGATE_END_RESET 2

// It did not end, but the host stops waiting.
#define TIDEGATE_END_TIMEOUT 3

// Leave DATA events out: body bytes are checked and taken, but not reported. For hosts that forward raw bytes.
#define TIDEGATE_VALIDATOR_NO_DATA 1

// HTTP/1.x bytes, for `tidegate_validator_feed`; or a list of fields that the host parsed from such.
#define TIDEGATE_PROTOCOL_HTTP_1 0

// HTTP/2: `tidegate_validator_fields` and `tidegate_validator_data`.
#define TIDEGATE_PROTOCOL_HTTP_2 2

// HTTP/3: the same.
#define TIDEGATE_PROTOCOL_HTTP_3 3

// FastCGI, SCGI, uwsgi: what is behind the record layer, as bytes that begin with fields (a status line is taken too)
// or as lists. `status` of the verdict is that of `Status`, else 302 with a Location, else 200 (RFC 3875, section 6).
// The head always has to be written anew; never REUSABLE.
#define TIDEGATE_PROTOCOL_CGI 4

// To the letter: what a recipient may refuse is refused.
#define TIDEGATE_POLICY_STRICT 0

// What browsers and nginx live with: TIDEGATE_TOLERATE_COMPATIBLE. What is let through is said in the verdict.
#define TIDEGATE_POLICY_COMPATIBLE 1

// Judge and let through: `tolerated` of the verdict says what a strict reader would have refused first. Limits and
// rules refuse nothing either. Only bytes whose framing can't be established, and responses that end early, are
// rejected. To be used to learn what an upstream sends, not to protect anybody.
#define TIDEGATE_POLICY_OBSERVE 2

// Empty lines before the status line: drop them.
#define TIDEGATE_TOLERATE_EMPTY_LINES 1

// A major version from 2 to 9 in HTTP/1 syntax: read as 1.1.
#define TIDEGATE_TOLERATE_VERSION 2

// More white space, or HTAB, between version and status.
#define TIDEGATE_TOLERATE_STATUS_SPACE 4

// A sub-status, as in "403.1".
#define TIDEGATE_TOLERATE_SUBSTATUS 8

// A status of 600 to 999. Forwarded as it came.
#define TIDEGATE_TOLERATE_STATUS_RANGE 16

// Control characters in the reason phrase.
#define TIDEGATE_TOLERATE_REASON_CONTROLS 32

// Folded lines, but for framing fields: RFC 9112 section 5.2.
#define TIDEGATE_TOLERATE_FOLDED 64

// White space between a name and its colon, but for framing fields: RFC 9112 section 5.1.
#define TIDEGATE_TOLERATE_SPACE_BEFORE_COLON 128

// Lines that are no fields: without a colon, with other characters in the name, white space before the first one.
#define TIDEGATE_TOLERATE_BAD_LINES 256

// Control characters in values: RFC 9110 section 5.5.
#define TIDEGATE_TOLERATE_VALUE_CONTROLS 512

// NUL too, where a bit above tolerates control characters. Not in COMPATIBLE.
#define TIDEGATE_TOLERATE_NUL 1024

// Content-Length repeated with the same value: RFC 9110 section 8.6.
#define TIDEGATE_TOLERATE_LENGTH_REPEATED 2048

// Content-Length beside Transfer-Encoding, which then decides: RFC 9112 section 6.3. Never REUSABLE.
#define TIDEGATE_TOLERATE_LENGTH_AND_CODING 4096

// Transfer codings besides chunked: the body stays coded. Never REUSABLE. Not in COMPATIBLE.
#define TIDEGATE_TOLERATE_CODINGS 8192

// A lone LF as a line end of chunk framing.
#define TIDEGATE_TOLERATE_CHUNK_LF 16384

// White space between a chunk's size, or an extension, and the line's end.
#define TIDEGATE_TOLERATE_CHUNK_SPACE 32768

// Chunk extensions that break their grammar.
#define TIDEGATE_TOLERATE_CHUNK_EXTENSIONS 65536

// Data in a response that has no content (HTTP/2, HTTP/3, CGI lists): drop it. Not in COMPATIBLE.
#define TIDEGATE_TOLERATE_CONTENT 131072

// All that TIDEGATE_POLICY_COMPATIBLE tolerates.
#define TIDEGATE_TOLERATE_COMPATIBLE 121855

// In a verdict's `tolerances` only: a limit was passed or a rule broken, under TIDEGATE_POLICY_OBSERVE.
#define TIDEGATE_TOLERATE_OBSERVED 2147483648

// Nothing was refused.
#define TIDEGATE_REASON_NONE 0

// The bytes do not begin with "HTTP/".
#define TIDEGATE_REASON_STATUS_LINE_MISSING 1

// An empty line before the status line; only requests may have one.
#define TIDEGATE_REASON_EMPTY_LINE_BEFORE_STATUS 2

// The major version is not 1.
#define TIDEGATE_REASON_VERSION_UNSUPPORTED 3

// Not a digit, a dot, a digit and a space.
#define TIDEGATE_REASON_VERSION_MALFORMED 4

// Not three digits, or something other than a space or the line's end after them.
#define TIDEGATE_REASON_STATUS_MALFORMED 5

// Below 100 or above 599.
#define TIDEGATE_REASON_STATUS_OUT_OF_RANGE 6

// A control character in the reason phrase.
#define TIDEGATE_REASON_REASON_PHRASE_CHARACTER 7

// A CR without its LF; the offset is that of the byte after it.
#define TIDEGATE_REASON_BARE_CR 8

// White space between the status line and the first field.
#define TIDEGATE_REASON_SPACE_BEFORE_FIRST_FIELD 9

// A line that begins with white space: a folded field.
#define TIDEGATE_REASON_LINE_FOLDED 10

// A field line that begins with its colon.
#define TIDEGATE_REASON_FIELD_NAME_EMPTY 11

// A character that no field name may have.
#define TIDEGATE_REASON_FIELD_NAME_CHARACTER 12

// White space between a field's name and its colon.
#define TIDEGATE_REASON_SPACE_BEFORE_COLON 13

// A field line without a colon.
#define TIDEGATE_REASON_COLON_MISSING 14

// A control character in a field's value.
#define TIDEGATE_REASON_FIELD_VALUE_CHARACTER 15

// The head is longer than `max_head`.
#define TIDEGATE_REASON_HEAD_TOO_LARGE 16

// The status line or a field line is longer than `max_line`.
#define TIDEGATE_REASON_LINE_TOO_LONG 17

// More than `max_fields` fields in a head.
#define TIDEGATE_REASON_TOO_MANY_FIELDS 18

// A field name of more than 256 bytes.
#define TIDEGATE_REASON_FIELD_NAME_TOO_LONG 19

// Content-Length is not a decimal number.
#define TIDEGATE_REASON_CONTENT_LENGTH_MALFORMED 20

// Content-Length is a list.
#define TIDEGATE_REASON_CONTENT_LENGTH_LIST 21

// Content-Length has more than 19 significant digits or more than 64 digits.
#define TIDEGATE_REASON_CONTENT_LENGTH_TOO_LARGE 22

// A second Content-Length with the same value.
#define TIDEGATE_REASON_CONTENT_LENGTH_REPEATED 23

// A second Content-Length with another value.
#define TIDEGATE_REASON_CONTENT_LENGTH_DIFFERS 24

// A transfer coding other than `chunked`, or one with parameters.
#define TIDEGATE_REASON_TRANSFER_ENCODING_UNKNOWN 25

// More than one transfer coding, or an empty list member.
#define TIDEGATE_REASON_TRANSFER_ENCODING_LIST 26

// A second Transfer-Encoding line.
#define TIDEGATE_REASON_TRANSFER_ENCODING_REPEATED 27

// Both Content-Length and Transfer-Encoding.
#define TIDEGATE_REASON_LENGTH_AND_TRANSFER_ENCODING 28

// More than `max_interim` interim responses.
#define TIDEGATE_REASON_TOO_MANY_INTERIM 29

// More than 64 KiB of interim responses in all.
#define TIDEGATE_REASON_INTERIM_TOO_LARGE 30

// 101 although the request offered no protocol.
#define TIDEGATE_REASON_UPGRADE_NOT_REQUESTED 31

// 101 to a protocol that the request did not offer.
#define TIDEGATE_REASON_UPGRADE_NOT_OFFERED 32

// 101 without an Upgrade field.
#define TIDEGATE_REASON_UPGRADE_MISSING 33

// 101 without `Connection: upgrade`.
#define TIDEGATE_REASON_UPGRADE_UNCONFIRMED 34

// 101 in an HTTP/1.0 response, which has no interim responses and no Upgrade.
#define TIDEGATE_REASON_UPGRADE_VERSION 35

// A chunk size that is not hexadecimal, or is missing.
#define TIDEGATE_REASON_CHUNK_SIZE_MALFORMED 36

// A chunk size of more than 16 digits, or above 2^63 - 1.
#define TIDEGATE_REASON_CHUNK_SIZE_TOO_LARGE 37

// A chunk extension that breaks its grammar.
#define TIDEGATE_REASON_CHUNK_EXTENSION_MALFORMED 38

// More than `max_chunk_extension` bytes of extensions in a body.
#define TIDEGATE_REASON_CHUNK_EXTENSION_TOO_LARGE 39

// More than 16 KiB of chunk framing, and more than ten times the data.
#define TIDEGATE_REASON_CHUNK_OVERHEAD 40

// A line of the chunk framing that does not end with CR LF.
#define TIDEGATE_REASON_CHUNK_LINE_END 41

// A chunk's data is not followed by CR LF.
#define TIDEGATE_REASON_CHUNK_DATA_END 42

// The trailer section is longer than `max_trailer`.
#define TIDEGATE_REASON_TRAILER_TOO_LARGE 43

// A trailer line is longer than `max_line`.
#define TIDEGATE_REASON_TRAILER_LINE_TOO_LONG 44

// More than 64 trailer fields.
#define TIDEGATE_REASON_TOO_MANY_TRAILERS 45

// A trailer name of more than 256 bytes.
#define TIDEGATE_REASON_TRAILER_NAME_TOO_LONG 46

// The body is longer than `max_body`.
#define TIDEGATE_REASON_BODY_TOO_LARGE 47

// The connection ended before any byte of the response.
#define TIDEGATE_REASON_NOTHING_RECEIVED 48

// The connection ended before the final response's head did.
#define TIDEGATE_REASON_HEAD_INCOMPLETE 49

// The connection ended before the body did.
#define TIDEGATE_REASON_BODY_INCOMPLETE 50

// The host stopped waiting.
#define TIDEGATE_REASON_READ_TIMEOUT 51

// The bytes begin as a TLS record does: the port speaks TLS.
#define TIDEGATE_REASON_TLS_RECORD 52

// A list of fields without `:status`.
#define TIDEGATE_REASON_STATUS_MISSING 53

// A pseudo-field other than `:status`.
#define TIDEGATE_REASON_PSEUDO_FIELD_UNKNOWN 54

// A second `:status`.
#define TIDEGATE_REASON_PSEUDO_FIELD_REPEATED 55

// `:status` behind another field.
#define TIDEGATE_REASON_PSEUDO_FIELD_LATE 56

// A pseudo-field in a trailer section.
#define TIDEGATE_REASON_PSEUDO_FIELD_IN_TRAILER 57

// A letter in upper case in the name of an HTTP/2 or HTTP/3 field.
#define TIDEGATE_REASON_FIELD_NAME_UPPERCASE 58

// White space around the value of an HTTP/2 or HTTP/3 field.
#define TIDEGATE_REASON_FIELD_VALUE_SPACE 59

// A field that speaks of an HTTP/1 connection: Connection, Transfer-Encoding, TE and their like.
#define TIDEGATE_REASON_CONNECTION_FIELD 60

// 101 over HTTP/2 or HTTP/3, which have no upgrade.
#define TIDEGATE_REASON_UPGRADE_OVER_STREAM 61

// More data than Content-Length says.
#define TIDEGATE_REASON_BODY_BEYOND_LENGTH 62

// The stream ended with less data than Content-Length says.
#define TIDEGATE_REASON_BODY_SHORT_OF_LENGTH 63

// Data in a response that has no content: to HEAD, 204, 304.
#define TIDEGATE_REASON_CONTENT_NOT_ALLOWED 64

// Data before the final head or behind the trailers, or fields behind the trailers.
#define TIDEGATE_REASON_FRAME_OUT_OF_PLACE 65

// A CGI response without Content-Type, Location and Status.
#define TIDEGATE_REASON_CGI_FIELD_MISSING 66

// A second Content-Type, Location or Status in a CGI response.
#define TIDEGATE_REASON_CGI_FIELD_REPEATED 67

// Content-Type is none of those that the operator's rules allow, or is missing.
#define TIDEGATE_REASON_CONTENT_TYPE_UNEXPECTED 68

// The body is smaller than the operator's rules allow.
#define TIDEGATE_REASON_BODY_BELOW_MINIMUM 69

// The body is larger than the operator's rules allow.
#define TIDEGATE_REASON_BODY_ABOVE_MAXIMUM 70

// A field that the operator's rules require is missing.
#define TIDEGATE_REASON_REQUIRED_FIELD_MISSING 71

// A field that the operator's rules forbid is there.
#define TIDEGATE_REASON_FORBIDDEN_FIELD_PRESENT 72

// A marker that the operator's rules require is not in the body's first bytes.
#define TIDEGATE_REASON_BODY_MARKER_MISSING 73

// A marker that the operator's rules forbid is in the body's first bytes.
#define TIDEGATE_REASON_BODY_MARKER_FOUND 74

// Major version of the header a program was compiled with.
#define TIDEGATE_VERSION_MAJOR 0

// Minor version.
#define TIDEGATE_VERSION_MINOR 1

// Patch version.
#define TIDEGATE_VERSION_PATCH 0

// The three in one number: major << 16 | minor << 8 | patch.
#define TIDEGATE_VERSION_NUMBER 256

// The ABI that the header describes. It changes only when a program must be compiled anew.
#define TIDEGATE_ABI_VERSION 0

// Several threads use this worker at once: its counters are then atomic adds (about 6 ns each) instead of stores.
#define TIDEGATE_WORKER_SHARED 1



// A compiled set of rules on live responses, read by any number of validators at once.
typedef struct tidegate_rules tidegate_rules;

// A table: all state of the upstreams, in memory shared between processes. Make it before fork(); each process and
// thread that serves requests then joins it as a worker.
typedef struct tidegate_table tidegate_table;

// A worker: one process or thread that serves requests. It owns one lane of the in-flight counters.
typedef struct tidegate_worker tidegate_worker;

// What every fallible function returns: 0, or one of the negative `TIDEGATE_ERR_*`.
typedef int32_t tidegate_status;

// One request; 0 is the default everywhere.
typedef struct tidegate_request_options {
  // sizeof(tidegate_request_options)
  size_t struct_size;
  // The upstream's id.
  uint32_t upstream;
  // TIDEGATE_METHOD_*; default GET.
  uint32_t method;
  // TIDEGATE_REQUEST_* bits.
  uint32_t flags;
  // Most attempts; default: the upstream's.
  uint32_t max_attempts;
  // No retry starts after this time (CLOCK_MONOTONIC, like every `now_ns`); default: the upstream's.
  uint64_t deadline_ns;
} tidegate_request_options;

// The peer to try.
typedef struct tidegate_pick {
  // sizeof(tidegate_pick)
  size_t struct_size;
  // Its handle: never reused for another peer while this request is open.
  uint64_t peer;
  // A number below the table's max_peers: an index for what the host keeps by peer. It may go to another peer
  // later; `peer` tells.
  uint32_t slot;
  // 1 for the first attempt of the request.
  uint32_t attempt;
  // TIDEGATE_PICK_* bits.
  uint32_t flags;
  // Reserved, 0.
  uint32_t reserved;
} tidegate_pick;

// What the host saw of an attempt. Unset fields are 0.
typedef struct tidegate_outcome {
  // sizeof(tidegate_outcome)
  size_t struct_size;
  // TIDEGATE_CAUSE_*; NONE: it went well, or failed only by its status.
  uint32_t cause;
  // TIDEGATE_PHASE_* that it had reached.
  uint32_t phase;
  // TIDEGATE_OUTCOME_* bits.
  uint32_t flags;
  // The response's status, 0 if there was none.
  uint32_t status;
  // The validator's `reason`, if it rejected. Taken in; no decision depends on it yet.
  uint32_t reason;
  // The response's Retry-After in seconds. Taken in; no decision depends on it yet.
  uint32_t retry_after_s;
  // How long connecting took, in nanoseconds; 0 on a reused connection.
  uint64_t connect_ns;
  // From the pick to the head.
  uint64_t head_ns;
  // From the pick to the end.
  uint64_t total_ns;
  // For tidegate_request_head: the body's length if `framing` is LENGTH.
  uint64_t content_length;
  // For tidegate_request_head: the value of Content-Type; NULL: there is none.
  const char *content_type;
  // Its length in bytes.
  size_t content_type_len;
  // For tidegate_request_head: TIDEGATE_FRAMING_* of the body, by which its end can be known. Leave it 0 where a
  // hold-back makes no sense: the response is complete already, or this host can't hold it.
  uint32_t framing;
  // Reserved, 0.
  uint32_t reserved;
} tidegate_outcome;

// What to do next.
typedef struct tidegate_decision {
  // sizeof(tidegate_decision)
  size_t struct_size;
  // TIDEGATE_DECISION_DELIVER, RETRY, ANSWER or ABORT.
  uint32_t verdict;
  // TIDEGATE_WHY_*: why there is no retry.
  uint32_t reason;
  // TIDEGATE_CAUSE_* that the request would be answered with.
  uint32_t cause;
  // ANSWER: 500, 502, 503 or 504.
  uint32_t status;
  // RETRY: wait this long before the next pick, in nanoseconds; 0: at once.
  uint64_t wait_ns;
  // ANSWER: Retry-After in seconds, 0: none.
  uint32_t retry_after_s;
  // Attempts made so far.
  uint32_t attempts;
  // TIDEGATE_DECISION_FLAG_* bits.
  uint32_t flags;
  // Reserved, 0.
  uint32_t reserved;
  // DELIVER of tidegate_request_head: keep the response until it is complete, but not for longer than this from its
  // head on, in nanoseconds. 0: don't.
  uint64_t hold_ns;
  // And no more than this many bytes of its body, framing counted. Once either bound is passed let it go: a body that
  // breaks off before can be retried, for no byte was delivered. 0: don't hold.
  uint32_t hold_bytes;
  // Reserved, 0.
  uint32_t reserved_hold;
} tidegate_decision;

// The state of one request, in the host's memory: 512 bytes, no clean-up beyond `tidegate_request_end`.
// Do not copy or move it while an attempt is open.
typedef struct tidegate_request {
  // Private.
  uint64_t opaque[64];
} tidegate_request;

// An error response to be written. 0, NULL and length 0 are "unset" everywhere; only `status` must be set.
// `tidegate_request_answer` fills in `status`, `cause`, `retry_after_s` and `received_status`.
typedef struct tidegate_answer {
  // sizeof(tidegate_answer)
  size_t struct_size;
  // 500, 502, 503 or 504.
  uint32_t status;
  // TIDEGATE_CAUSE_*: decides the Proxy-Status error type and the sentence in the body.
  uint32_t cause;
  // Retry-After in seconds; 0: no such field.
  uint32_t retry_after_s;
  // The status that an upstream had answered with, for Proxy-Status: 100 to 599.
  uint32_t received_status;
  // TIDEGATE_FORMAT_*
  uint32_t format;
  // TIDEGATE_ANSWER_* bits.
  uint32_t flags;
  // Date in seconds since 1970-01-01 UTC, before the year 10000; 0: no such field.
  int64_t date;
  // The value of the request's Accept field; join several lines by commas. Read if `format` is AUTO. Missing or
  // empty: JSON. Nothing acceptable: text.
  const char *accept;
  // Its length in bytes.
  size_t accept_len;
  // The gateway's name in Proxy-Status; default "tidegate". An RFC 8941 token, or else written as a string, in
  // which bytes other than printable ASCII become "?" (also in `next_hop` and `details`).
  const char *label;
  // Its length in bytes, at most 64.
  size_t label_len;
  // The upstream's public name (`upstreamService`), shown in the body; unset: not shown. Escaped; what is not UTF-8
  // becomes U+FFFD (also in `request_id`).
  const char *upstream;
  // Its length in bytes, at most 255.
  size_t upstream_len;
  // The request's id, shown in the body; unset: not shown.
  const char *request_id;
  // Its length in bytes, at most 255.
  size_t request_id_len;
  // Proxy-Status `next-hop`. It tells clients an address of yours: unset unless you want that.
  const char *next_hop;
  // Its length in bytes, at most 255.
  size_t next_hop_len;
  // Proxy-Status `details`. It tells clients about your insides: unset unless you want that.
  const char *details;
  // Its length in bytes, at most 255.
  size_t details_len;
} tidegate_answer;

// Where the parts of an answer are, for hosts that build the head themselves (nginx). Pointers lead into the
// caller's buffer or to static text; none is terminated by a NUL. Such a host also sends `Cache-Control: no-store`,
// `Retry-After` if `retry_after_s` is not 0, and `Vary: Accept` if `format` is AUTO.
typedef struct tidegate_answer_parts {
  // sizeof(tidegate_answer_parts)
  size_t struct_size;
  // "Bad Gateway"
  const char *reason;
  // Its length in bytes.
  size_t reason_len;
  // The value of Content-Type.
  const char *content_type;
  // Its length in bytes.
  size_t content_type_len;
  // This gateway's member of Proxy-Status; append it to what is there. Length 0: none.
  const char *proxy_status;
  // Its length in bytes.
  size_t proxy_status_len;
  // The body.
  const char *body;
  // Its length in bytes, also of the body that a HEAD request would have got.
  size_t body_len;
} tidegate_answer_parts;

// Capacities of a table, fixed for its life; 0 is the default everywhere.
typedef struct tidegate_table_options {
  // sizeof(tidegate_table_options)
  size_t struct_size;
  // Most upstreams; default 64, at most 4096.
  uint32_t max_upstreams;
  // Most peers of all upstreams, with those removed whose requests are still open; default 1024, at most 65536.
  uint32_t max_peers;
  // Most workers (processes or threads) at one time; default 64, at most 1024. During a reload old and new ones
  // count both.
  uint32_t max_workers;
  // Events kept, a power of two; default 1024, at most 65536.
  uint32_t events;
  // TIDEGATE_MISMATCH_*: what `tidegate_table_open` does with a table in the file that is not what is asked for;
  // default REFUSE. Other calls do not read it.
  uint32_t on_mismatch;
  // Reserved, 0: anything else is INVALID.
  uint32_t reserved;
} tidegate_table_options;

// Something that happened to a peer or an upstream.
typedef struct tidegate_event {
  // sizeof(tidegate_event)
  size_t struct_size;
  // When: the `now` of the call that caused it, in nanoseconds of CLOCK_MONOTONIC.
  uint64_t time_ns;
  // Its number; events are numbered from 1 without gaps. A gap in what is read are events that were overwritten
  // unread, or not yet whole when a later one was read.
  uint64_t number;
  // The peer's handle, 0 if the event concerns none.
  uint64_t peer;
  // TIDEGATE_EVENT_PEER_* and following.
  uint32_t kind;
  // The upstream's id.
  uint32_t upstream;
  // TIDEGATE_CAUSE_* of the outcome that caused it, 0 if none did.
  uint32_t cause;
  // WORKER_RECLAIMED, WORKER_OUT, WORKER_BACK: the worker's lane; else 0.
  uint32_t worker;
  // PEER_EJECTED: for how long, in milliseconds. PEER_ADMIN: the new TIDEGATE_ADMIN_*. MEMBERSHIP: how many peers
  // there are now. WORKER_RECLAIMED, WORKER_OUT, WORKER_BACK: how many requests in flight. TABLE_REPLACED:
  // TIDEGATE_REPLACED_*.
  uint64_t value;
} tidegate_event;

// How an upstream is used; 0 is the default everywhere.
typedef struct tidegate_upstream_options {
  // sizeof(tidegate_upstream_options)
  size_t struct_size;
  // TIDEGATE_SELECTOR_*; default ROUND_ROBIN.
  uint32_t selector;
  // TIDEGATE_PANIC_*; default REFUSE.
  uint32_t panic;
  // SPREAD: panic while fewer than this percentage of the peers are eligible; default 50.
  uint32_t panic_percent;
  // Most attempts of a request, the first one counted; default: every peer once, at most 16.
  uint32_t max_attempts;
  // Consecutive failures that eject a peer, at most 31; default 5. A refused or unroutable connection ejects at once.
  uint32_t eject_failures;
  // TIDEGATE_STATUS_* bits that count as failures and may be retried; default 502, 503 and 504.
  uint32_t failure_statuses;
  // First ejection in nanoseconds, doubled with each one that follows, shortened at random by up to a quarter; not
  // more than `eject_max_ns`; default 1 s.
  uint64_t eject_base_ns;
  // Longest ejection; default 60 s.
  uint64_t eject_max_ns;
  // Trials that must succeed before an ejected peer takes its share again, at most 7; default 2.
  uint32_t half_open_successes;
  // Retry budget: retries per million requests; default 200,000 (20 %). 1: as good
  // as none beyond `retry_budget_min_per_s`. 0xFFFFFFFF: no budget, retries are not bounded.
  uint32_t retry_budget_ppm;
  // Retries a second that the budget allows in any case; default 10.
  uint32_t retry_budget_min_per_s;
  // Reserved, 0: anything else is INVALID.
  uint32_t reserved;
  // Backoff before the second and later retries: first bound in nanoseconds, doubled each time, full jitter; not
  // more than `backoff_max_ns`; default 25 ms, 1 for as good as none.
  uint64_t backoff_base_ns;
  // Largest bound; default 250 ms.
  uint64_t backoff_max_ns;
  // How long a request may take over all its attempts, before its last retry starts; default no limit.
  uint64_t deadline_ns;
  // Longest time in nanoseconds, from its head on, that a response is held back until it is complete, so that one
  // that breaks off can be had from another peer; default 50 ms.
  uint64_t hold_ns;
  // Most bytes of a body, framing counted, that are held back, at most 16 MiB; default 65536. TIDEGATE_HOLD_OFF: none.
  uint32_t hold_bytes;
  // Reserved, 0.
  uint32_t reserved_hold;
} tidegate_upstream_options;

// One peer, as declared. Its identity is (upstream, address, name): what is known of it is kept while that stays.
typedef struct tidegate_peer {
  // sizeof(tidegate_peer); in an array, also the distance from one element to the next.
  size_t struct_size;
  // The address: a struct sockaddr of any family. Of AF_INET and AF_INET6 the address, port and scope
  // count, of AF_UNIX the path.
  const void *address;
  // Its length in bytes, at most 112.
  size_t address_len;
  // A name, part of the identity; may be unset. At most 63 bytes, printable ASCII.
  const char *name;
  // Its length in bytes.
  size_t name_len;
  // Share of the traffic, 1 to 65535; default 1.
  uint32_t weight;
  // 0: primary. 1: backup, used only while no primary is eligible.
  uint32_t priority;
  // Most requests in flight over all workers; default no limit.
  uint32_t max_in_flight;
  // TIDEGATE_ADMIN_*
  uint32_t admin;
} tidegate_peer;

// What is known of a peer.
typedef struct tidegate_peer_info {
  // sizeof(tidegate_peer_info)
  size_t struct_size;
  // The handle.
  uint64_t peer;
  // The upstream's id.
  uint32_t upstream;
  // TIDEGATE_HEALTH_*
  uint32_t health;
  // TIDEGATE_ADMIN_*
  uint32_t admin;
  // Weight as declared.
  uint32_t weight;
  // 0: primary, 1: backup.
  uint32_t priority;
  // Its limit, 0: none.
  uint32_t max_in_flight;
  // Requests in flight: the exact sum over all workers.
  uint32_t in_flight;
  // Consecutive failures.
  uint32_t streak;
  // Ejections since it was last long healthy.
  uint32_t ejections;
  // Reserved, 0.
  uint32_t reserved;
  // Attempts since it was added.
  uint64_t picks;
  // Attempts that failed and were charged to it.
  uint64_t failures;
  // EJECTED: nanoseconds until its first trial, 0 if one is due.
  uint64_t ejected_for_ns;
} tidegate_peer_info;

// What the validator needs to know of the request, and limits; 0 is the default everywhere.
typedef struct tidegate_validator_options {
  // sizeof(tidegate_validator_options)
  size_t struct_size;
  // TIDEGATE_METHOD_* of the request; default GET.
  uint32_t method;
  // TIDEGATE_VALIDATOR_* bits.
  uint32_t flags;
  // Protocols that the request offered in Upgrade, as the field's value ("websocket"); NULL: none. At most 64 bytes.
  const char *upgrade;
  // Its length in bytes.
  size_t upgrade_len;
  // Largest head in bytes, also of each interim one; default 65536.
  uint32_t max_head;
  // Longest field line in bytes, and longest status line; default 16384.
  uint32_t max_line;
  // Most fields in a head; default 100.
  uint32_t max_fields;
  // Most interim responses; default 16.
  uint32_t max_interim;
  // Most bytes of chunk extensions in a body; default 16384.
  uint32_t max_chunk_extension;
  // Largest trailer section in bytes; default 16384.
  uint32_t max_trailer;
  // Largest body in bytes, framing not counted; default no limit.
  uint64_t max_body;
  // TIDEGATE_PROTOCOL_*; default HTTP_1.
  uint32_t protocol;
  // TIDEGATE_POLICY_*; default STRICT.
  uint32_t policy;
  // TIDEGATE_TOLERATE_* bits, besides those of the policy.
  uint32_t tolerate;
  // Longest field name in bytes, in trailers too; default 256, at most 16384.
  uint32_t max_name;
  // Most trailer fields; default 64.
  uint32_t max_trailers;
  // 0.
  uint32_t reserved;
  // The operator's rules, which must outlive every use of the validator; NULL: none.
  const struct tidegate_rules *rules;
} tidegate_validator_options;

// What one call saw.
typedef struct tidegate_verdict {
  // sizeof(tidegate_verdict)
  size_t struct_size;
  // TIDEGATE_VERDICT_*
  uint32_t event;
  // TIDEGATE_CAUSE_* of a REJECT.
  uint32_t cause;
  // Bytes of this call's input that were taken. Call again with the rest.
  size_t consumed;
  // DATA: where the body bytes start in this call's input.
  size_t data;
  // DATA: how many there are.
  size_t data_len;
  // Bytes taken so far. REJECT: the first offending byte's offset from the first byte of the response stream (interim ones count).
  uint64_t offset;
  // The body's length if `framing` is LENGTH.
  uint64_t content_length;
  // The status of the last head that ended, 0 before.
  uint32_t status;
  // TIDEGATE_FRAMING_* of the final response, 0 before its head ended.
  uint32_t framing;
  // TIDEGATE_VERDICT_FLAG_* bits.
  uint32_t flags;
  // REJECT: TIDEGATE_REASON_* number; `tidegate_reason_name` gives the name to grep for.
  uint32_t reason;
  // The first thing that the policy let through and a strict reader would have refused, as a TIDEGATE_REASON_*
  // number; 0: none so far.
  uint32_t tolerated;
  // TIDEGATE_TOLERATE_* bits: all that was let through so far.
  uint32_t tolerances;
  // The offset of what `tolerated` names.
  uint64_t tolerated_offset;
} tidegate_verdict;

// One field of a head that the validator has passed.
typedef struct tidegate_field {
  // sizeof(tidegate_field)
  size_t struct_size;
  // The name, as sent; not terminated.
  const char *name;
  // Its length in bytes.
  size_t name_len;
  // The value without the white space around it; not terminated.
  const char *value;
  // Its length in bytes.
  size_t value_len;
} tidegate_field;

// The state of one response, in the host's memory: 512 bytes, no clean-up. May be copied. It points to nothing but the
// `rules` of its options.
typedef struct tidegate_validator {
  // Private.
  uint64_t opaque[64];
} tidegate_validator;

// How a worker joins; 0 is the default everywhere.
typedef struct tidegate_worker_options {
  // sizeof(tidegate_worker_options)
  size_t struct_size;
  // TIDEGATE_WORKER_* bits.
  uint32_t flags;
  // Reserved, 0: anything else is INVALID.
  uint32_t reserved;
  // Seed of this worker's choices; default: from the lane, the process and the time of joining.
  uint64_t seed;
  // After so long without `tidegate_worker_tick`, in nanoseconds, the worker is out: its requests in flight count no
  // longer until it wakes up. At least 2 s. Default: never while its process can be seen to live, however long it is
  // stopped, for its connections are open; and 10 s where all others are in another PID namespace and cannot see it.
  uint64_t lease_ns;
} tidegate_worker_options;

// Success.
#define TIDEGATE_OK 0

// A pointer that must not be NULL was NULL.
#define TIDEGATE_ERR_NULL -1

// An argument is out of its range; `tidegate_last_error` says which.
#define TIDEGATE_ERR_INVALID -2

// A struct's `struct_size` is too small, or bytes that this library does not know are not zero.
#define TIDEGATE_ERR_STRUCT_SIZE -3

// The buffer is too small; `*needed` says how large it must be. Nothing was written to it.
#define TIDEGATE_ERR_BUFFER -4

// The library caught a panic of its own. The host goes on; for this request it does without Tidegate.
#define TIDEGATE_ERR_PANIC -5

// Memory could not be had.
#define TIDEGATE_ERR_MEMORY -6

// The table has no room for another upstream, peer, worker or snapshot.
#define TIDEGATE_ERR_FULL -7

// There is no such upstream or peer, or the peer has been removed since.
#define TIDEGATE_ERR_NOT_FOUND -8

// The handle was made before fork(): this process must call `tidegate_worker_join` first.
#define TIDEGATE_ERR_FORKED -9

// The memory or file is not a table, or one of another layout or capacity, or it is damaged.
#define TIDEGATE_ERR_LAYOUT -10

// Another process is changing the membership and did not finish in time. Try again.
#define TIDEGATE_ERR_BUSY -11

// The call does not fit the request's state: a second pick without a report, a report without a pick.
#define TIDEGATE_ERR_STATE -12

// No peer may be tried now. `tidegate_request_answer` says what to tell the client.
#define TIDEGATE_ERR_NO_PEER -13

// An operating system call failed; `tidegate_last_error` says which and why.
#define TIDEGATE_ERR_SYSTEM -14

// There is nothing more: the end of an iteration.
#define TIDEGATE_ERR_END -15

// The table was opened with `tidegate_table_open_read_only`, and the call would write to it.
#define TIDEGATE_ERR_READ_ONLY -16

// This worker's lease is gone: somebody who could not see its process took it for ended, or the table was damaged.
// Leave, and join anew. (A worker that was merely out takes its lease back by itself.)
#define TIDEGATE_ERR_LEASE_LOST -17

// The table's times are of another clock than this process's: it was made in another time namespace, or later than
// `now_ns`.
#define TIDEGATE_ERR_CLOCK -18

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Describes a status in English. Any integer is answered; the text is static.
//
// Thread rule: any-thread. Cost: a look-up.
const char *tidegate_strerror(int status);

// Copies the sentence behind the last error that a Tidegate call returned in this thread: what was wrong, and where.
// Not terminated by a NUL: `*needed` (may be NULL) is its length in bytes, at most 240. A successful call does not
// clear it.
//
// Thread rule: any-thread. Errors: TIDEGATE_ERR_BUFFER.
//
// # Safety
// `buf` points to `cap` writable bytes.
tidegate_status tidegate_last_error(char *buf, size_t cap, size_t *needed);

// Sets `*options` to its defaults: zeros and `size`. Thread rule: any-thread.
//
// # Safety
// `options` points to `size` writable bytes.
tidegate_status tidegate_request_options_init(struct tidegate_request_options *options, size_t size);

// Sets `*pick` to zeros and `size`. Thread rule: any-thread.
//
// # Safety
// `pick` points to `size` writable bytes.
tidegate_status tidegate_pick_init(struct tidegate_pick *pick, size_t size);

// Sets `*outcome` to zeros and `size`. Thread rule: any-thread.
//
// # Safety
// `outcome` points to `size` writable bytes.
tidegate_status tidegate_outcome_init(struct tidegate_outcome *outcome, size_t size);

// Sets `*decision` to zeros and `size`. Thread rule: any-thread.
//
// # Safety
// `decision` points to `size` writable bytes.
tidegate_status tidegate_decision_init(struct tidegate_decision *decision, size_t size);

// The number of a request method's token (case-sensitive): TIDEGATE_METHOD_*.
//
// Thread rule: any-thread. Cost: a comparison or two.
//
// # Safety
// `token` points to `len` readable bytes.
uint32_t tidegate_method_parse(const char *token, size_t len);

// The name of a cause in logs and metrics ("connection_refused"); "internal_error" for an unknown number. Static
// text.
//
// Thread rule: any-thread. Cost: a look-up.
const char *tidegate_cause_name(uint32_t cause);

// The cause behind an errno at a phase of an attempt: TIDEGATE_CAUSE_*. `flags` are TIDEGATE_OUTCOME_* bits as far
// as known. `error` 0 means that the peer closed. Errors of this machine (EMFILE, EADDRNOTAVAIL, ENOMEM, …) are
// TIDEGATE_CAUSE_LOCAL_FAULT.
//
// Thread rule: any-thread. Cost: a look-up.
uint32_t tidegate_cause_from_errno(int error, uint32_t phase, uint32_t flags);

// Begins a request: to be called once for each client request, before the first pick. Whatever stood in `*request`
// is forgotten: end the previous one first.
//
// Thread rule: worker-owned; the worker must outlive the request. Errors: NULL, INVALID, STRUCT_SIZE, NOT_FOUND,
// FORKED, LEASE_LOST. Cost: clears some fields.
//
// # Safety
// `worker` is a live handle; `request` is writable; `options` is valid.
tidegate_status tidegate_request_start(const struct tidegate_worker *worker,
                                       struct tidegate_request *request,
                                       const struct tidegate_request_options *options,
                                       uint64_t now_ns);

// Picks a peer for the next attempt and counts the request as in flight on it, until it is reported or ended.
//
// Thread rule: worker-owned. Errors: NULL, STATE (an attempt is open, or `*request` was never started: zeroed memory
// is known as such), STRUCT_SIZE, FORKED, LEASE_LOST, NO_PEER (`tidegate_request_answer` has the answer). Cost: O(1) at any number
// of peers while a tenth of them is eligible, else linear in them at worst; no allocation, lock or system call.
//
// # Safety
// `request` was started by this worker; `pick` is writable and its `struct_size` set.
tidegate_status tidegate_request_pick(struct tidegate_request *request,
                                      uint64_t now_ns,
                                      struct tidegate_pick *pick);

// Judges the status of a response whose head has come, before anything goes to the client: DELIVER (the attempt
// stays open: report it when the body ends), RETRY (the attempt is closed: drop the response, pick again) or ANSWER.
// When a failing status can't be retried the verdict is DELIVER: an upstream's own answer passes.
//
// DELIVER comes with advice to hold the response back (`hold_ns`, `hold_bytes`) where that can help: its end can be
// judged (`framing` LENGTH, within the bound, or CHUNKED) and it is no event stream; the request may be repeated and
// has attempts, time, an untried peer and retry budget left, or has failed on a peer before: then a clean 502 is worth
// the wait.
//
// Thread rule: worker-owned. Errors: NULL, STATE (no attempt is open), INVALID, STRUCT_SIZE, FORKED, LEASE_LOST; none
// of them has an effect. Cost: as a report.
//
// # Safety
// `request` was started by this worker; `outcome` is valid; `decision` is writable and its `struct_size` set.
tidegate_status tidegate_request_head(struct tidegate_request *request,
                                      const struct tidegate_outcome *outcome,
                                      uint64_t now_ns,
                                      struct tidegate_decision *decision);

// Reports how an attempt ended, closes it, and decides what comes next. Every attempt is reported once or ended.
//
// Thread rule: worker-owned. Errors: NULL, STATE (no attempt is open), INVALID, STRUCT_SIZE, FORKED, LEASE_LOST; none
// of them has an effect. Cost: O(1), after a failure linear in the peers; no allocation, lock or system call.
//
// # Safety
// `request` was started by this worker; `outcome` is valid; `decision` is writable and its `struct_size` set.
tidegate_status tidegate_request_report(struct tidegate_request *request,
                                        const struct tidegate_outcome *outcome,
                                        uint64_t now_ns,
                                        struct tidegate_decision *decision);

// Ends a request at any point, for example when the client has gone: an open attempt is taken off the in-flight
// counts and charged to nobody. Harmless after a report, and on zeroed memory. NULL is a no-op. In a process forked
// from the one that picked it leaves the attempt open there.
//
// Thread rule: worker-owned.
//
// # Safety
// `request` is NULL or was started by this worker.
void tidegate_request_end(struct tidegate_request *request, uint64_t now_ns);

// Fills in what to tell the client after TIDEGATE_ERR_NO_PEER or an ANSWER: sets `status`, `cause`,
// `retry_after_s` and `received_status` of `*answer` and leaves its other fields. The last attempt's failure decides,
// with one exception: where it never reached its peer (refused, unroutable) and no usable peer is left, the answer is
// 503 no_eligible_peer with Retry-After. Counts the answer by its cause:
// call it once for each answer that is sent.
//
// Thread rule: worker-owned. Errors: NULL, STATE (nothing failed), STRUCT_SIZE. Cost: O(1); linear in the peers when
// no peer may be tried (for Retry-After).
//
// # Safety
// `request` was started by this worker; `answer` is valid and writable.
tidegate_status tidegate_request_answer(struct tidegate_request *request,
                                        uint64_t now_ns,
                                        struct tidegate_answer *answer);

// Copies the decision record as one line of text: every attempt with its peer, cause, time and verdict
// ("10.0.0.1:80 connection_refused 0.2ms retry; 10.0.0.2:80 200 12.0ms deliver"), at most 1024 bytes.
//
// Thread rule: worker-owned. Errors: NULL, BUFFER. Cost: formats text; call it for the log, not on every request.
//
// # Safety
// `request` was started by this worker; `buf` points to `cap` writable bytes; `needed` is NULL or writable.
tidegate_status tidegate_request_describe(const struct tidegate_request *request,
                                          char *buf,
                                          size_t cap,
                                          size_t *needed);

// Sets `*answer` to its defaults: zeros and `size`. Thread rule: any-thread.
//
// # Safety
// `answer` points to `size` writable bytes.
tidegate_status tidegate_answer_init(struct tidegate_answer *answer, size_t size);

// Sets `*parts` to zeros and `size`. Thread rule: any-thread.
//
// # Safety
// `parts` points to `size` writable bytes.
tidegate_status tidegate_answer_parts_init(struct tidegate_answer_parts *parts, size_t size);

// Writes a complete HTTP/1.1 response. `*needed` (may be NULL) is its length, also with TIDEGATE_ERR_BUFFER, which
// leaves `buf` as it was; TIDEGATE_ANSWER_MAX bytes are always enough. Bytes of `buf` behind the response may change.
// With a `cap` of 0 `buf` may be NULL.
//
// Thread rule: any-thread. Errors: NULL, INVALID (a value that its field does not allow, or a length above its
// bound), STRUCT_SIZE, BUFFER. Cost: no allocation; a generous `cap` (TIDEGATE_ANSWER_MAX) spares a copy.
// Source: RFC 9110 sections 10.2.3, 12.5.1 and 15.6; RFC 9209; RFC 9457.
//
// # Safety
// `answer` is valid; `buf` points to `cap` writable bytes; `needed` is NULL or writable.
tidegate_status tidegate_answer_write(const struct tidegate_answer *answer, char *buf, size_t cap, size_t *needed);

// Writes the parts of the same response, for a host that builds the head itself. TIDEGATE_ANSWER_MAX bytes are always
// enough; with TIDEGATE_ERR_BUFFER `buf` and `*parts` stay as they were.
//
// Thread rule, errors, cost: as `tidegate_answer_write`.
//
// # Safety
// `answer` is valid; `buf` points to `cap` writable bytes; `parts` is writable and its `struct_size` set.
tidegate_status tidegate_answer_write_parts(const struct tidegate_answer *answer,
                                            char *buf,
                                            size_t cap,
                                            struct tidegate_answer_parts *parts);

// Writes the state of the whole table: TIDEGATE_STATUS_FORMAT_*. Not terminated by a NUL.
//
// Thread rule: any-thread. Errors: NULL, INVALID, BUFFER (`*needed` may have grown by the next call). Cost: linear in
// peers and workers; allocates; takes no lock.
//
// # Safety
// `table` is a live handle; `buf` points to `cap` writable bytes; `needed` is NULL or writable.
tidegate_status tidegate_table_write_status(const struct tidegate_table *table,
                                            uint32_t format,
                                            uint64_t now_ns,
                                            char *buf,
                                            size_t cap,
                                            size_t *needed);

// Sets `*options` to its defaults: zeros and `size`.
//
// Thread rule: any-thread.
//
// # Safety
// `options` points to `size` writable bytes.
tidegate_status tidegate_table_options_init(struct tidegate_table_options *options, size_t size);

// Sets `*event` to zeros and `size`.
//
// Thread rule: any-thread.
//
// # Safety
// `event` points to `size` writable bytes.
tidegate_status tidegate_event_init(struct tidegate_event *event, size_t size);

// How many bytes a table with these capacities takes. `options` may be NULL: the defaults.
//
// Thread rule: any-thread. Errors: INVALID (a capacity is out of range), STRUCT_SIZE.
//
// # Safety
// `options` is NULL or valid; `size` is writable.
tidegate_status tidegate_table_size(const struct tidegate_table_options *options, size_t *size);

// Makes a table in anonymous shared memory, sealed against truncation: processes forked from this one share it.
// `options` may be NULL: the defaults. All memory is taken now.
//
// Thread rule: set-up only. Errors: INVALID, STRUCT_SIZE, MEMORY, SYSTEM. Free it with `tidegate_table_free`.
//
// # Safety
// `options` is NULL or valid; `table` is writable.
tidegate_status tidegate_table_new(const struct tidegate_table_options *options,
                                   uint64_t now_ns,
                                   struct tidegate_table **table);

// Makes a table in the caller's memory: `size` bytes at `memory`, aligned to 64, at least
// `tidegate_table_size`; shared memory if other processes are to use it. The memory must outlive every handle.
//
// Thread rule: set-up only. Errors: NULL, INVALID, STRUCT_SIZE.
//
// # Safety
// `memory` points to `size` bytes that nothing else uses; `options` is NULL or valid; `table` is writable.
tidegate_status tidegate_table_new_at(void *memory,
                                      size_t size,
                                      const struct tidegate_table_options *options,
                                      uint64_t now_ns,
                                      struct tidegate_table **table);

// Opens a table that `tidegate_table_new_at` made in this memory earlier, here or in another process: for a reload
// that keeps the state. The header is checked; the memory stays untouched if it does not fit.
//
// Thread rule: set-up only. Errors: NULL, INVALID, LAYOUT.
//
// # Safety
// `memory` points to `size` readable and writable bytes that outlive the handle; `table` is writable.
tidegate_status tidegate_table_attach_at(void *memory, size_t size, struct tidegate_table **table);

// Opens the table in the file of this name, or makes it there: its state outlives every process that uses it. The file
// must lie on a tmpfs (/run, /dev/shm): on a disk the kernel would write it out for ever. Capacities that are 0 in
// `options` (which may be NULL) are the defaults if the table is made, and whatever it has if it is there.
//
// However many processes start at once, they agree on one table. It gets its name only when it is whole, with mode
// 0600 and all its memory taken; a call that fails leaves nothing behind.
//
// What is there is checked before it is used, and stays as it is if the call fails:
// - not a regular file, a symbolic link, owned by neither this process's effective user nor root, or writable by others
//   than its owner: INVALID or SYSTEM.
// - not a table at all: LAYOUT, whatever `on_mismatch` says.
// - another layout version or feature, another capacity than a non-zero one asked for, a header that contradicts itself
//   or the size of the file: as `on_mismatch` says, LAYOUT or a fresh table.
// - a table left from before a reboot: a fresh table, whatever `on_mismatch` says.
// - made in a time namespace whose clocks differ, or more than 60 s after `now_ns`: CLOCK, whatever
//   `on_mismatch` says, because its users may be alive.
//
// Whoever may write to the file can cut it short, and a process that uses it then gets SIGBUS; the tables of
// `tidegate_table_new` are sealed against that. Processes of several PID namespaces may share a table: see
// `tidegate_worker_join`; who dies while it changes the membership is succeeded only from its own. To remove a table, remove
// its file: processes that use it go on.
//
// Thread rule: set-up only; it may wait for another process that replaces the same table, 2 s at most. Errors: NULL,
// INVALID, STRUCT_SIZE, LAYOUT, CLOCK, BUSY, SYSTEM (no space, no permission, no descriptor …). Free it with
// `tidegate_table_free`.
//
// # Safety
// `path` points to `path_len` bytes; `options` is NULL or valid; `table` is writable. Nothing cuts the file short while
// the handle lives.
tidegate_status tidegate_table_open(const char *path,
                                    size_t path_len,
                                    const struct tidegate_table_options *options,
                                    uint64_t now_ns,
                                    struct tidegate_table **table);

// Says what `tidegate_table_open` with the same arguments would say, and makes, changes and replaces nothing: for the
// test of a configuration while the table is in use. OK: it would open the table that is there, make one, or, as far as
// `on_mismatch` allows, replace it. Space and memory are not tried.
//
// Thread rule: set-up only. Errors: NULL, INVALID, STRUCT_SIZE, LAYOUT, SYSTEM.
//
// # Safety
// `path` points to `path_len` bytes; `options` is NULL or valid.
tidegate_status tidegate_table_check(const char *path,
                                     size_t path_len,
                                     const struct tidegate_table_options *options,
                                     uint64_t now_ns);

// Opens the table in the file of this name to look at it: mapped so that this process cannot write to it, whatever
// happens. Status, descriptions and events can be read; calls that would write (opening upstreams, declaring peers,
// changing their administrative state, joining as a worker) answer READ_ONLY. Checks and their answers are those of
// `tidegate_table_open`, without owner, mode and capacities; a table left from before a reboot is LAYOUT.
//
// Thread rule: set-up only. Errors: NULL, INVALID, LAYOUT, CLOCK, SYSTEM. Free it with `tidegate_table_free`.
//
// # Safety
// As `tidegate_table_open`.
tidegate_status tidegate_table_open_read_only(const char *path, size_t path_len, struct tidegate_table **table);

// Gives the handle back. Workers of this process that still use the table keep it alive. NULL is a no-op.
//
// Thread rule: set-up only.
//
// # Safety
// `table` is NULL or came from a function above and is not used again.
void tidegate_table_free(struct tidegate_table *table);

// Reads the oldest event with a number above `*cursor` that is still kept, and moves the cursor to it. Start with a
// cursor of 0. TIDEGATE_ERR_END: there is none yet.
//
// Thread rule: any-thread; one cursor a reader. Cost: reads one slot, all of them at worst; waits for nobody.
//
// # Safety
// `table` is a live handle; `cursor` and `event` are writable, `event->struct_size` is set.
tidegate_status tidegate_table_next_event(const struct tidegate_table *table,
                                          uint64_t *cursor,
                                          struct tidegate_event *event);

// Sets `*options` to its defaults: zeros and `size`.
//
// Thread rule: any-thread.
//
// # Safety
// `options` points to `size` writable bytes.
tidegate_status tidegate_upstream_options_init(struct tidegate_upstream_options *options, size_t size);

// Sets `*peer` to its defaults: zeros and `size`.
//
// Thread rule: any-thread.
//
// # Safety
// `peer` points to `size` writable bytes.
tidegate_status tidegate_peer_init(struct tidegate_peer *peer, size_t size);

// Sets `*info` to zeros and `size`.
//
// Thread rule: any-thread.
//
// # Safety
// `info` points to `size` writable bytes.
tidegate_status tidegate_peer_info_init(struct tidegate_peer_info *info, size_t size);

// Finds the upstream of this name (1 to 63 bytes of printable ASCII), or makes it, and sets how it is used. State
// and peers stay. `options` may be NULL: the defaults.
//
// Thread rule: any-thread, but it may wait for another process or thread that changes the same table, 2 s
// at most.
// Errors: NULL, INVALID, STRUCT_SIZE, FULL, BUSY.
//
// # Safety
// `table` is a live handle; `name` points to `name_len` bytes; `options` is NULL or valid; `upstream` is writable.
tidegate_status tidegate_upstream_open(const struct tidegate_table *table,
                                       const char *name,
                                       size_t name_len,
                                       const struct tidegate_upstream_options *options,
                                       uint32_t *upstream);

// Finds the upstream of this name.
//
// Thread rule: any-thread. Errors: NULL, NOT_FOUND.
//
// # Safety
// As `tidegate_upstream_open`.
tidegate_status tidegate_upstream_find(const struct tidegate_table *table,
                                       const char *name,
                                       size_t name_len,
                                       uint32_t *upstream);

// Copies an upstream's name. Ids run from 0; TIDEGATE_ERR_END is answered behind the last one, so this also
// iterates.
//
// Thread rule: any-thread. Errors: NULL, BUFFER, END.
//
// # Safety
// `table` is a live handle; `buf` points to `cap` writable bytes; `needed` is NULL or writable.
tidegate_status tidegate_upstream_name(const struct tidegate_table *table,
                                       uint32_t upstream,
                                       char *buf,
                                       size_t cap,
                                       size_t *needed);

// Declares the whole list of an upstream's peers: new ones are added, those not in it are removed, the others keep
// their health, counters and requests in flight whatever changed in weight, priority or limit. The newest
// declaration wins. Requests in flight on removed peers go on; their outcomes are counted and change no health.
// `handles`, if not NULL, gets the `count` handles in the order of the list. On an error
// nothing of it takes effect. A process that is killed in this call leaves the old list or the new one, the latter
// perhaps with limits and administrative states of before: the next declaration completes it.
//
// Thread rule: any-thread, but it may wait for another process or thread that changes the same table, 2 s
// at most.
// Errors: NULL, INVALID (the element and what is wrong with it), STRUCT_SIZE, NOT_FOUND, FULL, BUSY.
// Cost: linear in the peers; never on the request path.
//
// # Safety
// `table` is a live handle; `peers` points to `count` elements, `peers[0].struct_size` bytes apart; `handles` is
// NULL or holds `count` elements.
tidegate_status tidegate_upstream_set_peers(const struct tidegate_table *table,
                                            uint32_t upstream,
                                            const struct tidegate_peer *peers,
                                            size_t count,
                                            uint64_t now_ns,
                                            uint64_t *handles);

// The handle of an upstream's `index`-th peer, in the order of the published list; TIDEGATE_ERR_END behind the last.
//
// Thread rule: any-thread. Errors: NULL, NOT_FOUND, END.
//
// # Safety
// `table` is a live handle; `peer` is writable.
tidegate_status tidegate_upstream_peer_at(const struct tidegate_table *table,
                                          uint32_t upstream,
                                          uint32_t index,
                                          uint64_t *peer);

// Counts of one cause over an upstream: failed attempts, and answers that the gateway generated.
//
// Thread rule: any-thread. Errors: NULL, INVALID, NOT_FOUND.
//
// # Safety
// `table` is a live handle; `count` is writable.
tidegate_status tidegate_upstream_count(const struct tidegate_table *table,
                                        uint32_t upstream,
                                        uint32_t cause,
                                        uint64_t *count);

// What is known of a peer now.
//
// Thread rule: any-thread. Errors: NULL, STRUCT_SIZE, NOT_FOUND (removed since). Cost: linear in the workers.
//
// # Safety
// `table` is a live handle; `info` is writable and its `struct_size` set.
tidegate_status tidegate_peer_describe(const struct tidegate_table *table,
                                       uint64_t peer,
                                       uint64_t now_ns,
                                       struct tidegate_peer_info *info);

// Copies a peer's address, as it was declared: a struct sockaddr of `*needed` bytes, at most 112.
//
// Thread rule: any-thread. Errors: NULL, BUFFER, NOT_FOUND.
//
// # Safety
// `table` is a live handle; `buf` points to `cap` writable bytes; `needed` is NULL or writable.
tidegate_status tidegate_peer_address(const struct tidegate_table *table,
                                      uint64_t peer,
                                      void *buf,
                                      size_t cap,
                                      size_t *needed);

// Copies a peer's name as people write it: its declared name, or else its address ("127.0.0.1:8080",
// "[::1]:8080", "unix:/run/app.sock"). ASCII, at most 128 bytes: a longer one is cut.
//
// Thread rule: any-thread. Errors: NULL, BUFFER, NOT_FOUND.
//
// # Safety
// As `tidegate_peer_address`.
tidegate_status tidegate_peer_name(const struct tidegate_table *table,
                                   uint64_t peer,
                                   char *buf,
                                   size_t cap,
                                   size_t *needed);

// Drains, disables or enables a peer by hand: TIDEGATE_ADMIN_*. Requests in flight go on. The next declaration of
// the membership sets it anew.
//
// Thread rule: any-thread. Errors: NULL, INVALID, NOT_FOUND. Cost: one CAS; emits one event.
//
// # Safety
// `table` is a live handle.
tidegate_status tidegate_peer_set_admin(const struct tidegate_table *table,
                                        uint64_t peer,
                                        uint32_t admin,
                                        uint64_t now_ns);

// Sets `*options` to its defaults: zeros and `size`. Thread rule: any-thread.
//
// # Safety
// `options` points to `size` writable bytes.
tidegate_status tidegate_validator_options_init(struct tidegate_validator_options *options, size_t size);

// Sets `*verdict` to zeros and `size`. Thread rule: any-thread.
//
// # Safety
// `verdict` points to `size` writable bytes.
tidegate_status tidegate_verdict_init(struct tidegate_verdict *verdict, size_t size);

// Sets `*field` to zeros and `size`. Thread rule: any-thread.
//
// # Safety
// `field` points to `size` writable bytes.
tidegate_status tidegate_field_init(struct tidegate_field *field, size_t size);

// Begins a response: to be called once for each attempt. `options` may be NULL: the answer to a plain GET.
//
// Thread rule: any-thread, one thread at a time for one validator. Errors: NULL, INVALID, STRUCT_SIZE.
//
// # Safety
// `validator` is writable; `options` is NULL or valid.
tidegate_status tidegate_validator_start(struct tidegate_validator *validator,
                                         const struct tidegate_validator_options *options);

// Judges the next bytes of the response stream, up to the next event. The bytes need not be kept; any cut of the
// stream gives the same verdicts at the same offsets. Call it again with what was not consumed until the event is
// NEED_MORE, COMPLETE or REJECT: after the HEAD of a response without a body, and after the last DATA, COMPLETE
// comes from one more call, which may bring no bytes.
//
// Thread rule: one thread at a time for one validator. Errors: NULL, STRUCT_SIZE, STATE (never started, or HTTP/2, HTTP/3).
// Cost: linear in the bytes, no allocation. Source: RFC 9112 sections 2 to 9, RFC 9110 sections 5, 6, 8.6 and 15.
//
// # Safety
// `validator` was started; `data` points to `len` readable bytes; `verdict` is writable and its `struct_size` set.
tidegate_status tidegate_validator_feed(struct tidegate_validator *validator,
                                        const char *data,
                                        size_t len,
                                        struct tidegate_verdict *verdict);

// Says that no more bytes come, and how: TIDEGATE_END_*. COMPLETE: the response had ended, or ends so by its
// framing. REJECT otherwise, with the cause: connection_terminated (nothing came), http_response_incomplete,
// connection_read_timeout.
//
// Thread rule, errors: as tidegate_validator_feed; INVALID for an unknown `end`.
//
// # Safety
// As tidegate_validator_feed.
tidegate_status tidegate_validator_finish(struct tidegate_validator *validator,
                                          uint32_t end,
                                          struct tidegate_verdict *verdict);

// The short stable name of a REJECT's `reason` ("content-length-differs"). Static text; "unknown" for any other number.
//
// Thread rule: any-thread.
const char *tidegate_reason_name(uint32_t reason);

// The clause that a REJECT's `reason` follows from ("RFC 9112 section 6.3"). Static text.
//
// Thread rule: any-thread.
const char *tidegate_reason_clause(uint32_t reason);

// The next field of a head that the validator has passed, from its status line to the empty line. Start with a
// `*cursor` of 0; TIDEGATE_ERR_END behind the last field. Bytes that are not such a head end the iteration early.
//
// Thread rule: any-thread. Errors: NULL, STRUCT_SIZE, END. Cost: linear in the field; no allocation.
//
// # Safety
// `head` points to `len` readable bytes; `cursor` and `field` are writable, `field->struct_size` is set.
tidegate_status tidegate_head_next_field(const char *head, size_t len, size_t *cursor, struct tidegate_field *field);

// Writes a head that the validator has passed, from its status line to the empty line, in the strictest form: what the
// policy tolerated, lone LFs, fields of the connection (Connection and what it names, Keep-Alive, Upgrade …) and
// superfluous lengths are gone; the version is 1.1. Unlike the head itself, it may be forwarded and goes through
// `tidegate_head_next_field`. `*needed` (may be NULL) is its length, at most the head's plus one for each line and 16.
//
// Thread rule: any-thread. Errors: NULL, BUFFER (nothing of use was written). Cost: linear in the head, but for
// Connection's options times fields; no allocation.
//
// # Safety
// `head` points to `len` readable bytes, `buf` to `cap` writable ones that do not overlap; `needed` is NULL or
// writable.
tidegate_status tidegate_head_rewrite(const char *head, size_t len, char *buf, size_t cap, size_t *needed);

// Judges a list of fields: the head of the response, `:status` first, or an interim one; behind the head, the
// trailers. INTERIM, HEAD, NEED_MORE (trailers) or REJECT. `consumed` counts fields, and is the index of the offending
// one; `offset` counts the bytes of names, values and data so far.
//
// For TIDEGATE_PROTOCOL_HTTP_2 and HTTP_3 to the letter of RFC 9113 section 8 and RFC 9114 section 4; for CGI without
// `:status`; for HTTP_1 with `:status` for the status line. The end of the stream is told by
// tidegate_validator_finish: TIDEGATE_END_CLOSE for END_STREAM, the FIN of the stream or the end of the request's
// records, TIDEGATE_END_RESET for a reset.
//
// Thread rule: one thread at a time for one validator. Errors: NULL, STRUCT_SIZE, STATE (never started), INVALID.
// Cost: linear in the bytes of the list, no allocation.
//
// # Safety
// `validator` was started; `fields` points to `count` elements, `fields[0].struct_size` bytes apart; `verdict` is
// writable and its `struct_size` set.
tidegate_status tidegate_validator_fields(struct tidegate_validator *validator,
                                          const struct tidegate_field *fields,
                                          size_t count,
                                          struct tidegate_verdict *verdict);

// Judges the next `len` bytes of content of a response whose head came by tidegate_validator_fields: NEED_MORE or
// REJECT. `data` may be NULL if the bytes are not at hand; then the rules' markers are not sought.
//
// Thread rule: one thread at a time for one validator. Errors: NULL, STRUCT_SIZE, STATE (never started, or fed with
// bytes). Cost: constant, but for markers.
//
// # Safety
// `validator` was started; `data` is NULL or points to `len` readable bytes; `verdict` is writable and its
// `struct_size` set.
tidegate_status tidegate_validator_data(struct tidegate_validator *validator,
                                        const char *data,
                                        size_t len,
                                        struct tidegate_verdict *verdict);

// As tidegate_validator_feed, but goes on over DATA: `ranges` holds `2 * cap` numbers and gets, for each run of body
// bytes, its offset in this call's input and its length; `*count` is the number of runs. The event is DATA if there
// was no more room, else what came behind the last run: call again with what was not consumed until it is NEED_MORE,
// COMPLETE or REJECT. The runs before a REJECT are valid. `data` and `data_len` of the verdict are 0.
//
// Thread rule: one thread at a time for one validator. Errors: NULL, STRUCT_SIZE, STATE (as feed), INVALID (`cap` is
// 0 or above 65536). Cost: for a body in small chunks about two thirds of a feed for each.
//
// # Safety
// As tidegate_validator_feed; `ranges` points to `2 * cap` writable numbers, `count` is writable.
tidegate_status tidegate_validator_feed_ranges(struct tidegate_validator *validator,
                                               const char *data,
                                               size_t len,
                                               size_t *ranges,
                                               size_t cap,
                                               size_t *count,
                                               struct tidegate_verdict *verdict);

// Compiles rules: one a line, or separated by `;`; `#` begins a comment.
//
// - `status 200-299`: the responses that the others hold for; this is the default
// - `type application/json text/…`: Content-Type is one of these; `text/` with a star stands for every text type
// - `min-body 2`, `max-body 10m`: the body's size in bytes; k, m, g are powers of 1024
// - `field x-request-id`, `no-field x-debug`: a field that must, or must not, be there
// - `marker "</html>" within 64k`, `no-marker "Fatal error"`: a text that must, or must not, be in the first bytes of
//   the body, by default 4k. It is sought in the bytes as sent, so a content coding hides it.
//
// At most 16 types, 16 fields and 4 markers, of 64 bytes each. Rules on bodies do not hold where there is none.
//
// Thread rule: any-thread. Errors: NULL, INVALID (tidegate_last_error: what is wrong, and at which byte). Cost: linear
// in the text; allocates.
//
// # Safety
// `text` points to `len` readable bytes; `rules` is writable.
tidegate_status tidegate_rules_new(const char *text, size_t len, struct tidegate_rules **rules);

// Gives the rules back. No validator that was started with them may be used any more. NULL is a no-op.
//
// Thread rule: set-up only.
//
// # Safety
// `rules` is NULL or came from tidegate_rules_new and is not used again.
void tidegate_rules_free(struct tidegate_rules *rules);

// The version of the library that is loaded ("0.1.0"), or NULL if it is older than `least`, a number like
// TIDEGATE_VERSION_NUMBER; 0 asks for any.
//
// Thread rule: any-thread. Cost: a comparison.
const char *tidegate_version(uint32_t least);

// The ABI of the library that is loaded; it must equal TIDEGATE_ABI_VERSION of the header.
//
// Thread rule: any-thread. Cost: none.
uint32_t tidegate_abi_version(void);

// Sets `*options` to its defaults: zeros and `size`.
//
// Thread rule: any-thread.
//
// # Safety
// `options` points to `size` writable bytes.
tidegate_status tidegate_worker_options_init(struct tidegate_worker_options *options, size_t size);

// Joins the table as a worker: takes a lane, also one that a dead worker left. Call it after fork(), in the process
// that will serve. `options` may be NULL: the defaults.
//
// The lane is this worker's until it leaves or its process ends, which the others notice at their next tick or join.
// Within a PID namespace they tell by its process id and start time; from another one only by its ticks: a worker
// that does not tick for `lease_ns` is out. Nobody else gets its lane, only its requests in flight no longer count. When
// it wakes up, its next call (start, pick, head, report, end or tick) takes the lease back before it writes anything:
// its open requests count again, none fails, and events WORKER_OUT and WORKER_BACK tell of it. The lane of a worker
// that is out is freed only by itself or, if it has ended, from its own PID namespace.
//
// Thread rule: any-thread; the handle is then worker-owned. Errors: NULL, INVALID, STRUCT_SIZE, FULL (every lane belongs
// to a worker that lives, or may live in another PID namespace), SYSTEM (Linux 4.14 or later is needed). Leave with
// `tidegate_worker_leave`.
//
// # Safety
// `table` is a live handle; `options` is NULL or valid; `worker` is writable.
tidegate_status tidegate_worker_join(const struct tidegate_table *table,
                                     const struct tidegate_worker_options *options,
                                     uint64_t now_ns,
                                     struct tidegate_worker **worker);

// Leaves the table and frees the handle: requests that are still open are taken off the in-flight counts. In a
// process forked from the one that joined it only frees the memory. NULL is a no-op.
//
// Thread rule: worker-owned; no request of this worker may be used afterwards.
//
// # Safety
// `worker` is NULL or a live handle that is not used again.
void tidegate_worker_leave(struct tidegate_worker *worker);

// Does what falls due: takes dead workers' lanes off, repairs the in-flight aggregates, finishes a declaration of peers
// whose process died on the way. Call it once a second or so in every worker, for it is also the worker's heartbeat
// (`lease_ns`); the work is shared out and done once.
//
// Thread rule: worker-owned. Errors: NULL, FORKED, LEASE_LOST. Cost: linear in the peers, for those with a limit or
// least_request times the workers; a few system calls a worker.
//
// # Safety
// `worker` is a live handle.
tidegate_status tidegate_worker_tick(struct tidegate_worker *worker, uint64_t now_ns);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* TIDEGATE_H */

// Initialisers: all fields 0, struct_size set.
#ifdef __cplusplus
#define TIDEGATE_INIT(type) ([]() noexcept { type init_value = type(); init_value.struct_size = sizeof(type); return init_value; }())
#else
#define TIDEGATE_INIT(type) { .struct_size = sizeof(type) }
#endif
#define TIDEGATE_TABLE_OPTIONS_INIT TIDEGATE_INIT(tidegate_table_options)
#define TIDEGATE_EVENT_INIT TIDEGATE_INIT(tidegate_event)
#define TIDEGATE_UPSTREAM_OPTIONS_INIT TIDEGATE_INIT(tidegate_upstream_options)
#define TIDEGATE_PEER_INIT TIDEGATE_INIT(tidegate_peer)
#define TIDEGATE_PEER_INFO_INIT TIDEGATE_INIT(tidegate_peer_info)
#define TIDEGATE_WORKER_OPTIONS_INIT TIDEGATE_INIT(tidegate_worker_options)
#define TIDEGATE_REQUEST_OPTIONS_INIT TIDEGATE_INIT(tidegate_request_options)
#define TIDEGATE_PICK_INIT TIDEGATE_INIT(tidegate_pick)
#define TIDEGATE_OUTCOME_INIT TIDEGATE_INIT(tidegate_outcome)
#define TIDEGATE_DECISION_INIT TIDEGATE_INIT(tidegate_decision)
#define TIDEGATE_VALIDATOR_OPTIONS_INIT TIDEGATE_INIT(tidegate_validator_options)
#define TIDEGATE_VERDICT_INIT TIDEGATE_INIT(tidegate_verdict)
#define TIDEGATE_FIELD_INIT TIDEGATE_INIT(tidegate_field)
#define TIDEGATE_ANSWER_INIT TIDEGATE_INIT(tidegate_answer)
#define TIDEGATE_ANSWER_PARTS_INIT TIDEGATE_INIT(tidegate_answer_parts)
