//! Long runs of the insides of strings, a block at a time.
//!
//! Whether a block has a byte that ends a run is one question about all of its bytes, which
//! compilers turn into vector instructions: of 16 bytes everywhere, and of 32 where the processor
//! has AVX2 ([`vectorized`]).

use super::vectors::{Lanes, Vectorized, is_special, vectorized};

/// Bytes that are looked at together, as long as there are so many.
const BLOCK: usize = 64;

/// Bytes that are looked at together behind them.
const SMALL: usize = 16;

/// The blocks at the start of a text that have nothing special.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PlainBlocks {
    /// Their bytes, all together.
    pub len: usize,
    /// Whether all of them are ASCII.
    pub is_ascii: bool,
}

/// Finds the blocks before the first one with a quote, a backslash or a control character. What
/// stands behind the last whole block is not looked at.
#[inline]
pub(super) fn plain_blocks(text: &[u8]) -> PlainBlocks {
    vectorized(Find(text))
}

struct Find<'t>(&'t [u8]);

impl Vectorized for Find<'_> {
    type Output = PlainBlocks;

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) -> PlainBlocks {
        find(self.0)
    }
}

#[inline(always)]
fn find(text: &[u8]) -> PlainBlocks {
    const HALF: usize = BLOCK / 2;
    let (mut all, mut all_small) = ([0u8; HALF], [0u8; SMALL]);
    let mut len = 0;
    for block in text.as_chunks::<BLOCK>().0 {
        // Both halves are gathered in one, without a question for each byte.
        let (mut marks, mut seen) = ([0u8; HALF], all);
        for half in block.as_chunks::<HALF>().0 {
            gather(half, &mut marks, &mut seen);
        }
        if marks != [0; HALF] {
            break;
        }
        all = seen;
        len += BLOCK;
    }
    for block in text[len..].as_chunks::<SMALL>().0 {
        let (mut marks, mut seen) = ([0u8; SMALL], all_small);
        gather(block, &mut marks, &mut seen);
        if marks != [0; SMALL] {
            break;
        }
        all_small = seen;
        len += SMALL;
    }
    PlainBlocks { len, is_ascii: all.is_ascii() && all_small.is_ascii() }
}

/// Adds a mark for each byte that is special, and the bits of each.
#[inline(always)]
fn gather<const N: usize>(block: &[u8; N], marks: &mut [u8; N], seen: &mut [u8; N]) {
    for ((mark, seen), &byte) in marks.iter_mut().zip(seen).zip(block) {
        *mark |= if is_special(byte) { 0xff } else { 0 };
        *seen |= byte;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// With and without AVX2, what is found is what a look at each byte finds.
        #[test]
        fn blocks_are_plain_up_to_the_first_special_byte(
            len in 0usize..400,
            specials in prop::collection::vec((0usize..400, any::<u8>()), 0..4),
        ) {
            let mut text = vec![b'a'; len];
            for (at, byte) in specials {
                if let Some(place) = text.get_mut(at) {
                    *place = byte;
                }
            }
            let plain = text.iter().position(|byte| is_special(*byte)).unwrap_or(len) / SMALL * SMALL;
            let expected = PlainBlocks { len: plain, is_ascii: text[..plain].is_ascii() };
            prop_assert_eq!(find(&text), expected);
            prop_assert_eq!(plain_blocks(&text), expected);
        }
    }
}
