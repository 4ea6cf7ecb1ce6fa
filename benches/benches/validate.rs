//! `validate`: whole heads of many sizes and a mix of 512, and chunk framing, beside httparse, picohttpparser and llhttp.
//!
//! They do not do the same: httparse and picohttpparser find names and values; llhttp (without callbacks) also reads
//! framing fields; the validator applies all framing rules, lengths and limits of RFC 9112, and keeps no fields. A head
//! is a start and a feed each. Chunks: httparse reads sizes alone; picohttpparser moves the data, and gets a fresh copy.

use criterion::{Criterion, Throughput};
use std::hint::black_box;
use tidegate::ffi::validator::*;
use tidegate_bench::{Random, criterion, print_ratios, rivals};

const FIELDS: [(&str, &str); 12] = [
    ("Date", "Tue, 14 Oct 2025 09:31:07 GMT"),
    ("Content-Type", "application/json; charset=utf-8"),
    ("Content-Length", "1843"),
    ("Connection", "keep-alive"),
    ("Server", "gunicorn"),
    ("Cache-Control", "private, max-age=0, must-revalidate"),
    ("ETag", "W/\"733-Zk3nXbS0V1uQ2cJm8rTqPw\""),
    ("Vary", "Accept-Encoding, Origin"),
    ("X-Request-Id", "5f0c2b9e7a4d4f1d9c3e8b6a12d07f45"),
    ("Strict-Transport-Security", "max-age=31536000"),
    ("X-Content-Type-Options", "nosniff"),
    ("Last-Modified", "Mon, 13 Oct 2025 22:04:51 GMT"),
];

/// A head of exactly `size` bytes (at least 80): realistic fields while they fit, then cookies, then padding.
fn head(size: usize, random: &mut Random) -> Vec<u8> {
    let mut head = b"HTTP/1.1 200 OK\r\nContent-Length: 18\r\n".to_vec();
    let start = random.below(FIELDS.len());
    for i in 0..FIELDS.len() {
        let (name, value) = FIELDS[(start + i) % FIELDS.len()];
        if name != "Content-Length" && head.len() + name.len() + value.len() + 4 + 16 <= size {
            head.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
    }
    while head.len() + 200 <= size {
        let [a, b, c, d] = [random.next(), random.next(), random.next(), random.next()];
        let cookie = format!(
            "Set-Cookie: s{:x}={a:016x}{b:016x}{c:016x}{d:016x}; Path=/; HttpOnly; Secure; SameSite=Lax\r\n",
            a & 15
        );
        head.extend_from_slice(cookie.as_bytes());
    }
    let padding = size - head.len() - b"X-Pad: \r\n\r\n".len();
    head.extend_from_slice(b"X-Pad: ");
    head.extend((0..padding).map(|_| b'a' + (random.next() % 26) as u8));
    head.extend_from_slice(b"\r\n\r\n");
    head
}

/// 512 heads of 150 to 798 bytes: 474 in the mean.
fn mix() -> Vec<Vec<u8>> {
    let mut random = Random(42);
    (0..512).map(|i| head(150 + (i * 648) / 511, &mut random)).collect()
}

fn verdict() -> tidegate_verdict {
    // SAFETY: the type is integers, valid when all zero.
    let mut verdict: tidegate_verdict = unsafe { std::mem::zeroed() };
    verdict.struct_size = size_of::<tidegate_verdict>();
    verdict
}

fn ours(validator: &mut tidegate_validator, verdict: &mut tidegate_verdict, head: &[u8]) -> u32 {
    // SAFETY: all of it is live.
    unsafe {
        tidegate_validator_start(validator, std::ptr::null());
        tidegate_validator_feed(validator, head.as_ptr().cast(), head.len(), verdict);
    }
    verdict.event
}

fn theirs(head: &[u8]) -> usize {
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut response = httparse::Response::new(&mut fields);
    response.parse(head).map_or(0, |s| if s.is_complete() { response.headers.len() } else { 0 })
}

fn main() {
    let mut c: Criterion = criterion().configure_from_args();
    let mut workloads = vec![];
    let mut heads: Vec<(String, Vec<Vec<u8>>)> = [80, 200, 500, 1024, 2048, 4096, 8192]
        .map(|n| (format!("validate-head-{n}"), vec![head(n, &mut Random(1))]))
        .into();
    heads.push(("validate-mix-512".into(), mix()));
    // SAFETY: the type is integers, valid when all zero.
    let mut validator: tidegate_validator = unsafe { std::mem::zeroed() };
    let mut verdict = verdict();
    for (workload, heads) in heads {
        let mean = heads.iter().map(Vec::len).sum::<usize>() / heads.len();
        for head in &heads {
            assert_eq!(ours(&mut validator, &mut verdict, head), TIDEGATE_VERDICT_HEAD, "{}", head.escape_ascii());
            assert_ne!(theirs(head), 0);
        }
        let mut group = c.benchmark_group(&workload);
        group.throughput(Throughput::Bytes(mean as u64));
        let mut i = 0;
        let mut next = || {
            i = (i + 1) % heads.len();
            black_box(&heads[i][..])
        };
        group.bench_function("tidegate", |b| b.iter(|| ours(&mut validator, &mut verdict, next())));
        group.bench_function("httparse", |b| b.iter(|| theirs(next())));
        assert!(heads.iter().all(|head| rivals::pico_head(head) != 0));
        group.bench_function("picohttpparser", |b| b.iter(|| rivals::pico_head(next())));
        #[cfg(llhttp)]
        {
            let mut parser = rivals::llhttp::Parser::new();
            group.bench_function("llhttp", |b| {
                b.iter(|| {
                    parser.start();
                    parser.feed(next())
                })
            });
            parser.start();
            assert!(parser.feed(&heads[0]));
        }
        group.finish();
        workloads.push(workload);
    }

    // One iteration is 64 chunks of 10 bytes.
    let body = b"a\r\n0123456789\r\n".repeat(64);
    let mut group = c.benchmark_group("validate-64-chunks-of-10");
    for (name, flags) in [("tidegate", 0), ("tidegate-raw", TIDEGATE_VALIDATOR_NO_DATA)] {
        // SAFETY: the type is integers and pointers, valid when all zero.
        let mut options: tidegate_validator_options = unsafe { std::mem::zeroed() };
        options.struct_size = size_of::<tidegate_validator_options>();
        options.flags = flags;
        let start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        // SAFETY: all of it is live.
        unsafe {
            tidegate_validator_start(&mut validator, &options);
            tidegate_validator_feed(&mut validator, start.as_ptr().cast(), start.len(), &mut verdict);
        }
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut rest = black_box(&body[..]);
                while !rest.is_empty() {
                    // SAFETY: all of it is live.
                    unsafe { tidegate_validator_feed(&mut validator, rest.as_ptr().cast(), rest.len(), &mut verdict) };
                    rest = &rest[verdict.consumed..];
                }
            })
        });
    }
    group.bench_function("httparse", |b| {
        b.iter(|| {
            let mut rest = black_box(&body[..]);
            while let Ok(httparse::Status::Complete((at, size))) = httparse::parse_chunk_size(rest) {
                rest = &rest[at + size as usize + 2..];
            }
            rest.len()
        })
    });
    let mut copy = vec![0; body.len()];
    group.bench_function("picohttpparser", |b| {
        b.iter(|| {
            copy.copy_from_slice(black_box(&body));
            rivals::pico_chunks(&mut copy)
        })
    });
    assert_eq!(rivals::pico_chunks(&mut body.clone()), 640);
    #[cfg(llhttp)]
    {
        let mut parser = rivals::llhttp::Parser::new();
        parser.start();
        assert!(parser.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n") && parser.feed(&body));
        group.bench_function("llhttp", |b| b.iter(|| parser.feed(black_box(&body))));
        assert!(parser.feed(&body));
    }
    group.finish();
    workloads.push("validate-64-chunks-of-10".into());
    print_ratios(&workloads, &["tidegate", "tidegate-raw"], &["httparse", "picohttpparser", "llhttp"]);
    if cfg!(not(llhttp)) {
        println!("llhttp was left out: its sources are not in build/rivals (scripts/setup.sh bench looks for them)");
    }
}
