//! The page a person sees: what happened, when to try again, and what to quote when asking for help.
//!
//! One file without scripts, fonts or anything else to load: the network has just failed, and a strict
//! Content-Security-Policy may stand in front. It follows the reader's light or dark setting and fits a phone. Under
//! 2 KB without the foreign text, which is escaped.

use super::body::advice;
use super::sentence::sentence;
use super::writer::Writer;
use super::{Answer, escape};

/// Writes the page.
pub(super) fn write(w: &mut Writer<'_>, answer: &Answer<'_>) {
    let (digits, reason) = (answer.status.code().as_bytes(), answer.status.reason().as_bytes());
    w.put(BEFORE_TITLE);
    w.put(digits);
    w.put(b" ");
    w.put(reason);
    w.put(BEFORE_STATUS);
    w.put(digits);
    w.put(BEFORE_REASON);
    w.put(reason);
    w.put(b"</h1>\n<p>");
    w.put(sentence(answer.cause).as_bytes());
    w.put(b"</p>\n<p>");
    advice(w, answer);
    w.put(b"</p>\n");
    if !answer.upstream.bytes().is_empty() || !answer.request_id.bytes().is_empty() {
        w.put(b"<dl>\n");
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

const BEFORE_TITLE: &[u8] = b"<!doctype html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">
<meta name=\"robots\" content=\"noindex\">
<title>";

const BEFORE_STATUS: &[u8] = b"</title>
<style>
:root{color-scheme:light dark;--page:#eef2f5;--card:#fff;--ink:#16222e;--soft:#566473;--line:#d9e1e8;--mark:#0b6e8f}
@media(prefers-color-scheme:dark){:root{--page:#0e151c;--card:#17212b;--ink:#e6edf3;--soft:#9aa9b8;--line:#2b3947;--mark:#5cc3e4}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:flex;padding:1.25rem;background:var(--page);color:var(--ink);font:1rem/1.6 system-ui,sans-serif}
main{width:100%;max-width:34rem;margin:auto;padding:2rem;background:var(--card);border:1px solid var(--line);border-top:4px solid var(--mark);border-radius:.5rem}
b{color:var(--mark);font-size:3.5rem;line-height:1;letter-spacing:-.02em}
h1{margin:.25rem 0 1.25rem;font-size:1.4rem;line-height:1.3}
p{margin:.5rem 0}
dl{margin:1.75rem 0 0;padding-top:1.25rem;border-top:1px solid var(--line);font-size:.9rem}
dt{color:var(--soft)}
dd{margin:0 0 .75rem;font-family:ui-monospace,monospace;overflow-wrap:anywhere}
dd:last-child{margin:0}
</style>
</head>
<body>
<main>
<b>";

const BEFORE_REASON: &[u8] = b"</b>\n<h1>";
