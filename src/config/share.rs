//! Shares of requests as fractions, and the whole weights that rotations count with.

/// A fraction of the requests, not reduced to any common whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    num: u64,
    den: u64,
}

/// Weights are at most this.
const MAX: u64 = 1_000_000;

impl Share {
    /// Returns the share of a member with this weight.
    pub fn whole(weight: u32) -> Share {
        Share { num: u64::from(weight), den: 1 }
    }

    /// Returns whether a member with this share gets requests only as a standby.
    pub fn is_zero(self) -> bool {
        self.num == 0
    }

    /// Returns `part` of `total` parts of this share; zero if `total` is zero.
    pub fn part(self, part: Share, total: Share) -> Share {
        if total.num == 0 || part.num == 0 {
            return Share { num: 0, den: 1 };
        }
        let num = u128::from(self.num) * u128::from(part.num) * u128::from(total.den);
        let den = u128::from(self.den) * u128::from(part.den) * u128::from(total.num);
        Share::reduced(num, den)
    }

    /// Returns the sum of both shares, in lowest terms.
    pub fn plus(self, other: Share) -> Share {
        let num = u128::from(self.num) * u128::from(other.den) + u128::from(other.num) * u128::from(self.den);
        Share::reduced(num, u128::from(self.den) * u128::from(other.den))
    }

    /// Beyond 32 bits the fraction is rounded.
    fn reduced(num: u128, den: u128) -> Share {
        let divisor = gcd(num, den).max(1);
        let (mut num, mut den) = (num / divisor, den / divisor);
        while num > u128::from(u32::MAX) || den > u128::from(u32::MAX) {
            (num, den) = ((num / 2).max(u128::from(num > 0)), (den / 2).max(1));
        }
        Share { num: u64::try_from(num).unwrap_or(u64::MAX), den: u64::try_from(den).unwrap_or(u64::MAX) }
    }
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Returns the least whole weights in the proportions of `shares`. They are exact unless one would
/// exceed a million; then they are rounded, and none that has a share becomes 0.
pub fn weights(shares: &[Share]) -> Vec<u32> {
    let whole = shares.iter().try_fold(1_u128, |whole, share| {
        let den = u128::from(share.den);
        let whole = whole / gcd(whole, den) * den;
        (whole <= 1 << 60).then_some(whole)
    });
    let exact = whole.and_then(|whole| {
        let counts: Vec<u128> =
            shares.iter().map(|share| u128::from(share.num) * (whole / u128::from(share.den))).collect();
        let divisor = counts.iter().fold(0, |divisor, count| gcd(divisor, *count)).max(1);
        let weight = |count: &u128| u32::try_from(count / divisor).ok().filter(|weight| u64::from(*weight) <= MAX);
        counts.iter().map(weight).collect()
    });
    exact.unwrap_or_else(|| {
        let size = |share: &Share| share.num as f64 / share.den as f64;
        let most = shares.iter().map(size).fold(0.0, f64::max);
        let weight = |share: &Share| match share.num {
            0 => 0,
            _ => ((size(share) / most * MAX as f64).round() as u32).max(1),
        };
        shares.iter().map(weight).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_have_the_proportions_of_the_shares() {
        let part = |weight, part, total| Share::whole(weight).part(Share::whole(part), Share::whole(total));
        assert_eq!(weights(&[Share::whole(3), Share::whole(1)]), [3, 1]);
        assert_eq!(weights(&[part(3, 1, 2), part(3, 1, 2), Share::whole(1)]), [3, 3, 2]);
        assert_eq!(weights(&[part(1, 0, 2), Share::whole(5), Share::whole(0)]), [0, 1, 0]);
        assert_eq!(weights(&[part(1, 1, 3), part(1, 2, 3)]), [1, 2]);
        assert_eq!(weights(&[]), [0; 0]);
        let sum = part(1, 1, 3).plus(part(1, 1, 6));
        assert_eq!((sum.num, sum.den), (1, 2));
    }

    #[test]
    fn weights_are_bounded() {
        let part = |total| Share::whole(1_000_000).part(Share::whole(1), Share::whole(total));
        let found = weights(&[part(999_983), part(999_979), Share::whole(1_000_000), part(1_000_000)]);
        assert!(found.iter().all(|weight| (1..=1_000_000).contains(weight)), "{found:?}");
    }
}
