//! Valid records made from values that are known: what is sent, and the rows that must come of it.
//!
//! This file knows the vendor's page and the tables, and shares no code with the mapper.

use std::collections::{BTreeMap, BTreeSet};

use crate::choices::Choices;
use crate::rows::Facts;
use crate::tree::{Sent, Style};
use crate::values::{Kind, misfit, nothing, start, value};

/// What a record must become.
#[derive(Debug, Default)]
pub struct Truth {
    pub facts: Facts,
    /// Path in the record to value.
    pub extra: BTreeMap<String, Sent>,
    pub custom_fields: Option<Sent>,
    /// Paths without indices, with the type: keys that nobody documented.
    pub unknown: BTreeSet<(String, &'static str)>,
    /// Values that cannot be what their column holds.
    pub misfits: usize,
}

/// A record, and what must come of it.
#[derive(Debug)]
pub struct Known {
    pub record: Sent,
    pub truth: Truth,
}

impl Known {
    pub fn draw(choices: &mut Choices<'_>) -> Self {
        let is_plain = choices.percent(30);
        let mut builder = Builder { choices, truth: Truth::default(), is_plain };
        let record = builder.record();
        Self { record, truth: builder.truth }
    }

    /// The record's text, in some style.
    pub fn write(&self, choices: &mut Choices<'_>) -> String {
        let mut style = Style {
            has_spaces: choices.percent(40),
            escapes_all: choices.percent(20),
            shuffles: choices.percent(40),
            choices,
        };
        let mut out = String::new();
        style.write(&self.record, &mut out);
        out
    }
}

/// An object of the record while it is being filled.
pub(crate) struct Object {
    /// Where it stands; empty for the record itself.
    pub(crate) path: String,
    members: Vec<(String, Sent)>,
}

impl Object {
    pub(crate) fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), members: Vec::new() }
    }

    pub(crate) fn at(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(crate) fn push(&mut self, key: &str, value: Sent) {
        self.members.push((key.to_owned(), value));
    }

    pub(crate) fn sent(self) -> Sent {
        Sent::Object(self.members)
    }
}

/// The ways in which a key may be spelt, the documented one first.
fn spellings(documented: &str) -> Vec<String> {
    let mut words: Vec<String> = vec![String::new()];
    let mut was_lower = false;
    for character in documented.chars() {
        if character == ' ' || character == '_' || (was_lower && character.is_uppercase()) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| character != ' ' && character != '_') {
            word.extend(character.to_lowercase());
        }
        was_lower = character.is_lowercase();
    }
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    let spaced: Vec<String> = words.iter().map(|w| if w == "id" { "ID".to_owned() } else { capital(w) }).collect();
    let camel: String = words.iter().skip(1).fold(words[0].clone(), |out, word| out + &capital(word));
    let mut all = vec![documented.to_owned()];
    for spelling in [spaced.join(" "), camel, words.join("_")] {
        if documented != "src" && !all.contains(&spelling) {
            all.push(spelling);
        }
    }
    all
}

pub(crate) struct Builder<'c, 'g> {
    pub(crate) choices: &'c mut Choices<'g>,
    pub(crate) truth: Truth,
    /// As the vendor's page shows it, without anything odd.
    is_plain: bool,
}

impl Builder<'_, '_> {
    pub(crate) fn oddly(&mut self, percent: u32) -> bool {
        self.choices.percent(percent) && !self.is_plain
    }

    pub(crate) fn fact(&mut self, column: String, value: impl Into<String>) {
        self.truth.facts.insert(column, value.into());
    }

    pub(crate) fn spelt(&mut self, documented: &str) -> String {
        if self.oddly(12) { self.choices.pick(&spellings(documented)).clone() } else { documented.to_owned() }
    }

    /// Something that is sent, and kept in `extra` because no column holds it.
    pub(crate) fn aside(&mut self, object: &mut Object, key: &str, value: Sent) {
        self.truth.extra.insert(object.at(key), value.clone());
        object.push(key, value);
    }

    /// Sometimes a key that nobody documented.
    pub(crate) fn unknown(&mut self, object: &mut Object) {
        if self.oddly(6) {
            let key = self.choices.word(&["Shift", "übrig", "x.y", "quoted \"key\"", "agent mood"]);
            let value = Sent::anything(self.choices, 0);
            self.know_unknown(object, key, &value);
            self.aside(object, key, value);
        }
    }

    pub(crate) fn know_unknown(&mut self, object: &Object, key: &str, value: &Sent) {
        let mut path = String::new();
        let mut is_index = false;
        for character in object.at(key).chars() {
            is_index = character == '[' || (is_index && character != ']');
            if !is_index || character == '[' {
                path.push(character);
            }
        }
        self.truth.unknown.insert((path, value.kind()));
    }

    pub(crate) fn misfit(&mut self, object: &mut Object, key: &str, value: Sent) {
        self.truth.misfits += 1;
        self.aside(object, key, value);
    }

    /// A field with one value, in its column or not reported.
    pub(crate) fn field(&mut self, object: &mut Object, documented: &str, column: String, kind: Kind) {
        if self.choices.percent(40) {
            // Of a metric's result, NA is one.
            let word = nothing(self.choices).filter(|word| kind != Kind::Qualification || *word == Sent::Null);
            if let Some(word) = word {
                let key = self.spelt(documented);
                object.push(&key, word);
            }
        } else if self.oddly(3) {
            let key = self.spelt(documented);
            let value = misfit(kind, self.choices);
            self.misfit(object, &key, value);
        } else {
            self.said(object, documented, column, kind);
        }
    }

    /// A field that says something; sometimes under two keys, of which the documented one counts.
    pub(crate) fn said(&mut self, object: &mut Object, documented: &str, column: String, kind: Kind) {
        let (sent, truth) = value(kind, self.choices);
        self.send(object, documented, column, sent, truth);
    }

    pub(crate) fn send(&mut self, object: &mut Object, documented: &str, column: String, sent: Sent, truth: String) {
        let others = spellings(documented);
        if self.oddly(2) && others.len() > 1 {
            let rival = others[1 + self.choices.below(others.len() - 1)].clone();
            let is_first = self.choices.percent(50);
            if is_first {
                object.push(documented, sent.clone());
            }
            self.aside(object, &rival, Sent::text("of a key less trusted"));
            if !is_first {
                object.push(documented, sent);
            }
        } else {
            let key = self.spelt(documented);
            object.push(&key, sent);
        }
        self.fact(column, truth);
    }

    /// A list of what may be objects. Each element says at which ordinal it stands and where; `None` is one that
    /// says nothing.
    pub(crate) fn list(
        &mut self,
        object: &mut Object,
        documented: &str,
        most: usize,
        mut element: impl FnMut(&mut Self, usize, String) -> Sent,
    ) {
        let count = self.choices.below(most + 1);
        let key = self.spelt(documented);
        if count == 0 {
            match self.choices.below(4) {
                0 | 1 => {}
                2 => object.push(&key, Sent::Null),
                _ => object.push(&key, Sent::List(Vec::new())),
            }
            return;
        }
        let list = object.at(&key);
        let mut elements = Vec::with_capacity(count);
        for place in 0..count {
            elements.push(element(self, place + 1, format!("{list}[{place}]")));
        }
        match elements.as_slice() {
            // One value is a list of one.
            [only] if !matches!(only, Sent::List(_)) && self.oddly(20) => object.push(&key, only.clone()),
            _ => object.push(&key, Sent::List(elements)),
        }
    }

    /// An element that can be no row, whole in `extra`.
    pub(crate) fn no_row(&mut self, path: String, element: Sent) -> Sent {
        self.truth.misfits += 1;
        self.truth.extra.insert(path, element.clone());
        element
    }

    fn record(&mut self) -> Sent {
        use Kind::{Boolean, Decimal, Integer, Key, Milliseconds, Text, Time};
        let mut record = Object::new("");
        self.fact("contacts".to_owned(), "a row");
        self.field(&mut record, "src", contacts("source"), Text);
        self.said(&mut record, "Conversation ID", contacts("conversation_id"), Key);
        let (sent, truth) = start(self.choices);
        self.send(&mut record, "Conversation Start Time", contacts("started_at"), sent, truth);
        self.score(&mut record);
        for (key, column, kind) in [
            ("customConversationId", "custom_conversation_id", Text),
            ("Channel", "channel", Text),
            ("contactDirection", "direction", Text),
            ("Conversation End Time", "ended_at", Time),
            ("Duration", "duration_ms", Milliseconds),
            ("Language", "language", Text),
            ("duration_status", "duration_status", Text),
            ("Sentiment", "sentiment", Text),
            ("Sentiment Score", "sentiment_score", Decimal),
            ("Pass Score", "pass_score", Decimal),
            ("Fatal Errors", "fatal_error_count", Integer),
            ("IsChurnRiskObserved", "is_churn_risk", Boolean),
            ("IsEscalationObserved", "is_escalation", Boolean),
            ("Taxonomy Resolution", "taxonomy_resolution", Text),
            ("Customer talk ratio percentage", "customer_talk_pct", Decimal),
            ("Agent talk ratio percentage", "agent_talk_pct", Decimal),
            ("Silence percentage", "silence_pct", Decimal),
            ("Evaluation Form Name", "form_name", Key),
            ("Evaluation Form Scoring Type", "scoring_type", Key),
            ("Audit Status", "audit_status", Text),
            ("Audit Score", "audit_score", Decimal),
            ("Audit Date", "audited_at", Time),
            ("Auditor Name", "auditor_name", Text),
        ] {
            self.field(&mut record, key, contacts(column), kind);
        }
        self.parts(&mut record, "Sentiment Pattern", |builder, pattern| {
            builder.field(pattern, "start", contacts("sentiment_start"), Text);
            builder.field(pattern, "end", contacts("sentiment_end"), Text);
        });
        self.parts(&mut record, "Sentiment Ratio", |builder, ratio| {
            for (key, column) in
                [("positive", "positive_pct"), ("neutral", "neutral_pct"), ("negative", "negative_pct")]
            {
                builder.field(ratio, key, contacts(column), Decimal);
            }
        });
        self.custom_fields(&mut record);
        if self.choices.percent(20) {
            let urls = Sent::List(vec![Sent::text("https://recordings.example/1.wav")]);
            let key = self.choices.word(&["agentRecordings", "customerRecordings", "is_direction_defaulted"]);
            self.aside(&mut record, key, urls);
        }
        self.agents(&mut record);
        self.queues(&mut record);
        self.metrics(&mut record);
        self.emotions(&mut record);
        self.speaking_rates(&mut record);
        self.intents(&mut record);
        self.parts(&mut record, "Configured_Intents", |builder, configured| {
            builder.field(configured, "total_topics_identified", contacts("total_topics_identified"), Integer);
            builder.topics(configured);
        });
        self.unknown(&mut record);
        record.sent()
    }

    /// Without a score the vendor still says that a contact has not passed, which then means nothing.
    fn score(&mut self, record: &mut Object) {
        self.field(record, "Kore Evaluation Score", contacts("evaluation_score"), Kind::Decimal);
        if self.truth.facts.contains_key("contacts.evaluation_score") {
            self.field(record, "IsPassed", contacts("is_passed"), Kind::Boolean);
        } else if self.choices.percent(70) {
            record.push("IsPassed", Sent::Bool(false));
        } else if self.oddly(30) {
            self.aside(record, "IsPassed", Sent::Bool(true));
        }
    }

    fn custom_fields(&mut self, record: &mut Object) {
        let key = self.spelt("custom_fields");
        if self.choices.percent(50) {
            if let Some(word) = nothing(self.choices) {
                record.push(&key, word);
            }
            return;
        }
        let sent = if self.oddly(10) {
            Sent::List(vec![Sent::anything(self.choices, 1)])
        } else {
            let count = self.choices.below(4);
            let names = ["order", "Kundennr.", "tier \"gold\""];
            Sent::Object(names[..count].iter().map(|n| ((*n).to_owned(), Sent::anything(self.choices, 1))).collect())
        };
        record.push(&key, sent.clone());
        self.truth.custom_fields = Some(sent);
    }

    /// An object within the record whose fields are columns of the contact.
    fn parts(&mut self, record: &mut Object, documented: &str, fill: impl FnOnce(&mut Self, &mut Object)) {
        let key = self.spelt(documented);
        if self.choices.percent(30) {
            if let Some(word) = nothing(self.choices) {
                record.push(&key, word);
            }
        } else if self.oddly(3) {
            self.misfit(record, &key, Sent::text("in one word"));
        } else {
            let mut part = Object::new(record.at(&key));
            fill(self, &mut part);
            self.unknown(&mut part);
            record.push(&key, part.sent());
        }
    }
}

fn contacts(column: &str) -> String {
    format!("contacts.{column}")
}
