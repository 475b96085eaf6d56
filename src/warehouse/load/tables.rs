//! One COPY buffer a table, and how a contact is spread over them.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::copy::CopyBuffer;
use super::dimensions::Keys;
use crate::domain::ContentHash;
use crate::domain::rows::{Contact, ContactMetric, GeneratedIntent};
use crate::faults::{self, Point};

/// What the warehouse adds to a contact's own content.
#[derive(Debug, Clone)]
pub struct Placement<'a> {
    pub contact_key: Uuid,
    pub stream: &'a str,
    pub started_on: NaiveDate,
    /// When this warehouse first held the contact.
    pub first_seen_at: DateTime<Utc>,
    pub now: DateTime<Utc>,
}

/// A payload to keep, and what is known of it.
#[derive(Debug)]
pub struct Kept<'a> {
    pub compressed: &'a [u8],
    pub raw_hash: ContentHash,
    pub canonical_hash: ContentHash,
    pub read_at: DateTime<Utc>,
    pub requested_from: DateTime<Utc>,
    pub requested_to: DateTime<Utc>,
    pub mapper_version: i32,
    pub privacy_id: i32,
}

/// The tables whose rows belong to a contact, children before parents: the order in which they are emptied.
pub const CHILD_TABLES: [&str; 10] = [
    "justification_messages",
    "metric_justifications",
    "contact_metrics",
    "generated_intent_keywords",
    "generated_intents",
    "contact_agents",
    "contact_queues",
    "contact_emotions",
    "speaking_rates",
    "contact_topics",
];

#[derive(Debug)]
pub struct Tables {
    contacts: CopyBuffer,
    agents: CopyBuffer,
    queues: CopyBuffer,
    metrics: CopyBuffer,
    justifications: CopyBuffer,
    messages: CopyBuffer,
    emotions: CopyBuffer,
    speaking_rates: CopyBuffer,
    intents: CopyBuffer,
    keywords: CopyBuffer,
    topics: CopyBuffer,
    payloads: CopyBuffer,
}

impl Default for Tables {
    fn default() -> Self {
        Self {
            contacts: CopyBuffer::new(
                "copy kore.contacts (contact_key, stream, conversation_id, custom_conversation_id, source, channel, \
                 direction, started_at, started_on, ended_at, duration_ms, language, duration_status, sentiment, \
                 sentiment_score, sentiment_start, sentiment_end, positive_pct, neutral_pct, negative_pct, \
                 evaluation_score, evaluation_form_key, pass_score, is_passed, fatal_error_count, is_churn_risk, \
                 is_escalation, taxonomy_resolution, customer_talk_pct, agent_talk_pct, silence_pct, \
                 total_topics_identified, audit_status, audit_score, audited_at, auditor_name, custom_fields, extra, \
                 first_seen_at, updated_at) from stdin (format binary)",
                40,
            ),
            agents: CopyBuffer::new(
                "copy kore.contact_agents (contact_key, ordinal, agent_key, agent_started_at, crutch_word_score, \
                 empathy_score, is_primary) from stdin (format binary)",
                7,
            ),
            queues: CopyBuffer::new(
                "copy kore.contact_queues (contact_key, ordinal, queue_key, is_primary) from stdin (format binary)",
                4,
            ),
            metrics: CopyBuffer::new(
                "copy kore.contact_metrics (contact_key, ordinal, metric_key, weight, negative_weight, qualification, \
                 is_fatal_error, auditor_response) from stdin (format binary)",
                8,
            ),
            justifications: CopyBuffer::new(
                "copy kore.metric_justifications (contact_key, metric_ordinal, kind, ordinal, justification, \
                 source_system_value, agent_mentioned_value, agent_entity) from stdin (format binary)",
                8,
            ),
            messages: CopyBuffer::new(
                "copy kore.justification_messages (contact_key, metric_ordinal, kind, justification_ordinal, ordinal, \
                 message_id, message_at) from stdin (format binary)",
                7,
            ),
            emotions: CopyBuffer::new(
                "copy kore.contact_emotions (contact_key, speaker, ordinal, emotion_key, duration_ms, proportion_pct) \
                 from stdin (format binary)",
                6,
            ),
            speaking_rates: CopyBuffer::new(
                "copy kore.speaking_rates (contact_key, ordinal, speaker, source_id, message_id, message_at, \
                 start_offset_ms, word_count, time_taken_seconds, words_per_minute, score) from stdin (format binary)",
                11,
            ),
            intents: CopyBuffer::new(
                "copy kore.generated_intents (contact_key, ordinal, intent, topic, sentiment, sentiment_score, \
                 emotions) from stdin (format binary)",
                7,
            ),
            keywords: CopyBuffer::new(
                "copy kore.generated_intent_keywords (contact_key, intent_ordinal, ordinal, keyword) \
                 from stdin (format binary)",
                4,
            ),
            topics: CopyBuffer::new(
                "copy kore.contact_topics (contact_key, ordinal, parent_ordinal, topic_key, level, confidence_score, \
                 sentiment_score, is_resolved) from stdin (format binary)",
                8,
            ),
            payloads: CopyBuffer::new(
                "copy koresync.raw_contacts (contact_key, stream, payload, raw_hash, canonical_hash, read_at, \
                 requested_from, requested_to, mapper_version, privacy_id) from stdin (format binary)",
                10,
            ),
        }
    }
}

impl Tables {
    /// The row of `kore.contacts`.
    pub fn contact(&mut self, contact: &Contact<'_>, at: &Placement<'_>, evaluation_form_key: Option<i32>) {
        self.contacts
            .row()
            .field(&at.contact_key)
            .field(at.stream)
            .field(&contact.conversation_id)
            .field(&contact.custom_conversation_id)
            .field(&contact.source)
            .field(&contact.channel)
            .field(&contact.direction)
            .field(&contact.started_at)
            .field(&at.started_on)
            .field(&contact.ended_at)
            .field(&contact.duration_ms)
            .field(&contact.language)
            .field(&contact.duration_status)
            .field(&contact.sentiment)
            .field(&contact.sentiment_score)
            .field(&contact.sentiment_start)
            .field(&contact.sentiment_end)
            .field(&contact.positive_pct)
            .field(&contact.neutral_pct)
            .field(&contact.negative_pct)
            .field(&contact.evaluation_score)
            .field(&evaluation_form_key)
            .field(&contact.pass_score)
            .field(&contact.is_passed)
            .field(&contact.fatal_error_count)
            .field(&contact.is_churn_risk)
            .field(&contact.is_escalation)
            .field(&contact.taxonomy_resolution)
            .field(&contact.customer_talk_pct)
            .field(&contact.agent_talk_pct)
            .field(&contact.silence_pct)
            .field(&contact.total_topics_identified)
            .field(&contact.audit_status)
            .field(&contact.audit_score)
            .field(&contact.audited_at)
            .field(&contact.auditor_name)
            .jsonb(contact.custom_fields.as_deref())
            .jsonb(contact.extra.as_deref())
            .field(&at.first_seen_at)
            .field(&at.now);
    }

    /// The rows of everything that hangs on a contact. Every dimension must be in `keys`.
    pub fn children(&mut self, contact: &Contact<'_>, key: Uuid, keys: &Keys) -> Result<(), MissingKey> {
        for agent in &contact.agents {
            self.agents
                .row()
                .field(&key)
                .field(&agent.ordinal)
                .field(&keys.agent(&agent.agent).ok_or(MissingKey("agents"))?)
                .field(&agent.agent_started_at)
                .field(&agent.crutch_word_score)
                .field(&agent.empathy_score)
                .field(&agent.is_primary);
        }
        for queue in &contact.queues {
            self.queues
                .row()
                .field(&key)
                .field(&queue.ordinal)
                .field(&keys.queue(&queue.queue).ok_or(MissingKey("queues"))?)
                .field(&queue.is_primary);
        }
        for metric in &contact.metrics {
            self.metric(metric, key, keys)?;
        }
        for emotion in &contact.emotions {
            self.emotions
                .row()
                .field(&key)
                .field(emotion.speaker.as_str())
                .field(&emotion.ordinal)
                .field(&keys.emotion(&emotion.emotion).ok_or(MissingKey("emotions"))?)
                .field(&emotion.duration_ms)
                .field(&emotion.proportion_pct);
        }
        for rate in &contact.speaking_rates {
            self.speaking_rates
                .row()
                .field(&key)
                .field(&rate.ordinal)
                .field(&rate.speaker)
                .field(&rate.source_id)
                .field(&rate.message_id)
                .field(&rate.message_at)
                .field(&rate.start_offset_ms)
                .field(&rate.word_count)
                .field(&rate.time_taken_seconds)
                .field(&rate.words_per_minute)
                .field(&rate.score);
        }
        for intent in &contact.intents {
            self.intent(intent, key);
        }
        for topic in &contact.topics {
            self.topics
                .row()
                .field(&key)
                .field(&topic.ordinal)
                .field(&topic.parent_ordinal)
                .field(&keys.topic(&topic.topic).ok_or(MissingKey("topics"))?)
                .field(&topic.topic.level())
                .field(&topic.confidence_score)
                .field(&topic.sentiment_score)
                .field(&topic.is_resolved);
        }
        Ok(())
    }

    fn metric(&mut self, metric: &ContactMetric<'_>, key: Uuid, keys: &Keys) -> Result<(), MissingKey> {
        self.metrics
            .row()
            .field(&key)
            .field(&metric.ordinal)
            .field(&keys.metric(&metric.metric).ok_or(MissingKey("metrics"))?)
            .field(&metric.weight)
            .field(&metric.negative_weight)
            .field(&metric.qualification)
            .field(&metric.is_fatal_error)
            .field(&metric.auditor_response);
        for entry in &metric.justifications {
            self.justifications
                .row()
                .field(&key)
                .field(&metric.ordinal)
                .field(entry.kind.as_str())
                .field(&entry.ordinal)
                .field(&entry.justification)
                .field(&entry.source_system_value)
                .field(&entry.agent_mentioned_value)
                .field(&entry.agent_entity);
            for message in &entry.messages {
                self.messages
                    .row()
                    .field(&key)
                    .field(&metric.ordinal)
                    .field(entry.kind.as_str())
                    .field(&entry.ordinal)
                    .field(&message.ordinal)
                    .field(&message.message_id)
                    .field(&message.message_at);
            }
        }
        Ok(())
    }

    fn intent(&mut self, intent: &GeneratedIntent<'_>, key: Uuid) {
        self.intents
            .row()
            .field(&key)
            .field(&intent.ordinal)
            .field(&intent.intent)
            .field(&intent.topic)
            .field(&intent.sentiment)
            .field(&intent.sentiment_score)
            .field(&intent.emotions.as_deref());
        for keyword in &intent.keywords {
            self.keywords.row().field(&key).field(&intent.ordinal).field(&keyword.ordinal).field(&keyword.keyword);
        }
    }

    pub fn payload(&mut self, key: Uuid, stream: &str, payload: &Kept<'_>) {
        self.payloads
            .row()
            .field(&key)
            .field(stream)
            .bytea(payload.compressed)
            .bytea(&payload.raw_hash.0)
            .bytea(&payload.canonical_hash.0)
            .field(&payload.read_at)
            .field(&payload.requested_from)
            .field(&payload.requested_to)
            .field(&payload.mapper_version)
            .field(&payload.privacy_id);
    }

    /// The tables of `kore`.
    pub fn facts(&self) -> [&CopyBuffer; 11] {
        [
            &self.contacts,
            &self.agents,
            &self.queues,
            &self.metrics,
            &self.justifications,
            &self.messages,
            &self.emotions,
            &self.speaking_rates,
            &self.intents,
            &self.keywords,
            &self.topics,
        ]
    }

    /// Sends all tables, parents first, and empties the buffers. Gives the rows of each.
    pub async fn send(&mut self, connection: &mut PgConnection) -> Result<[(&'static str, u64); 12], sqlx::Error> {
        let mut sent = [("", 0); 12];
        for (sent, (table, buffer)) in sent.iter_mut().zip(self.all()) {
            *sent = (table, buffer.send(connection).await?);
            // One that all contacts have, and before most tables.
            if table == "raw_contacts" {
                faults::cross(Point::BetweenTables).map_err(sqlx::Error::Io)?;
            }
        }
        Ok(sent)
    }

    /// Length of the rows so far.
    pub fn bytes(&self) -> usize {
        self.facts().iter().map(|buffer| buffer.encoded().len()).sum::<usize>() + self.payloads.encoded().len()
    }

    /// Empties the buffers of rows that are not to be sent.
    pub fn clear(&mut self) {
        for (_, buffer) in self.all() {
            buffer.clear();
        }
    }

    fn all(&mut self) -> [(&'static str, &mut CopyBuffer); 12] {
        [
            ("contacts", &mut self.contacts),
            ("raw_contacts", &mut self.payloads),
            ("contact_agents", &mut self.agents),
            ("contact_queues", &mut self.queues),
            ("contact_metrics", &mut self.metrics),
            ("metric_justifications", &mut self.justifications),
            ("justification_messages", &mut self.messages),
            ("contact_emotions", &mut self.emotions),
            ("speaking_rates", &mut self.speaking_rates),
            ("generated_intents", &mut self.intents),
            ("generated_intent_keywords", &mut self.keywords),
            ("contact_topics", &mut self.topics),
        ]
    }
}

/// A dimension's key was not looked up before its fact was written: a defect of the loader.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("no key for a member of {0}")]
pub struct MissingKey(pub &'static str);
