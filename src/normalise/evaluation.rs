//! Metrics, and why they were judged so.

use super::FaultKind;
use super::fields::{
    ContactField, ContactMembers, JustificationField as J, JustificationMembers, MetricField as M, MetricMembers,
};
use super::members::{Aside, Path};
use super::reading::{self, Reading};
use super::time::time;
use crate::domain::rows::{ContactMetric, JustificationKind, JustificationMessage, Metric, MetricJustification};
use crate::json::Value;

pub(super) fn metrics<'a>(m: &mut ContactMembers<'_, '_, 'a, '_>) -> Vec<ContactMetric<'a>> {
    let rows = m.rows(ContactField::Metrics, |ordinal, element, path, aside| {
        let mut m = MetricMembers::open(element, path, aside).ok_or(FaultKind::NotARow)?;
        let metric = Metric { metric_id: m.key_text(M::Id), metric_name: m.key_text(M::Name) };
        if metric.metric_id.is_none() && metric.metric_name.is_none() {
            return Err(FaultKind::NotARow);
        }
        let mut justifications = justifications(&mut m, M::Justification, JustificationKind::Justification);
        justifications.extend(self::justifications(&mut m, M::TriggerJustification, JustificationKind::Trigger));
        Ok(Some(ContactMetric {
            ordinal,
            metric,
            weight: m.decimal(M::Weight),
            negative_weight: m.decimal(M::NegativeWeight),
            qualification: m.read(M::Qualification, reading::qualification),
            is_fatal_error: m.boolean(M::IsFatalError),
            auditor_response: m.text(M::AuditorResponse),
            justifications,
        }))
    });
    rows.unwrap_or_default()
}

fn justifications<'a>(
    m: &mut MetricMembers<'_, '_, 'a, '_>,
    field: M,
    kind: JustificationKind,
) -> Vec<MetricJustification<'a>> {
    m.rows(field, |ordinal, element, path, aside| justification(kind, ordinal, element, path, aside))
        .unwrap_or_default()
}

/// An entry is an object, or its text alone.
fn justification<'v, 'a>(
    kind: JustificationKind,
    ordinal: i16,
    element: &'v Value<'a>,
    path: Path<'_>,
    aside: &mut Aside<'v, 'a>,
) -> Reading<MetricJustification<'a>> {
    let mut entry = MetricJustification {
        kind,
        ordinal,
        justification: None,
        source_system_value: None,
        agent_mentioned_value: None,
        agent_entity: None,
        messages: Vec::new(),
    };
    let Some(mut m) = JustificationMembers::open(element, path, aside) else {
        entry.justification = reading::text(element).map_err(|_| FaultKind::NotARow)?;
        return Ok(Some(entry));
    };
    entry.justification = m.text(J::Justification);
    entry.source_system_value = m.text(J::SourceSystemValue);
    entry.agent_mentioned_value = m.text(J::AgentMentionedValue);
    entry.agent_entity = m.text(J::AgentEntity);
    entry.messages = messages(&mut m);
    Ok(Some(entry))
}

fn messages<'a>(m: &mut JustificationMembers<'_, '_, 'a, '_>) -> Vec<JustificationMessage<'a>> {
    let mut ids = m.places(J::MessageId, reading::text).into_iter();
    let mut times = m.places(J::Timestamp, time).into_iter();
    (1..=i16::MAX)
        .map_while(|ordinal| match (ids.next(), times.next()) {
            (None, None) => None,
            (id, at) => Some(JustificationMessage { ordinal, message_id: id.flatten(), message_at: at.flatten() }),
        })
        .filter(|message| message.message_id.is_some() || message.message_at.is_some())
        .collect()
}
