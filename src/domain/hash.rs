//! Content hashes: 128 bits of BLAKE3, enough that two contents never meet by chance.

use std::fmt;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash(pub [u8; 16]);

impl ContentHash {
    pub fn of(content: &[u8]) -> Self {
        Self::truncated(blake3::hash(content))
    }

    pub fn truncated(hash: blake3::Hash) -> Self {
        let mut short = [0; 16];
        short.copy_from_slice(&hash.as_bytes()[..16]);
        Self(short)
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_shown_in_hexadecimal_digits() {
        assert_eq!(format!("{:?}", ContentHash([0x0f; 16])), "0f".repeat(16));
    }
}
