//! Integer keys of dimension members: found, made where missing, and remembered.
//!
//! A key enters the shared memory only after the transaction that may have made it was committed:
//! remembered earlier, a rollback would leave keys that no table holds.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::rows::{Agent, Contact, EvaluationForm, Metric, Queue, Topic};

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
    fn is_empty(&self) -> bool {
        [&self.agents, &self.queues, &self.forms, &self.metrics, &self.emotions, &self.topics]
            .iter()
            .all(|map| map.is_empty())
    }

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
    pub fn remember(&self, keys: Keys) {
        if keys.found.is_empty() {
            return;
        }
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut held).extend(keys.found);
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

macro_rules! lookup {
    ($self:ident, $map:ident, $key:expr) => {{
        let key = $key;
        $self.known.$map.get(key).or_else(|| $self.found.$map.get(key)).copied()
    }};
}

impl Keys {
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

    /// Finds or makes the keys of every dimension that these contacts name.
    pub async fn resolve<'c, 'a: 'c>(
        &mut self,
        connection: &mut PgConnection,
        contacts: impl Iterator<Item = (&'c Contact<'a>, Uuid)>,
    ) -> Result<(), sqlx::Error> {
        let wanted = self.collect(contacts);
        if !wanted.agents.is_empty() {
            let found = self.make_agents(connection, &wanted.agents).await?;
            self.found.agents.extend(found);
        }
        if !wanted.queues.is_empty() {
            let found = self.make_queues(connection, &wanted.queues).await?;
            self.found.queues.extend(found);
        }
        if !wanted.forms.is_empty() {
            self.found.forms.extend(make_forms(connection, wanted.forms).await?);
        }
        if !wanted.metrics.is_empty() {
            self.found.metrics.extend(make_metrics(connection, wanted.metrics).await?);
        }
        if !wanted.emotions.is_empty() {
            self.found.emotions.extend(make_emotions(connection, wanted.emotions).await?);
        }
        for level in wanted.topics {
            if !level.is_empty() {
                let found = self.make_topics(connection, level).await?;
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

    async fn make_agents(&self, connection: &mut PgConnection, wanted: &[String]) -> Result<Found, sqlx::Error> {
        let seen: Vec<&Seen> = wanted.iter().filter_map(|natural| self.agents_seen.get(natural)).collect();
        let ids: Vec<_> = seen.iter().map(|s| s.id.as_deref()).collect();
        let names: Vec<_> = seen.iter().map(|s| s.name.as_deref()).collect();
        let emails: Vec<_> = seen.iter().map(|s| s.email.as_deref()).collect();
        sqlx::query(
            "insert into kore.agents (agent_id, agent_name, agent_email, first_seen_at, last_seen_at, last_contact_key) \
             select n.id, n.name, n.email, n.first_at, n.last_at, n.last_key \
             from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::uuid[]) \
             with ordinality as n (id, name, email, first_at, last_at, last_key, place) \
             where not exists (select from kore.agents a where coalesce(a.agent_id, '') = coalesce(n.id, '') \
               and case when a.agent_id is null then coalesce(a.agent_email, '') else '' end \
                 = case when n.id is null then coalesce(n.email, '') else '' end \
               and case when a.agent_id is null then coalesce(a.agent_name, '') else '' end \
                 = case when n.id is null then coalesce(n.name, '') else '' end) \
             order by n.place on conflict do nothing",
        )
        .bind(&ids)
        .bind(&names)
        .bind(&emails)
        .bind(seen.iter().map(|s| s.first_at).collect::<Vec<_>>())
        .bind(seen.iter().map(|s| s.last.0).collect::<Vec<_>>())
        .bind(seen.iter().map(|s| s.last.1).collect::<Vec<_>>())
        .execute(&mut *connection)
        .await?;
        let keys: Vec<(i64, i32)> = sqlx::query_as(
            "select n.place, a.agent_key from unnest($1::text[], $2::text[], $3::text[]) with ordinality as n (id, name, email, place) \
             join kore.agents a on coalesce(a.agent_id, '') = coalesce(n.id, '') \
               and case when a.agent_id is null then coalesce(a.agent_email, '') else '' end \
                 = case when n.id is null then coalesce(n.email, '') else '' end \
               and case when a.agent_id is null then coalesce(a.agent_name, '') else '' end \
                 = case when n.id is null then coalesce(n.name, '') else '' end",
        )
        .bind(&ids)
        .bind(&names)
        .bind(&emails)
        .fetch_all(connection)
        .await?;
        Ok(placed(wanted, keys))
    }

    async fn make_queues(&self, connection: &mut PgConnection, wanted: &[String]) -> Result<Found, sqlx::Error> {
        let seen: Vec<&Seen> = wanted.iter().filter_map(|natural| self.queues_seen.get(natural)).collect();
        let ids: Vec<_> = seen.iter().map(|s| s.id.as_deref()).collect();
        let names: Vec<_> = seen.iter().map(|s| s.name.as_deref()).collect();
        sqlx::query(
            "insert into kore.queues (queue_id, queue_name, first_seen_at, last_seen_at, last_contact_key) \
             select n.id, n.name, n.first_at, n.last_at, n.last_key \
             from unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::uuid[]) \
             with ordinality as n (id, name, first_at, last_at, last_key, place) \
             where not exists (select from kore.queues q where coalesce(q.queue_id, '') = coalesce(n.id, '') \
               and case when q.queue_id is null then coalesce(q.queue_name, '') else '' end \
                 = case when n.id is null then coalesce(n.name, '') else '' end) \
             order by n.place on conflict do nothing",
        )
        .bind(&ids)
        .bind(&names)
        .bind(seen.iter().map(|s| s.first_at).collect::<Vec<_>>())
        .bind(seen.iter().map(|s| s.last.0).collect::<Vec<_>>())
        .bind(seen.iter().map(|s| s.last.1).collect::<Vec<_>>())
        .execute(&mut *connection)
        .await?;
        let keys: Vec<(i64, i32)> = sqlx::query_as(
            "select n.place, q.queue_key from unnest($1::text[], $2::text[]) with ordinality as n (id, name, place) \
             join kore.queues q on coalesce(q.queue_id, '') = coalesce(n.id, '') \
               and case when q.queue_id is null then coalesce(q.queue_name, '') else '' end \
                 = case when n.id is null then coalesce(n.name, '') else '' end",
        )
        .bind(&ids)
        .bind(&names)
        .fetch_all(connection)
        .await?;
        Ok(placed(wanted, keys))
    }

    /// One level of the taxonomy, whose parents are known already.
    async fn make_topics(&self, connection: &mut PgConnection, wanted: Parts<3>) -> Result<Found, sqlx::Error> {
        let (naturals, parts): (Vec<_>, Vec<_>) = wanted.into_iter().unzip();
        let l1: Vec<_> = parts.iter().map(|p| p[0].as_deref()).collect();
        let l2: Vec<_> = parts.iter().map(|p| p[1].as_deref()).collect();
        let l3: Vec<_> = parts.iter().map(|p| p[2].as_deref()).collect();
        let parents: Vec<Option<i32>> = parts
            .iter()
            .map(|[l1, l2, l3]| match (l2, l3) {
                (_, Some(_)) => lookup!(self, topics, &joined([l1.as_deref(), l2.as_deref(), None])),
                (Some(_), None) => lookup!(self, topics, &joined([l1.as_deref(), None, None])),
                (None, None) => None,
            })
            .collect();
        sqlx::query(
            "insert into kore.topics (parent_topic_key, level, topic_name, l1_name, l2_name, l3_name, topic_path) \
             select n.parent, case when n.l3 is not null then 3 when n.l2 is not null then 2 else 1 end, \
                    coalesce(n.l3, n.l2, n.l1), n.l1, n.l2, n.l3, concat_ws(' > ', n.l1, n.l2, n.l3) \
             from unnest($1::int[], $2::text[], $3::text[], $4::text[]) with ordinality as n (parent, l1, l2, l3, place) \
             where not exists (select from kore.topics t \
               where t.level = case when n.l3 is not null then 3 when n.l2 is not null then 2 else 1 end \
               and t.l1_name = n.l1 and coalesce(t.l2_name, '') = coalesce(n.l2, '') \
               and coalesce(t.l3_name, '') = coalesce(n.l3, '')) \
             order by n.place on conflict do nothing",
        )
        .bind(&parents)
        .bind(&l1)
        .bind(&l2)
        .bind(&l3)
        .execute(&mut *connection)
        .await?;
        let keys: Vec<(i64, i32)> = sqlx::query_as(
            "select n.place, t.topic_key from unnest($1::text[], $2::text[], $3::text[]) with ordinality as n (l1, l2, l3, place) \
             join kore.topics t on t.level = case when n.l3 is not null then 3 when n.l2 is not null then 2 else 1 end \
               and t.l1_name = n.l1 and coalesce(t.l2_name, '') = coalesce(n.l2, '') \
               and coalesce(t.l3_name, '') = coalesce(n.l3, '')",
        )
        .bind(&l1)
        .bind(&l2)
        .bind(&l3)
        .fetch_all(connection)
        .await?;
        Ok(placed(&naturals, keys))
    }

    /// Brings attributes and dates of agents and queues up to what this transaction saw. The rows
    /// are locked in key order, late in the transaction, since neighbouring windows share them.
    pub async fn update_attributes(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let agents: Vec<(i32, &Seen)> = self
            .agents_seen
            .iter()
            .filter_map(|(natural, seen)| Some((lookup!(self, agents, natural)?, seen)))
            .collect();
        if !agents.is_empty() {
            sqlx::query(
                "with n as (select * from unnest($1::int[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::uuid[]) \
                   as n (key, name, email, first_at, last_at, last_key)), \
                 differing as (select a.agent_key from kore.agents a join n on n.key = a.agent_key \
                   where n.first_at < a.first_seen_at or (n.last_at, n.last_key) > (a.last_seen_at, a.last_contact_key) \
                      or ((n.last_at, n.last_key) = (a.last_seen_at, a.last_contact_key) \
                          and (a.agent_name is distinct from n.name or a.agent_email is distinct from n.email)) \
                   order by a.agent_key for no key update of a) \
                 update kore.agents a set first_seen_at = least(a.first_seen_at, n.first_at), \
                   agent_name = case when (n.last_at, n.last_key) >= (a.last_seen_at, a.last_contact_key) then n.name else a.agent_name end, \
                   agent_email = case when (n.last_at, n.last_key) >= (a.last_seen_at, a.last_contact_key) then n.email else a.agent_email end, \
                   last_contact_key = case when (n.last_at, n.last_key) >= (a.last_seen_at, a.last_contact_key) then n.last_key else a.last_contact_key end, \
                   last_seen_at = greatest(a.last_seen_at, n.last_at) \
                 from n where n.key = a.agent_key and a.agent_key in (select agent_key from differing)",
            )
            .bind(agents.iter().map(|(key, _)| *key).collect::<Vec<_>>())
            .bind(agents.iter().map(|(_, s)| s.name.as_deref()).collect::<Vec<_>>())
            .bind(agents.iter().map(|(_, s)| s.email.as_deref()).collect::<Vec<_>>())
            .bind(agents.iter().map(|(_, s)| s.first_at).collect::<Vec<_>>())
            .bind(agents.iter().map(|(_, s)| s.last.0).collect::<Vec<_>>())
            .bind(agents.iter().map(|(_, s)| s.last.1).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
        }
        let queues: Vec<(i32, &Seen)> = self
            .queues_seen
            .iter()
            .filter_map(|(natural, seen)| Some((lookup!(self, queues, natural)?, seen)))
            .collect();
        if !queues.is_empty() {
            sqlx::query(
                "with n as (select * from unnest($1::int[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::uuid[]) \
                   as n (key, name, first_at, last_at, last_key)), \
                 differing as (select q.queue_key from kore.queues q join n on n.key = q.queue_key \
                   where n.first_at < q.first_seen_at or (n.last_at, n.last_key) > (q.last_seen_at, q.last_contact_key) \
                      or ((n.last_at, n.last_key) = (q.last_seen_at, q.last_contact_key) and q.queue_name is distinct from n.name) \
                   order by q.queue_key for no key update of q) \
                 update kore.queues q set first_seen_at = least(q.first_seen_at, n.first_at), \
                   queue_name = case when (n.last_at, n.last_key) >= (q.last_seen_at, q.last_contact_key) then n.name else q.queue_name end, \
                   last_contact_key = case when (n.last_at, n.last_key) >= (q.last_seen_at, q.last_contact_key) then n.last_key else q.last_contact_key end, \
                   last_seen_at = greatest(q.last_seen_at, n.last_at) \
                 from n where n.key = q.queue_key and q.queue_key in (select queue_key from differing)",
            )
            .bind(queues.iter().map(|(key, _)| *key).collect::<Vec<_>>())
            .bind(queues.iter().map(|(_, s)| s.name.as_deref()).collect::<Vec<_>>())
            .bind(queues.iter().map(|(_, s)| s.first_at).collect::<Vec<_>>())
            .bind(queues.iter().map(|(_, s)| s.last.0).collect::<Vec<_>>())
            .bind(queues.iter().map(|(_, s)| s.last.1).collect::<Vec<_>>())
            .execute(connection)
            .await?;
        }
        Ok(())
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
/// Natural key to its parts, in key order. Every transaction writes rows in that order (the statements
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

fn placed(naturals: &[String], keys: Vec<(i64, i32)>) -> Found {
    keys.into_iter()
        .filter_map(|(place, key)| Some((naturals.get(usize::try_from(place - 1).ok()?)?.clone(), key)))
        .collect()
}

async fn make_forms(connection: &mut PgConnection, wanted: Parts<2>) -> Result<Found, sqlx::Error> {
    let (naturals, parts): (Vec<_>, Vec<_>) = wanted.into_iter().unzip();
    let names: Vec<_> = parts.iter().map(|p| p[0].as_deref()).collect();
    let types: Vec<_> = parts.iter().map(|p| p[1].as_deref()).collect();
    sqlx::query(
        "insert into kore.evaluation_forms (form_name, scoring_type) \
         select n.name, n.type from unnest($1::text[], $2::text[]) with ordinality as n (name, type, place) \
         where not exists (select from kore.evaluation_forms f where coalesce(f.form_name, '') = coalesce(n.name, '') \
           and coalesce(f.scoring_type, '') = coalesce(n.type, '')) \
         order by n.place on conflict do nothing",
    )
    .bind(&names)
    .bind(&types)
    .execute(&mut *connection)
    .await?;
    let keys = sqlx::query_as(
        "select n.place, f.evaluation_form_key from unnest($1::text[], $2::text[]) with ordinality as n (name, type, place) \
         join kore.evaluation_forms f on coalesce(f.form_name, '') = coalesce(n.name, '') \
           and coalesce(f.scoring_type, '') = coalesce(n.type, '')",
    )
    .bind(&names)
    .bind(&types)
    .fetch_all(connection)
    .await?;
    Ok(placed(&naturals, keys))
}

async fn make_metrics(connection: &mut PgConnection, wanted: Parts<2>) -> Result<Found, sqlx::Error> {
    let (naturals, parts): (Vec<_>, Vec<_>) = wanted.into_iter().unzip();
    let ids: Vec<_> = parts.iter().map(|p| p[0].as_deref()).collect();
    let names: Vec<_> = parts.iter().map(|p| p[1].as_deref()).collect();
    sqlx::query(
        "insert into kore.metrics (metric_id, metric_name) \
         select n.id, n.name from unnest($1::text[], $2::text[]) with ordinality as n (id, name, place) \
         where not exists (select from kore.metrics m where coalesce(m.metric_id, '') = coalesce(n.id, '') \
           and coalesce(m.metric_name, '') = coalesce(n.name, '')) \
         order by n.place on conflict do nothing",
    )
    .bind(&ids)
    .bind(&names)
    .execute(&mut *connection)
    .await?;
    let keys = sqlx::query_as(
        "select n.place, m.metric_key from unnest($1::text[], $2::text[]) with ordinality as n (id, name, place) \
         join kore.metrics m on coalesce(m.metric_id, '') = coalesce(n.id, '') \
           and coalesce(m.metric_name, '') = coalesce(n.name, '')",
    )
    .bind(&ids)
    .bind(&names)
    .fetch_all(connection)
    .await?;
    Ok(placed(&naturals, keys))
}

async fn make_emotions(
    connection: &mut PgConnection,
    wanted: std::collections::BTreeSet<String>,
) -> Result<Found, sqlx::Error> {
    let naturals: Vec<String> = wanted.into_iter().collect();
    sqlx::query(
        "insert into kore.emotions (emotion) select n.emotion from unnest($1::text[]) with ordinality as n (emotion, place) \
         where not exists (select from kore.emotions e where e.emotion = n.emotion) \
         order by n.place on conflict do nothing",
    )
    .bind(&naturals)
    .execute(&mut *connection)
    .await?;
    let keys = sqlx::query_as(
        "select n.place, e.emotion_key from unnest($1::text[]) with ordinality as n (emotion, place) \
         join kore.emotions e on e.emotion = n.emotion",
    )
    .bind(&naturals)
    .fetch_all(connection)
    .await?;
    Ok(placed(&naturals, keys))
}
