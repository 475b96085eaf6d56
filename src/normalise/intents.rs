//! Intents found by the vendor's model.

use super::FaultKind;
use super::fields::{ContactField, ContactMembers, IntentField as I, IntentMembers};
use super::reading::text;
use crate::domain::rows::{GeneratedIntent, IntentKeyword};

pub(super) fn read<'a>(m: &mut ContactMembers<'_, '_, 'a, '_>) -> Vec<GeneratedIntent<'a>> {
    let rows = m.rows(ContactField::GeneratedIntents, |ordinal, element, path, aside| {
        let mut m = IntentMembers::open(element, path, aside).ok_or(FaultKind::NotARow)?;
        let keywords = m.rows(I::Keywords, |ordinal, element, _, _| {
            Ok(text(element)?.map(|keyword| IntentKeyword { ordinal, keyword }))
        });
        Ok(Some(GeneratedIntent {
            ordinal,
            intent: m.text(I::Intent),
            topic: m.text(I::Topic),
            sentiment: m.text(I::Sentiment),
            sentiment_score: m.decimal(I::SentimentScore),
            emotions: m.rows(I::Emotions, |_, element, _, _| text(element)),
            keywords: keywords.unwrap_or_default(),
        }))
    });
    rows.unwrap_or_default()
}
