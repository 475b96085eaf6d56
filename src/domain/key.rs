//! The surrogate key of a contact.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// The key of a contact: 48 bits of its start in milliseconds, then a hash of stream and id.
///
/// The same on every machine and every retry, and ascending with time, so that indexes grow at
/// their right edge. The version and variant bits are those of a UUID version 8 (RFC 9562).
pub fn contact_key(stream: &str, conversation_id: &str, started_at: DateTime<Utc>) -> Uuid {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(stream.len() as u64).to_be_bytes());
    hasher.update(stream.as_bytes());
    hasher.update(conversation_id.as_bytes());
    let hash = hasher.finalize();
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&started_at.timestamp_millis().to_be_bytes()[2..]);
    bytes[6..].copy_from_slice(&hash.as_bytes()[..10]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(ms).expect("a valid time")
    }

    #[test]
    fn keys_ascend_with_the_start_and_differ_by_stream_and_id() {
        let early = contact_key("support", "c-2", at(1_774_261_123_396));
        let late = contact_key("support", "c-1", at(1_774_261_123_397));
        assert!(early < late);
        assert_eq!(early, contact_key("support", "c-2", at(1_774_261_123_396)));
        assert_ne!(early, contact_key("sales", "c-2", at(1_774_261_123_396)));
        assert_ne!(contact_key("ab", "c", at(0)), contact_key("a", "bc", at(0)));
        assert_eq!(early.get_version_num(), 8);
    }
}
