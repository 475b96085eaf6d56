//! Chance from a key: the same seed and parts throw the same, so that a contact can be made again at
//! any time from its index alone.

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A bijection of 64 bits that looks like noise (the finaliser of splitmix64).
pub fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A key of a text.
pub fn key_of(text: &str) -> u64 {
    let hash = blake3::hash(text.as_bytes());
    let mut short = [0; 8];
    short.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(short)
}

/// A key made of a key and further parts.
pub fn keyed(key: u64, parts: &[u64]) -> u64 {
    parts
        .iter()
        .fold(mix(key.wrapping_add(GOLDEN)), |key, part| mix(key.wrapping_add(GOLDEN) ^ mix(part.wrapping_add(GOLDEN))))
}

/// A share between 0 and 1, kept as a threshold of 32 bits so that throwing needs no fractions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share(u64);

impl Share {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the value is clamped to 0..=2^32 first"
    )]
    pub fn new(probability: f64) -> Self {
        if probability.is_nan() {
            return Self(0);
        }
        Self((probability.clamp(0.0, 1.0) * 4_294_967_296.0) as u64)
    }

    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Whether the thing keyed so is among the share.
    pub fn holds(self, key: u64) -> bool {
        (mix(key) >> 32) < self.0
    }
}

#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(key: u64, parts: &[u64]) -> Self {
        Self(keyed(key, parts))
    }

    pub fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// Evenly from `0..bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        let wide = (u128::from(self.throw()) * u128::from(bound)) >> 64;
        u64::try_from(wide).unwrap_or(0)
    }

    /// Evenly from `low..=high`.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        low + i64::try_from(self.below(high.abs_diff(low) + 1)).unwrap_or(0)
    }

    /// True `percent` times in a hundred.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let place = usize::try_from(self.below(from.len() as u64)).unwrap_or(0);
        &from[place]
    }

    /// `low..=high` as a length.
    pub fn length(&mut self, low: i64, high: i64) -> usize {
        usize::try_from(self.between(low, high)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_key_throws_the_same_and_another_does_not() {
        let throws = |key| {
            let mut dice = Dice::new(key, &[3, 4]);
            (0..8).map(|_| dice.throw()).collect::<Vec<_>>()
        };
        assert_eq!(throws(1), throws(1));
        assert_ne!(throws(1), throws(2));
        assert_ne!(keyed(1, &[2, 3]), keyed(1, &[3, 2]));
    }

    #[test]
    fn a_share_holds_about_that_many() {
        for (share, low, high) in [(0.0, 0, 0), (0.25, 2300, 2700), (1.0, 10_000, 10_000)] {
            let share = Share::new(share);
            let held = (0..10_000_u64).filter(|i| share.holds(keyed(7, &[*i]))).count();
            assert!((low..=high).contains(&held), "{held} of {share:?}");
        }
        assert!(Share::new(f64::NAN).is_zero());
    }

    #[test]
    fn bounds_are_reached_and_never_passed() {
        let mut dice = Dice::new(5, &[]);
        let thrown: Vec<i64> = (0..500).map(|_| dice.between(-2, 2)).collect();
        assert_eq!(thrown.iter().min(), Some(&-2));
        assert_eq!(thrown.iter().max(), Some(&2));
    }
}
