//! The lists of a valid record: agents, queues, metrics with their reasons, emotions, rates, intents and topics.

use crate::record::{Builder, Object};
use crate::rows::moment;
use crate::tree::{Sent, text};
use crate::values::{Kind, value};

/// One name, or those of the topics above and its own.
type Names<'n> = &'n [String];

impl Builder<'_, '_> {
    /// One that says nothing has no row, and the others keep their ordinals.
    fn nobody(&mut self) -> Option<Sent> {
        self.oddly(4).then(|| if self.choices.percent(50) { Sent::Null } else { Sent::text("NA") })
    }

    /// Parts of a natural key, of which one at least says something.
    fn natural_key(&mut self, object: &mut Object, row: &str, parts: &[(&str, &str)]) {
        let surely = self.choices.below(parts.len());
        for (place, (key, column)) in parts.iter().enumerate() {
            let column = format!("{row}.{column}");
            if place == surely {
                self.said(object, key, column, Kind::Key);
            } else {
                self.field(object, key, column, Kind::Key);
            }
        }
    }

    pub(crate) fn agents(&mut self, record: &mut Object) {
        let mut is_primary = true;
        self.list(record, "Agents", 3, |b, ordinal, path| {
            if let Some(nobody) = b.nobody() {
                return nobody;
            }
            if b.oddly(3) {
                return b.no_row(path, Sent::text("Anna Bold"));
            }
            let row = format!("contact_agents[{ordinal}]");
            b.fact(row.clone(), "a row");
            b.fact(format!("{row}.is_primary"), std::mem::take(&mut is_primary).to_string());
            let mut agent = Object::new(path);
            let parts = [("agentId", "agent_id"), ("Agent Name", "agent_name"), ("Agent Email", "agent_email")];
            b.natural_key(&mut agent, &row, &parts);
            b.field(&mut agent, "Agent Start Time", format!("{row}.agent_started_at"), Kind::Time);
            b.field(&mut agent, "Crutch Word Score", format!("{row}.crutch_word_score"), Kind::Decimal);
            b.field(&mut agent, "Empathy Score", format!("{row}.empathy_score"), Kind::Decimal);
            b.unknown(&mut agent);
            agent.sent()
        });
    }

    pub(crate) fn queues(&mut self, record: &mut Object) {
        let mut is_primary = true;
        self.list(record, "Queues", 2, |b, ordinal, path| {
            if let Some(nobody) = b.nobody() {
                return nobody;
            }
            let row = format!("contact_queues[{ordinal}]");
            b.fact(row.clone(), "a row");
            b.fact(format!("{row}.is_primary"), std::mem::take(&mut is_primary).to_string());
            let mut queue = Object::new(path);
            b.natural_key(&mut queue, &row, &[("Queue ID", "queue_id"), ("Queue Name", "queue_name")]);
            b.unknown(&mut queue);
            queue.sent()
        });
    }

    pub(crate) fn metrics(&mut self, record: &mut Object) {
        self.list(record, "Metrics", 3, |b, ordinal, path| {
            if let Some(nobody) = b.nobody() {
                return nobody;
            }
            if b.oddly(3) {
                let nameless = Sent::Object(vec![("Qualification".to_owned(), Sent::text("YES"))]);
                return b.no_row(path, nameless);
            }
            let row = format!("contact_metrics[{ordinal}]");
            b.fact(row.clone(), "a row");
            let mut metric = Object::new(path);
            b.natural_key(&mut metric, &row, &[("Metric ID", "metric_id"), ("Metric Name", "metric_name")]);
            for (key, column, kind) in [
                ("Metric Weight", "weight", Kind::Decimal),
                ("Metric Negative Weight", "negative_weight", Kind::Decimal),
                ("Qualification", "qualification", Kind::Qualification),
                ("isFatalError", "is_fatal_error", Kind::Boolean),
                ("Auditor Response", "auditor_response", Kind::Text),
            ] {
                b.field(&mut metric, key, format!("{row}.{column}"), kind);
            }
            for (key, kind) in [("justification", "justification"), ("triggerJustification", "trigger")] {
                b.list(&mut metric, key, 2, |b, ordinal, path| {
                    b.justification(&format!("{row}.{kind}[{ordinal}]"), path)
                });
            }
            b.unknown(&mut metric);
            metric.sent()
        });
    }

    fn justification(&mut self, row: &str, path: String) -> Sent {
        if let Some(nobody) = self.nobody() {
            return nobody;
        }
        self.fact(row.to_owned(), "a row");
        if self.oddly(8) {
            let words = text(self.choices);
            self.fact(format!("{row}.justification"), &*words);
            return Sent::Text(words);
        }
        let mut entry = Object::new(path);
        for (key, column) in [
            ("justification", "justification"),
            ("sourceSystemValue", "source_system_value"),
            ("agentMentionedValue", "agent_mentioned_value"),
            ("AgentEntity", "agent_entity"),
        ] {
            self.field(&mut entry, key, format!("{row}.{column}"), Kind::Text);
        }
        self.places(&mut entry, "message_id", row, "message_id", Kind::Text);
        self.places(&mut entry, "timestamp", row, "message_at", Kind::Time);
        self.unknown(&mut entry);
        entry.sent()
    }

    /// One of the two lists that are paired by place: each place that says something makes a row, or is part of one.
    fn places(&mut self, entry: &mut Object, key: &str, row: &str, column: &str, kind: Kind) {
        self.list(entry, key, 3, |b, ordinal, path| {
            if let Some(nobody) = b.nobody() {
                return nobody;
            }
            if b.oddly(3) {
                return b.no_row(path, Sent::Object(Vec::new()));
            }
            let (sent, truth) = if kind == Kind::Time && b.choices.percent(70) {
                let ms = b.choices.between(1_500_000_000_000, 2_000_000_000_000);
                (Sent::number(ms), moment(ms * 1_000))
            } else {
                value(kind, b.choices)
            };
            b.fact(format!("{row}.messages[{ordinal}]"), "a row");
            b.fact(format!("{row}.messages[{ordinal}].{column}"), truth);
            sent
        });
    }

    pub(crate) fn emotions(&mut self, record: &mut Object) {
        for (key, speaker) in [("Emotions", "contact"), ("Customer emotions", "customer"), ("Agent emotions", "agent")]
        {
            self.list(record, key, 2, |b, ordinal, path| {
                if let Some(nobody) = b.nobody() {
                    return nobody;
                }
                let row = format!("contact_emotions.{speaker}[{ordinal}]");
                let is_bare = b.choices.percent(if speaker == "contact" { 90 } else { 10 });
                if b.oddly(3) {
                    let nameless = Sent::Object(vec![("duration".to_owned(), Sent::number(7))]);
                    return b.no_row(path, nameless);
                }
                b.fact(row.clone(), "a row");
                if is_bare {
                    let (sent, truth) = value(Kind::Label, b.choices);
                    b.fact(format!("{row}.emotion"), truth);
                    return sent;
                }
                let mut emotion = Object::new(path);
                b.said(&mut emotion, "emotion", format!("{row}.emotion"), Kind::Label);
                b.field(&mut emotion, "duration", format!("{row}.duration_ms"), Kind::DecimalMilliseconds);
                b.field(&mut emotion, "proportion", format!("{row}.proportion_pct"), Kind::Decimal);
                b.unknown(&mut emotion);
                emotion.sent()
            });
        }
    }

    pub(crate) fn speaking_rates(&mut self, record: &mut Object) {
        self.list(record, "Speaking Rate", 2, |b, ordinal, path| {
            let row = format!("speaking_rates[{ordinal}]");
            b.fact(row.clone(), "a row");
            let mut rate = Object::new(path);
            for (key, column, kind) in [
                ("source", "speaker", Kind::Text),
                ("sourceId", "source_id", Kind::Text),
                ("messageId", "message_id", Kind::Text),
                ("msg_timestamp", "message_at", Kind::Time),
                ("start", "start_offset_ms", Kind::Milliseconds),
                ("nWords", "word_count", Kind::Integer),
                ("timeTaken", "time_taken_seconds", Kind::Decimal),
                ("average", "words_per_minute", Kind::Decimal),
                ("score", "score", Kind::Decimal),
            ] {
                b.field(&mut rate, key, format!("{row}.{column}"), kind);
            }
            b.unknown(&mut rate);
            rate.sent()
        });
    }

    pub(crate) fn intents(&mut self, record: &mut Object) {
        self.list(record, "Generated Intents", 2, |b, ordinal, path| {
            let row = format!("generated_intents[{ordinal}]");
            b.fact(row.clone(), "a row");
            let mut intent = Object::new(path);
            b.field(&mut intent, "intent", format!("{row}.intent"), Kind::Text);
            b.field(&mut intent, "topic", format!("{row}.topic"), Kind::Text);
            b.field(&mut intent, "Sentiment", format!("{row}.sentiment"), Kind::Text);
            b.field(&mut intent, "Sentiment Score", format!("{row}.sentiment_score"), Kind::Decimal);
            b.list(&mut intent, "keywords", 3, |b, ordinal, path| {
                if let Some(nobody) = b.nobody() {
                    return nobody;
                }
                if b.oddly(3) {
                    return b.no_row(path, Sent::List(vec![Sent::text("nested")]));
                }
                let (sent, truth) = value(Kind::Text, b.choices);
                b.fact(format!("{row}.keywords[{ordinal}]"), "a row");
                b.fact(format!("{row}.keywords[{ordinal}].keyword"), truth);
                sent
            });
            b.intent_emotions(&mut intent, &row);
            b.unknown(&mut intent);
            intent.sent()
        });
    }

    /// A column that is a list: none at all is not the same as an empty one.
    fn intent_emotions(&mut self, intent: &mut Object, row: &str) {
        let key = self.spelt("emotions");
        match self.choices.below(4) {
            0 => {}
            1 => intent.push(&key, Sent::Null),
            _ => {
                let count = self.choices.below(3);
                let mut elements = Vec::new();
                for place in 0..count {
                    let (sent, truth) = value(Kind::Text, self.choices);
                    self.fact(format!("{row}.emotions.{place}"), truth);
                    elements.push(sent);
                }
                self.fact(format!("{row}.emotions"), count.to_string());
                intent.push(&key, Sent::List(elements));
            }
        }
    }

    pub(crate) fn topics(&mut self, configured: &mut Object) {
        let mut met = 0;
        self.list(configured, "topics", 2, |b, _, path| b.topic(&mut met, None, &[], path));
    }

    /// A topic and those below it; `met` counts all of them, depth first.
    fn topic(&mut self, met: &mut usize, parent: Option<usize>, above: Names<'_>, path: String) -> Sent {
        *met += 1;
        let ordinal = *met;
        if self.oddly(3) {
            return self.no_row(path, Sent::text("no topic"));
        }
        let row = format!("contact_topics[{ordinal}]");
        self.fact(row.clone(), "a row");
        if let Some(parent) = parent {
            self.fact(format!("{row}.parent_ordinal"), parent.to_string());
        }
        let mut topic = Object::new(path);
        let level = above.len() + 1;
        let name_column = format!("{row}.l{level}_name");
        self.said(&mut topic, "topic_name", name_column.clone(), Kind::Key);
        let mut names = above.to_vec();
        names.extend(self.truth.facts.get(&name_column).cloned());
        for (place, name) in above.iter().enumerate() {
            self.fact(format!("{row}.l{}_name", place + 1), &**name);
        }
        match self.choices.below(4) {
            1 => topic.push("level", Sent::Text(format!("L{level}"))),
            2 => topic.push("level", Sent::digits(&level.to_string())),
            3 if self.oddly(10) => self.misfit(&mut topic, "level", Sent::Text(format!("L{}", level + 1))),
            _ => {}
        }
        self.field(&mut topic, "confidence_score", format!("{row}.confidence_score"), Kind::Decimal);
        self.topic_sentiment(&mut topic, &row);
        self.field(&mut topic, "resolution", format!("{row}.is_resolved"), Kind::Boolean);
        let lists = ["L2_topics", "L3_topics"];
        if let Some(below) = lists.get(level - 1) {
            self.list(&mut topic, below, 2, |b, _, path| b.topic(met, Some(ordinal), &names, path));
        }
        if self.oddly(3) {
            // The list of a level that cannot stand here.
            let stranger = if level == 1 { lists[1] } else { lists[0] };
            let list = Sent::List(vec![Sent::Object(vec![("topic_name".to_owned(), Sent::text("Out of place"))])]);
            self.know_unknown(&topic, stranger, &list);
            self.aside(&mut topic, stranger, list);
        }
        self.unknown(&mut topic);
        topic.sent()
    }

    /// The score goes by two names, of which `sentiment` counts.
    fn topic_sentiment(&mut self, topic: &mut Object, row: &str) {
        let column = format!("{row}.sentiment_score");
        self.field(topic, "sentiment", column.clone(), Kind::Decimal);
        if self.oddly(10) {
            if self.truth.facts.contains_key(&column) {
                self.aside(topic, "Sentiment Score", Sent::number(3));
            } else {
                self.said(topic, "Sentiment Score", column, Kind::Decimal);
            }
        }
    }
}
