//! Long runs of the insides of strings, a block at a time.
//!
//! Where a run ends is one question about all bytes of a block, of 16 everywhere, and of 32, two at
//! a time, where the processor has AVX2 ([`vectorized`]).

use super::vectors::{Lanes, PlainStart, Vectorized, vectorized};

/// Finds the first quote, backslash or control character of a text.
#[inline]
pub(super) fn plain_start(text: &[u8]) -> PlainStart {
    vectorized(Find(text))
}

struct Find<'t>(&'t [u8]);

impl Vectorized for Find<'_> {
    type Output = PlainStart;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> PlainStart {
        lanes.plain_start(self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::vectors::{Common, is_special};

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// With and without AVX2, what is found is what a look at each byte finds.
        #[test]
        fn a_text_is_plain_up_to_the_first_special_byte(
            len in 0usize..400,
            specials in prop::collection::vec((0usize..400, any::<u8>()), 0..4),
        ) {
            let mut text = vec![b'a'; len];
            for (at, byte) in specials {
                if let Some(place) = text.get_mut(at) {
                    *place = byte;
                }
            }
            let plain = text.iter().position(|byte| is_special(*byte)).unwrap_or(len);
            let expected = PlainStart { len: plain, is_ascii: text[..plain].is_ascii() };
            prop_assert_eq!(Common.plain_start(&text), expected);
            prop_assert_eq!(plain_start(&text), expected);
        }
    }
}
