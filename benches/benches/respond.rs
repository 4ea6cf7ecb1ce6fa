//! `respond`: the error responses beside a `format!` that writes the same fields.

use criterion::Criterion;
use std::hint::black_box;
use tidegate::ffi::responder::*;
use tidegate_bench::{criterion, print_ratios};

const UPSTREAM: &str = "orders-service";
const ID: &str = "5f0c2b9e7a4d4f1d9c3e8b6a12d07f45";

fn answer(format: u32) -> tidegate_answer {
    // SAFETY: the type is integers and pointers, valid when all zero.
    let mut answer: tidegate_answer = unsafe { std::mem::zeroed() };
    answer.struct_size = size_of::<tidegate_answer>();
    answer.status = 503;
    answer.cause = tidegate::cause::Cause::NO_ELIGIBLE_PEER.number();
    answer.retry_after_s = 3;
    answer.format = format;
    answer.date = 1_760_434_267;
    (answer.upstream, answer.upstream_len) = (UPSTREAM.as_ptr().cast(), UPSTREAM.len());
    (answer.request_id, answer.request_id_len) = (ID.as_ptr().cast(), ID.len());
    answer
}

/// What a server would write by hand; the date is a ready string, so the rival is given an advantage.
fn formatted(content_type: &str, upstream: &str, id: &str, date: &str, retry_after_s: u32) -> String {
    let body = format!(
        "{{\"error\":{{\"code\":503,\"message\":\"Service Unavailable\",\"details\":{{\"cause\":\"no_eligible_peer\",\
         \"upstream\":\"{upstream}\",\"requestId\":\"{id}\",\"retryAfter\":{retry_after_s}}}}}}}\n"
    );
    format!(
        "HTTP/1.1 503 Service Unavailable\r\nDate: {date}\r\nContent-Type: {content_type}\r\nCache-Control: no-store\r\n\
         Proxy-Status: tidegate;error=destination_unavailable\r\nRetry-After: {retry_after_s}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn main() {
    let mut c: Criterion = criterion().configure_from_args();
    let formats =
        [("default_json", TIDEGATE_FORMAT_AUTO), ("problem", TIDEGATE_FORMAT_PROBLEM), ("html", TIDEGATE_FORMAT_HTML)];
    let mut workloads = vec![];
    for (name, format) in formats {
        let workload = format!("respond-{name}");
        let mut group = c.benchmark_group(&workload);
        let answer = answer(format);
        let mut buf = vec![0u8; ANSWER_MAX];
        group.bench_function("tidegate", |b| {
            b.iter(|| {
                let mut len = 0;
                // SAFETY: all of it is live.
                unsafe { tidegate_answer_write(black_box(&answer), buf.as_mut_ptr().cast(), buf.len(), &mut len) };
                len
            })
        });
        if format == TIDEGATE_FORMAT_AUTO {
            let date = "Tue, 14 Oct 2025 09:31:07 GMT";
            group.bench_function("format", |b| {
                b.iter(|| {
                    formatted(
                        black_box("application/json"),
                        black_box(UPSTREAM),
                        black_box(ID),
                        black_box(date),
                        black_box(3),
                    )
                })
            });
        }
        group.finish();
        workloads.push(workload);
    }
    print_ratios(&workloads, &["tidegate"], &["format"]);
}

const ANSWER_MAX: usize = 8192;
