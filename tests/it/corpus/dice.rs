//! Random choices that follow from a row's id, so that what failed once fails again.

use std::ops::Range;

pub struct Dice(u64);

impl Dice {
    /// `id` is the hexadecimal number that names a row; `salt` tells one use of it from another.
    pub fn new(id: &str, salt: u64) -> Dice {
        let id = u64::from_str_radix(id, 16).expect("a row's id is 16 hexadecimal digits");
        Dice((id ^ salt.wrapping_mul(0x9E37_79B9_7F4A_7C15)) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    /// From 0 to `n - 1`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// Up to `most` cuts of `bytes`, half of them beside a line end, where framing has its corners.
    /// Pieces are never empty.
    pub fn cuts(&mut self, bytes: &[u8], most: usize) -> Vec<Range<usize>> {
        let line_ends: Vec<usize> = memchr::memchr_iter(b'\n', bytes).collect();
        let mut at: Vec<usize> = (0..self.below(most + 1))
            .map(|_| match line_ends.len() {
                0 => self.below(bytes.len() + 1),
                n if self.one_in(2) => line_ends[self.below(n)] + self.below(2),
                _ => self.below(bytes.len() + 1),
            })
            .collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        at.dedup();
        at.windows(2).map(|pair| pair[0]..pair[1]).collect()
    }
}
