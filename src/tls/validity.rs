//! Reads when a certificate expires: the only field of X.509 that the gateway uses itself.
//!
//! A certificate is DER (ITU-T X.690): nested elements of a tag byte, a length and the content. The
//! path to the date is `Certificate > TBSCertificate > Validity > notAfter` (RFC 5280, section
//! 4.1). A parser for all of X.509 brings some fifteen crates, which cost more build time than
//! anything else that is used as little.

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// `[0] EXPLICIT Version`, which certificates of version 1 lack.
const VERSION: u8 = 0xa0;

/// Returns the end of the validity of a certificate in DER, as RFC 3339 in UTC. `None` if it can't
/// be read.
pub(super) fn not_after(certificate: &[u8]) -> Option<String> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (fields, _) = element(certificate, SEQUENCE)?;
    let fields = element(fields, VERSION).map_or(fields, |(_, rest)| rest);
    let (_serial, fields) = element(fields, INTEGER)?;
    let (_signature, fields) = element(fields, SEQUENCE)?;
    let (_issuer, fields) = element(fields, SEQUENCE)?;
    let (validity, _) = element(fields, SEQUENCE)?;
    let (_not_before, not_after) = time(validity)?;
    let (not_after, _) = time(not_after)?;
    Some(not_after)
}

/// Splits off a time, of either type that RFC 5280 (section 4.1.2.5) allows. Both end in seconds
/// and `Z`.
fn time(input: &[u8]) -> Option<(String, &[u8])> {
    let (century, (content, rest)) = match element(input, UTC_TIME) {
        Some((content, rest)) => {
            // Two digits of the year: 50 to 99 are 1950 to 1999, 00 to 49 are 2000 to 2049.
            let century = if content.first()? >= &b'5' { "19" } else { "20" };
            (century, (content, rest))
        }
        None => ("", element(input, GENERALIZED_TIME)?),
    };
    let digits = format!("{century}{}", std::str::from_utf8(content).ok()?.strip_suffix('Z')?);
    if digits.len() != 14 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (date, clock) = digits.split_at(8);
    let (year, month, day) = (&date[..4], &date[4..6], &date[6..]);
    let (hour, minute, second) = (&clock[..2], &clock[2..4], &clock[4..]);
    Some((format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z"), rest))
}

/// Splits off an element with this tag: its content, and what follows it.
fn element(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = input.split_first()?;
    if *found != tag {
        return None;
    }
    let (first, rest) = rest.split_first()?;
    // Below 128 the byte is the length; above, it says how many bytes of length follow. 0x80 is
    // not DER.
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(not_after: (i32, u8, u8)) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(vec!["gateway.test".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(not_after.0, not_after.1, not_after.2);
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn reads_both_types_of_time() {
        let rows = [((1999, 12, 31), "1999-12-31"), ((2049, 2, 28), "2049-02-28"), ((4096, 1, 1), "4096-01-01")];
        for (date, text) in rows {
            assert_eq!(not_after(&certificate(date)), Some(format!("{text}T00:00:00Z")));
        }
    }

    #[test]
    fn rejects_what_is_cut_or_altered() {
        let whole = certificate((2030, 1, 1));
        for end in 0..whole.len() {
            assert_eq!(not_after(&whole[..end]), None, "cut at {end}");
        }
        for at in 0..whole.len() {
            for byte in [0x00, 0x30, 0x80, 0x84, 0xff] {
                let mut altered = whole.clone();
                altered[at] = byte;
                // Whatever it returns, it returns.
                let _ = not_after(&altered);
            }
        }
    }

    #[test]
    fn rejects_lengths_beyond_the_input() {
        assert_eq!(element(&[SEQUENCE, 0x84, 0xff, 0xff, 0xff, 0xff, 0], SEQUENCE), None);
        assert_eq!(element(&[SEQUENCE, 0x80, 0], SEQUENCE), None);
        assert_eq!(element(&[SEQUENCE, 0x85, 0, 0, 0, 0, 1, 0], SEQUENCE), None);
        assert_eq!(element(&[SEQUENCE, 0x81], SEQUENCE), None);
        assert_eq!(element(&[SEQUENCE, 0x01, 7, 9], SEQUENCE), Some((&[7][..], &[9][..])));
    }
}
