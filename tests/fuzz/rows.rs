//! The rows of a contact as facts: column by column, so that they can be held against what was sent.
//!
//! Each struct is taken apart whole, so that a new column cannot be forgotten here.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use koresync::domain::Decimal;
use koresync::domain::rows::{
    Agent, Contact, ContactAgent, ContactEmotion, ContactMetric, ContactQueue, ContactTopic, EvaluationForm,
    GeneratedIntent, IntentKeyword, JustificationMessage, Metric, MetricJustification, Queue, SpeakingRate, Text,
    Topic,
};

/// Table, row and column to value. A row is a fact by itself, as one of nothing but NULLs is.
pub type Facts = BTreeMap<String, String>;

/// A decimal number by its digits: sign, all digits, and how many of them stand after the point.
pub fn digits(mantissa: i64, scale: usize) -> String {
    format!("{mantissa}/{scale}")
}

/// A moment in microseconds since 1970.
pub fn moment(micros: i64) -> String {
    format!("{micros} us")
}

struct Row<'f> {
    facts: &'f mut Facts,
    name: String,
}

impl Row<'_> {
    fn set<T>(&mut self, column: &str, value: Option<T>, text: impl FnOnce(T) -> String) {
        if let Some(value) = value {
            self.facts.insert(format!("{}.{column}", self.name), text(value));
        }
    }

    fn text(&mut self, column: &str, value: Option<&Text<'_>>) {
        self.set(column, value, |text| text.clone().into_owned());
    }

    fn decimal(&mut self, column: &str, value: Option<Decimal>) {
        self.set(column, value, |number| digits(number.mantissa(), number.scale().into()));
    }

    fn number<T: ToString>(&mut self, column: &str, value: Option<T>) {
        self.set(column, value, |number| number.to_string());
    }

    fn time(&mut self, column: &str, value: Option<DateTime<Utc>>) {
        self.set(column, value, |time| moment(time.timestamp_micros()));
    }
}

fn row(facts: &mut Facts, name: String) -> Row<'_> {
    facts.insert(name.clone(), "a row".to_owned());
    Row { facts, name }
}

/// All but `custom_fields` and `extra`, which are JSON.
pub fn facts(contact: &Contact<'_>) -> Facts {
    let Contact {
        conversation_id,
        custom_conversation_id,
        source,
        channel,
        direction,
        started_at,
        ended_at,
        duration_ms,
        language,
        duration_status,
        sentiment,
        sentiment_score,
        sentiment_start,
        sentiment_end,
        positive_pct,
        neutral_pct,
        negative_pct,
        evaluation_score,
        evaluation_form,
        pass_score,
        is_passed,
        fatal_error_count,
        is_churn_risk,
        is_escalation,
        taxonomy_resolution,
        customer_talk_pct,
        agent_talk_pct,
        silence_pct,
        total_topics_identified,
        audit_status,
        audit_score,
        audited_at,
        auditor_name,
        custom_fields: _,
        extra: _,
        agents,
        queues,
        metrics,
        emotions,
        speaking_rates,
        intents,
        topics,
    } = contact;
    let mut facts = Facts::new();
    let mut c = row(&mut facts, "contacts".to_owned());
    c.text("conversation_id", Some(conversation_id));
    c.text("custom_conversation_id", custom_conversation_id.as_ref());
    c.text("source", source.as_ref());
    c.text("channel", channel.as_ref());
    c.text("direction", direction.as_ref());
    c.time("started_at", Some(*started_at));
    c.time("ended_at", *ended_at);
    c.number("duration_ms", *duration_ms);
    c.text("language", language.as_ref());
    c.text("duration_status", duration_status.as_ref());
    c.text("sentiment", sentiment.as_ref());
    c.decimal("sentiment_score", *sentiment_score);
    c.text("sentiment_start", sentiment_start.as_ref());
    c.text("sentiment_end", sentiment_end.as_ref());
    c.decimal("positive_pct", *positive_pct);
    c.decimal("neutral_pct", *neutral_pct);
    c.decimal("negative_pct", *negative_pct);
    c.decimal("evaluation_score", *evaluation_score);
    if let Some(EvaluationForm { form_name, scoring_type }) = evaluation_form {
        c.text("form_name", form_name.as_ref());
        c.text("scoring_type", scoring_type.as_ref());
    }
    c.decimal("pass_score", *pass_score);
    c.number("is_passed", *is_passed);
    c.number("fatal_error_count", *fatal_error_count);
    c.number("is_churn_risk", *is_churn_risk);
    c.number("is_escalation", *is_escalation);
    c.text("taxonomy_resolution", taxonomy_resolution.as_ref());
    c.decimal("customer_talk_pct", *customer_talk_pct);
    c.decimal("agent_talk_pct", *agent_talk_pct);
    c.decimal("silence_pct", *silence_pct);
    c.number("total_topics_identified", *total_topics_identified);
    c.text("audit_status", audit_status.as_ref());
    c.decimal("audit_score", *audit_score);
    c.time("audited_at", *audited_at);
    c.text("auditor_name", auditor_name.as_ref());
    people(&mut facts, agents, queues);
    for metric in metrics {
        self::metric(&mut facts, metric);
    }
    for emotion in emotions {
        self::emotion(&mut facts, emotion);
    }
    for rate in speaking_rates {
        speaking_rate(&mut facts, rate);
    }
    for intent in intents {
        self::intent(&mut facts, intent);
    }
    for topic in topics {
        self::topic(&mut facts, topic);
    }
    facts
}

fn people(facts: &mut Facts, agents: &[ContactAgent<'_>], queues: &[ContactQueue<'_>]) {
    for ContactAgent { ordinal, agent, agent_started_at, crutch_word_score, empathy_score, is_primary } in agents {
        let Agent { agent_id, agent_name, agent_email } = agent;
        let mut a = row(facts, format!("contact_agents[{ordinal}]"));
        a.text("agent_id", agent_id.as_ref());
        a.text("agent_name", agent_name.as_ref());
        a.text("agent_email", agent_email.as_ref());
        a.time("agent_started_at", *agent_started_at);
        a.decimal("crutch_word_score", *crutch_word_score);
        a.decimal("empathy_score", *empathy_score);
        a.number("is_primary", Some(*is_primary));
    }
    for ContactQueue { ordinal, queue: Queue { queue_id, queue_name }, is_primary } in queues {
        let mut q = row(facts, format!("contact_queues[{ordinal}]"));
        q.text("queue_id", queue_id.as_ref());
        q.text("queue_name", queue_name.as_ref());
        q.number("is_primary", Some(*is_primary));
    }
}

fn metric(facts: &mut Facts, metric: &ContactMetric<'_>) {
    let ContactMetric {
        ordinal,
        metric: Metric { metric_id, metric_name },
        weight,
        negative_weight,
        qualification,
        is_fatal_error,
        auditor_response,
        justifications,
    } = metric;
    let name = format!("contact_metrics[{ordinal}]");
    let mut m = row(facts, name.clone());
    m.text("metric_id", metric_id.as_ref());
    m.text("metric_name", metric_name.as_ref());
    m.decimal("weight", *weight);
    m.decimal("negative_weight", *negative_weight);
    m.text("qualification", qualification.as_ref());
    m.number("is_fatal_error", *is_fatal_error);
    m.text("auditor_response", auditor_response.as_ref());
    for entry in justifications {
        let MetricJustification {
            kind,
            ordinal,
            justification,
            source_system_value,
            agent_mentioned_value,
            agent_entity,
            messages,
        } = entry;
        let name = format!("{name}.{}[{ordinal}]", kind.as_str());
        let mut j = row(facts, name.clone());
        j.text("justification", justification.as_ref());
        j.text("source_system_value", source_system_value.as_ref());
        j.text("agent_mentioned_value", agent_mentioned_value.as_ref());
        j.text("agent_entity", agent_entity.as_ref());
        for JustificationMessage { ordinal, message_id, message_at } in messages {
            let mut m = row(facts, format!("{name}.messages[{ordinal}]"));
            m.text("message_id", message_id.as_ref());
            m.time("message_at", *message_at);
        }
    }
}

fn emotion(facts: &mut Facts, emotion: &ContactEmotion<'_>) {
    let ContactEmotion { speaker, ordinal, emotion, duration_ms, proportion_pct } = emotion;
    let mut e = row(facts, format!("contact_emotions.{}[{ordinal}]", speaker.as_str()));
    e.text("emotion", Some(emotion));
    e.decimal("duration_ms", *duration_ms);
    e.decimal("proportion_pct", *proportion_pct);
}

fn speaking_rate(facts: &mut Facts, rate: &SpeakingRate<'_>) {
    let SpeakingRate {
        ordinal,
        speaker,
        source_id,
        message_id,
        message_at,
        start_offset_ms,
        word_count,
        time_taken_seconds,
        words_per_minute,
        score,
    } = rate;
    let mut r = row(facts, format!("speaking_rates[{ordinal}]"));
    r.text("speaker", speaker.as_ref());
    r.text("source_id", source_id.as_ref());
    r.text("message_id", message_id.as_ref());
    r.time("message_at", *message_at);
    r.number("start_offset_ms", *start_offset_ms);
    r.number("word_count", *word_count);
    r.decimal("time_taken_seconds", *time_taken_seconds);
    r.decimal("words_per_minute", *words_per_minute);
    r.decimal("score", *score);
}

fn intent(facts: &mut Facts, intent: &GeneratedIntent<'_>) {
    let GeneratedIntent { ordinal, intent, topic, sentiment, sentiment_score, emotions, keywords } = intent;
    let name = format!("generated_intents[{ordinal}]");
    let mut i = row(facts, name.clone());
    i.text("intent", intent.as_ref());
    i.text("topic", topic.as_ref());
    i.text("sentiment", sentiment.as_ref());
    i.decimal("sentiment_score", *sentiment_score);
    i.number("emotions", emotions.as_ref().map(Vec::len));
    for (place, emotion) in emotions.iter().flatten().enumerate() {
        i.text(&format!("emotions.{place}"), Some(emotion));
    }
    for IntentKeyword { ordinal, keyword } in keywords {
        row(facts, format!("{name}.keywords[{ordinal}]")).text("keyword", Some(keyword));
    }
}

fn topic(facts: &mut Facts, topic: &ContactTopic<'_>) {
    let ContactTopic { ordinal, parent_ordinal, topic, confidence_score, sentiment_score, is_resolved } = topic;
    let Topic { l1_name, l2_name, l3_name } = topic;
    let mut t = row(facts, format!("contact_topics[{ordinal}]"));
    t.number("parent_ordinal", *parent_ordinal);
    t.text("l1_name", Some(l1_name));
    t.text("l2_name", l2_name.as_ref());
    t.text("l3_name", l3_name.as_ref());
    t.decimal("confidence_score", *confidence_score);
    t.decimal("sentiment_score", *sentiment_score);
    t.number("is_resolved", *is_resolved);
}
