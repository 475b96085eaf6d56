//! A contact as rows: what one record of the vendor becomes, before keys of dimensions are known.
//!
//! Field for field the columns of the tables in `migrations/`, in the same order. Texts borrow from
//! the record where they can. A dimension is named by its natural key; the loader finds the integer.

use std::borrow::Cow;

use chrono::{DateTime, Utc};

use super::Decimal;

pub type Text<'a> = Cow<'a, str>;

/// One conversation and everything that hangs on it. Lists are in the payload's order; the ordinal
/// of an element is its place in the payload's list, from 1, as carried by the row.
#[derive(Debug, Clone, PartialEq)]
pub struct Contact<'a> {
    pub conversation_id: Text<'a>,
    pub custom_conversation_id: Option<Text<'a>>,
    pub source: Option<Text<'a>>,
    pub channel: Option<Text<'a>>,
    pub direction: Option<Text<'a>>,
    pub started_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
    pub duration_ms: Option<i64>,
    pub language: Option<Text<'a>>,
    pub duration_status: Option<Text<'a>>,
    pub sentiment: Option<Text<'a>>,
    pub sentiment_score: Option<Decimal>,
    pub sentiment_start: Option<Text<'a>>,
    pub sentiment_end: Option<Text<'a>>,
    pub positive_pct: Option<Decimal>,
    pub neutral_pct: Option<Decimal>,
    pub negative_pct: Option<Decimal>,
    pub evaluation_score: Option<Decimal>,
    /// `None` when the record names neither a form nor a scoring type.
    pub evaluation_form: Option<EvaluationForm<'a>>,
    pub pass_score: Option<Decimal>,
    /// `None` whenever `evaluation_score` is.
    pub is_passed: Option<bool>,
    pub fatal_error_count: Option<i32>,
    pub is_churn_risk: Option<bool>,
    pub is_escalation: Option<bool>,
    pub taxonomy_resolution: Option<Text<'a>>,
    pub customer_talk_pct: Option<Decimal>,
    pub agent_talk_pct: Option<Decimal>,
    pub silence_pct: Option<Decimal>,
    pub total_topics_identified: Option<i32>,
    pub audit_status: Option<Text<'a>>,
    pub audit_score: Option<Decimal>,
    pub audited_at: Option<DateTime<Utc>>,
    pub auditor_name: Option<Text<'a>>,
    /// A JSON text that PostgreSQL accepts as jsonb.
    pub custom_fields: Option<String>,
    /// A JSON object, path in the payload to value, that PostgreSQL accepts as jsonb.
    pub extra: Option<String>,

    pub agents: Vec<ContactAgent<'a>>,
    pub queues: Vec<ContactQueue<'a>>,
    pub metrics: Vec<ContactMetric<'a>>,
    pub emotions: Vec<ContactEmotion<'a>>,
    pub speaking_rates: Vec<SpeakingRate<'a>>,
    pub intents: Vec<GeneratedIntent<'a>>,
    pub topics: Vec<ContactTopic<'a>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EvaluationForm<'a> {
    pub form_name: Option<Text<'a>>,
    pub scoring_type: Option<Text<'a>>,
}

/// At least one part is present.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Agent<'a> {
    pub agent_id: Option<Text<'a>>,
    pub agent_name: Option<Text<'a>>,
    pub agent_email: Option<Text<'a>>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ContactAgent<'a> {
    pub ordinal: i16,
    pub agent: Agent<'a>,
    pub agent_started_at: Option<DateTime<Utc>>,
    pub crutch_word_score: Option<Decimal>,
    pub empathy_score: Option<Decimal>,
    pub is_primary: bool,
}

/// At least one part is present.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Queue<'a> {
    pub queue_id: Option<Text<'a>>,
    pub queue_name: Option<Text<'a>>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ContactQueue<'a> {
    pub ordinal: i16,
    pub queue: Queue<'a>,
    pub is_primary: bool,
}

/// At least one part is present.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Metric<'a> {
    pub metric_id: Option<Text<'a>>,
    pub metric_name: Option<Text<'a>>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ContactMetric<'a> {
    pub ordinal: i16,
    pub metric: Metric<'a>,
    pub weight: Option<Decimal>,
    pub negative_weight: Option<Decimal>,
    pub qualification: Option<Text<'a>>,
    pub is_fatal_error: Option<bool>,
    pub auditor_response: Option<Text<'a>>,
    pub justifications: Vec<MetricJustification<'a>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum JustificationKind {
    Justification,
    Trigger,
}

impl JustificationKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Justification => "justification",
            Self::Trigger => "trigger",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct MetricJustification<'a> {
    pub kind: JustificationKind,
    pub ordinal: i16,
    pub justification: Option<Text<'a>>,
    pub source_system_value: Option<Text<'a>>,
    pub agent_mentioned_value: Option<Text<'a>>,
    pub agent_entity: Option<Text<'a>>,
    pub messages: Vec<JustificationMessage<'a>>,
}

/// Message id and time are paired by their place; where the lists differ in length one is `None`.
#[derive(Debug, Clone, PartialEq)]
pub struct JustificationMessage<'a> {
    pub ordinal: i16,
    pub message_id: Option<Text<'a>>,
    pub message_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Speaker {
    Contact,
    Customer,
    Agent,
}

impl Speaker {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Contact => "contact",
            Self::Customer => "customer",
            Self::Agent => "agent",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct ContactEmotion<'a> {
    pub speaker: Speaker,
    pub ordinal: i16,
    /// In lower case.
    pub emotion: Text<'a>,
    pub duration_ms: Option<Decimal>,
    pub proportion_pct: Option<Decimal>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct SpeakingRate<'a> {
    pub ordinal: i16,
    pub speaker: Option<Text<'a>>,
    pub source_id: Option<Text<'a>>,
    pub message_id: Option<Text<'a>>,
    pub message_at: Option<DateTime<Utc>>,
    pub start_offset_ms: Option<i64>,
    pub word_count: Option<i32>,
    pub time_taken_seconds: Option<Decimal>,
    pub words_per_minute: Option<Decimal>,
    pub score: Option<Decimal>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct GeneratedIntent<'a> {
    pub ordinal: i16,
    pub intent: Option<Text<'a>>,
    pub topic: Option<Text<'a>>,
    pub sentiment: Option<Text<'a>>,
    pub sentiment_score: Option<Decimal>,
    /// `None` when the record has no list.
    pub emotions: Option<Vec<Text<'a>>>,
    pub keywords: Vec<IntentKeyword<'a>>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct IntentKeyword<'a> {
    pub ordinal: i16,
    pub keyword: Text<'a>,
}

/// A node of the taxonomy: one to three names, from level 1 down.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Topic<'a> {
    pub l1_name: Text<'a>,
    pub l2_name: Option<Text<'a>>,
    pub l3_name: Option<Text<'a>>,
}

impl Topic<'_> {
    pub fn level(&self) -> i16 {
        if self.l3_name.is_some() {
            3
        } else if self.l2_name.is_some() {
            2
        } else {
            1
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct ContactTopic<'a> {
    /// Depth first over the whole record, from 1.
    pub ordinal: i16,
    pub parent_ordinal: Option<i16>,
    pub topic: Topic<'a>,
    pub confidence_score: Option<Decimal>,
    pub sentiment_score: Option<Decimal>,
    pub is_resolved: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_of_the_level_of_its_last_name() {
        let topic = |l2: Option<&'static str>, l3: Option<&'static str>| Topic {
            l1_name: "A".into(),
            l2_name: l2.map(Into::into),
            l3_name: l3.map(Into::into),
        };
        let levels = [topic(None, None), topic(Some("B"), None), topic(Some("B"), Some("C"))].map(|t| t.level());
        assert_eq!(levels, [1, 2, 3]);
    }

    #[test]
    fn kinds_and_speakers_are_told_in_the_words_of_the_tables() {
        let kinds = [JustificationKind::Justification, JustificationKind::Trigger].map(JustificationKind::as_str);
        assert_eq!(kinds, ["justification", "trigger"]);
        let speakers = [Speaker::Contact, Speaker::Customer, Speaker::Agent].map(Speaker::as_str);
        assert_eq!(speakers, ["contact", "customer", "agent"]);
    }
}
