//! Taking in a page: its records are told apart, and their texts packed or, where they are held, let go.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::prove::RecordIdentity;
use crate::domain::payload::Packer;
use crate::domain::{ContentHash, Payload, contact_key};
use crate::normalise::{Identity, identify};
use crate::warehouse::{Warehouse, WarehouseError};

/// A record as received, told apart but not read.
#[derive(Debug, Clone)]
pub struct Record {
    pub raw_hash: ContentHash,
    pub identity: Identity,
    pub text: Text,
    pub text_bytes: usize,
    /// When its page came: later content never gives way to it.
    pub read_at: DateTime<Utc>,
}

/// A longer text is no contact. It is set aside without itself: unpacked and read it would take several times its length.
const LARGEST_TEXT: usize = 8 << 20;

/// What is kept of a record's text until its window is written.
#[derive(Debug, Clone)]
pub enum Text {
    Packed(Payload),
    /// Nothing: the warehouse held the same text, under this key, when the page came.
    Held(Uuid),
}

impl Record {
    /// Whether it is set aside without its text.
    pub fn is_too_large(&self) -> bool {
        self.text_bytes > LARGEST_TEXT
    }

    pub fn key(&self) -> RecordIdentity {
        match &self.identity.conversation_id {
            Some(id) => RecordIdentity::Conversation(id.clone()),
            None => RecordIdentity::Text(self.raw_hash.0),
        }
    }
}

/// Takes in the pages of one window.
#[derive(Debug)]
pub(super) struct Intake<'s> {
    warehouse: &'s Warehouse,
    stream: &'s str,
    packer: Mutex<Option<Packer>>,
    /// Whether pages are compared with what is held: not once one held nothing known.
    expects_known: AtomicBool,
}

impl<'s> Intake<'s> {
    pub(super) fn new(warehouse: &'s Warehouse, stream: &'s str) -> Self {
        Self { warehouse, stream, packer: Mutex::default(), expects_known: AtomicBool::new(true) }
    }

    /// Tells a page's records apart, and packs the texts that the warehouse does not hold as they are.
    /// A window in hand costs the memory of its packed texts alone, and of nothing when it is known.
    pub(super) async fn take_in(&self, texts: &[Bytes], read_at: DateTime<Utc>) -> Result<Vec<Record>, WarehouseError> {
        let guard = self.warehouse.guard().await?;
        let told_apart: Vec<(ContentHash, Identity)> =
            texts.iter().map(|text| (guard.raw_hash(text), identify(text))).collect();
        let keys: Vec<Option<Uuid>> = told_apart.iter().map(|(_, identity)| self.likely_key(identity)).collect();
        let known = if self.expects_known.load(Ordering::Relaxed) && keys.iter().any(Option::is_some) {
            let known = self
                .warehouse
                .held_texts(&keys.iter().copied().flatten().collect::<Vec<_>>(), guard.privacy_id)
                .await?;
            self.expects_known.store(!known.is_empty(), Ordering::Relaxed);
            known
        } else {
            HashMap::new()
        };
        let held_under: Vec<Option<Uuid>> = keys
            .into_iter()
            .zip(&told_apart)
            .map(|(key, (raw_hash, _))| key.filter(|key| known.get(key) == Some(raw_hash)))
            .collect();
        let to_pack: Vec<&[u8]> =
            texts.iter().zip(&held_under).filter(|(_, held)| held.is_none()).map(|(text, _)| kept_of(text)).collect();
        let mut packed = self.pack(&to_pack)?.into_iter();
        let records =
            told_apart.into_iter().zip(held_under).zip(texts).filter_map(|(((raw_hash, identity), held), raw)| {
                let text = match held {
                    Some(key) => Text::Held(key),
                    None => Text::Packed(packed.next()?),
                };
                Some(Record { raw_hash, identity, text, text_bytes: raw.len(), read_at })
            });
        Ok(records.collect())
    }

    /// The key under which a contact is held, unless its start changed since it was first seen.
    fn likely_key(&self, identity: &Identity) -> Option<Uuid> {
        Some(contact_key(self.stream, identity.conversation_id.as_deref()?, identity.started_at?))
    }

    fn pack(&self, texts: &[&[u8]]) -> Result<Vec<Payload>, WarehouseError> {
        let mut packer = self.packer.lock().unwrap_or_else(PoisonError::into_inner);
        if packer.is_none() {
            *packer = Some(Packer::new()?);
        }
        Ok(packer.as_mut().map_or(Ok(Vec::new()), |packer| packer.pack(texts))?)
    }
}

fn kept_of(text: &Bytes) -> &[u8] {
    if text.len() > LARGEST_TEXT { &[] } else { text }
}
