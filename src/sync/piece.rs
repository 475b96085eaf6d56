//! A piece of a window: so many records that their texts and values may be in memory at once.

use std::sync::Arc;

use super::intake::Record;
use super::private::{Fates, KeptText};
use crate::domain::Payload;
use crate::domain::payload::Texts;
use crate::normalise::{Filter, MAPPER_VERSION, Normalised, Reason, Rejected, normalise};
use crate::warehouse::drift::{Drift, Example};
use crate::warehouse::load::{Incoming, SetAside, WindowCommit};
use crate::warehouse::{Warehouse, WarehouseError};

/// Text that is unpacked and normalised at a time: the values of a record take a few times its text.
const PIECE_BYTES: usize = 512 << 10;

/// A record whose text is in hand.
pub(super) type Packed<'r> = (&'r Record, &'r Payload);

/// Pieces of about [`PIECE_BYTES`] of text, of one record at least.
pub(super) fn pieces<'b, 'r>(mut packed: &'b [Packed<'r>]) -> impl Iterator<Item = &'b [Packed<'r>]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = packed.iter().take_while(|(record, _)| {
            bytes += record.text_bytes;
            bytes <= PIECE_BYTES
        });
        let (piece, rest) = packed.split_at(fits.count().max(1).min(packed.len()));
        packed = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Unpacked records, and what is kept of each.
#[derive(Debug)]
pub(super) struct Piece<'r> {
    records: Vec<Packed<'r>>,
    texts: Texts,
    fates: Fates,
}

/// What became of a piece's records.
#[derive(Debug, Default)]
pub(super) struct Sorted<'p> {
    pub readable: Vec<Readable<'p>>,
    pub aside: Vec<SetAside<'p>>,
    /// Of people who were erased.
    pub erased: u64,
}

/// A record that became rows.
#[derive(Debug)]
pub(super) struct Readable<'p> {
    /// Its place in the piece.
    pub place: usize,
    pub incoming: Incoming<'p>,
    pub drift: Drift,
}

impl<'r> Piece<'r> {
    pub(super) fn unpack(commit: &WindowCommit, records: &[Packed<'r>]) -> Result<Self, WarehouseError> {
        let texts = Texts::unpack(records.iter().map(|(_, payload)| *payload))?;
        let fates = Fates::of(&Filter::new(Arc::clone(commit.guard())), &texts)?;
        Ok(Self { records: records.to_vec(), texts, fates })
    }

    /// Normalises the records.
    pub(super) fn sort(&self, commit: &WindowCommit) -> Sorted<'_> {
        let privacy_id = commit.guard().privacy_id;
        let mut sorted = Sorted { readable: Vec::with_capacity(self.records.len()), ..Sorted::default() };
        for (place, (&(record, received), raw)) in self.records.iter().zip(self.texts.iter()).enumerate() {
            let Some(KeptText { text, payload, source_hash }) = self.fates.kept(place, (raw, received)) else {
                sorted.erased += 1;
                continue;
            };
            let normalised = if record.is_too_large() {
                Err(Rejected { path: "$".to_owned(), reason: Reason::TooLarge })
            } else {
                read(commit.warehouse(), text)
            };
            match normalised {
                Ok(normalised) => {
                    let mut drift = Drift::default();
                    note(&mut drift, &normalised);
                    let incoming = Incoming {
                        canonical_hash: source_hash.unwrap_or(normalised.canonical_hash),
                        contact: normalised.contact,
                        payload,
                        raw_hash: record.raw_hash,
                        read_at: record.read_at,
                        mapper_version: MAPPER_VERSION,
                        privacy_id,
                    };
                    sorted.readable.push(Readable { place, incoming, drift });
                }
                Err(rejected) => sorted.aside.push(SetAside {
                    conversation_id: record.identity.conversation_id.clone(),
                    payload: if record.is_too_large() { self.fates.nothing() } else { payload },
                    raw_hash: record.raw_hash,
                    canonical_hash: source_hash,
                    text_bytes: (payload.compressed().is_empty() || record.is_too_large()).then_some(record.text_bytes),
                    privacy_id,
                    reason: rejected.reason.as_str().to_owned(),
                    fault_path: rejected.path,
                    mapper_version: MAPPER_VERSION,
                    read_at: record.read_at,
                    started_at: record.identity.started_at,
                }),
            }
        }
        sorted
    }
}

/// Normalises a record whose start the calendar of this warehouse has.
pub(super) fn read<'t>(warehouse: &Warehouse, text: &'t [u8]) -> Result<Normalised<'t>, Rejected> {
    let normalised = normalise(text)?;
    if !warehouse.is_in_calendar(normalised.contact.started_at) {
        return Err(Rejected { path: "Conversation Start Time".to_owned(), reason: Reason::StartOutOfRange });
    }
    Ok(normalised)
}

/// Notes the fields of a record that nobody documented, and the values that could not be read as theirs.
pub(super) fn note(drift: &mut Drift, normalised: &Normalised<'_>) {
    for field in &normalised.unknown {
        let example = Example { json_type: field.json_type, shape: field.shape.clone() };
        drift.add(field.path.clone(), "unknown", example);
    }
    for fault in &normalised.faults {
        let example = Example { json_type: fault.json_type, shape: fault.shape.clone() };
        drift.add(fault.path.clone(), fault.kind.as_str(), example);
    }
}
