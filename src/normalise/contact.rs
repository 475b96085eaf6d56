//! A record as a contact: which field becomes which column, and how it is read.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};

use super::fields::{ConfiguredField, ConfiguredMembers, ContactField as F, ContactMembers};
use super::fields::{PatternField, PatternMembers, RatioField, RatioMembers};
use super::members::{Aside, Path};
use super::reading::{boolean, key_text, says_nothing};
use super::time::time;
use super::{FaultKind, Reason, Rejected};
use super::{emotions, evaluation, intents, people, speaking, topics};
use crate::domain::Decimal;
use crate::domain::rows::{Contact, EvaluationForm, Speaker, Text};
use crate::json::{self, Value};

/// The id that a record is known by.
pub(super) fn conversation_id<'a>(value: Option<&Value<'a>>) -> Result<Text<'a>, Reason> {
    match value.map(key_text) {
        Some(Ok(Some(id))) => Ok(id),
        Some(Err(FaultKind::TooLong)) => Err(Reason::ConversationIdTooLong),
        _ => Err(Reason::NoConversationId),
    }
}

/// The start, within the days of the calendar table; its last day is left for zones east of UTC.
pub(super) fn start(value: Option<&Value<'_>>) -> Result<DateTime<Utc>, Reason> {
    let started_at = match value.map(time) {
        Some(Ok(Some(started_at))) => started_at,
        Some(Err(FaultKind::OutOfRange)) => return Err(Reason::StartOutOfRange),
        Some(Err(_)) => return Err(Reason::StartNotATime),
        Some(Ok(None)) | None => return Err(Reason::NoStartTime),
    };
    let midnight =
        |year, month, day| NaiveDate::from_ymd_opt(year, month, day).map(|d| d.and_time(NaiveTime::MIN).and_utc());
    let is_in_calendar = midnight(2000, 1, 1) <= Some(started_at) && Some(started_at) < midnight(2060, 12, 31);
    if is_in_calendar { Ok(started_at) } else { Err(Reason::StartOutOfRange) }
}

/// Shares of sentiment, percent.
#[derive(Debug, Default)]
struct SentimentRatio {
    positive: Option<Decimal>,
    neutral: Option<Decimal>,
    negative: Option<Decimal>,
}

/// Reads a record; what it leaves beside its columns goes to `aside`, and so into `extra`.
pub(super) fn read<'v, 'a>(record: &'v Value<'a>, aside: &mut Aside<'v, 'a>) -> Result<Contact<'a>, Rejected> {
    let rejected = |key: &str, reason| Rejected { path: key.to_owned(), reason };
    let mut m = ContactMembers::open(record, Path::ROOT, aside).ok_or_else(|| rejected("$", Reason::NotAnObject))?;

    let documented_or =
        |sent: Option<(&'static str, &'v Value<'a>)>, documented| sent.map_or(documented, |(key, _)| key);
    let id = m.take(F::ConversationId);
    let conversation_id =
        conversation_id(id.map(|(_, v)| v)).map_err(|r| rejected(documented_or(id, "Conversation ID"), r))?;
    let start_time = m.take(F::StartTime);
    let started_at = start(start_time.map(|(_, v)| v))
        .map_err(|r| rejected(documented_or(start_time, "Conversation Start Time"), r))?;

    let (sentiment_start, sentiment_end) = sentiment_pattern(&mut m);
    let ratio = sentiment_ratio(&mut m);
    let evaluation_score = m.decimal(F::EvaluationScore);
    let is_passed = is_passed(&mut m, evaluation_score.is_some());
    let (topics, total_topics_identified) = configured_intents(&mut m);
    let mut contact_emotions = emotions::read(&mut m, F::Emotions, Speaker::Contact);
    contact_emotions.extend(emotions::read(&mut m, F::CustomerEmotions, Speaker::Customer));
    contact_emotions.extend(emotions::read(&mut m, F::AgentEmotions, Speaker::Agent));

    let mut contact = Contact {
        conversation_id,
        custom_conversation_id: m.text(F::CustomConversationId),
        source: m.text(F::Source),
        channel: m.text(F::Channel),
        direction: m.text(F::Direction),
        started_at,
        ended_at: m.time(F::EndTime),
        duration_ms: m.milliseconds(F::Duration),
        language: m.text(F::Language),
        duration_status: m.text(F::DurationStatus),
        sentiment: m.text(F::Sentiment),
        sentiment_score: m.decimal(F::SentimentScore),
        sentiment_start,
        sentiment_end,
        positive_pct: ratio.positive,
        neutral_pct: ratio.neutral,
        negative_pct: ratio.negative,
        evaluation_score,
        evaluation_form: evaluation_form(&mut m),
        pass_score: m.decimal(F::PassScore),
        is_passed,
        fatal_error_count: m.integer(F::FatalErrors),
        is_churn_risk: m.boolean(F::IsChurnRisk),
        is_escalation: m.boolean(F::IsEscalation),
        taxonomy_resolution: m.text(F::TaxonomyResolution),
        customer_talk_pct: m.decimal(F::CustomerTalk),
        agent_talk_pct: m.decimal(F::AgentTalk),
        silence_pct: m.decimal(F::Silence),
        total_topics_identified,
        audit_status: m.text(F::AuditStatus),
        audit_score: m.decimal(F::AuditScore),
        audited_at: m.time(F::AuditDate),
        auditor_name: m.text(F::AuditorName),
        custom_fields: m.read(F::CustomFields, |value| Ok((!says_nothing(value)).then(|| json::to_string(value)))),
        extra: None,
        agents: people::agents(&mut m),
        queues: people::queues(&mut m),
        metrics: evaluation::metrics(&mut m),
        emotions: contact_emotions,
        speaking_rates: speaking::rates(&mut m),
        intents: intents::read(&mut m),
        topics,
    };
    contact.extra = aside.extra();
    Ok(contact)
}

/// Without a score the vendor still sends false, which then means nothing; a true says something, and is set aside.
fn is_passed(m: &mut ContactMembers<'_, '_, '_, '_>, is_scored: bool) -> Option<bool> {
    if !is_scored && m.get(F::IsPassed).is_some_and(|value| boolean(value) == Ok(Some(true))) {
        m.keep(F::IsPassed);
    }
    m.boolean(F::IsPassed).filter(|_| is_scored)
}

fn sentiment_pattern<'a>(m: &mut ContactMembers<'_, '_, 'a, '_>) -> (Option<Text<'a>>, Option<Text<'a>>) {
    let Some((key, value)) = m.object(F::SentimentPattern) else { return (None, None) };
    match PatternMembers::open(value, m.path.key(key), m.aside) {
        Some(mut pattern) => (pattern.text(PatternField::Start), pattern.text(PatternField::End)),
        None => (None, None),
    }
}

fn sentiment_ratio(m: &mut ContactMembers<'_, '_, '_, '_>) -> SentimentRatio {
    let Some((key, value)) = m.object(F::SentimentRatio) else { return SentimentRatio::default() };
    match RatioMembers::open(value, m.path.key(key), m.aside) {
        Some(mut ratio) => SentimentRatio {
            positive: ratio.decimal(RatioField::Positive),
            neutral: ratio.decimal(RatioField::Neutral),
            negative: ratio.decimal(RatioField::Negative),
        },
        None => SentimentRatio::default(),
    }
}

fn evaluation_form<'a>(m: &mut ContactMembers<'_, '_, 'a, '_>) -> Option<EvaluationForm<'a>> {
    let form = EvaluationForm { form_name: m.key_text(F::FormName), scoring_type: m.key_text(F::ScoringType) };
    (form.form_name.is_some() || form.scoring_type.is_some()).then_some(form)
}

fn configured_intents<'a>(
    m: &mut ContactMembers<'_, '_, 'a, '_>,
) -> (Vec<crate::domain::rows::ContactTopic<'a>>, Option<i32>) {
    let Some((key, value)) = m.object(F::ConfiguredIntents) else { return (Vec::new(), None) };
    match ConfiguredMembers::open(value, m.path.key(key), m.aside) {
        Some(mut configured) => {
            let total = configured.integer(ConfiguredField::Total);
            (topics::read(&mut configured), total)
        }
        None => (Vec::new(), None),
    }
}
