//! The model: what the vendor knew at each moment, and the rows that follow from it. It shares no code with what it
//! judges, and is small enough to be seen to be right.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// Milliseconds since the epoch.
pub type Millis = i64;

/// How the vendor lists a contact, if it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    Absent,
    /// The content of this version.
    Well(u32),
    /// A start that is no time: nothing can be made of it.
    Malformed(u32),
}

#[derive(Debug, Clone)]
pub struct Contact {
    pub id: String,
    pub start: Millis,
    pub end: Millis,
    /// From when on it is listed how. A change while the engine is at work may come before or after any of its looks:
    /// it is true from the first moment on, and the one before it up to the second.
    history: Vec<(Millis, Millis, Listing)>,
    scored_from: Option<u32>,
    drifted: BTreeSet<u32>,
    versions: u32,
}

impl Contact {
    pub fn listing(&self) -> Listing {
        self.history.last().map_or(Listing::Absent, |(.., listing)| *listing)
    }

    /// What a look at this moment may have shown.
    pub fn listings_at(&self, moment: Millis) -> Vec<Listing> {
        let settled = self.history.iter().rev().find(|(_, until, _)| *until <= moment);
        let mut possible = vec![settled.map_or(Listing::Absent, |(.., listing)| *listing)];
        possible.extend(
            self.history
                .iter()
                .filter(|(from, until, _)| *from <= moment && moment < *until)
                .map(|(.., listing)| *listing),
        );
        possible
    }

    pub fn was_ever(&self, wanted: impl Fn(Listing) -> bool) -> bool {
        self.history.iter().any(|(.., listing)| wanted(*listing))
    }

    fn number(&self, version: u32, salt: u32) -> u32 {
        let id: u32 = self.id.bytes().map(u32::from).sum();
        (id * 31 + version * 17 + salt * 7) % 101
    }

    fn score(&self, version: u32) -> Option<u32> {
        self.scored_from.is_some_and(|from| version >= from).then(|| 50 + version)
    }

    fn is_drifted(&self, version: u32) -> bool {
        self.drifted.contains(&version)
    }

    fn agents(&self, version: u32) -> Vec<u32> {
        let first = self.number(version, 1);
        (0..=first % 3).map(|i| (first + i) % 6).collect()
    }

    fn metrics(&self, version: u32) -> u32 {
        self.number(version, 2) % 3
    }

    fn topics(&self, version: u32) -> (u32, Option<u32>) {
        let number = self.number(version, 3);
        (number % 4, number.is_multiple_of(2).then_some(number % 3))
    }

    /// The record as the vendor sends it.
    pub fn record(&self) -> Option<Value> {
        let (version, is_malformed) = match self.listing() {
            Listing::Absent => return None,
            Listing::Well(version) => (version, false),
            Listing::Malformed(version) => (version, true),
        };
        let agents: Vec<Value> = self
            .agents(version)
            .iter()
            .map(|agent| json!({"agentId": format!("a-{agent}"), "Agent Name": format!("Agent {agent}")}))
            .collect();
        let metrics: Vec<Value> = (0..self.metrics(version))
            .map(|i| json!({"Metric ID": format!("m-{i}"), "Metric Name": format!("Metric {i}"), "Metric Weight": version * 10 + i}))
            .collect();
        let (first, second) = self.topics(version);
        let below: Vec<Value> = second.iter().map(|name| json!({"topic_name": format!("S{name}")})).collect();
        let mut record = json!({
            "Conversation ID": self.id,
            "Conversation Start Time": moment(self.start),
            "Conversation End Time": moment(self.end),
            "Language": format!("v{version}"),
            "Kore Evaluation Score": self.score(version).map_or(json!("NA"), Value::from),
            "Agents": agents,
            "Queues": [{"Queue ID": format!("q-{}", version % 3), "Queue Name": format!("Queue {}", version % 3)}],
            "Metrics": metrics,
            "Customer emotions": [{"emotion": format!("mood {}", version % 4), "duration": version, "proportion": 100}],
            "Configured_Intents": {"topics": [{"topic_name": format!("T{first}"), "level": "L1", "L2_topics": below}]},
        });
        if is_malformed {
            record["Conversation Start Time"] = json!("the day before");
        }
        if self.is_drifted(version) {
            record["Pass Score"] = json!([version]);
            record["A new key"] = json!(version);
        }
        Some(record)
    }

    /// The rows of a version, in the words of `ROWS`.
    pub fn rows(&self, version: u32) -> BTreeSet<String> {
        let score = self.score(version).map_or("none".to_owned(), |score| score.to_string());
        let extra = if self.is_drifted(version) { "A new key, Pass Score" } else { "none" };
        let mut rows = BTreeSet::from([
            format!("contact v{version} {} {} {score} {extra}", self.start, self.end),
            format!("queue 1 q-{}", version % 3),
            format!("emotion customer 1 mood {} {version} 100", version % 4),
        ]);
        let agents = self.agents(version);
        rows.extend(agents.iter().zip(1..).map(|(agent, ordinal)| format!("agent {ordinal} a-{agent} Agent {agent}")));
        rows.extend((0..self.metrics(version)).map(|i| format!("metric {} m-{i} {}", i + 1, version * 10 + i)));
        let (first, second) = self.topics(version);
        rows.insert(format!("topic 1 none T{first}"));
        rows.extend(second.map(|name| format!("topic 2 1 T{first} > S{name}")));
        rows
    }
}

/// Everything that a warehouse holds of a contact, a text a row.
pub const ROWS: &str = "select c.conversation_id, r.row from kore.contacts c, lateral ( \
      select format('contact %s %s %s %s %s', c.language, (extract(epoch from c.started_at) * 1000)::bigint, \
        (extract(epoch from c.ended_at) * 1000)::bigint, coalesce(trim_scale(c.evaluation_score)::text, 'none'), \
        coalesce((select string_agg(key, ', ' order by key) from jsonb_object_keys(c.extra) key), 'none')) as row \
      union all select format('agent %s %s %s', x.ordinal, a.agent_id, a.agent_name) from kore.contact_agents x join kore.agents a using (agent_key) \
        where x.contact_key = c.contact_key \
      union all select format('queue %s %s', x.ordinal, q.queue_id) from kore.contact_queues x join kore.queues q using (queue_key) \
        where x.contact_key = c.contact_key \
      union all select format('metric %s %s %s', x.ordinal, m.metric_id, trim_scale(x.weight)) from kore.contact_metrics x join kore.metrics m using (metric_key) \
        where x.contact_key = c.contact_key \
      union all select format('emotion %s %s %s %s %s', x.speaker, x.ordinal, e.emotion, trim_scale(x.duration_ms), trim_scale(x.proportion_pct)) \
        from kore.contact_emotions x join kore.emotions e using (emotion_key) where x.contact_key = c.contact_key \
      union all select format('topic %s %s %s', x.ordinal, coalesce(x.parent_ordinal::text, 'none'), concat_ws(' > ', t.l1_name, t.l2_name)) \
        from kore.contact_topics x join kore.topics t using (topic_key) where x.contact_key = c.contact_key) r";

fn moment(at: Millis) -> String {
    let at = chrono::DateTime::from_timestamp_millis(at).expect("a time");
    at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// What is done to a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Content,
    Score,
    Drift,
    Remove,
    Return,
    Malform,
    Heal,
}

/// All contacts that there ever were.
#[derive(Debug, Default)]
pub struct World {
    pub contacts: BTreeMap<String, Contact>,
    /// Spans in which as many contacts went as came while their pages were read: the total stays, each id comes once, and
    /// yet one may have slid through between two pages. No arithmetic can tell; the next look finds it.
    pub deceived: Vec<(Millis, Millis)>,
    /// Spans in which some request failed.
    pub troubled: Vec<(Millis, Millis)>,
}

impl World {
    /// What changed while the engine was at work is as it is from now on.
    pub fn settle(&mut self, now: Millis) {
        for (_, until, _) in self.contacts.values_mut().flat_map(|contact| &mut contact.history) {
            *until = now.min(*until);
        }
        for (_, until) in self.deceived.iter_mut().chain(&mut self.troubled) {
            *until = now.min(*until);
        }
    }

    /// A contact that is listed from now on.
    pub fn add(&mut self, start: Millis, length: Millis, now: (Millis, Millis)) -> String {
        let id = format!("c-{:04}", self.contacts.len());
        let contact = Contact {
            id: id.clone(),
            start,
            end: start + length,
            history: vec![(now.0, now.1, Listing::Well(0))],
            scored_from: None,
            drifted: BTreeSet::new(),
            versions: 0,
        };
        self.contacts.insert(id.clone(), contact);
        id
    }

    pub fn may_deceive(&self, moment: Millis) -> bool {
        self.deceived.iter().any(|(from, until)| (*from..=*until).contains(&moment))
    }

    pub fn is_troubled(&self, moment: Millis) -> bool {
        self.troubled.iter().any(|(from, until)| (*from..=*until).contains(&moment))
    }

    /// Does something to the n-th contact, counted around, where it makes sense. Gives whether it did.
    pub fn change(&mut self, n: usize, change: Change, (from, until): (Millis, Millis)) -> bool {
        let count = self.contacts.len().max(1);
        let Some(contact) = self.contacts.values_mut().nth(n % count) else { return false };
        let next = contact.versions + 1;
        let listing = match (change, contact.listing()) {
            (Change::Return, Listing::Well(_) | Listing::Malformed(_)) | (Change::Heal, Listing::Well(_)) => {
                return false;
            }
            (Change::Return, Listing::Absent) => Listing::Well(next),
            (_, Listing::Absent) => return false,
            (Change::Remove, _) => Listing::Absent,
            (Change::Malform, _) => Listing::Malformed(next),
            _ => Listing::Well(next),
        };
        if listing != Listing::Absent {
            contact.versions = next;
        }
        match change {
            Change::Score if contact.scored_from.is_none() => contact.scored_from = Some(next),
            Change::Drift => {
                contact.drifted.insert(next);
            }
            _ => {}
        }
        contact.history.push((from, until, listing));
        true
    }
}
