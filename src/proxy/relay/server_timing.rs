//! `server-timing`: the time of each stage so far in milliseconds (W3C Server Timing, 2025-04).
//! Only whole responses have it: little is known when the head of a stream is sent.

use super::super::request_context::RequestContext;
use crate::telemetry::stages::{Stage, Stages};

/// The name of the field. The colon takes the place of the first comma.
const NAME: &[u8] = b"server-timing";

/// Bytes that are copied for a stage, whatever its name has: a fixed number is copied without a
/// call.
const COPIED: usize = 24;

/// The longest number, in bytes: 2^64 microseconds.
const MAX_NUMBER: usize = 21;

/// Room for the field with all stages.
const ROOM: usize = NAME.len() + Stage::ALL.len() * (COPIED + MAX_NUMBER) + 2;

/// A comma and the name of a stage, padded.
struct Name {
    text: [u8; COPIED],
    len: usize,
}

const NAMES: [Name; Stage::ALL.len()] = {
    let mut names = [const { Name { text: [0; COPIED], len: 2 } }; Stage::ALL.len()];
    let mut at = 0;
    while at < names.len() {
        let (name, label) = (&mut names[at], Stage::ALL[at].duration_label().as_bytes());
        (name.text[0], name.text[1]) = (b',', b' ');
        while name.len < label.len() + 2 {
            name.text[name.len] = label[name.len - 2];
            name.len += 1;
        }
        at += 1;
    }
    names
};

/// Writes the field. Nothing with STAGE_CLOCK off, or without a stage.
pub(super) fn write(out: &mut Vec<u8>, req: &RequestContext<'_>) {
    if let Some(stages) = req.recorder.stages() {
        write_stages(out, stages);
    }
}

fn write_stages(out: &mut Vec<u8>, stages: &Stages) {
    let mut line = [0; ROOM];
    line[..NAME.len()].copy_from_slice(NAME);
    let mut end = NAME.len();
    for (ns, name) in stages.all().iter().zip(&NAMES) {
        if *ns > 0 {
            // The next piece overwrites the padding of this one.
            line[end..end + COPIED].copy_from_slice(&name.text);
            end = put_milliseconds(&mut line, end + name.len, ns / 1000);
        }
    }
    if end > NAME.len() {
        line[NAME.len()] = b':';
        line[end..end + 2].copy_from_slice(b"\r\n");
        out.extend_from_slice(&line[..end + 2]);
    }
}

/// The decimals of each number of microseconds below a millisecond, behind their point.
const DECIMALS: [[u8; 4]; 1000] = {
    let mut decimals = [[b'.', b'0', b'0', b'0']; 1000];
    let mut us = 0;
    while us < decimals.len() {
        decimals[us][1] += (us / 100) as u8;
        decimals[us][2] += (us / 10 % 10) as u8;
        decimals[us][3] += (us % 10) as u8;
        us += 1;
    }
    decimals
};

/// Puts microseconds as milliseconds with three decimals at `at`, and returns where they end.
fn put_milliseconds(line: &mut [u8; ROOM], at: usize, us: u64) -> usize {
    let (ms, rest) = (us / 1000, (us % 1000) as usize);
    let mut at = at;
    match ms {
        // Nearly all.
        0..=9 => {
            line[at] = b'0' + ms as u8;
            at += 1;
        }
        _ => {
            let mut buffer = itoa::Buffer::new();
            let digits = buffer.format(ms).as_bytes();
            line[at..at + digits.len()].copy_from_slice(digits);
            at += digits.len();
        }
    }
    line[at..at + 4].copy_from_slice(&DECIMALS[rest]);
    at + 4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(times: &[(Stage, u64)]) -> String {
        let (mut out, mut stages) = (Vec::new(), Stages::default());
        times.iter().for_each(|(stage, us)| stages.add(*stage, us * 1000));
        write_stages(&mut out, &stages);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn stages_that_took_time_are_written_in_milliseconds() {
        assert_eq!(written(&[]), "");
        assert_eq!(written(&[(Stage::Auth, 7)]), "server-timing: auth;dur=0.007\r\n");
        assert_eq!(
            written(&[(Stage::FirstByte, 12_345), (Stage::HeadRead, 9_999), (Stage::LastByte, 3_600_000_010)]),
            "server-timing: head_read;dur=9.999, first_byte;dur=12.345, last_byte;dur=3600000.010\r\n"
        );
    }

    #[test]
    fn the_longest_field_has_room() {
        let most = u64::MAX / 1000;
        let all = written(&Stage::ALL.map(|stage| (stage, most)));
        assert_eq!(all.matches(";dur=18446744073709.551").count(), Stage::ALL.len());
    }
}
