//! Code for processors that have wider vector instructions than all of their kind.
//!
//! [`vectorized`] runs work that was compiled a second time for AVX2, where the processor has that.

/// Work that is worth to be compiled a second time. [`run`](Vectorized::run), and what it calls
/// with its lanes, must be inlined always: a function of its own has no wider instructions.
pub trait Vectorized {
    /// What the work returns.
    type Output;

    /// Does the work by the instructions that `lanes` has.
    fn run<L: Lanes>(self, lanes: L) -> Self::Output;
}

/// Does the work with the vector instructions that the processor has.
#[inline(always)]
pub fn vectorized<W: Vectorized>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has what the function is compiled for.
        #[allow(unsafe_code)]
        return unsafe { avx2::run(work) };
    }
    work.run(Common)
}

/// The start of a text that has nothing special.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlainStart {
    /// Its bytes, up to the first special one or the end of the text.
    pub len: usize,
    /// Whether all of them are ASCII.
    pub is_ascii: bool,
}

/// Questions about many bytes at once. A value of such a type is there only where the processor has
/// its instructions.
pub trait Lanes: Copy {
    /// Whether they are wider than those that every processor has.
    const IS_WIDE: bool;

    /// Returns whether two texts of the same length, 32 at least, are equal.
    fn is_equal(self, one: &[u8], other: &[u8]) -> bool;

    /// Returns whether a text of 32 bytes at least has no quote, no backslash and no control
    /// character.
    fn is_plain(self, text: &[u8]) -> bool;

    /// Finds the first quote, backslash or control character of a text.
    fn plain_start(self, text: &[u8]) -> PlainStart;

    /// Appends a text, of some hundred bytes mostly.
    fn append(self, room: &mut Room<'_>, text: &[u8]);
}

/// The free end of a buffer, to which texts are appended one after the other. What the buffer has
/// is noted when this is dropped, so that each text costs no look at the buffer itself.
#[derive(Debug)]
pub struct Room<'v> {
    out: &'v mut Vec<u8>,
    start: *mut u8,
    /// Bytes that the buffer has, those that were appended included.
    len: usize,
    capacity: usize,
}

impl<'v> Room<'v> {
    /// Makes room for so many bytes behind what `out` has.
    #[inline(always)]
    pub fn of(out: &'v mut Vec<u8>, bytes: usize) -> Room<'v> {
        out.reserve(bytes);
        Room { start: out.as_mut_ptr(), len: out.len(), capacity: out.capacity(), out }
    }

    /// Returns the place behind what the buffer has, where there is room for so many bytes.
    #[inline(always)]
    fn place(&mut self, bytes: usize) -> *mut u8 {
        if self.capacity - self.len < bytes {
            self.grow(bytes);
        }
        self.start.wrapping_add(self.len)
    }

    #[cold]
    fn grow(&mut self, bytes: usize) {
        self.note();
        self.out.reserve(bytes);
        (self.start, self.capacity) = (self.out.as_mut_ptr(), self.out.capacity());
    }

    #[inline(always)]
    fn note(&mut self) {
        // SAFETY: `len` is what the buffer had, and what was written behind that within its
        // capacity since: both functions that append write all of a text before they count it.
        #[allow(unsafe_code)]
        unsafe {
            self.out.set_len(self.len);
        }
    }

    /// Appends a text of any length.
    #[inline(always)]
    fn extend(&mut self, text: &[u8]) {
        let place = self.place(text.len());
        // SAFETY: there is room for the text at its place, and the buffer is borrowed mutably, so
        // that the text is none of it.
        #[allow(unsafe_code)]
        unsafe {
            place.copy_from_nonoverlapping(text.as_ptr(), text.len());
        }
        self.len += text.len();
    }
}

impl Drop for Room<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.note();
    }
}

/// The instructions that every processor has.
#[derive(Debug, Clone, Copy)]
pub struct Common;

impl Lanes for Common {
    const IS_WIDE: bool = false;

    #[inline(always)]
    fn is_equal(self, one: &[u8], other: &[u8]) -> bool {
        one == other
    }

    #[inline(always)]
    fn is_plain(self, text: &[u8]) -> bool {
        debug_assert!(text.len() >= 32, "a text of {} bytes has no whole block", text.len());
        let (blocks, _) = text.as_chunks::<16>();
        blocks.iter().chain(text.last_chunk()).all(|block| marks(block).special == 0)
    }

    #[inline(always)]
    fn plain_start(self, text: &[u8]) -> PlainStart {
        plain_start_by_small_blocks(text)
    }

    #[inline(always)]
    fn append(self, room: &mut Room<'_>, text: &[u8]) {
        room.extend(text);
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx2 {
    use std::arch::x86_64::{
        __m256i, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_min_epu8, _mm256_movemask_epi8, _mm256_or_si256,
        _mm256_set1_epi8, _mm256_setzero_si256, _mm256_storeu_si256, _mm256_testz_si256, _mm256_xor_si256,
    };

    use crate::json::vectors::{Lanes, PlainStart, Room, Vectorized, plain_start_by_small_blocks};

    /// The instructions of AVX2. [`run`] alone makes one.
    #[derive(Debug, Clone, Copy)]
    struct Avx2(());

    #[target_feature(enable = "avx2")]
    pub(super) fn run<W: Vectorized>(work: W) -> W::Output {
        work.run(Avx2(()))
    }

    impl Lanes for Avx2 {
        const IS_WIDE: bool = true;

        #[inline(always)]
        fn is_equal(self, one: &[u8], other: &[u8]) -> bool {
            // SAFETY: there is a value of this type, so the processor has AVX2.
            unsafe { is_equal(one, other) }
        }

        #[inline(always)]
        fn is_plain(self, text: &[u8]) -> bool {
            // SAFETY: there is a value of this type, so the processor has AVX2.
            unsafe { is_plain(text) }
        }

        #[inline(always)]
        fn plain_start(self, text: &[u8]) -> PlainStart {
            // SAFETY: there is a value of this type, so the processor has AVX2.
            unsafe { plain_start(text) }
        }

        #[inline(always)]
        fn append(self, room: &mut Room<'_>, text: &[u8]) {
            // SAFETY: there is a value of this type, so the processor has AVX2.
            unsafe { append(room, text) }
        }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn load(block: &[u8; 32]) -> __m256i {
        // SAFETY: the block has the 32 bytes that are read.
        unsafe { _mm256_loadu_si256(block.as_ptr().cast::<__m256i>()) }
    }

    /// Blocks from the start and blocks before the end, which overlap in the middle, so that nearly
    /// all texts need no loop.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn is_equal(one: &[u8], other: &[u8]) -> bool {
        let len = one.len();
        if !(32..=256).contains(&len) || other.len() != len {
            return one == other;
        }
        let (one, other) = (one.as_ptr(), other.as_ptr());
        // SAFETY: the block at `at` is within both texts.
        let differs = |at: usize| unsafe {
            let load = |text: *const u8| _mm256_loadu_si256(text.add(at).cast::<__m256i>());
            _mm256_xor_si256(load(one), load(other))
        };
        let any = |a, b| _mm256_or_si256(a, b);
        let differs = match len {
            32..=64 => any(differs(0), differs(len - 32)),
            65..=128 => any(any(differs(0), differs(32)), any(differs(len - 64), differs(len - 32))),
            129..=192 => any(
                any(any(differs(0), differs(32)), differs(64)),
                any(any(differs(len - 96), differs(len - 64)), differs(len - 32)),
            ),
            _ => any(
                any(any(differs(0), differs(32)), any(differs(64), differs(96))),
                any(any(differs(len - 128), differs(len - 96)), any(differs(len - 64), differs(len - 32))),
            ),
        };
        _mm256_testz_si256(differs, differs) != 0
    }

    /// Returns which bytes are special, as all ones.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn special(bytes: __m256i) -> __m256i {
        // As in `is_special`: at most 0x20 are then a quote and the control characters.
        let flipped = _mm256_xor_si256(bytes, _mm256_set1_epi8(2));
        let small = _mm256_cmpeq_epi8(_mm256_min_epu8(flipped, _mm256_set1_epi8(0x20)), flipped);
        let backslash = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(b'\\'.cast_signed()));
        _mm256_or_si256(small, backslash)
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn is_plain(text: &[u8]) -> bool {
        debug_assert!(text.len() >= 32, "a text of {} bytes has no whole block", text.len());
        let mut all = _mm256_setzero_si256();
        for block in text.as_chunks::<32>().0.iter().chain(text.last_chunk()) {
            all = _mm256_or_si256(all, special(load(block)));
        }
        _mm256_testz_si256(all, all) != 0
    }

    /// Two blocks at a time, of which only the last ones are looked at by themselves.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn plain_start(text: &[u8]) -> PlainStart {
        let (mut seen, mut rest) = (_mm256_setzero_si256(), text);
        while let Some((first, behind)) = rest.split_first_chunk::<32>()
            && let Some((second, behind)) = behind.split_first_chunk::<32>()
        {
            let (first, second) = (load(first), load(second));
            let any = _mm256_or_si256(special(first), special(second));
            if _mm256_testz_si256(any, any) == 0 {
                break;
            }
            seen = _mm256_or_si256(seen, _mm256_or_si256(first, second));
            rest = behind;
        }
        while let Some((block, behind)) = rest.split_first_chunk::<32>() {
            let bytes = load(block);
            let marks = _mm256_movemask_epi8(special(bytes)).cast_unsigned();
            if marks != 0 {
                let run = marks.trailing_zeros();
                let high = _mm256_movemask_epi8(bytes).cast_unsigned() & ((1 << run) - 1);
                let is_ascii = _mm256_movemask_epi8(seen) == 0 && high == 0;
                return PlainStart { len: text.len() - rest.len() + run as usize, is_ascii };
            }
            seen = _mm256_or_si256(seen, bytes);
            rest = behind;
        }
        let last = plain_start_by_small_blocks(rest);
        let is_ascii = _mm256_movemask_epi8(seen) == 0 && last.is_ascii;
        PlainStart { len: text.len() - rest.len() + last.len, is_ascii }
    }

    /// Blocks from the start and blocks before the end, which overlap in the middle: no loop, which
    /// compilers would make a call of.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn append(room: &mut Room<'_>, text: &[u8]) {
        let len = text.len();
        if !(32..=256).contains(&len) {
            return room.extend(text);
        }
        let (from, to) = (text.as_ptr(), room.place(len));
        // SAFETY: the block at `at` is within the text, and there is room for as many bytes.
        let copy = |at: usize| unsafe {
            let block = _mm256_loadu_si256(from.add(at).cast::<__m256i>());
            _mm256_storeu_si256(to.add(at).cast::<__m256i>(), block);
        };
        match len {
            32..=64 => [0, len - 32].into_iter().for_each(copy),
            65..=128 => [0, 32, len - 64, len - 32].into_iter().for_each(copy),
            129..=192 => [0, 32, 64, len - 96, len - 64, len - 32].into_iter().for_each(copy),
            _ => [0, 32, 64, 96, len - 128, len - 96, len - 64, len - 32].into_iter().for_each(copy),
        }
        room.len += len;
    }
}

/// Returns whether a byte ends a run: a quote, a backslash or a control character.
#[inline]
pub(super) fn is_special(b: u8) -> bool {
    // The flipped bit makes a quote the neighbour of the control characters, so that one comparison
    // finds both.
    (b ^ 2 < 0x21) | (b == b'\\')
}

/// Which bytes of a block of 16 are what. Bit n stands for byte n.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks {
    /// Quotes, backslashes and control characters.
    pub special: u32,
    /// What is no ASCII.
    pub high: u32,
}

/// Returns the marks of a block.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn marks(block: &[u8; 16]) -> Marks {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8,
        _mm_xor_si128,
    };
    // SAFETY: every processor of this kind has SSE2, and the block has the 16 bytes that are read.
    #[allow(unsafe_code)]
    unsafe {
        let bytes = _mm_loadu_si128(block.as_ptr().cast::<__m128i>());
        // As in `is_special`: what is at most 0x20 then is a quote or a control character.
        let flipped = _mm_xor_si128(bytes, _mm_set1_epi8(2));
        let small = _mm_cmpeq_epi8(_mm_min_epu8(flipped, _mm_set1_epi8(0x20)), flipped);
        let backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\'.cast_signed()));
        let special = _mm_movemask_epi8(_mm_or_si128(small, backslash)).cast_unsigned();
        Marks { special, high: _mm_movemask_epi8(bytes).cast_unsigned() }
    }
}

/// Returns the marks of a block.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub(super) fn marks(block: &[u8; 16]) -> Marks {
    marks_by_bytes(block)
}

#[cfg(any(test, not(target_arch = "x86_64")))]
fn marks_by_bytes(block: &[u8; 16]) -> Marks {
    let bits = |is_marked: fn(u8) -> bool| {
        block.iter().enumerate().fold(0, |bits, (n, &byte)| bits | u32::from(is_marked(byte)) << n)
    };
    Marks { special: bits(is_special), high: bits(|byte| byte >= 0x80) }
}

/// Finds the first special byte of a text with the instructions that every processor has.
#[inline(always)]
fn plain_start_by_small_blocks(text: &[u8]) -> PlainStart {
    let (mut len, mut high) = (0, 0);
    let (blocks, tail) = text.as_chunks::<16>();
    for block in blocks {
        let marks = marks(block);
        if marks.special != 0 {
            let run = marks.special.trailing_zeros();
            high |= marks.high & ((1 << run) - 1);
            return PlainStart { len: len + run as usize, is_ascii: high == 0 };
        }
        high |= marks.high;
        len += block.len();
    }
    let run = tail.iter().position(|byte| is_special(*byte)).unwrap_or(tail.len());
    PlainStart { len: len + run, is_ascii: high == 0 && tail[..run].is_ascii() }
}

/// Returns what stands behind `start`, if `text` begins with it.
#[inline(always)]
pub(super) fn strip<'t>(lanes: impl Lanes, text: &'t [u8], start: &[u8]) -> Option<&'t [u8]> {
    let (begin, rest) = text.split_at_checked(start.len())?;
    is_equal(lanes, begin, start).then_some(rest)
}

/// Returns whether two texts are equal: by a few loads in place of a call, each text by its first
/// and its last bytes, which overlap.
#[inline(always)]
pub(super) fn is_equal(lanes: impl Lanes, one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    if one.len() >= 32 {
        return lanes.is_equal(one, other);
    }
    if let (Some(a), Some(b)) = (one.first_chunk::<16>(), other.first_chunk::<16>()) {
        return a == b && one.last_chunk::<16>() == other.last_chunk::<16>();
    }
    if let (Some(a), Some(b)) = (one.first_chunk::<8>(), other.first_chunk::<8>()) {
        return a == b && one.last_chunk::<8>() == other.last_chunk::<8>();
    }
    if let (Some(a), Some(b)) = (one.first_chunk::<4>(), other.first_chunk::<4>()) {
        return a == b && one.last_chunk::<4>() == other.last_chunk::<4>();
    }
    one.iter().zip(other).all(|(a, b)| a == b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_those_of_each_byte() {
        for byte in 0..=u8::MAX {
            for at in 0..16 {
                let mut block = *b"some plain words";
                block[at] = byte;
                assert_eq!(marks(&block), marks_by_bytes(&block), "{byte} at {at}");
            }
        }
    }

    struct Compare<'t>(&'t [u8], &'t [u8]);

    impl Vectorized for Compare<'_> {
        type Output = bool;

        #[inline(always)]
        fn run<L: Lanes>(self, lanes: L) -> bool {
            is_equal(lanes, self.0, self.1)
        }
    }

    /// Of every length, with a difference at every place.
    #[test]
    fn texts_are_equal_or_not() {
        let text: Vec<u8> = (0..260u32).map(|n| (n % 251) as u8).collect();
        for len in 0..text.len() {
            let mut other = text[..len].to_vec();
            assert!(is_equal(Common, &text[..len], &other) && vectorized(Compare(&text[..len], &other)));
            assert_eq!(strip(Common, &text, &other), Some(&text[len..]));
            assert_eq!(strip(Common, &other, &text), None);
            assert!(!is_equal(Common, &text[..len + 1], &other));
            for at in 0..len {
                other[at] ^= 1;
                assert!(!is_equal(Common, &text[..len], &other), "{at} of {len}");
                assert!(!vectorized(Compare(&text[..len], &other)), "{at} of {len}");
                other[at] ^= 1;
            }
        }
    }

    struct Plain<'t>(&'t [u8]);

    impl Vectorized for Plain<'_> {
        type Output = bool;

        #[inline(always)]
        fn run<L: Lanes>(self, lanes: L) -> bool {
            lanes.is_plain(self.0)
        }
    }

    #[test]
    fn texts_are_plain_or_not() {
        for len in 32..130 {
            let mut text = vec![b'a'; len];
            for at in 0..len {
                for byte in [0, 1, 0x1f, b' ', b'!', b'"', b'#', b'[', b'\\', b']', 0x7f, 0x80, 0xff] {
                    text[at] = byte;
                    let expected = !is_special(byte);
                    assert_eq!(Common.is_plain(&text), expected, "{byte} at {at} of {len}");
                    assert_eq!(vectorized(Plain(&text)), expected, "{byte} at {at} of {len}");
                }
                text[at] = b'a';
            }
        }
    }

    /// Appends texts, with room for so many bytes from the start.
    struct Append<'t>(&'t mut Vec<u8>, usize, &'t [&'t [u8]]);

    impl Vectorized for Append<'_> {
        type Output = ();

        #[inline(always)]
        fn run<L: Lanes>(self, lanes: L) {
            let mut room = Room::of(self.0, self.1);
            for text in self.2 {
                lanes.append(&mut room, text);
            }
        }
    }

    #[test]
    fn texts_are_appended() {
        let text: Vec<u8> = (0..1100u32).map(|n| (n % 251) as u8).collect();
        for len in (0..260).chain(1000..text.len()) {
            for room in [0, 1, len, 2 * len + 6] {
                let texts = [&text[..len], b"behind", &text[1..][..len]];
                let (mut out, mut common) = (b"before".to_vec(), b"before".to_vec());
                vectorized(Append(&mut out, room, &texts));
                Append(&mut common, room, &texts).run(Common);
                assert_eq!(out, [b"before", &texts.concat()[..]].concat(), "{len}");
                assert_eq!(out, common);
            }
        }
    }
}
