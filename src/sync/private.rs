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
pub(super) struct Fates(Vec<Fate>);

impl Fates {
    pub(super) fn of(filter: &Filter, texts: &Texts) -> Result<Self, WarehouseError> {
        if filter.is_idle() {
            return Ok(Self(Vec::new()));
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
        Ok(Self(fates))
    }

    pub(super) fn get(&self, place: usize) -> &Fate {
        self.0.get(place).unwrap_or(&Fate::AsReceived)
    }
}
