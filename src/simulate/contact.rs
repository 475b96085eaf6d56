//! A contact as it is meant: what a perfect mirror holds of it, made from the contact's key.
//!
//! The record that the vendor sends is rendered from this, in one of many spellings; what a mirror
//! should hold is told from this too, never from the record.

use std::fmt;

/// `digits` × 10^−`places`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number {
    digits: i64,
    places: u32,
}

impl Number {
    pub fn whole(value: i64) -> Self {
        Self { digits: value, places: 0 }
    }

    pub fn with_places(digits: i64, places: u32) -> Self {
        let (mut digits, mut places) = (digits, places);
        while places > 0 && digits % 10 == 0 {
            digits /= 10;
            places -= 1;
        }
        Self { digits, places }
    }

    pub fn at_least(self, whole: i64) -> bool {
        self.digits >= whole * 10_i64.pow(self.places)
    }
}

impl fmt::Display for Number {
    /// Without an exponent and without trailing zeros.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.places == 0 {
            return write!(f, "{}", self.digits);
        }
        let unit = 10_u64.pow(self.places);
        let sign = if self.digits < 0 { "-" } else { "" };
        let digits = self.digits.unsigned_abs();
        write!(f, "{sign}{}.{:0width$}", digits / unit, digits % unit, width = self.places as usize)
    }
}

/// Times are milliseconds since the epoch. `None` is what is not reported, however that is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Contact {
    pub conversation_id: String,
    pub custom_conversation_id: Option<String>,
    pub source: Option<String>,
    pub channel: Option<String>,
    pub direction: Option<String>,
    pub started_at: i64,
    pub ended_at: Option<i64>,
    pub duration_ms: Option<i64>,
    pub language: Option<String>,
    pub duration_status: Option<String>,
    pub sentiment: Option<String>,
    pub sentiment_score: Option<Number>,
    pub sentiment_start: Option<String>,
    pub sentiment_end: Option<String>,
    /// Positive, neutral, negative.
    pub sentiment_ratio: Option<[Number; 3]>,
    pub evaluation_score: Option<Number>,
    pub form_name: Option<String>,
    pub scoring_type: Option<String>,
    pub pass_score: Option<Number>,
    pub is_passed: Option<bool>,
    pub fatal_error_count: Option<i64>,
    pub is_churn_risk: Option<bool>,
    pub is_escalation: Option<bool>,
    pub taxonomy_resolution: Option<String>,
    pub customer_talk_pct: Option<Number>,
    pub agent_talk_pct: Option<Number>,
    pub silence_pct: Option<Number>,
    pub total_topics_identified: Option<i64>,
    pub audit_status: Option<String>,
    pub audit_score: Option<Number>,
    pub audited_at: Option<i64>,
    pub auditor_name: Option<String>,
    /// Ascending by name.
    pub custom_fields: Option<Vec<(String, String)>>,
    pub agents: Vec<AgentPart>,
    pub queues: Vec<Queue>,
    pub metrics: Vec<MetricResult>,
    pub emotions: Vec<String>,
    pub customer_emotions: Vec<Emotion>,
    pub agent_emotions: Vec<Emotion>,
    pub speaking_rates: Vec<SpeakingRate>,
    pub intents: Vec<Intent>,
    pub topics: Vec<Topic>,
    /// Sent in the record, without a column of its own.
    pub recordings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    pub id: Option<String>,
    pub name: String,
    pub email: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct AgentPart {
    pub agent: Agent,
    pub started_at: Option<i64>,
    pub crutch_word_score: Option<Number>,
    pub empathy_score: Option<Number>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    pub id: Option<String>,
    pub name: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct MetricResult {
    pub id: Option<String>,
    pub name: String,
    pub weight: Option<Number>,
    pub negative_weight: Option<Number>,
    pub qualification: Option<String>,
    pub is_fatal_error: Option<bool>,
    pub auditor_response: Option<String>,
    pub triggers: Vec<Justification>,
    pub justifications: Vec<Justification>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Justification {
    pub text: Option<String>,
    pub source_system_value: Option<String>,
    pub agent_mentioned_value: Option<String>,
    pub agent_entity: Option<String>,
    pub message_ids: Vec<String>,
    pub message_times: Vec<i64>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Emotion {
    /// As sent, in mixed case.
    pub label: String,
    pub duration_ms: Option<Number>,
    pub proportion_pct: Option<Number>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct SpeakingRate {
    pub speaker: Option<String>,
    pub source_id: Option<String>,
    pub message_id: Option<String>,
    pub message_at: Option<i64>,
    pub start_offset_ms: Option<i64>,
    pub word_count: Option<i64>,
    pub time_taken_seconds: Option<Number>,
    pub words_per_minute: Option<Number>,
    pub score: Option<Number>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    pub words: Option<String>,
    pub topic: Option<String>,
    pub sentiment: Option<String>,
    pub sentiment_score: Option<Number>,
    pub emotions: Option<Vec<String>>,
    pub keywords: Vec<String>,
}

/// A node of the taxonomy and the nodes below it.
#[derive(Debug, Clone, PartialEq)]
pub struct Topic {
    pub name: String,
    pub confidence_score: Option<Number>,
    /// Level 3 only.
    pub sentiment_score: Option<Number>,
    /// Level 3 only.
    pub is_resolved: Option<bool>,
    pub below: Vec<Topic>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_without_trailing_zeros() {
        for (digits, places, text) in
            [(6667, 2, "66.67"), (7700, 2, "77"), (-50, 2, "-0.5"), (5, 2, "0.05"), (0, 3, "0"), (-1, 1, "-0.1")]
        {
            assert_eq!(Number::with_places(digits, places).to_string(), text);
        }
        assert!(Number::with_places(405, 1).at_least(40) && !Number::with_places(399, 1).at_least(40));
    }
}
