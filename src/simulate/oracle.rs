//! What a perfect mirror holds: for each table of the analysts' schema the number of rows and an
//! order-free checksum, from the contacts as they are meant. `checksums.sql` asks the same of a warehouse.
//!
//! A row's text is its columns joined by U+001F. NULL is `\N`, a backslash within a text is doubled;
//! times are whole microseconds since the epoch, booleans `t` and `f`, numbers without trailing zeros,
//! elements of a list are joined by U+001E. The key of a contact is replaced by stream and conversation
//! id, the key of a dimension by its natural key. The checksum is the sum over all rows of the first
//! 8 bytes of the row's MD5, as an unsigned number.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;

use chrono::DateTime;
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

use super::contact::{Agent, Contact, Emotion, Intent, Justification, MetricResult, Number, Queue, Topic};
use super::lifecycle::Shares;
use super::vendor::Vendor;

/// The query that computes the same from a warehouse: `$1` is the stream's name; rows of
/// (table name text, row count bigint, checksum text).
pub const CHECKSUMS_SQL: &str = include_str!("checksums.sql");

/// The tables that are compared, in the order of the schema.
pub const TABLES: &[&str] = &[
    "agents",
    "queues",
    "evaluation_forms",
    "metrics",
    "emotions",
    "topics",
    "contacts",
    "contact_agents",
    "contact_queues",
    "contact_metrics",
    "metric_justifications",
    "justification_messages",
    "contact_emotions",
    "speaking_rates",
    "generated_intents",
    "generated_intent_keywords",
    "contact_topics",
];

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TableSum {
    pub rows: u64,
    /// A decimal number, beyond what JSON numbers hold.
    pub checksum: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expectation {
    pub stream: String,
    pub tables: BTreeMap<String, TableSum>,
    /// Records without a usable id or start.
    pub quarantined: u64,
    /// Elements that the vendor lists, repeated ones counted each time.
    pub listed: u64,
}

/// Which contacts are expected. Times are milliseconds since the epoch.
#[derive(Debug, Clone)]
pub struct Question {
    /// The name under which the mirror holds the stream.
    pub stream: String,
    /// Starts in `[from, to)`.
    pub from: i64,
    pub to: i64,
    /// The moment at which the vendor is looked at.
    pub at: i64,
    /// Whether contacts below the threshold are asked for.
    pub includes_below_threshold: bool,
}

pub fn expect(vendor: &Vendor, shares: &Shares, question: &Question) -> Expectation {
    expect_as_looked(vendor, shares, question, &|_| Some(question.at))
}

/// What a mirror holds that looked at each contact at the moment that `look` tells by the contact's start; without one it
/// never did. `question.at` is of no account.
pub fn expect_as_looked(
    vendor: &Vendor,
    shares: &Shares,
    question: &Question,
    look: &dyn Fn(i64) -> Option<i64>,
) -> Expectation {
    let mut sums = Sums { stream: question.stream.clone(), ..Sums::default() };
    let (mut quarantined, mut listed) = (0, 0);
    for index in vendor.indices(question.from, question.to) {
        let life = vendor.life(index, shares);
        let Some(at) = look(life.start) else { continue };
        if !life.is_listed(at) || (life.is_below_threshold && !question.includes_below_threshold) {
            continue;
        }
        listed += 1 + u64::from(life.is_repeated);
        if life.malformation.is_some_and(super::lifecycle::Malformation::is_hopeless) {
            quarantined += 1;
        } else {
            sums.contact(&vendor.contact(index, &life, at, false));
        }
    }
    Expectation { stream: question.stream.clone(), tables: sums.finish(), quarantined, listed }
}

#[derive(Default)]
struct Sums {
    stream: String,
    tables: HashMap<&'static str, (u64, u128)>,
    /// By natural key, with the latest start and the row of that contact.
    agents: HashMap<[Option<String>; 3], (i64, Agent)>,
    queues: HashMap<[Option<String>; 2], (i64, Queue)>,
    /// Rows of the dimensions that have no changing attributes.
    members: HashSet<(&'static str, String)>,
}

/// The text of a row.
#[derive(Default)]
struct Row(String);

impl Row {
    fn separate(&mut self) {
        if !self.0.is_empty() {
            self.0.push('\u{1f}');
        }
    }

    fn text(mut self, value: Option<&str>) -> Self {
        self.separate();
        match value {
            None => self.0.push_str("\\N"),
            Some(value) => {
                for part in value.split_inclusive('\\') {
                    self.0.push_str(part);
                    if part.ends_with('\\') {
                        self.0.push('\\');
                    }
                }
            }
        }
        self
    }

    fn shown(mut self, value: Option<impl std::fmt::Display>) -> Self {
        let Some(value) = value else { return self.text(None) };
        self.separate();
        // Writing to a String does not fail.
        let _ = write!(self.0, "{value}");
        self
    }

    /// Of the element at a place that is counted from 0.
    fn ordinal(self, place: usize) -> Self {
        self.shown(Some(place + 1))
    }

    fn number(self, value: Option<Number>) -> Self {
        self.shown(value)
    }

    fn time(self, ms: Option<i64>) -> Self {
        self.shown(ms.map(|ms| ms * 1000))
    }

    fn boolean(self, value: Option<bool>) -> Self {
        self.text(value.map(|value| if value { "t" } else { "f" }))
    }
}

fn agent_key(agent: &Agent) -> [Option<String>; 3] {
    match &agent.id {
        Some(id) => [Some(id.clone()), None, None],
        None => [None, agent.email.clone(), Some(agent.name.clone())],
    }
}

fn queue_key(queue: &Queue) -> [Option<String>; 2] {
    match &queue.id {
        Some(id) => [Some(id.clone()), None],
        None => [None, Some(queue.name.clone())],
    }
}

impl Sums {
    fn add(&mut self, table: &'static str, row: &Row) {
        let digest = Md5::digest(row.0.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        let (rows, sum) = self.tables.entry(table).or_default();
        *rows += 1;
        *sum += u128::from(u64::from_be_bytes(first));
    }

    fn member(&mut self, table: &'static str, row: Row) {
        self.members.insert((table, row.0));
    }

    fn finish(mut self) -> BTreeMap<String, TableSum> {
        for (_, agent) in std::mem::take(&mut self.agents).into_values() {
            let row = Row::default().text(agent.id.as_deref()).text(Some(&agent.name)).text(agent.email.as_deref());
            self.add("agents", &row);
        }
        for (_, queue) in std::mem::take(&mut self.queues).into_values() {
            self.add("queues", &Row::default().text(queue.id.as_deref()).text(Some(&queue.name)));
        }
        for (table, row) in std::mem::take(&mut self.members) {
            self.add(table, &Row(row));
        }
        let sum_of = |table: &&str| {
            let (rows, sum) = self.tables.get(table).copied().unwrap_or_default();
            ((*table).to_owned(), TableSum { rows, checksum: sum.to_string() })
        };
        TABLES.iter().map(sum_of).collect()
    }

    /// The beginning of every row that belongs to a contact.
    fn row_of(&self, contact: &Contact) -> Row {
        Row::default().text(Some(&self.stream)).text(Some(&contact.conversation_id))
    }

    fn contact(&mut self, contact: &Contact) {
        let started_on = DateTime::from_timestamp_millis(contact.started_at).unwrap_or_default().format("%Y-%m-%d");
        let ratio = |place: usize| contact.sentiment_ratio.map(|shares| shares[place]);
        let custom_fields = contact.custom_fields.as_ref().map(|fields| {
            fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("\u{1e}")
        });
        let row = self
            .row_of(contact)
            .text(contact.custom_conversation_id.as_deref())
            .text(contact.source.as_deref())
            .text(contact.channel.as_deref())
            .text(contact.direction.as_deref())
            .time(Some(contact.started_at))
            .shown(Some(started_on))
            .time(contact.ended_at)
            .shown(contact.duration_ms)
            .text(contact.language.as_deref())
            .text(contact.duration_status.as_deref())
            .text(contact.sentiment.as_deref())
            .number(contact.sentiment_score)
            .text(contact.sentiment_start.as_deref())
            .text(contact.sentiment_end.as_deref())
            .number(ratio(0))
            .number(ratio(1))
            .number(ratio(2))
            .number(contact.evaluation_score)
            .text(contact.form_name.as_deref())
            .text(contact.scoring_type.as_deref())
            .number(contact.pass_score)
            .boolean(contact.is_passed)
            .shown(contact.fatal_error_count)
            .boolean(contact.is_churn_risk)
            .boolean(contact.is_escalation)
            .text(contact.taxonomy_resolution.as_deref())
            .number(contact.customer_talk_pct)
            .number(contact.agent_talk_pct)
            .number(contact.silence_pct)
            .shown(contact.total_topics_identified)
            .text(contact.audit_status.as_deref())
            .number(contact.audit_score)
            .time(contact.audited_at)
            .text(contact.auditor_name.as_deref())
            .text(custom_fields.as_deref());
        self.add("contacts", &row);
        if contact.form_name.is_some() || contact.scoring_type.is_some() {
            let form = Row::default().text(contact.form_name.as_deref()).text(contact.scoring_type.as_deref());
            self.member("evaluation_forms", form);
        }
        self.agents(contact);
        self.queues(contact);
        for (place, metric) in contact.metrics.iter().enumerate() {
            self.metric(contact, place, metric);
        }
        for (place, label) in contact.emotions.iter().enumerate() {
            let emotion = Emotion { label: label.clone(), duration_ms: None, proportion_pct: None };
            self.emotion(contact, "contact", place, &emotion);
        }
        for (place, emotion) in contact.customer_emotions.iter().enumerate() {
            self.emotion(contact, "customer", place, emotion);
        }
        for (place, emotion) in contact.agent_emotions.iter().enumerate() {
            self.emotion(contact, "agent", place, emotion);
        }
        self.speaking_rates(contact);
        for (place, intent) in contact.intents.iter().enumerate() {
            self.intent(contact, place, intent);
        }
        let mut next = 1;
        for topic in &contact.topics {
            self.topic(contact, &mut next, None, &[], topic);
        }
    }

    fn agents(&mut self, contact: &Contact) {
        for (place, part) in contact.agents.iter().enumerate() {
            let key = agent_key(&part.agent);
            let [id, email, name] = &key;
            let row = self
                .row_of(contact)
                .ordinal(place)
                .text(id.as_deref())
                .text(email.as_deref())
                .text(name.as_deref())
                .time(part.started_at)
                .number(part.crutch_word_score)
                .number(part.empathy_score)
                .boolean(Some(place == 0));
            self.add("contact_agents", &row);
            let latest = self.agents.entry(key).or_insert_with(|| (i64::MIN, part.agent.clone()));
            if contact.started_at > latest.0 {
                *latest = (contact.started_at, part.agent.clone());
            }
        }
    }

    fn queues(&mut self, contact: &Contact) {
        for (place, queue) in contact.queues.iter().enumerate() {
            let key = queue_key(queue);
            let [id, name] = &key;
            let row =
                self.row_of(contact).ordinal(place).text(id.as_deref()).text(name.as_deref()).boolean(Some(place == 0));
            self.add("contact_queues", &row);
            let latest = self.queues.entry(key).or_insert_with(|| (i64::MIN, queue.clone()));
            if contact.started_at > latest.0 {
                *latest = (contact.started_at, queue.clone());
            }
        }
    }

    fn metric(&mut self, contact: &Contact, place: usize, metric: &MetricResult) {
        self.member("metrics", Row::default().text(metric.id.as_deref()).text(Some(&metric.name)));
        let row = self
            .row_of(contact)
            .ordinal(place)
            .text(metric.id.as_deref())
            .text(Some(&metric.name))
            .number(metric.weight)
            .number(metric.negative_weight)
            .text(metric.qualification.as_deref())
            .boolean(metric.is_fatal_error)
            .text(metric.auditor_response.as_deref());
        self.add("contact_metrics", &row);
        for (kind, entries) in [("trigger", &metric.triggers), ("justification", &metric.justifications)] {
            for (entry_place, entry) in entries.iter().enumerate() {
                self.justification(contact, place, kind, entry_place, entry);
            }
        }
    }

    fn justification(&mut self, contact: &Contact, metric: usize, kind: &str, place: usize, entry: &Justification) {
        let row = self
            .row_of(contact)
            .ordinal(metric)
            .text(Some(kind))
            .ordinal(place)
            .text(entry.text.as_deref())
            .text(entry.source_system_value.as_deref())
            .text(entry.agent_mentioned_value.as_deref())
            .text(entry.agent_entity.as_deref());
        self.add("metric_justifications", &row);
        for message in 0..entry.message_ids.len().max(entry.message_times.len()) {
            let row = self
                .row_of(contact)
                .ordinal(metric)
                .text(Some(kind))
                .ordinal(place)
                .ordinal(message)
                .text(entry.message_ids.get(message).map(String::as_str))
                .time(entry.message_times.get(message).copied());
            self.add("justification_messages", &row);
        }
    }

    fn emotion(&mut self, contact: &Contact, speaker: &str, place: usize, emotion: &Emotion) {
        let label = emotion.label.to_lowercase();
        self.member("emotions", Row::default().text(Some(&label)));
        let row = self
            .row_of(contact)
            .text(Some(speaker))
            .ordinal(place)
            .text(Some(&label))
            .number(emotion.duration_ms)
            .number(emotion.proportion_pct);
        self.add("contact_emotions", &row);
    }

    fn speaking_rates(&mut self, contact: &Contact) {
        for (place, rate) in contact.speaking_rates.iter().enumerate() {
            let row = self
                .row_of(contact)
                .ordinal(place)
                .text(rate.speaker.as_deref())
                .text(rate.source_id.as_deref())
                .text(rate.message_id.as_deref())
                .time(rate.message_at)
                .shown(rate.start_offset_ms)
                .shown(rate.word_count)
                .number(rate.time_taken_seconds)
                .number(rate.words_per_minute)
                .number(rate.score);
            self.add("speaking_rates", &row);
        }
    }

    fn intent(&mut self, contact: &Contact, place: usize, intent: &Intent) {
        let emotions = intent.emotions.as_ref().map(|emotions| emotions.join("\u{1e}"));
        let row = self
            .row_of(contact)
            .ordinal(place)
            .text(intent.words.as_deref())
            .text(intent.topic.as_deref())
            .text(intent.sentiment.as_deref())
            .number(intent.sentiment_score)
            .text(emotions.as_deref());
        self.add("generated_intents", &row);
        for (keyword_place, keyword) in intent.keywords.iter().enumerate() {
            let row = self.row_of(contact).ordinal(place).ordinal(keyword_place).text(Some(keyword));
            self.add("generated_intent_keywords", &row);
        }
    }

    /// A node and all below it, depth first. `next` is the next ordinal of the contact.
    fn topic(&mut self, contact: &Contact, next: &mut usize, parent: Option<usize>, above: &[&str], topic: &Topic) {
        let own = *next;
        *next += 1;
        let mut path = above.to_vec();
        path.push(&topic.name);
        let (l1, l2, l3) = (path.first().copied(), path.get(1).copied(), path.get(2).copied());
        let joined = path.join(" > ");
        let node = Row::default()
            .shown(Some(path.len()))
            .text(Some(&topic.name))
            .text(l1)
            .text(l2)
            .text(l3)
            .text(Some(&joined));
        self.member("topics", node);
        let row = self
            .row_of(contact)
            .shown(Some(own))
            .shown(parent)
            .text(l1)
            .text(l2)
            .text(l3)
            .shown(Some(path.len()))
            .number(topic.confidence_score)
            .number(topic.sentiment_score)
            .boolean(topic.is_resolved);
        self.add("contact_topics", &row);
        for below in &topic.below {
            self.topic(contact, next, Some(own), &path, below);
        }
    }
}
