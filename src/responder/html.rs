//! The page a person sees: what happened and where, when to try again, and what to quote when asking for help.
//!
//! One file without scripts, fonts or anything else to load: the network has just failed, and a strict
//! Content-Security-Policy may stand in front. It follows the reader's light or dark setting and fits a phone; contrasts
//! are 4.5:1 at least, and what the drawing shows is said in words too. The link reloads the page, by its empty address.
//! Under 3.3 KB without the foreign text, which is escaped.

use super::body::advice;
use super::sentence::sentence;
use super::writer::Writer;
use super::{Answer, Status, escape};
use crate::cause::Cause;

/// Writes the page.
pub(super) fn write(w: &mut Writer<'_>, answer: &Answer<'_>) {
    w.put(OPENINGS[answer.status as usize]);
    w.put(sentence(answer.cause).as_bytes());
    match state(answer) {
        Some(state) => {
            w.put(SERVICE_FAILED);
            w.put(state.as_bytes());
        }
        None => w.put(GATEWAY_FAILED),
    }
    w.put(b"</small></ol>\n<p>");
    advice(w, answer);
    w.put(b"</p>\n<p><a href=\"\">Try again</a></p>\n");
    if !answer.upstream.bytes().is_empty() || !answer.request_id.bytes().is_empty() {
        w.put(b"<h2>If you ask for help, please quote</h2>\n<dl>\n");
        for (name, value) in [(&b"Service"[..], answer.upstream), (b"Request id", answer.request_id)] {
            if !value.bytes().is_empty() {
                w.put(b"<dt>");
                w.put(name);
                w.put(b"</dt><dd>");
                escape::html(w, value.bytes());
                w.put(b"</dd>\n");
            }
        }
        w.put(b"</dl>\n");
    }
    w.put(b"</main>\n</body>\n</html>\n");
}

/// What is the matter with the service, in one to three words. `None`: it is the gateway's own failure.
fn state(answer: &Answer<'_>) -> Option<&'static str> {
    let ours = match answer.cause {
        Cause::NONE => answer.status.is_ours(),
        cause => cause.properties().status == 500,
    };
    if ours {
        return None;
    }
    Some(match answer.cause {
        Cause::DNS_ERROR
        | Cause::DNS_TIMEOUT
        | Cause::DESTINATION_IP_PROHIBITED
        | Cause::DESTINATION_IP_UNROUTABLE
        | Cause::CONNECTION_REFUSED
        | Cause::CONNECTION_TIMEOUT
        | Cause::TLS_PROTOCOL_ERROR
        | Cause::TLS_CERTIFICATE_ERROR
        | Cause::TLS_ALERT_RECEIVED => "not reached",
        Cause::CONNECTION_READ_TIMEOUT | Cause::CONNECTION_WRITE_TIMEOUT | Cause::HTTP_RESPONSE_TIMEOUT => "too slow",
        Cause::PEER_LIMIT | Cause::UPSTREAM_LIMIT | Cause::QUEUE_FULL | Cause::QUEUE_TIMEOUT => "busy",
        Cause::NONE | Cause::NO_ELIGIBLE_PEER | Cause::RETRY_BUDGET => "not available",
        _ => "answered wrongly",
    })
}

/// All that depends on the status alone, joined when the library is compiled: one copy.
static OPENINGS: [&[u8]; Status::ALL.len()] = [
    &opening::<{ length(0) }>(0),
    &opening::<{ length(1) }>(1),
    &opening::<{ length(2) }>(2),
    &opening::<{ length(3) }>(3),
];

const fn parts(status: usize) -> [&'static str; 9] {
    let (digits, reason) = (Status::ALL[status].code(), Status::ALL[status].reason());
    [BEFORE_TITLE, digits, " ", reason, BEFORE_STATUS, digits, BEFORE_REASON, reason, "</h1>\n<p>"]
}

const fn length(status: usize) -> usize {
    let (parts, mut len, mut i) = (parts(status), 0, 0);
    while i < parts.len() {
        len += parts[i].len();
        i += 1;
    }
    len
}

const fn opening<const N: usize>(status: usize) -> [u8; N] {
    let (parts, mut all, mut len, mut i) = (parts(status), [0; N], 0, 0);
    while i < parts.len() {
        let mut j = 0;
        while j < parts[i].len() {
            all[len] = parts[i].as_bytes()[j];
            len += 1;
            j += 1;
        }
        i += 1;
    }
    all
}

const BEFORE_TITLE: &str = "<!doctype html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">
<meta name=\"robots\" content=\"noindex\">
<title>";

const BEFORE_STATUS: &str = "</title>
<style>
:root{color-scheme:light dark;--b:#edf1f5;--c:#fff;--i:#15212c;--s:#55636f;--l:#d3dce4;--m:#0b6580;--x:#b3261e}
@media(prefers-color-scheme:dark){:root{--b:#0d141b;--c:#16202a;--i:#e8eef4;--s:#a3b1bf;--l:#304050;--m:#6ccbe8;--x:#ff9a90}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:flex;padding:1rem;background:var(--b);color:var(--i);font:1rem/1.6 system-ui,sans-serif}
main{width:100%;max-width:35rem;margin:auto;padding:2rem clamp(1.25rem,6vw,2.5rem);background:var(--c);border:1px solid var(--l);border-radius:.75rem}
p{margin:.5rem 0}
h1{margin:0 0 .75rem;font-size:1.75rem;line-height:1.2}
h1 b{display:block;margin-bottom:.4rem;color:var(--x);font-size:1rem}
ol{display:flex;margin:2rem 0;padding:0;list-style:none;text-align:center;line-height:1.35}
li{flex:1;position:relative;font-weight:600}
li+li::before{content:\"\";position:absolute;top:1.2rem;right:calc(50% + 1.6rem);left:calc(-50% + 1.6rem);border-top:2px solid var(--l)}
i{display:block;width:2.5rem;margin:0 auto .5rem;border:2px solid;border-radius:50%;color:var(--m);font:700 1.1rem/2.25rem sans-serif}
.x i,.x small{color:var(--x)}
small{display:block;color:var(--s);font-size:.85rem;font-weight:400}
a{display:inline-block;margin-top:.5rem;padding:.6rem 1.25rem;border-radius:.4rem;background:var(--m);color:var(--c);font-weight:600;text-decoration:none}
a:focus-visible{outline:3px solid var(--i);outline-offset:3px}
h2{margin:2rem 0 .75rem;padding-top:1.5rem;border-top:1px solid var(--l);font-size:1rem}
dl{margin:0}
dt{color:var(--s);font-size:.85rem}
dd{margin:0 0 .5rem;font:.95rem ui-monospace,monospace;overflow-wrap:anywhere;user-select:all}
</style>
</head>
<body>
<main>
<h1><b>Error ";

const BEFORE_REASON: &str = "</b>";

const SERVICE_FAILED: &[u8] = "</p>
<ol><li><i aria-hidden=\"true\">\u{2713}</i>You<small>connected</small>
<li><i aria-hidden=\"true\">\u{2713}</i>Gateway<small>working</small>
<li class=\"x\"><i aria-hidden=\"true\">!</i>Service<small>"
    .as_bytes();

const GATEWAY_FAILED: &[u8] = "</p>
<ol><li><i aria-hidden=\"true\">\u{2713}</i>You<small>connected</small>
<li class=\"x\"><i aria-hidden=\"true\">!</i>Gateway<small>failed</small>
<li><i aria-hidden=\"true\">?</i>Service<small>not known"
    .as_bytes();
