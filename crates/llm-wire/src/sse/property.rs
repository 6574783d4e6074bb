//! Properties that hold for any bytes, as functions that panic where one does not: the bodies of
//! fuzz targets and of property tests.

use super::frame::{Block, Framer};
use super::write::event;
use crate::json::property::pieces;

/// Name and data of each event.
type Events = Vec<(Option<Vec<u8>>, Vec<u8>)>;

/// The property of the fuzz target `sse_frame`. The first byte chooses the cuts.
pub fn check(input: &[u8]) {
    let Some((&seed, stream)) = input.split_first() else { return };
    framing_ignores_cuts(stream, seed.into());
    writing_is_framing(stream);
}

/// An event that is written is the event that is read, but for the kind of line ends inside its
/// data.
fn writing_is_framing(data: &[u8]) {
    let mut out = Vec::new();
    event(&mut out, Some("e"), data);
    let lines = data.to_vec();
    let (events, _) = run(&[&out]);
    let joined = String::from_utf8_lossy(&lines).replace("\r\n", "\n").replace('\r', "\n");
    let read = events.iter().map(|(name, data)| (name.as_deref(), String::from_utf8_lossy(data)));
    assert!(read.eq([(Some(&b"e"[..]), joined.into())]));
}

/// However a stream is cut into reads, the events are those of a plain reading of the standard, and
/// the raw bytes of all blocks are the stream.
pub fn framing_ignores_cuts(stream: &[u8], seed: u64) {
    let expected = reference(stream);
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    for reads in [&[stream][..], &pieces(stream, seed), &bytes] {
        let (events, raw) = run(reads);
        assert_eq!(raw, stream, "raw bytes of {} reads", reads.len());
        assert_eq!(events, expected, "events of {} reads", reads.len());
    }
}

fn run(reads: &[&[u8]]) -> (Events, Vec<u8>) {
    let mut framer = Framer::default();
    let (mut events, mut raw) = (Events::new(), Vec::new());
    let mut take = |block: Block<'_>| {
        assert!(!block.raw.is_empty());
        raw.extend_from_slice(block.raw);
        events.extend(block.frame.map(|frame| (frame.event.map(<[u8]>::to_vec), frame.data.to_vec())));
    };
    for read in reads {
        let mut rest = *read;
        while let Ok(Some(block)) = framer.next(&mut rest) {
            take(block);
        }
        assert!(rest.is_empty());
    }
    if let Some(block) = framer.finish() {
        take(block);
    }
    assert!(framer.pending() == 0 && framer.finish().is_none());
    (events, raw)
}

/// The standard, read line by line, with our two departures: an empty name is none, and the end of
/// the stream ends an event.
fn reference(stream: &[u8]) -> Events {
    let mut rest = stream.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stream);
    let mut events = Events::new();
    let (mut name, mut data) = (Vec::new(), None::<Vec<u8>>);
    let mut dispatch = |name: &mut Vec<u8>, data: &mut Option<Vec<u8>>| {
        let name = Some(std::mem::take(name)).filter(|name| !name.is_empty());
        events.extend(data.take().map(|data| (name, data)));
    };
    while !rest.is_empty() {
        let end = rest.iter().position(|b| matches!(b, b'\n' | b'\r')).unwrap_or(rest.len());
        let (line, after) = rest.split_at(end);
        let terminator = [&b"\r\n"[..], b"\n", b"\r"].into_iter().find(|t| after.starts_with(t)).unwrap_or_default();
        rest = &after[terminator.len()..];
        let colon = line.iter().position(|&b| b == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &line[..colon] {
            _ if line.is_empty() => dispatch(&mut name, &mut data),
            b"event" => name = value.to_vec(),
            b"data" => match &mut data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                None => data = Some(value.to_vec()),
            },
            _ => {}
        }
    }
    dispatch(&mut name, &mut data);
    events
}
