//! New ids and the time for translations, which read neither clock nor random numbers.

use std::rc::Rc;

use crate::proxy::body::SharedBody;
use crate::proxy::core::{Core, unix_us};
use crate::tokens;
use llm_wire::target::plan::IdSource;

/// The ids of one worker. They are ULIDs: 48 bits of time and 80 random ones in 26 characters, so
/// those of one conversation sort by age.
pub struct WorkerIds {
    pub core: Rc<Core>,
    /// The client's request, whose tokens are estimated if a provider does not count them.
    pub request: SharedBody,
}

impl IdSource for WorkerIds {
    fn id(&mut self) -> [u8; 26] {
        let random = u128::from(self.core.random()) << 64 | u128::from(self.core.random());
        ulid(unix_us() / 1000, random)
    }

    fn now(&mut self) -> u64 {
        unix_us() / 1_000_000
    }

    fn input_estimate(&self) -> u64 {
        tokens::prompt(self.request.bytes())
    }
}

fn ulid(ms: u64, random: u128) -> [u8; 26] {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let mut bits = u128::from(ms) << 80 | random & ((1 << 80) - 1);
    let mut out = [0; 26];
    for place in out.iter_mut().rev() {
        *place = DIGITS[(bits & 31) as usize];
        bits >>= 5;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ulids() {
        assert_eq!(&ulid(0, 0), b"00000000000000000000000000");
        assert_eq!(&ulid((1 << 48) - 1, u128::MAX), b"7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
        assert!(ulid(1, u128::MAX) < ulid(2, 0));
    }
}
