//! Texts on their way into the warehouse: what is kept of each.

use crate::domain::ContentHash;
use crate::domain::Payload;
use crate::domain::payload::{Packer, Texts};
use crate::normalise::{Filter, Kept};
use crate::warehouse::WarehouseError;

/// What is kept of one text.
#[derive(Debug)]
pub(super) enum Fate {
    AsReceived,
    Without { text: String, payload: Payload, canonical_hash: ContentHash },
    Nothing,
    Erased,
}

/// What is kept of texts, side by side; nothing is looked at where everything is kept.
#[derive(Debug)]
pub(super) struct Fates {
    fates: Vec<Fate>,
    nothing: Payload,
}

/// A text as it is read and kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeptText<'k> {
    pub text: &'k [u8],
    pub payload: &'k Payload,
    /// Canonical hash of the content as received, where the text is another one.
    pub source_hash: Option<ContentHash>,
}

impl Fates {
    pub(super) fn of(filter: &Filter, texts: &Texts) -> Result<Self, WarehouseError> {
        if filter.is_idle() {
            return Ok(Self { fates: Vec::new(), nothing: Payload::nothing() });
        }
        let mut packer = Packer::new()?;
        let mut fates = Vec::new();
        for raw in texts.iter() {
            fates.push(match filter.keep(raw) {
                Kept::AsReceived => Fate::AsReceived,
                Kept::Without { text, canonical_hash } => {
                    let payload = packer.pack(&[text.as_bytes()])?.pop().unwrap_or_else(Payload::nothing);
                    Fate::Without { text, payload, canonical_hash }
                }
                Kept::Nothing => Fate::Nothing,
                Kept::Erased => Fate::Erased,
            });
        }
        Ok(Self { fates, nothing: Payload::nothing() })
    }

    /// The text to read in place of the one received, and the payload to keep. `None` of an erased conversation.
    pub(super) fn kept<'k>(&'k self, place: usize, (raw, received): (&'k [u8], &'k Payload)) -> Option<KeptText<'k>> {
        let (text, payload, source_hash) = match self.get(place) {
            Fate::AsReceived => (raw, received, None),
            Fate::Without { text, payload, canonical_hash } => (text.as_bytes(), payload, Some(*canonical_hash)),
            Fate::Nothing => (raw, &self.nothing, None),
            Fate::Erased => return None,
        };
        Some(KeptText { text, payload, source_hash })
    }

    /// The payload of a text that is not kept.
    pub(super) fn nothing(&self) -> &Payload {
        &self.nothing
    }

    pub(super) fn get(&self, place: usize) -> &Fate {
        self.fates.get(place).unwrap_or(&Fate::AsReceived)
    }
}
