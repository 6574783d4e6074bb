//! The faults that an answer may have, by name.

use std::str::FromStr;

macro_rules! faults {
    ($( $(#[$doc:meta])* $variant:ident $name:literal $about:literal; )*) => {
        /// What goes wrong. "Half way" is after half of the events that carry content.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Fault { $( #[doc = $about] $variant, )* }

        impl Fault {
            /// All faults, in the order of the table.
            pub const ALL: &'static [Fault] = &[ $( Fault::$variant, )* ];

            /// Returns the name by which a fault is selected.
            pub fn name(self) -> &'static str {
                match self { $( Fault::$variant => $name, )* }
            }

            /// Returns a sentence about what happens.
            pub fn about(self) -> &'static str {
                match self { $( Fault::$variant => $about, )* }
            }
        }
    };
}

faults! {
    // The connection. The first four are for the process as a whole: they leave no server to ask.
    Refused "refused" "Nobody listens: connections are refused.";
    BlackHole "black-hole" "The listener's queue is full: no connection is ever made.";
    TlsFailure "tls-failure" "The TLS handshake is refused. The mock listens at an `https` address.";
    ExpiredCertificate "expired-certificate" "The certificate has expired. The mock listens at an `https` address.";
    ResetHead "reset-head" "TCP reset before the head.";
    ResetBody "reset-body" "TCP reset behind the head.";
    Reset "reset" "TCP reset: half way in a stream, before the head otherwise.";
    Silent "silent" "Silence instead of a head.";
    SilentBody "silent-body" "The head, and then silence.";
    Stall "stall" "Silence: half way in a stream, before the head otherwise.";
    // The head.
    HalfHead "half-head" "The connection is closed within the head.";
    BadHead "bad-head" "The answer is not HTTP.";
    EndlessHead "endless-head" "The head has fields without end.";
    Flood1xx "flood-1xx" "Thousands of interim responses (103) before the answer.";
    SlowHeaders "slow-headers" "The head comes line by line, 100 ms (or the interval) apart.";
    EarlyHints "early-hints" "No fault but a rare courtesy: a `103 Early Hints` before the answer.";
    // The framing of the body.
    Truncate "truncate" "The connection is closed inside an event, or before the announced length.";
    WrongLength "wrong-length" "A body longer than announced, or a chunk shorter than its size.";
    Garbage "garbage" "A stream goes on with bytes that are no HTTP chunk; a JSON body is HTML.";
    UntilClose "until-close" "No fault but a rare framing: the body ends with the connection.";
    OpenEnd "open-end" "The answer is complete, end mark included, and the HTTP body does not end.";
    Gzip "gzip" "The body is compressed with gzip, which nobody asked for.";
    Drip "drip" "The body comes in pieces of 64 bytes, 5 ms (or the interval) apart.";
    // The content.
    Unfinished "unfinished" "The HTTP body ends well, but the stream or the JSON text lacks its second half.";
    NoEndMark "no-end-mark" "The stream lacks its last event, and the HTTP body ends well.";
    BadEvent "bad-event" "One event of a stream is not JSON; a JSON body is HTML.";
    BadFirst "bad-first" "The body is text that is neither events nor JSON.";
    BadUtf8 "bad-utf8" "The text has a byte that is not UTF-8.";
    EndlessEvent "endless-event" "An event, or a JSON text, of 17 MiB that does not end.";
    LyingType "lying-type" "A stream is labelled as JSON, and JSON as a stream.";
    WrongForm "wrong-form" "A whole answer where a stream was asked for, and the reverse.";
    Empty "empty" "Status 200 and an empty body.";
    Html "html" "Status 200 and a page of HTML.";
    ErrorObject "error-object" "Status 200 and an error object, also where a stream was asked for.";
    // Statuses beyond those that are selected by number.
    NoContent "no-content" "Status 204.";
    Redirect "redirect" "Status 307 to another address.";
    NoRetryAfter "no-retry-after" "Status 429 without a `retry-after`.";
    Quota "quota" "Status 429 because the account's quota is used up.";
    ContextLength "context-length" "Status 400: the request does not fit in the model's context.";
    ContentFilter "content-filter" "Status 400: a content filter refused the request.";
    Flapping "flapping" "Five requests fail with status 500, the next five succeed, and so on.";
}

/// Requests of each half of [`Fault::Flapping`].
const FLAP: u32 = 5;

impl Fault {
    /// Returns whether a request that is the `turn`th of the process (from 0) fails while the
    /// provider flaps.
    pub(crate) fn flaps_at(turn: u32) -> bool {
        (turn / FLAP).is_multiple_of(2)
    }

    /// Returns whether the fault leaves no server that could answer.
    pub(crate) fn is_of_the_listener(self) -> bool {
        matches!(self, Fault::Refused | Fault::BlackHole)
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(name: &str) -> Result<Fault, String> {
        Fault::ALL.iter().find(|fault| fault.name() == name).copied().ok_or_else(|| {
            let names: Vec<&str> = Fault::ALL.iter().map(|fault| fault.name()).collect();
            format!("`{name}` is not a fault; the faults are {}, error-first, error-mid and statuses", names.join(", "))
        })
    }
}
