//! The place of a request in a distributed trace (W3C Trace Context). Ids are derived from the
//! request and not random: the worker sends them to the provider, and the control plane later
//! exports spans with the same ids.

/// The span number of the request itself. Its attempts count from 1.
pub const REQUEST: u64 = 0;

/// The client's span, as its `traceparent` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    /// In two halves, the high one first: a number of 128 bits would align all that has a part of
    /// this to 16 bytes, for which the allocator takes longer.
    trace: [u64; 2],
    pub span: u64,
    pub sampled: bool,
}

impl Parent {
    /// Parses a `traceparent`. `None` if it is malformed, which counts as none. Of later versions
    /// the fields of version 00 are read.
    pub fn parse(value: &[u8]) -> Option<Parent> {
        let text = std::str::from_utf8(value).ok()?.trim();
        let mut parts = text.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex =
            |part: &str, len: usize| part.len() == len && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let well_formed = hex(version, 2) && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
        if !well_formed || version == "ff" || (version == "00" && parts.next().is_some()) {
            return None;
        }
        let trace = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
        let span = u64::from_str_radix(span, 16).ok().filter(|id| *id != 0)?;
        Some(Parent::new(trace, span, u8::from_str_radix(flags, 16).ok()? & 1 == 1))
    }

    /// Makes the span of a client.
    pub fn new(trace: u128, span: u64, sampled: bool) -> Parent {
        Parent { trace: [(trace >> 64) as u64, trace as u64], span, sampled }
    }

    /// Returns the id of its trace.
    pub fn trace(&self) -> u128 {
        let [high, low] = self.trace;
        u128::from(high) << 64 | u128::from(low)
    }
}

/// A request in its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    pub trace: u128,
    pub parent: Option<Parent>,
    pub sampled: bool,
    /// What its span ids are derived from.
    seed: u64,
}

impl Context {
    /// Places a request in its client's trace, or in one of its own. Clients may repeat a request
    /// id, so the ids depend on the time too. `samples` decides by the trace's id and by the
    /// client's decision.
    pub fn new(
        request_id: &str,
        started_us: u64,
        parent: Option<Parent>,
        samples: impl FnOnce(u128, Option<bool>) -> bool,
    ) -> Context {
        let seed = hash((request_id, started_us));
        let own = || u128::from(hash((seed, "high"))) << 64 | u128::from(hash((seed, "low")));
        let trace = parent.map_or_else(own, |parent| parent.trace());
        Context { trace, parent, sampled: samples(trace, parent.map(|parent| parent.sampled)), seed }
    }

    /// Returns the id of the request's span ([`REQUEST`]), or of an attempt's.
    pub fn span(&self, number: u64) -> u64 {
        hash((self.seed, number))
    }

    /// Returns the `traceparent` of the attempt with this number.
    pub fn traceparent(&self, number: u64) -> String {
        format!("00-{:032x}-{:016x}-{:02x}", self.trace, self.span(number), u8::from(self.sampled))
    }
}

/// Returns a hash that is never 0, which is no valid id.
fn hash(of: impl std::hash::Hash) -> u64 {
    ahash::RandomState::with_seeds(1, 2, 3, 4).hash_one(of).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn parses_valid_traceparents_only() {
        let parent = Parent::parse(GIVEN.as_bytes()).unwrap();
        let expected = Parent::new(0x4bf92f3577b34da6a3ce929d0e0e4736, 0x00f067aa0ba902b7, true);
        assert_eq!(parent, expected);
        let zero = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        for (value, is_one) in [
            (GIVEN.replace("-01", "-00"), true),
            (GIVEN.replacen("00-", "01-", 1) + "-more", true),
            (GIVEN.to_owned() + "-more", false),
            (GIVEN.replacen("00-", "ff-", 1), false),
            (GIVEN.to_uppercase(), false),
            (GIVEN.replace("00f067aa0ba902b7", "0000000000000000"), false),
            (zero.to_owned(), false),
            (GIVEN[..54].to_owned(), false),
            (String::new(), false),
            ("00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned(), false),
        ] {
            assert_eq!(Parent::parse(value.as_bytes()).is_some(), is_one, "{value}");
        }
        assert!(Parent::parse(b"\xff").is_none());
    }

    #[test]
    fn ids_depend_on_request_time_and_attempt_alone() {
        let of = |id, time| Context::new(id, time, None, |_, parent| parent.is_none());
        assert_eq!(of("a", 1), of("a", 1));
        let all = [of("a", 1), of("a", 2), of("b", 1)];
        let mut spans: Vec<u64> = all.iter().flat_map(|context| [0, 1, 2].map(|n| context.span(n))).collect();
        spans.sort_unstable();
        spans.dedup();
        assert_eq!(spans.len(), 9);
        assert!(all[0].trace != all[1].trace && all[0].trace != all[2].trace && all[0].sampled);
    }

    #[test]
    fn a_clients_trace_is_continued() {
        let parent = Parent::parse(GIVEN.as_bytes());
        let context = Context::new("a", 1, parent, |_, sampled| sampled == Some(true));
        let sent = context.traceparent(1);
        let read = Parent::parse(sent.as_bytes()).unwrap();
        assert_eq!((read.trace(), read.span, read.sampled), (parent.unwrap().trace(), context.span(1), true));
        assert_ne!(read.span, parent.unwrap().span);
    }
}
