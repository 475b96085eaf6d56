//! What is kept of personal data, and by which keyed hashes it is known without being kept.
//!
//! All hashes are HMAC-SHA-256 under a random [`HashKey`], which the warehouse keeps sealed with the operator's
//! [`PrivacyKey`]: the operator's key can be replaced without a hash becoming another one.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;

use super::ContentHash;

/// What is done with one kind of personal data; the later ones keep less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Treatment {
    #[default]
    Keep,
    /// Replaced by its keyed hash: the same value, the same hash.
    Hash,
    Drop,
}

impl Treatment {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Hash => "hash",
            Self::Drop => "drop",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        [Self::Keep, Self::Hash, Self::Drop].into_iter().find(|treatment| treatment.as_str() == word)
    }
}

/// The kinds of personal data that have a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    AgentName,
    AgentEmail,
    AuditorName,
    CustomFields,
    JustificationText,
    RecordingUrls,
}

impl Kind {
    pub const ALL: [Self; 6] = [
        Self::AgentName,
        Self::AgentEmail,
        Self::AuditorName,
        Self::CustomFields,
        Self::JustificationText,
        Self::RecordingUrls,
    ];

    /// As the configuration and the tables call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AgentName => "agent_name",
            Self::AgentEmail => "agent_email",
            Self::AuditorName => "auditor_name",
            Self::CustomFields => "custom_fields",
            Self::JustificationText => "justification_text",
            Self::RecordingUrls => "recording_urls",
        }
    }
}

/// The settings of `[privacy]`; everything is kept by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Treatments([Treatment; 6]);

impl Treatments {
    pub fn of(treatment: impl FnMut(Kind) -> Treatment) -> Self {
        Self(Kind::ALL.map(treatment))
    }

    pub fn get(self, kind: Kind) -> Treatment {
        self.0[kind as usize]
    }

    pub fn keep_all(self) -> bool {
        self == Self::default()
    }

    /// Whether these keep no more than `other` does, of any kind.
    pub fn is_as_strict_as(self, other: Self) -> bool {
        Kind::ALL.into_iter().all(|kind| self.get(kind) >= other.get(kind))
    }
}

impl fmt::Display for Treatments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, kind) in Kind::ALL.into_iter().enumerate() {
            let comma = if place > 0 { ", " } else { "" };
            write!(f, "{comma}{} = {}", kind.as_str(), self.get(kind).as_str())?;
        }
        Ok(())
    }
}

const BLOCK: usize = 32;

fn hash_of(key: &hmac::Key, parts: &[&[u8]]) -> [u8; BLOCK] {
    let mut mac = hmac::Context::with_key(key);
    for part in parts {
        mac.update(part);
    }
    let mut hash = [0; BLOCK];
    hash.copy_from_slice(mac.sign().as_ref());
    hash
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The operator's key: opens the [`HashKey`], and is stored nowhere.
#[derive(Clone)]
pub struct PrivacyKey(hmac::Key);

/// Characters of a key; fewer can be guessed.
pub const SHORTEST_KEY: usize = 16;

impl PrivacyKey {
    /// `None` when it is shorter than [`SHORTEST_KEY`].
    pub fn new(text: &str) -> Option<Self> {
        (text.chars().count() >= SHORTEST_KEY).then(|| Self(hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes())))
    }

    /// Tells keys apart; says nothing of the key.
    pub fn fingerprint(&self) -> String {
        hex(&hash_of(&self.0, &[b"koresync fingerprint"])[..8])
    }

    /// Encrypts a key by AES-256-GCM: `nonce`, which must be another one each time, then what is sealed.
    pub fn seal(&self, key: &HashKey, nonce: [u8; NONCE_LEN]) -> io::Result<Vec<u8>> {
        let mut sealed = key.bytes.to_vec();
        self.sealing_key()
            .and_then(|sealing| {
                let nonce = Nonce::assume_unique_for_key(nonce);
                sealing.seal_in_place_append_tag(nonce, Aad::empty(), &mut sealed).ok()
            })
            .ok_or_else(|| io::Error::other("the key of the hashes could not be sealed"))?;
        Ok([&nonce[..], &sealed].concat())
    }

    /// `None` when it was sealed with another key, or altered.
    pub fn open(&self, sealed: &[u8]) -> Option<HashKey> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let mut sealed = sealed.to_vec();
        let opened = self.sealing_key()?.open_in_place(nonce, Aad::empty(), &mut sealed).ok()?;
        Some(HashKey::new((&*opened).try_into().ok()?))
    }

    /// Derived, so that what the operator gives may be of any length.
    fn sealing_key(&self) -> Option<LessSafeKey> {
        let derived = hash_of(&self.0, &[b"koresync sealing key"]);
        Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &derived).ok()?))
    }
}

impl fmt::Debug for PrivacyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivacyKey(redacted)")
    }
}

/// What a person is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject<'a> {
    Conversation(&'a str),
    AgentId(&'a str),
    AgentEmail(&'a str),
    AgentName(&'a str),
}

impl<'a> Subject<'a> {
    /// `conversation` or `agent`.
    pub fn kind(self) -> &'static str {
        if matches!(self, Self::Conversation(_)) { "conversation" } else { "agent" }
    }

    /// `id`, `email` or `name`.
    pub fn basis(self) -> &'static str {
        match self {
            Self::Conversation(_) | Self::AgentId(_) => "id",
            Self::AgentEmail(_) => "email",
            Self::AgentName(_) => "name",
        }
    }

    pub fn value(self) -> &'a str {
        match self {
            Self::Conversation(value) | Self::AgentId(value) | Self::AgentEmail(value) | Self::AgentName(value) => {
                value
            }
        }
    }
}

pub type SubjectHash = [u8; BLOCK];

/// What a hashed value begins with; 32 hexadecimal digits follow.
const MARK: &str = "hmac:";
const DIGITS: usize = 32;

/// The key of all keyed hashes.
#[derive(Clone)]
pub struct HashKey {
    bytes: [u8; BLOCK],
    /// Has taken the key in: half of the work of a short hash.
    ready: hmac::Key,
}

impl HashKey {
    pub fn new(random: [u8; BLOCK]) -> Self {
        Self { bytes: random, ready: hmac::Key::new(hmac::HMAC_SHA256, &random) }
    }

    fn hash(&self, parts: &[&[u8]]) -> [u8; BLOCK] {
        hash_of(&self.ready, parts)
    }

    /// A value as `hash` keeps it. What is a hash already stays as it is.
    pub fn value(&self, value: &str) -> String {
        if is_hashed(value) {
            return value.to_owned();
        }
        format!("{MARK}{}", hex(&self.hash(&[b"value\0", value.as_bytes()])[..DIGITS / 2]))
    }

    /// Letter case and space around an address or a name do not tell people apart; an id is what it is.
    pub fn subject(&self, subject: Subject<'_>) -> SubjectHash {
        let (kind, basis) = (subject.kind().as_bytes(), subject.basis().as_bytes());
        let folded = if subject.basis() == "id" {
            Cow::Borrowed(subject.value())
        } else {
            Cow::Owned(subject.value().trim().to_lowercase())
        };
        self.hash(&[kind, b"\0", basis, b"\0", folded.as_bytes()])
    }

    /// The keyed hash of a text as received.
    pub fn text(&self, text: &[u8]) -> ContentHash {
        ContentHash::truncated(blake3::keyed_hash(&self.hash(&[b"text\0"]), text))
    }
}

impl PartialEq for HashKey {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for HashKey {}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(redacted)")
    }
}

/// Whether a text is what [`HashKey::value`] makes.
pub fn is_hashed(text: &str) -> bool {
    text.strip_prefix(MARK).is_some_and(|rest| {
        rest.len() == DIGITS && rest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

/// What is in force in a warehouse: the settings, and who was erased.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    /// Grows with each erasure and each change.
    pub version: i64,
    /// Number of the settings.
    pub privacy_id: i32,
    pub treatments: Treatments,
    /// There wherever a setting hides something or somebody was erased.
    pub key: Option<HashKey>,
    pub erased: HashSet<SubjectHash>,
    /// All settings that payloads may have been kept under, by number.
    pub settings: HashMap<i32, Treatments>,
}

impl Guard {
    /// Whether every record is kept as it came.
    pub fn is_idle(&self) -> bool {
        self.treatments.keep_all() && self.erased.is_empty()
    }

    pub fn is_erased(&self, subject: Subject<'_>) -> bool {
        !self.erased.is_empty() && self.key.as_ref().is_some_and(|key| self.erased.contains(&key.subject(subject)))
    }

    /// The number of the settings that a text obeys which was kept under some and then made to obey these as
    /// well: these, unless the earlier ones kept less of something.
    pub fn stamp(&self, kept_under: i32) -> i32 {
        let earlier = self.settings.get(&kept_under).copied().unwrap_or_default();
        if self.treatments.is_as_strict_as(earlier) { self.privacy_id } else { kept_under }
    }

    /// The hash by which a text is known again: keyed where something is hidden, since whoever knows the rest
    /// of the text could try what is hidden.
    pub fn raw_hash(&self, text: &[u8]) -> ContentHash {
        match &self.key {
            Some(key) if !self.treatments.keep_all() => key.text(text),
            _ => ContentHash::of(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> PrivacyKey {
        PrivacyKey::new(text).expect("long enough")
    }

    #[test]
    fn a_sealed_key_is_opened_by_its_own_key_alone() {
        let hash_key = HashKey::new([7; BLOCK]);
        let (right, wrong) = (key("a key of the tests"), key("another key of the tests"));
        let sealed = right.seal(&hash_key, [1; NONCE_LEN]).expect("a sealed key");
        assert_eq!(right.open(&sealed), Some(hash_key.clone()));
        assert_eq!(wrong.open(&sealed), None);
        assert!(!sealed.windows(BLOCK).any(|window| window == [7; BLOCK]));
        for place in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[place] ^= 1;
            assert_eq!(right.open(&altered), None, "altered at {place}");
        }
        assert_ne!(right.fingerprint(), wrong.fingerprint());
        assert!(PrivacyKey::new("fifteen letters").is_none());
        assert_eq!(format!("{right:?} {hash_key:?}"), "PrivacyKey(redacted) HashKey(redacted)");
    }

    #[test]
    fn a_value_has_one_hash_and_a_hash_stays_as_it_is() {
        let hash_key = HashKey::new([7; BLOCK]);
        let hashed = hash_key.value("Jane Doe");
        assert!(is_hashed(&hashed) && hashed.len() == 37, "{hashed}");
        assert_eq!(hash_key.value("Jane Doe"), hashed);
        assert_eq!(hash_key.value(&hashed), hashed);
        assert_ne!(hash_key.value("Jane Roe"), hashed);
        assert_ne!(HashKey::new([8; BLOCK]).value("Jane Doe"), hashed);
        assert!(!is_hashed("hmac:") && !is_hashed("Jane Doe"));
    }

    #[test]
    fn people_are_told_apart_by_what_they_are_known_by() {
        let hash_key = HashKey::new([7; BLOCK]);
        let one = hash_key.subject(Subject::AgentEmail("Jane@Example.org "));
        assert_eq!(one, hash_key.subject(Subject::AgentEmail("jane@example.org")));
        assert_ne!(one, hash_key.subject(Subject::AgentName("jane@example.org")));
        assert_ne!(hash_key.subject(Subject::AgentId("1")), hash_key.subject(Subject::Conversation("1")));
    }

    #[test]
    fn hmac_is_that_of_the_standard() {
        // RFC 4231, test cases 1 and 6.
        let long = b"Test Using Larger Than Block-Size Key - Hash Key First";
        for (key, text, expected) in [
            (vec![0x0b; 20], &b"Hi There"[..], "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (vec![0xaa; 131], &long[..], "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"),
        ] {
            assert_eq!(hex(&hash_of(&hmac::Key::new(hmac::HMAC_SHA256, &key), &[text])), expected);
        }
    }

    #[test]
    fn settings_are_claimed_only_for_what_obeys_them() {
        let only = |kind: Kind, treatment| Treatments::of(|k| if k == kind { treatment } else { Treatment::Keep });
        let treatments = only(Kind::AgentName, Treatment::Hash);
        let settings = HashMap::from([
            (0, Treatments::default()),
            (1, treatments),
            (2, only(Kind::AgentName, Treatment::Drop)),
            (3, only(Kind::AgentEmail, Treatment::Hash)),
        ]);
        let guard = Guard { privacy_id: 1, treatments, settings, ..Guard::default() };
        assert_eq!([0, 1, 2, 3].map(|id| guard.stamp(id)), [1, 1, 2, 3]);
    }

    #[test]
    fn strictness_is_judged_kind_by_kind() {
        let only = |kind: Kind, treatment| Treatments::of(|k| if k == kind { treatment } else { Treatment::Keep });
        let hashed = only(Kind::AgentName, Treatment::Hash);
        assert!(hashed.is_as_strict_as(Treatments::default()) && !Treatments::default().is_as_strict_as(hashed));
        assert!(only(Kind::AgentName, Treatment::Drop).is_as_strict_as(hashed));
        assert!(!only(Kind::AgentEmail, Treatment::Drop).is_as_strict_as(hashed));
        for (place, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place);
        }
    }

    #[test]
    fn settings_are_told_in_the_words_of_the_configuration() {
        for (treatment, word) in [(Treatment::Keep, "keep"), (Treatment::Hash, "hash"), (Treatment::Drop, "drop")] {
            assert_eq!((treatment.as_str(), Treatment::parse(word)), (word, Some(treatment)));
        }
        assert_eq!(Treatment::parse("hide"), None);
        let treatments = Treatments::of(|kind| match kind {
            Kind::AgentEmail => Treatment::Drop,
            Kind::RecordingUrls => Treatment::Hash,
            _ => Treatment::Keep,
        });
        assert_eq!(
            treatments.to_string(),
            "agent_name = keep, agent_email = drop, auditor_name = keep, custom_fields = keep, \
             justification_text = keep, recording_urls = hash"
        );
    }

    #[test]
    fn a_guard_is_idle_only_where_nothing_is_hidden_and_nobody_erased() {
        let hash_key = HashKey::new([7; BLOCK]);
        let erased = HashSet::from([hash_key.subject(Subject::AgentId("a-1"))]);
        let hides = Treatments::of(|_| Treatment::Hash);
        let guard = |treatments: Treatments, erased: &HashSet<SubjectHash>| Guard {
            treatments,
            key: Some(hash_key.clone()),
            erased: erased.clone(),
            ..Guard::default()
        };
        let nobody = HashSet::new();
        assert!(guard(Treatments::default(), &nobody).is_idle());
        assert!(!guard(hides, &nobody).is_idle() && !guard(Treatments::default(), &erased).is_idle());
        let erasing = guard(Treatments::default(), &erased);
        assert!(erasing.is_erased(Subject::AgentId("a-1")) && !erasing.is_erased(Subject::AgentId("a-2")));
        assert!(!guard(hides, &nobody).is_erased(Subject::AgentId("a-1")));
        // A text is known by a keyed hash only where it is kept without something.
        assert_eq!(erasing.raw_hash(b"text"), ContentHash::of(b"text"));
        assert_eq!(guard(hides, &erased).raw_hash(b"text"), hash_key.text(b"text"));
        assert_ne!(hash_key.text(b"text"), ContentHash::of(b"text"));
        assert_ne!(hash_key, HashKey::new([8; BLOCK]));
    }

    #[test]
    fn a_subject_is_told_by_kind_basis_and_value() {
        for (subject, told) in [
            (Subject::Conversation("c-1"), ("conversation", "id", "c-1")),
            (Subject::AgentId("a-1"), ("agent", "id", "a-1")),
            (Subject::AgentEmail("j@example.org"), ("agent", "email", "j@example.org")),
            (Subject::AgentName("Jane"), ("agent", "name", "Jane")),
        ] {
            assert_eq!((subject.kind(), subject.basis(), subject.value()), told);
        }
    }
}
