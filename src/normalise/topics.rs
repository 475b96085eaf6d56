//! Topics of the configured taxonomy: three levels of lists within each other, each node a row.

use super::FaultKind;
use super::fields::{ConfiguredField, ConfiguredMembers, TopicField as T, TopicMembers};
use super::members::{Aside, Path};
use super::reading::{self, Reading};
use crate::domain::Decimal;
use crate::domain::rows::{ContactTopic, Text, Topic};
use crate::json::Value;

pub(super) fn read<'a>(m: &mut ConfiguredMembers<'_, '_, 'a, '_>) -> Vec<ContactTopic<'a>> {
    let mut found = Found { rows: Vec::new(), elements: 0 };
    m.rows(ConfiguredField::Topics, |_, element, path, aside| found.topic(None, element, path, aside));
    found.rows
}

struct Found<'a> {
    rows: Vec<ContactTopic<'a>>,
    /// Elements met so far, depth first, also those that cannot be a row.
    elements: usize,
}

impl<'a> Found<'a> {
    /// Reads a topic and the topics below it.
    fn topic<'v>(
        &mut self,
        above: Option<(i16, &Topic<'a>)>,
        element: &'v Value<'a>,
        path: Path<'_>,
        aside: &mut Aside<'v, 'a>,
    ) -> Reading<()> {
        self.elements += 1;
        let ordinal = i16::try_from(self.elements).map_err(|_| FaultKind::TooMany)?;
        let mut m = TopicMembers::open(element, path, aside).ok_or(FaultKind::NotARow)?;
        let name = m.key_text(T::Name).ok_or(FaultKind::NotARow)?;
        let topic = below(above.map(|(_, topic)| topic), name);
        let level = topic.level();
        m.read(T::Level, |value| check_level(value, level));
        self.rows.push(ContactTopic {
            ordinal,
            parent_ordinal: above.map(|(ordinal, _)| ordinal),
            topic: topic.clone(),
            confidence_score: m.decimal(T::Confidence),
            sentiment_score: sentiment_score(&mut m),
            is_resolved: m.boolean(T::Resolution),
        });
        let next = match level {
            1 => Some(T::SecondLevel),
            2 => Some(T::ThirdLevel),
            _ => None,
        };
        if let Some(list) = next {
            m.rows(list, |_, element, path, aside| self.topic(Some((ordinal, &topic)), element, path, aside));
        }
        // A list of topics at any other level than its own.
        m.disown(T::SecondLevel);
        m.disown(T::ThirdLevel);
        Ok(Some(()))
    }
}

/// A topic's `sentiment` is its score; where that is none, a score by that name is taken.
fn sentiment_score(m: &mut TopicMembers<'_, '_, '_, '_>) -> Option<Decimal> {
    let sentiment = m.decimal(T::Sentiment);
    if sentiment.is_none() {
        return m.decimal(T::SentimentScore);
    }
    m.keep(T::SentimentScore);
    sentiment
}

fn below<'a>(above: Option<&Topic<'a>>, name: Text<'a>) -> Topic<'a> {
    match above {
        None => Topic { l1_name: name, l2_name: None, l3_name: None },
        Some(above) if above.l2_name.is_none() => Topic { l2_name: Some(name), ..above.clone() },
        Some(above) => Topic { l3_name: Some(name), ..above.clone() },
    }
}

/// The level comes from the nesting; what the record says of it has no column, and must agree.
fn check_level(value: &Value<'_>, level: i16) -> Reading<()> {
    let Some(said) = reading::text(value)? else { return Ok(None) };
    let said = said.trim();
    let digits = said.strip_prefix(['L', 'l']).unwrap_or(said);
    if digits.parse() == Ok(level) { Ok(None) } else { Err(FaultKind::OtherLevel) }
}
