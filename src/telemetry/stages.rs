//! The stages of a request, and the time that each took.

/// A part of a request's time. A stage may come several times, as when a second provider is tried;
/// its times add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Stage {
    /// From the first byte of the head to its end, which is before the request's clock starts.
    HeadRead,
    Auth,
    /// Reading and decoding the body. Nothing where it came with the head.
    BodyRead,
    /// Reading the fields of the body, permission, and the choice of candidates.
    Route,
    Limit,
    /// Preparing the provider's request, translated or not.
    Translate,
    /// Waiting for a connection to the provider. Nothing with a pooled one.
    Connect,
    /// From the first byte sent to the provider to the head of its response.
    FirstByte,
    /// From the head of a stream to its first content. Whole responses have none.
    FirstContent,
    /// From there to the last byte.
    LastByte,
    /// Waiting for the client to take bytes. It is not part of the times above.
    WriteStall,
}

impl Stage {
    /// Every stage, in the order of a request.
    pub const ALL: [Stage; 11] = [
        Stage::HeadRead,
        Stage::Auth,
        Stage::BodyRead,
        Stage::Route,
        Stage::Limit,
        Stage::Translate,
        Stage::Connect,
        Stage::FirstByte,
        Stage::FirstContent,
        Stage::LastByte,
        Stage::WriteStall,
    ];

    /// Returns the value of the metric label `stage`, and the name in `Server-Timing`.
    pub fn label(self) -> &'static str {
        self.duration_label().strip_suffix(";dur=").unwrap_or_default()
    }

    /// Returns the name with the parameter that `Server-Timing` has for it.
    pub const fn duration_label(self) -> &'static str {
        match self {
            Stage::HeadRead => "head_read;dur=",
            Stage::Auth => "auth;dur=",
            Stage::BodyRead => "body_read;dur=",
            Stage::Route => "route;dur=",
            Stage::Limit => "limit;dur=",
            Stage::Translate => "translate;dur=",
            Stage::Connect => "connect;dur=",
            Stage::FirstByte => "first_byte;dur=",
            Stage::FirstContent => "first_content;dur=",
            Stage::LastByte => "last_byte;dur=",
            Stage::WriteStall => "write_stall;dur=",
        }
    }
}

/// Nanoseconds by stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stages([u64; Stage::ALL.len()]);

impl Stages {
    /// Adds `ns` nanoseconds to a stage.
    pub fn add(&mut self, stage: Stage, ns: u64) {
        self.0[stage as usize] += ns;
    }

    /// Subtracts time from a stage, as far as it has any.
    pub fn take(&mut self, stage: Stage, ns: u64) {
        let cell = &mut self.0[stage as usize];
        *cell = cell.saturating_sub(ns);
    }

    /// Returns the nanoseconds that a stage took.
    pub fn get(&self, stage: Stage) -> u64 {
        self.0[stage as usize]
    }

    /// Returns the nanoseconds of each stage, in the order of [`Stage::ALL`].
    pub fn all(&self) -> &[u64; Stage::ALL.len()] {
        &self.0
    }

    /// Returns the time that the gateway itself took before the provider's request was sent,
    /// without the waits for client, connection and provider.
    pub fn before(&self) -> u64 {
        [Stage::Auth, Stage::Route, Stage::Limit, Stage::Translate].into_iter().map(|stage| self.get(stage)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_in_order_and_add_up() {
        assert!(Stage::ALL.iter().enumerate().all(|(at, stage)| *stage as usize == at));
        let mut stages = Stages::default();
        for (stage, ns) in [(Stage::Auth, 5), (Stage::Connect, 100), (Stage::Auth, 2), (Stage::Translate, 10)] {
            stages.add(stage, ns);
        }
        assert_eq!((stages.get(Stage::Auth), stages.before()), (7, 17));
        stages.take(Stage::Auth, 10);
        assert_eq!(stages.get(Stage::Auth), 0);
    }
}
