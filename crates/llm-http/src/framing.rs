//! Where a body ends: the one place that reads `Content-Length` and `Transfer-Encoding` together.
//!
//! The rule is RFC 9112 6.3, with every leniency that it offers turned down, since each is a way to
//! make two readers of one connection disagree (request smuggling):
//!
//! | declared | request | response |
//! |---|---|---|
//! | neither | no body | until the connection closes |
//! | one length, or equal ones | that length | that length |
//! | lengths that differ, a sign, a list, an overflow | 400 | refused |
//! | `chunked` | chunked | chunked |
//! | both | 400 | refused |
//! | `chunked` twice or not last, `identity`, an empty element | 400 | refused |
//! | another coding, then `chunked` | 501 | refused |
//! | any coding in HTTP/1.0 | 400 | refused |
//!
//! A response to `HEAD` and a response of status 1xx, 204 or 304 has no body whatever it declares.
//! A response with both fields is refused (502) rather than read as chunked: its sender is confused
//! or an attacker speaks through it, and the connection would be pooled.

use super::field::list;
use super::head::{Method, Refusal, Version};

/// How the end of a body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// The message ends with its head.
    None,
    /// This many bytes follow.
    Length(u64),
    /// The body is in chunked coding.
    Chunked,
    /// All bytes up to the close of the connection; responses only.
    Close,
}

impl Framing {
    /// False if it is certain that not one byte of body follows.
    pub fn has_body(self) -> bool {
        !matches!(self, Framing::None | Framing::Length(0))
    }
}

/// Whether a response with this status to a request of this method has no body, whatever its head
/// declares. To a status of 1xx or 204 no `content-length` may be written either (RFC 9110 8.6).
pub fn forbids_body(status: u16, request: Method) -> bool {
    request == Method::Head || matches!(status, 100..=199 | 204 | 304)
}

/// What the framing fields of one head say, gathered field by field.
#[derive(Debug, Default)]
pub(super) struct Declared {
    length: Length,
    coding: Coding,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Length {
    #[default]
    Absent,
    Is(u64),
    Invalid,
    Conflict,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Coding {
    #[default]
    Absent,
    Chunked,
    /// Codings other than chunked, and nothing after them yet.
    Foreign,
    ForeignThenChunked,
    /// No order of codings that a sender may produce.
    Malformed,
}

impl Declared {
    /// A `Content-Length` field.
    pub(super) fn length(&mut self, value: &[u8]) {
        self.length = match (self.length, parse_length(value)) {
            (Length::Absent, Some(length)) => Length::Is(length),
            (Length::Is(before), Some(length)) if before == length => Length::Is(length),
            (Length::Is(_), Some(_)) => Length::Conflict,
            (_, None) => Length::Invalid,
            (fault, Some(_)) => fault,
        };
    }

    /// A `Transfer-Encoding` field. Several fields are one list (RFC 9110 5.3).
    pub(super) fn coding(&mut self, value: &[u8]) {
        for name in list(value) {
            let chunked = name.eq_ignore_ascii_case(b"chunked");
            let void = name.is_empty() || name.eq_ignore_ascii_case(b"identity");
            self.coding = match self.coding {
                _ if void => Coding::Malformed,
                Coding::Absent if chunked => Coding::Chunked,
                Coding::Foreign if chunked => Coding::ForeignThenChunked,
                Coding::Absent | Coding::Foreign => Coding::Foreign,
                Coding::Chunked | Coding::ForeignThenChunked | Coding::Malformed => Coding::Malformed,
            };
        }
    }

    pub(super) fn request(&self, version: Version) -> Result<Framing, Refusal> {
        Ok(self.declared(version)?.unwrap_or(Framing::None))
    }

    pub(super) fn response(&self, version: Version, status: u16, request: Method) -> Result<Framing, Refusal> {
        if forbids_body(status, request) {
            return Ok(Framing::None);
        }
        Ok(self.declared(version).map_err(Refusal::of_response)?.unwrap_or(Framing::Close))
    }

    fn declared(&self, version: Version) -> Result<Option<Framing>, Refusal> {
        let fault = match (self.length, self.coding) {
            (Length::Absent, Coding::Absent) => return Ok(None),
            (Length::Is(length), Coding::Absent) => return Ok(Some(Framing::Length(length))),
            (Length::Absent, Coding::Chunked) if version == Version::Http11 => return Ok(Some(Framing::Chunked)),
            (Length::Invalid, _) => "content-length is not a plain decimal number",
            (Length::Conflict, _) => "content-length is given twice with different values",
            (_, _) if version == Version::Http10 => "transfer-encoding is not known to HTTP/1.0",
            (Length::Is(_), _) => "both content-length and transfer-encoding are given",
            (Length::Absent, Coding::ForeignThenChunked) => {
                return Err(Refusal::new(501, "the only transfer-encoding this server implements is chunked"));
            }
            (Length::Absent, _) => "transfer-encoding must be chunked, once and last",
        };
        Err(Refusal::bad_request(fault))
    }
}

/// Reads `1*DIGIT`, at most `i64::MAX` so that sums of a length and a head cannot overflow. A
/// list of equal lengths (`5, 5`) is what a careless intermediary makes of two fields; RFC 9110 8.6
/// allows to refuse it, and nothing we know sends it.
fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: i64, digit: &u8| sum.checked_mul(10)?.checked_add(i64::from(digit - b'0'));
    value.iter().try_fold(0i64, add)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(lengths: &[&str], codings: &[&str]) -> Declared {
        let mut declared = Declared::default();
        lengths.iter().for_each(|value| declared.length(value.as_bytes()));
        codings.iter().for_each(|value| declared.coding(value.as_bytes()));
        declared
    }

    #[test]
    fn requests() {
        type Row = (&'static [&'static str], &'static [&'static str], Result<Framing, u16>);
        let rows: &[Row] = &[
            (&[], &[], Ok(Framing::None)),
            (&["0"], &[], Ok(Framing::Length(0))),
            (&["5"], &[], Ok(Framing::Length(5))),
            (&["5", "5"], &[], Ok(Framing::Length(5))),
            (&["9223372036854775807"], &[], Ok(Framing::Length(i64::MAX as u64))),
            (&["9223372036854775808"], &[], Err(400)),
            (&["99999999999999999999999"], &[], Err(400)),
            (&["5", "6"], &[], Err(400)),
            (&["5", "6", "5"], &[], Err(400)),
            (&["5", "x"], &[], Err(400)),
            (&["5, 5"], &[], Err(400)),
            (&["+5"], &[], Err(400)),
            (&["-5"], &[], Err(400)),
            (&["5 5"], &[], Err(400)),
            (&["0x5"], &[], Err(400)),
            (&[""], &[], Err(400)),
            (&[], &["chunked"], Ok(Framing::Chunked)),
            (&[], &["ChunKed"], Ok(Framing::Chunked)),
            (&["5"], &["chunked"], Err(400)),
            (&["0"], &["chunked"], Err(400)),
            (&["5"], &["identity"], Err(400)),
            (&[], &["identity"], Err(400)),
            (&[], &["identity", "chunked"], Err(400)),
            (&[], &["chunked", "identity"], Err(400)),
            (&[], &["chunked", "chunked"], Err(400)),
            (&[], &["chunked, chunked"], Err(400)),
            (&[], &["chunked, gzip"], Err(400)),
            (&[], &["gzip"], Err(400)),
            (&[], &["xchunked"], Err(400)),
            (&[], &["chunked;a=b"], Err(400)),
            (&[], &["\"chunked\""], Err(400)),
            (&[], &[", chunked"], Err(400)),
            (&[], &["chunked,"], Err(400)),
            (&[], &[""], Err(400)),
            (&[], &["gzip, chunked"], Err(501)),
            (&[], &["gzip", "chunked"], Err(501)),
            (&[], &["gzip, chunked", "chunked"], Err(400)),
        ];
        for (lengths, codings, expected) in rows {
            let framing = declared(lengths, codings).request(Version::Http11).map_err(|refusal| refusal.status);
            assert_eq!(framing, *expected, "{lengths:?} {codings:?}");
        }
        let old = declared(&[], &["chunked"]).request(Version::Http10);
        assert_eq!(old.map_err(|refusal| refusal.status), Err(400));
    }

    #[test]
    fn responses() {
        use Method::{Get, Head};
        type Row = (u16, Method, &'static [&'static str], &'static [&'static str], Result<Framing, u16>);
        let rows: &[Row] = &[
            (200, Get, &[], &[], Ok(Framing::Close)),
            (200, Get, &["5"], &[], Ok(Framing::Length(5))),
            (200, Get, &["5", "5"], &[], Ok(Framing::Length(5))),
            (200, Get, &[], &["chunked"], Ok(Framing::Chunked)),
            (200, Head, &["5"], &[], Ok(Framing::None)),
            (200, Head, &[], &["chunked"], Ok(Framing::None)),
            (304, Get, &["5"], &[], Ok(Framing::None)),
            (204, Get, &["5"], &[], Ok(Framing::None)),
            (103, Get, &["5"], &["chunked"], Ok(Framing::None)),
            (205, Get, &[], &[], Ok(Framing::Close)),
            (200, Get, &["5"], &["chunked"], Err(502)),
            (200, Get, &["5", "6"], &[], Err(502)),
            (200, Get, &[], &["gzip, chunked"], Err(502)),
            (200, Get, &[], &["gzip"], Err(502)),
            (200, Get, &[], &["identity"], Err(502)),
        ];
        for (status, method, lengths, codings, expected) in rows {
            let framing = declared(lengths, codings).response(Version::Http11, *status, *method);
            assert_eq!(
                framing.map_err(|refusal| refusal.status),
                *expected,
                "{status} {method:?} {lengths:?} {codings:?}"
            );
        }
        let old = declared(&[], &["chunked"]).response(Version::Http10, 200, Get);
        assert_eq!(old.map_err(|refusal| refusal.status), Err(502));
    }
}
