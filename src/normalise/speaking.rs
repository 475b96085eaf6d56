//! Speaking rates.

use super::FaultKind;
use super::fields::{ContactField, ContactMembers, RateField as R, RateMembers};
use crate::domain::rows::SpeakingRate;

pub(super) fn rates<'a>(m: &mut ContactMembers<'_, '_, 'a, '_>) -> Vec<SpeakingRate<'a>> {
    let rows = m.rows(ContactField::SpeakingRate, |ordinal, element, path, aside| {
        let mut m = RateMembers::open(element, path, aside).ok_or(FaultKind::NotARow)?;
        Ok(Some(SpeakingRate {
            ordinal,
            speaker: m.text(R::Source),
            source_id: m.text(R::SourceId),
            message_id: m.text(R::MessageId),
            message_at: m.time(R::Timestamp),
            start_offset_ms: m.milliseconds(R::Start),
            word_count: m.integer(R::WordCount),
            time_taken_seconds: m.decimal(R::TimeTaken),
            words_per_minute: m.decimal(R::Average),
            score: m.decimal(R::Score),
        }))
    });
    rows.unwrap_or_default()
}
