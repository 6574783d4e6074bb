//! Attacks by hand that once succeeded, each kept as a test: callers without a key, bodies that are
//! made to cost, clients that hide, and what a client or an administrator may make the gateway
//! call.

mod addresses;
mod admin;
mod bodies;
mod crowds;
mod disconnects;
mod duplicates;
mod files;
mod overload;
mod paths;
mod sandbox;
mod without_key;

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::support::sample::{CHAT, MESSAGES, RESPONSES, Sample};
use super::support::*;

const FORMATS: [&Sample; 3] = [&CHAT, &MESSAGES, &RESPONSES];

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}
