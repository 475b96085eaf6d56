//! A contact as the record that the vendor sends: in one of its spellings, with each of its ways of
//! saying that something is not reported, and drifted or malformed where that befalls the contact.

mod fields;

use chrono::DateTime;

use self::fields::{Record, nested};
use super::contact::{Contact, Emotion, Intent, Justification, MetricResult, SpeakingRate, Topic};
use super::lifecycle::Malformation;
use super::vendor::Manner;

/// The record as a JSON object; not valid JSON when it is malformed so.
pub fn record(contact: &Contact, manner: Manner) -> String {
    let mut record = Record::new(manner);
    record.contact(contact);
    record.json.into_string()
}

/// `2026-03-23T10:18:43.396Z`
pub fn time_text(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).unwrap_or_default().format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

impl Record {
    fn contact(&mut self, contact: &Contact) {
        nested!(self, '{', '}', {
            self.identity(contact);
            self.judgement(contact);
            self.sentiment(contact);
            self.evaluation(contact);
            self.intents(&contact.intents);
            self.topics(contact);
            self.audit(contact);
            self.unknown("modelVersion");
            self.unknown("_internal flags");
        });
    }

    fn identity(&mut self, contact: &Contact) {
        self.text("src", contact.source.as_deref());
        if self.is(Malformation::LoneSurrogate) {
            self.json.key("customConversationId");
            self.json.raw("\"left\\ud800right\"");
        } else {
            self.text("customConversationId", contact.custom_conversation_id.as_deref());
        }
        if self.is(Malformation::NoId) {
            if self.dice.percent(60) {
                self.key("Conversation ID");
                let id = *self.dice.pick(&["null", "\"\"", "\"NA\"", "{\"id\":1}", "[]"]);
                self.json.raw(id);
            }
        } else {
            self.text("Conversation ID", Some(&contact.conversation_id));
        }
        if self.is(Malformation::BadStart) {
            if self.dice.percent(70) {
                self.key("Conversation Start Time");
                let start = *self.dice.pick(&[
                    "\"yesterday\"",
                    "\"2026-02-30T10:00:00.000Z\"",
                    "null",
                    "\"2199-01-01T00:00:00.000Z\"",
                    "[]",
                ]);
                self.json.raw(start);
            }
        } else {
            self.time("Conversation Start Time", Some(contact.started_at));
        }
        if self.is(Malformation::ImpossibleDate) {
            self.key("Conversation End Time");
            self.json.raw("\"2026-02-30T10:19:04.612Z\"");
        } else {
            self.time("Conversation End Time", contact.ended_at);
        }
        if self.is(Malformation::NulCharacter) {
            self.json.key("Language");
            self.json.raw("\"Eng\\u0000lish\"");
        } else {
            self.text("Language", contact.language.as_deref());
        }
        match contact.duration_ms {
            Some(ms) if self.dice.percent(60) => {
                self.key("Duration");
                self.json.quoted(&format!("{ms} milliseconds"));
            }
            other => self.whole("Duration", other),
        }
        self.text("Channel", contact.channel.as_deref());
        self.text("contactDirection", contact.direction.as_deref());
        if contact.direction.is_some() && self.dice.percent(50) {
            self.json.key("is_direction_defaulted");
            self.json.raw("false");
        }
        self.objects("Queues", &contact.queues, |record, queue| {
            record.text("Queue ID", queue.id.as_deref());
            record.text("Queue Name", Some(&queue.name));
        });
        self.objects("Agents", &contact.agents, |record, part| {
            let id_key = if record.dice.percent(85) { "agentId" } else { "Agent ID" };
            record.text(id_key, part.agent.id.as_deref());
            record.text("Agent Name", Some(&part.agent.name));
            record.time("Agent Start Time", part.started_at);
            record.text("Agent Email", part.agent.email.as_deref());
            record.number("Crutch Word Score", part.crutch_word_score);
            record.number("Empathy Score", part.empathy_score);
            record.unknown("shift");
        });
        if let Some(fields) = &contact.custom_fields {
            self.json.key("custom_fields");
            nested!(self, '{', '}', {
                for (name, value) in fields {
                    self.json.key(name);
                    self.json.quoted(value);
                }
            });
        }
        if !contact.recordings.is_empty() {
            self.texts("agentRecordings", &contact.recordings);
        }
    }

    fn judgement(&mut self, contact: &Contact) {
        match contact.evaluation_score {
            None if self.dice.percent(80) => {
                self.key("Kore Evaluation Score");
                self.json.raw("\"NA\"");
            }
            score => self.number("Kore Evaluation Score", score),
        }
        self.boolean("IsChurnRiskObserved", contact.is_churn_risk);
        self.boolean("IsEscalationObserved", contact.is_escalation);
        if self.is(Malformation::OutOfRange) {
            self.key("Fatal Errors");
            self.json.raw("99999999999999999999");
        } else {
            self.whole("Fatal Errors", contact.fatal_error_count);
        }
        match contact.taxonomy_resolution.as_deref() {
            Some(word @ ("true" | "false")) if self.dice.percent(50) => {
                self.key("Taxonomy Resolution");
                self.json.raw(word);
            }
            word => self.text("Taxonomy Resolution", word),
        }
        self.text("duration_status", contact.duration_status.as_deref());
        self.number("Customer talk ratio percentage", contact.customer_talk_pct);
        self.number("Agent talk ratio percentage", contact.agent_talk_pct);
        self.number("Silence percentage", contact.silence_pct);
        self.speaking_rates(&contact.speaking_rates);
    }

    fn speaking_rates(&mut self, rates: &[SpeakingRate]) {
        let key = if self.dice.percent(85) { "Speaking Rate" } else { "speechSpeed" };
        if rates.is_empty() && self.dice.percent(30) {
            self.key(key);
            return self.json.raw("null");
        }
        self.objects(key, rates, |record, rate| {
            record.whole("nWords", rate.word_count);
            record.number("timeTaken", rate.time_taken_seconds);
            record.number("average", rate.words_per_minute);
            record.number("score", rate.score);
            record.text("source", rate.speaker.as_deref());
            record.text("sourceId", rate.source_id.as_deref());
            record.text("messageId", rate.message_id.as_deref());
            record.whole("msg_timestamp", rate.message_at);
            record.whole("start", rate.start_offset_ms);
        });
    }

    fn sentiment(&mut self, contact: &Contact) {
        if self.is(Malformation::ObjectForScalar) {
            self.json.key("Sentiment");
            self.json.raw("{\"label\":\"positive\"}");
        } else {
            self.text("Sentiment", contact.sentiment.as_deref());
        }
        if self.is(Malformation::NotANumber) {
            self.key("Sentiment Score");
            self.json.raw("NaN");
        } else {
            self.number("Sentiment Score", contact.sentiment_score);
        }
        if contact.sentiment_start.is_some() || contact.sentiment_end.is_some() {
            self.key("Sentiment Pattern");
            nested!(self, '{', '}', {
                self.text("start", contact.sentiment_start.as_deref());
                self.text("end", contact.sentiment_end.as_deref());
            });
        }
        if let Some(ratio) = contact.sentiment_ratio {
            self.key("Sentiment Ratio");
            nested!(self, '{', '}', {
                for (key, share) in ["positive", "neutral", "negative"].into_iter().zip(ratio) {
                    self.number(key, Some(share));
                }
            });
        }
        if !contact.emotions.is_empty() || self.dice.percent(50) {
            self.texts("Emotions", &contact.emotions);
        }
        self.emotions("Customer emotions", &contact.customer_emotions);
        self.emotions("Agent emotions", &contact.agent_emotions);
    }

    fn emotions(&mut self, key: &str, emotions: &[Emotion]) {
        self.objects(key, emotions, |record, emotion| {
            record.text("emotion", Some(&emotion.label));
            record.number("duration", emotion.duration_ms);
            record.number("proportion", emotion.proportion_pct);
        });
    }

    fn evaluation(&mut self, contact: &Contact) {
        self.objects("Metrics", &contact.metrics, Self::metric);
        if self.is(Malformation::HugeNumber) {
            self.key("Pass Score");
            self.json.raw("1e400");
        } else {
            self.number("Pass Score", contact.pass_score);
        }
        // Without a score the vendor still says that it is not passed.
        let is_passed = contact.is_passed.or_else(|| self.dice.percent(80).then_some(false));
        self.boolean("IsPassed", is_passed);
        self.text("Evaluation Form Name", contact.form_name.as_deref());
        self.text("Evaluation Form Scoring Type", contact.scoring_type.as_deref());
    }

    fn metric(&mut self, metric: &MetricResult) {
        self.text("Metric ID", metric.id.as_deref());
        self.text("Metric Name", Some(&metric.name));
        self.number("Metric Weight", metric.weight);
        self.number("Metric Negative Weight", metric.negative_weight);
        match metric.qualification.as_deref() {
            Some(word) => self.text("Qualification", Some(word)),
            None => match self.dice.below(3) {
                0 => self.json_pair("Qualification", "\"-\""),
                1 => self.json_pair("Qualification", "null"),
                _ => {}
            },
        }
        self.boolean("isFatalError", metric.is_fatal_error);
        if metric.auditor_response.is_some() {
            self.text("Auditor Response", metric.auditor_response.as_deref());
        }
        self.objects("triggerJustification", &metric.triggers, Self::justification);
        self.objects("justification", &metric.justifications, Self::justification);
        self.unknown("confidence band");
    }

    fn justification(&mut self, entry: &Justification) {
        let ids = &entry.message_ids;
        let times: Vec<String> = entry.message_times.iter().map(i64::to_string).collect();
        let is_by_value = entry.source_system_value.is_some()
            || entry.agent_mentioned_value.is_some()
            || entry.agent_entity.is_some();
        if is_by_value {
            self.text("sourceSystemValue", entry.source_system_value.as_deref());
            self.text("agentMentionedValue", entry.agent_mentioned_value.as_deref());
            self.text("AgentEntity", entry.agent_entity.as_deref());
        } else if let ([id], [time]) = (&ids[..], &times[..])
            && self.dice.percent(40)
        {
            self.text("message_id", Some(id));
            self.json_pair("timestamp", time);
        } else if !ids.is_empty() || self.dice.percent(50) {
            self.texts("message_id", ids);
            self.key("timestamp");
            nested!(self, '[', ']', {
                for time in &times {
                    self.json.item();
                    self.json.raw(time);
                }
            });
        }
        self.text("justification", entry.text.as_deref());
    }

    fn intents(&mut self, intents: &[Intent]) {
        if intents.is_empty() && self.dice.percent(60) {
            return;
        }
        let are_topics = !intents.is_empty() && intents.iter().all(|intent| intent.words.is_none());
        let key = match self.dice.below(10) {
            0 if are_topics => "Topics",
            0 => "Intents",
            _ => "Generated Intents",
        };
        self.objects(key, intents, |record, intent| {
            match &intent.emotions {
                Some(emotions) => record.texts("emotions", emotions),
                None if record.dice.percent(50) => record.json_pair("emotions", "null"),
                None => {}
            }
            record.text("intent", intent.words.as_deref());
            record.text("topic", intent.topic.as_deref());
            record.texts("keywords", &intent.keywords);
            record.text("Sentiment", intent.sentiment.as_deref());
            record.number("Sentiment Score", intent.sentiment_score);
        });
    }

    fn topics(&mut self, contact: &Contact) {
        if contact.topics.is_empty() && contact.total_topics_identified.is_none() {
            if self.dice.percent(30) {
                self.json_pair("Configured_Intents", "{\"topics\":[]}");
            }
            return;
        }
        self.json.key("Configured_Intents");
        nested!(self, '{', '}', {
            self.objects("topics", &contact.topics, |record, topic| record.topic(topic, 1));
            self.whole("total_topics_identified", contact.total_topics_identified);
        });
    }

    fn topic(&mut self, topic: &Topic, level: u8) {
        self.text("topic_name", Some(&topic.name));
        if level == 1 {
            self.json_pair("level", "\"L1\"");
        }
        self.number("confidence_score", topic.confidence_score);
        if level == 3 {
            self.number("sentiment", topic.sentiment_score);
            match topic.is_resolved {
                Some(is_resolved) => self.whole("resolution", Some(i64::from(is_resolved))),
                None => self.nothing("resolution"),
            }
        } else if !topic.below.is_empty() || self.dice.percent(50) {
            let key = if level == 1 { "L2_topics" } else { "L3_topics" };
            self.objects(key, &topic.below, |record, topic| record.topic(topic, level + 1));
        }
    }

    fn audit(&mut self, contact: &Contact) {
        if contact.audit_status.is_none() && self.dice.percent(70) {
            return;
        }
        self.text("Audit Status", contact.audit_status.as_deref());
        self.time("Audit Date", contact.audited_at);
        self.text("Auditor Name", contact.auditor_name.as_deref());
        self.number("Audit Score", contact.audit_score);
    }
}
