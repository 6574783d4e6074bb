//! The HTTP codec: heads, and the chunked body of a token stream.

#![allow(clippy::expect_used)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use llm_http::{BodyDecoder, Framing, HeadScan, Limits, Method, Step, next_final_response, parse_request, write};

/// What an official SDK sends.
const REQUEST: &[u8] = b"POST /v1/chat/completions HTTP/1.1\r\n\
Host: gateway.internal:8000\r\n\
Accept-Encoding: gzip, deflate\r\n\
Connection: keep-alive\r\n\
Accept: application/json\r\n\
Content-Type: application/json\r\n\
User-Agent: OpenAI/Python 2.8.1\r\n\
X-Stainless-Lang: python\r\n\
X-Stainless-Package-Version: 2.8.1\r\n\
X-Stainless-OS: Linux\r\n\
X-Stainless-Arch: x64\r\n\
X-Stainless-Runtime: CPython\r\n\
X-Stainless-Runtime-Version: 3.13.1\r\n\
X-Stainless-Async: false\r\n\
X-Stainless-Retry-Count: 0\r\n\
X-Stainless-Read-Timeout: 600\r\n\
Authorization: Bearer not-a-key-but-of-the-usual-length-of-one\r\n\
Content-Length: 1024\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
Date: Mon, 02 Nov 2026 10:00:00 GMT\r\n\
Content-Type: text/event-stream; charset=utf-8\r\n\
Transfer-Encoding: chunked\r\n\
Connection: keep-alive\r\n\
X-Request-Id: req_0123456789abcdef\r\n\
X-RateLimit-Limit-Requests: 10000\r\n\
X-RateLimit-Remaining-Requests: 9999\r\n\
Strict-Transport-Security: max-age=31536000; includeSubDomains; preload\r\n\
Server: edge\r\n\r\n";

fn heads(criterion: &mut Criterion) {
    let limits = Limits::default();
    let mut group = criterion.benchmark_group("http_head");
    group.throughput(Throughput::Bytes(REQUEST.len() as u64));
    group.bench_function("request", |bench| {
        bench.iter(|| parse_request(black_box(REQUEST), &mut HeadScan::default(), &limits));
    });
    group.bench_function("request, httparse alone", |bench| {
        bench.iter(|| {
            let mut fields = [httparse::EMPTY_HEADER; 100];
            httparse::Request::new(&mut fields).parse(black_box(REQUEST)).map(|status| status.is_complete())
        });
    });
    group.throughput(Throughput::Bytes(RESPONSE.len() as u64));
    group.bench_function("response", |bench| {
        bench.iter(|| next_final_response(black_box(RESPONSE), &mut HeadScan::default(), &limits, Method::Post));
    });
    group.finish();
}

fn bodies(criterion: &mut Criterion) {
    let mut small = Vec::new();
    for _ in 0..64 {
        write::chunk(&mut small, b"data: {\"choices\":[{\"delta\":{\"content\":\" token\"}}]}\n\n");
    }
    let mut large = Vec::new();
    write::chunk(&mut large, &[b'x'; 16 * 1024]);
    let mut group = criterion.benchmark_group("http_body");
    for (name, wire) in [("64 small chunks in one read", small), ("one large chunk", large)] {
        group.throughput(Throughput::Bytes(wire.len() as u64));
        group.bench_function(name, |bench| bench.iter(|| decode(black_box(&wire))));
    }
    group.finish();
}

fn decode(wire: &[u8]) -> usize {
    let mut decoder = BodyDecoder::new(Framing::Chunked);
    let (mut pos, mut body) = (0, 0);
    while let Ok(Step::Data(range)) = decoder.next(wire, &mut pos) {
        body += range.len();
    }
    body
}

criterion_group!(benches, heads, bodies);
criterion_main!(benches);
