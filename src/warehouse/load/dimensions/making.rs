//! Finding or making the members of a dimension: insert what is missing, in the order given, then look
//! all of them up in a statement of its own, which sees what others committed meanwhile.

use sqlx::PgConnection;

use super::{Found, Keys, Parts, Seen, joined};

impl Keys {
    pub(super) async fn make_agents(
        &self,
        connection: &mut PgConnection,
        wanted: &[String],
    ) -> Result<Found, sqlx::Error> {
        let seen: Vec<&Seen> = wanted.iter().filter_map(|natural| self.agents_seen.get(natural)).collect();
        let ids: Vec<_> = seen.iter().map(|s| s.id.as_deref()).collect();
        let names: Vec<_> = seen.iter().map(|s| s.name.as_deref()).collect();
        let emails: Vec<_> = seen.iter().map(|s| s.email.as_deref()).collect();
        sqlx::query(
            "insert into kore.agents (agent_id, agent_name, agent_email, first_seen_at, last_seen_at, last_contact_key) \
             select n.id, n.name, n.email, n.first_at, n.last_at, n.last_key \
             from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::uuid[]) \
             with ordinality as n (id, name, email, first_at, last_at, last_key, place) \
             left join kore.agents a on coalesce(a.agent_id, '') = coalesce(n.id, '') \
               and case when a.agent_id is null then coalesce(a.agent_email, '') else '' end \
                 = case when n.id is null then coalesce(n.email, '') else '' end \
               and case when a.agent_id is null then coalesce(a.agent_name, '') else '' end \
                 = case when n.id is null then coalesce(n.name, '') else '' end where a.agent_key is null \
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

    pub(super) async fn make_queues(
        &self,
        connection: &mut PgConnection,
        wanted: &[String],
    ) -> Result<Found, sqlx::Error> {
        let seen: Vec<&Seen> = wanted.iter().filter_map(|natural| self.queues_seen.get(natural)).collect();
        let ids: Vec<_> = seen.iter().map(|s| s.id.as_deref()).collect();
        let names: Vec<_> = seen.iter().map(|s| s.name.as_deref()).collect();
        sqlx::query(
            "insert into kore.queues (queue_id, queue_name, first_seen_at, last_seen_at, last_contact_key) \
             select n.id, n.name, n.first_at, n.last_at, n.last_key \
             from unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::uuid[]) \
             with ordinality as n (id, name, first_at, last_at, last_key, place) \
             left join kore.queues q on coalesce(q.queue_id, '') = coalesce(n.id, '') \
               and case when q.queue_id is null then coalesce(q.queue_name, '') else '' end \
                 = case when n.id is null then coalesce(n.name, '') else '' end where q.queue_key is null \
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
    pub(super) async fn make_topics(
        &self,
        connection: &mut PgConnection,
        wanted: Parts<3>,
    ) -> Result<Found, sqlx::Error> {
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
             left join kore.topics t on t.level = case when n.l3 is not null then 3 when n.l2 is not null then 2 else 1 end \
               and t.l1_name = n.l1 and coalesce(t.l2_name, '') = coalesce(n.l2, '') \
               and coalesce(t.l3_name, '') = coalesce(n.l3, '') where t.topic_key is null \
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
}

fn placed(naturals: &[String], keys: Vec<(i64, i32)>) -> Found {
    keys.into_iter()
        .filter_map(|(place, key)| Some((naturals.get(usize::try_from(place - 1).ok()?)?.clone(), key)))
        .collect()
}

pub(super) async fn make_forms(connection: &mut PgConnection, wanted: Parts<2>) -> Result<Found, sqlx::Error> {
    let (naturals, parts): (Vec<_>, Vec<_>) = wanted.into_iter().unzip();
    let names: Vec<_> = parts.iter().map(|p| p[0].as_deref()).collect();
    let types: Vec<_> = parts.iter().map(|p| p[1].as_deref()).collect();
    sqlx::query(
        "insert into kore.evaluation_forms (form_name, scoring_type) \
         select n.name, n.type from unnest($1::text[], $2::text[]) with ordinality as n (name, type, place) \
         left join kore.evaluation_forms f on coalesce(f.form_name, '') = coalesce(n.name, '') \
           and coalesce(f.scoring_type, '') = coalesce(n.type, '') where f.evaluation_form_key is null \
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

pub(super) async fn make_metrics(connection: &mut PgConnection, wanted: Parts<2>) -> Result<Found, sqlx::Error> {
    let (naturals, parts): (Vec<_>, Vec<_>) = wanted.into_iter().unzip();
    let ids: Vec<_> = parts.iter().map(|p| p[0].as_deref()).collect();
    let names: Vec<_> = parts.iter().map(|p| p[1].as_deref()).collect();
    sqlx::query(
        "insert into kore.metrics (metric_id, metric_name) \
         select n.id, n.name from unnest($1::text[], $2::text[]) with ordinality as n (id, name, place) \
         left join kore.metrics m on coalesce(m.metric_id, '') = coalesce(n.id, '') \
           and coalesce(m.metric_name, '') = coalesce(n.name, '') where m.metric_key is null \
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

pub(super) async fn make_emotions(
    connection: &mut PgConnection,
    wanted: std::collections::BTreeSet<String>,
) -> Result<Found, sqlx::Error> {
    let naturals: Vec<String> = wanted.into_iter().collect();
    sqlx::query(
        "insert into kore.emotions (emotion) select n.emotion from unnest($1::text[]) with ordinality as n (emotion, place) \
         left join kore.emotions e on e.emotion = n.emotion where e.emotion_key is null \
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
