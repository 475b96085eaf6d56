//! Emotions: bare labels, or objects with a label and its share.

use super::FaultKind;
use super::fields::{ContactField, ContactMembers, EmotionField, EmotionMembers};
use super::reading::{decimal_milliseconds, label};
use crate::domain::rows::{ContactEmotion, Speaker};

pub(super) fn read<'a>(
    m: &mut ContactMembers<'_, '_, 'a, '_>,
    field: ContactField,
    speaker: Speaker,
) -> Vec<ContactEmotion<'a>> {
    let rows = m.rows(field, |ordinal, element, path, aside| {
        let Some(mut m) = EmotionMembers::open(element, path, aside) else {
            let emotion = label(element)?;
            return Ok(emotion.map(|emotion| ContactEmotion {
                speaker,
                ordinal,
                emotion,
                duration_ms: None,
                proportion_pct: None,
            }));
        };
        let emotion = m.read(EmotionField::Emotion, label).ok_or(FaultKind::NotARow)?;
        Ok(Some(ContactEmotion {
            speaker,
            ordinal,
            emotion,
            duration_ms: m.read(EmotionField::Duration, decimal_milliseconds),
            // A percentage in every answer seen, although the vendor's page says milliseconds.
            proportion_pct: m.decimal(EmotionField::Proportion),
        }))
    });
    rows.unwrap_or_default()
}
