//! Integer keys of dimension members: found, made where missing, and remembered.
//!
//! New members are committed by themselves, ahead of the transaction whose rows name them. Made within it, they
//! would be locked batch by batch until its end, and neighbouring windows, which find the same agents and
//! topics new, would deadlock (measured: 6 of them, a second each, in a first load of 20,000 contacts). A window
//! that fails afterwards leaves members without a row, which its next try takes up. A key enters the shared
//! memory after that COMMIT alone: remembered earlier, a rollback would leave keys that no table holds.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use making::{make_emotions, make_forms, make_metrics};

use crate::domain::rows::{Agent, Contact, EvaluationForm, Metric, Queue, Topic};
use crate::warehouse::pool::Pool;

macro_rules! lookup {
    ($self:ident, $map:ident, $key:expr) => {{
        let key = $key;
        $self.known.$map.get(key).or_else(|| $self.found.$map.get(key)).copied()
    }};
}

mod attributes;
mod making;

/// Separates the parts of a natural key; no name holds a control character by accident.
const SEPARATOR: char = '\u{1f}';

fn joined<const N: usize>(parts: [Option<&str>; N]) -> String {
    let mut key = String::new();
    for (place, part) in parts.into_iter().enumerate() {
        if place > 0 {
            key.push(SEPARATOR);
        }
        key.push_str(part.unwrap_or_default());
    }
    key
}

// The natural keys, as the unique indexes of the tables spell them.

fn agent_key(agent: &Agent<'_>) -> String {
    match agent.agent_id.as_deref() {
        Some(id) if !id.is_empty() => joined([Some(id), None, None]),
        _ => joined([None, agent.agent_email.as_deref(), agent.agent_name.as_deref()]),
    }
}

fn queue_key(queue: &Queue<'_>) -> String {
    match queue.queue_id.as_deref() {
        Some(id) if !id.is_empty() => joined([Some(id), None]),
        _ => joined([None, queue.queue_name.as_deref()]),
    }
}

fn form_key(form: &EvaluationForm<'_>) -> String {
    joined([form.form_name.as_deref(), form.scoring_type.as_deref()])
}

fn metric_key(metric: &Metric<'_>) -> String {
    joined([metric.metric_id.as_deref(), metric.metric_name.as_deref()])
}

fn topic_key(topic: &Topic<'_>) -> String {
    joined([Some(&*topic.l1_name), topic.l2_name.as_deref(), topic.l3_name.as_deref()])
}

/// Natural key to integer key, a map a dimension.
#[derive(Debug, Clone, Default)]
struct Maps {
    agents: HashMap<String, i32>,
    queues: HashMap<String, i32>,
    forms: HashMap<String, i32>,
    metrics: HashMap<String, i32>,
    emotions: HashMap<String, i32>,
    topics: HashMap<String, i32>,
}

impl Maps {
    fn extend(&mut self, other: Self) {
        self.agents.extend(other.agents);
        self.queues.extend(other.queues);
        self.forms.extend(other.forms);
        self.metrics.extend(other.metrics);
        self.emotions.extend(other.emotions);
        self.topics.extend(other.topics);
    }
}

/// What all transactions of this process know.
#[derive(Debug, Default)]
pub struct DimensionCache(Mutex<Arc<Maps>>);

impl DimensionCache {
    fn current(&self) -> Arc<Maps> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// To be called when a transaction is about to write.
    pub fn keys(&self) -> Keys {
        Keys {
            known: self.current(),
            found: Maps::default(),
            agents_seen: BTreeMap::new(),
            queues_seen: BTreeMap::new(),
        }
    }

    /// To be called after the COMMIT, and only then.
    fn remember(&self, found: &Maps) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut held).extend(found.clone());
    }

    /// To be called when a transaction failed: the server may be another one, or restored.
    pub fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::default();
    }
}

/// When a member took part, and the attributes of the contact with the latest start.
#[derive(Debug, Clone)]
struct Seen {
    first_at: DateTime<Utc>,
    last: (DateTime<Utc>, Uuid),
    id: Option<String>,
    name: Option<String>,
    email: Option<String>,
}

impl Seen {
    fn merge(&mut self, other: Self) {
        let first_at = self.first_at.min(other.first_at);
        if other.last >= self.last {
            *self = other;
        }
        self.first_at = first_at;
    }
}

/// The keys one transaction works with.
#[derive(Debug)]
pub struct Keys {
    known: Arc<Maps>,
    found: Maps,
    agents_seen: BTreeMap<String, Seen>,
    queues_seen: BTreeMap<String, Seen>,
}

/// Whom a transaction had seen at a savepoint.
#[derive(Debug)]
pub struct Checkpoint {
    agents_seen: BTreeMap<String, Seen>,
    queues_seen: BTreeMap<String, Seen>,
}

impl Keys {
    /// To be taken where a savepoint is set: a rollback to it takes back what was seen since.
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint { agents_seen: self.agents_seen.clone(), queues_seen: self.queues_seen.clone() }
    }

    /// To be called with a rollback to the savepoint.
    pub fn restore(&mut self, checkpoint: Checkpoint) {
        let Checkpoint { agents_seen, queues_seen } = checkpoint;
        (self.agents_seen, self.queues_seen) = (agents_seen, queues_seen);
    }

    pub fn agent(&self, agent: &Agent<'_>) -> Option<i32> {
        lookup!(self, agents, &agent_key(agent))
    }

    pub fn queue(&self, queue: &Queue<'_>) -> Option<i32> {
        lookup!(self, queues, &queue_key(queue))
    }

    pub fn form(&self, form: &EvaluationForm<'_>) -> Option<i32> {
        lookup!(self, forms, &form_key(form))
    }

    pub fn metric(&self, metric: &Metric<'_>) -> Option<i32> {
        lookup!(self, metrics, &metric_key(metric))
    }

    pub fn emotion(&self, emotion: &str) -> Option<i32> {
        lookup!(self, emotions, emotion)
    }

    pub fn topic(&self, topic: &Topic<'_>) -> Option<i32> {
        lookup!(self, topics, &topic_key(topic))
    }

    /// Finds or makes the keys of every dimension that these contacts name. What is missing is made over a
    /// connection of `members`, each statement a transaction of its own.
    pub async fn resolve<'c, 'a: 'c>(
        &mut self,
        members: &Pool,
        cache: &DimensionCache,
        contacts: impl Iterator<Item = (&'c Contact<'a>, Uuid)>,
    ) -> Result<(), sqlx::Error> {
        let wanted = self.collect(contacts);
        if wanted.is_empty() {
            return Ok(());
        }
        let mut connection = members.lend().await?;
        self.make(&mut connection, wanted).await?;
        // Not before: what is rolled back must not be remembered.
        connection.done().await?;
        cache.remember(&self.found);
        Ok(())
    }

    /// The same within somebody's transaction: what a rollback takes back stays remembered. Only a planted defect
    /// does so.
    pub(super) async fn resolve_over<'c, 'a: 'c>(
        &mut self,
        connection: &mut PgConnection,
        cache: &DimensionCache,
        contacts: impl Iterator<Item = (&'c Contact<'a>, Uuid)>,
    ) -> Result<(), sqlx::Error> {
        let wanted = self.collect(contacts);
        self.make(connection, wanted).await?;
        cache.remember(&self.found);
        Ok(())
    }

    async fn make(&mut self, connection: &mut PgConnection, wanted: Wanted) -> Result<(), sqlx::Error> {
        if !wanted.agents.is_empty() {
            let found = self.make_agents(&mut *connection, &wanted.agents).await?;
            self.found.agents.extend(found);
        }
        if !wanted.queues.is_empty() {
            let found = self.make_queues(&mut *connection, &wanted.queues).await?;
            self.found.queues.extend(found);
        }
        if !wanted.forms.is_empty() {
            self.found.forms.extend(make_forms(&mut *connection, wanted.forms).await?);
        }
        if !wanted.metrics.is_empty() {
            self.found.metrics.extend(make_metrics(&mut *connection, wanted.metrics).await?);
        }
        if !wanted.emotions.is_empty() {
            self.found.emotions.extend(make_emotions(&mut *connection, wanted.emotions).await?);
        }
        for level in wanted.topics {
            if !level.is_empty() {
                let found = self.make_topics(&mut *connection, level).await?;
                self.found.topics.extend(found);
            }
        }
        Ok(())
    }

    fn collect<'c, 'a: 'c>(&mut self, contacts: impl Iterator<Item = (&'c Contact<'a>, Uuid)>) -> Wanted {
        let mut wanted = Wanted::default();
        for (contact, key) in contacts {
            let last = (contact.started_at, key);
            for agent in &contact.agents {
                let natural = agent_key(&agent.agent);
                let seen = Seen {
                    first_at: contact.started_at,
                    last,
                    id: agent.agent.agent_id.as_deref().map(str::to_owned),
                    name: agent.agent.agent_name.as_deref().map(str::to_owned),
                    email: agent.agent.agent_email.as_deref().map(str::to_owned),
                };
                if self.agent(&agent.agent).is_none() {
                    wanted.agents.push(natural.clone());
                }
                note(&mut self.agents_seen, natural, seen);
            }
            for queue in &contact.queues {
                let natural = queue_key(&queue.queue);
                let seen = Seen {
                    first_at: contact.started_at,
                    last,
                    id: queue.queue.queue_id.as_deref().map(str::to_owned),
                    name: queue.queue.queue_name.as_deref().map(str::to_owned),
                    email: None,
                };
                if self.queue(&queue.queue).is_none() {
                    wanted.queues.push(natural.clone());
                }
                note(&mut self.queues_seen, natural, seen);
            }
            if let Some(form) = &contact.evaluation_form
                && self.form(form).is_none()
            {
                wanted
                    .forms
                    .insert(form_key(form), [owned(form.form_name.as_ref()), owned(form.scoring_type.as_ref())]);
            }
            for metric in contact.metrics.iter().map(|m| &m.metric).filter(|m| self.metric(m).is_none()) {
                let parts = [owned(metric.metric_id.as_ref()), owned(metric.metric_name.as_ref())];
                wanted.metrics.insert(metric_key(metric), parts);
            }
            for emotion in contact.emotions.iter().map(|e| &*e.emotion).filter(|e| self.emotion(e).is_none()) {
                wanted.emotions.insert(emotion.to_owned());
            }
            for topic in contact.topics.iter().map(|t| &t.topic).filter(|t| self.topic(t).is_none()) {
                wanted.topic(topic);
            }
        }
        wanted.agents.sort_unstable();
        wanted.agents.dedup();
        wanted.queues.sort_unstable();
        wanted.queues.dedup();
        wanted
    }
}

fn owned(text: Option<&std::borrow::Cow<'_, str>>) -> Option<String> {
    text.map(|t| t.as_ref().to_owned())
}

fn note(seen: &mut BTreeMap<String, Seen>, natural: String, new: Seen) {
    match seen.entry(natural) {
        std::collections::btree_map::Entry::Occupied(mut held) => held.get_mut().merge(new),
        std::collections::btree_map::Entry::Vacant(place) => {
            place.insert(new);
        }
    }
}

type Found = Vec<(String, i32)>;
/// Natural key to its parts, in key order. Every statement writes rows in that order (the statements
/// say so too: a join may shuffle them), since two that wait for each other's new rows deadlock.
type Parts<const N: usize> = BTreeMap<String, [Option<String>; N]>;

#[derive(Debug, Default)]
struct Wanted {
    agents: Vec<String>,
    queues: Vec<String>,
    forms: Parts<2>,
    metrics: Parts<2>,
    emotions: std::collections::BTreeSet<String>,
    topics: [Parts<3>; 3],
}

impl Wanted {
    fn is_empty(&self) -> bool {
        self.agents.is_empty()
            && self.queues.is_empty()
            && self.forms.is_empty()
            && self.metrics.is_empty()
            && self.emotions.is_empty()
            && self.topics.iter().all(BTreeMap::is_empty)
    }

    /// A topic and the nodes above it.
    fn topic(&mut self, topic: &Topic<'_>) {
        let (l1, l2, l3) = (Some(&*topic.l1_name), topic.l2_name.as_deref(), topic.l3_name.as_deref());
        let mut add = |level: usize, parts: [Option<&str>; 3]| {
            self.topics[level].insert(joined(parts), parts.map(|part| part.map(str::to_owned)));
        };
        add(0, [l1, None, None]);
        if l2.is_some() {
            add(1, [l1, l2, None]);
        }
        if l3.is_some() {
            add(2, [l1, l2, l3]);
        }
    }
}
