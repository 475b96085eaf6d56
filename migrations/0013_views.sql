-- Answers for analysts: what their tools chart without a join, and how far it is complete. Aggregates show numerator and
-- denominator; contacts that the vendor no longer has are in none of them.
--
-- They are grouped by keys alone, on which the other columns depend, and windows are partitioned by day and stream too, so that
-- a filter on these reaches the index. The zone is asked for by a subquery: the size of a table that nobody analyses is guessed,
-- and a join with a guess of thousands of rows spoils the plan.
set local role kore_owner;
-- Of a cluster, views are asked on the coordinator alone. Elsewhere the setting means nothing.
set local citus.enable_ddl_propagation = off;

create view kore.contact_overview as
select c.contact_key, c.stream, c.conversation_id, c.custom_conversation_id, c.source, c.channel, c.direction,
       c.started_at, c.started_at at time zone (select s.time_zone from kore.settings s) as started_local, c.started_on, c.ended_at, c.duration_ms,
       c.language, c.duration_status,
       c.sentiment, c.sentiment_score, c.sentiment_start, c.sentiment_end, c.positive_pct, c.neutral_pct, c.negative_pct,
       c.evaluation_score is not null as is_evaluated, c.evaluation_score, c.pass_score,
       case when c.evaluation_score is not null then c.is_passed end as is_passed, c.fatal_error_count,
       c.evaluation_form_key, f.form_name, f.scoring_type,
       c.is_churn_risk, c.is_escalation, c.taxonomy_resolution,
       c.customer_talk_pct, c.agent_talk_pct, c.silence_pct, c.total_topics_identified,
       pa.agent_key as primary_agent_key, a.agent_id as primary_agent_id, a.agent_name as primary_agent_name,
       pq.queue_key as primary_queue_key, q.queue_id as primary_queue_id, q.queue_name as primary_queue_name,
       c.audit_status, c.audit_score, c.audited_at, c.auditor_name, c.custom_fields, c.first_seen_at, c.updated_at
from kore.contacts c
left join kore.evaluation_forms f on f.evaluation_form_key = c.evaluation_form_key
left join kore.contact_agents pa on pa.contact_key = c.contact_key and pa.is_primary
left join kore.agents a on a.agent_key = pa.agent_key
left join kore.contact_queues pq on pq.contact_key = c.contact_key and pq.is_primary
left join kore.queues q on q.queue_key = pq.queue_key
where c.removed_at is null;

-- Contacts by who had a part in them. Weights are rounded, and the first agent takes what rounding leaves: so they sum to 1
-- exactly, and totals add up. What is counted of contacts is carried along: a second look at contacts would be a join of
-- which the planner expects one row.
create view koresync.agent_parts as
select p.started_on, p.stream, p.contact_key, p.agent_key, p.part_count, p.is_primary,
       case when p.of = 1 then 1 when p.place > 1 then round(1.0 / p.of, 6) else 1 - (p.of - 1) * round(1.0 / p.of, 6) end as allocation_weight,
       p.empathy_score_sum, p.empathy_scored_parts, p.crutch_word_score_sum, p.crutch_word_scored_parts,
       p.evaluation_score, p.is_passed, p.fatal_error_count, p.is_churn_risk, p.is_escalation, p.duration_ms
from (
    select c.started_on, c.stream, c.contact_key, a.agent_key, count(a.ordinal) as part_count,
           coalesce(bool_or(a.is_primary), false) as is_primary,
           sum(a.empathy_score) as empathy_score_sum, count(a.empathy_score) as empathy_scored_parts,
           sum(a.crutch_word_score) as crutch_word_score_sum, count(a.crutch_word_score) as crutch_word_scored_parts,
           c.evaluation_score, case when c.evaluation_score is not null then c.is_passed end as is_passed, c.fatal_error_count,
           c.is_churn_risk, c.is_escalation, c.duration_ms,
           count(*) over (partition by c.contact_key, c.started_on, c.stream) as of,
           row_number() over (partition by c.contact_key, c.started_on, c.stream order by a.agent_key) as place
    from kore.contacts c
    left join kore.contact_agents a on a.contact_key = c.contact_key
    where c.removed_at is null
    group by c.contact_key, a.agent_key
) p;

create view koresync.queue_parts as
select p.started_on, p.stream, p.contact_key, p.queue_key, p.part_count, p.is_primary,
       case when p.of = 1 then 1 when p.place > 1 then round(1.0 / p.of, 6) else 1 - (p.of - 1) * round(1.0 / p.of, 6) end as allocation_weight,
       p.evaluation_score, p.is_passed, p.fatal_error_count, p.is_churn_risk, p.is_escalation, p.duration_ms
from (
    select c.started_on, c.stream, c.contact_key, a.queue_key, count(a.ordinal) as part_count,
           coalesce(bool_or(a.is_primary), false) as is_primary,
           c.evaluation_score, case when c.evaluation_score is not null then c.is_passed end as is_passed, c.fatal_error_count,
           c.is_churn_risk, c.is_escalation, c.duration_ms,
           count(*) over (partition by c.contact_key, c.started_on, c.stream) as of,
           row_number() over (partition by c.contact_key, c.started_on, c.stream order by a.queue_key) as place
    from kore.contacts c
    left join kore.contact_queues a on a.contact_key = c.contact_key
    where c.removed_at is null
    group by c.contact_key, a.queue_key
) p;

create view kore.contact_agent_allocations as
select started_on, stream, contact_key, agent_key, part_count, is_primary, allocation_weight,
       empathy_score_sum, empathy_scored_parts, crutch_word_score_sum, crutch_word_scored_parts
from koresync.agent_parts;

create view kore.contact_queue_allocations as
select started_on, stream, contact_key, queue_key, part_count, is_primary, allocation_weight from koresync.queue_parts;

create view kore.agent_daily_scorecard as
select p.started_on, p.stream, d.agent_key, d.agent_id, d.agent_name,
       count(*) as contacts,
       sum(p.allocation_weight) as allocated_contacts,
       count(p.evaluation_score) as evaluated_contacts,
       coalesce(sum(p.allocation_weight) filter (where p.evaluation_score is not null), 0) as allocated_evaluated_contacts,
       sum(p.evaluation_score) as evaluation_score_sum,
       sum(p.allocation_weight * p.evaluation_score) as allocated_evaluation_score_sum,
       round(sum(p.evaluation_score) / nullif(count(p.evaluation_score), 0), 2) as evaluation_score_mean,
       count(p.is_passed) as judged_contacts,
       count(*) filter (where p.is_passed) as passed_contacts,
       coalesce(sum(p.allocation_weight) filter (where p.is_passed is not null), 0) as allocated_judged_contacts,
       coalesce(sum(p.allocation_weight) filter (where p.is_passed), 0) as allocated_passed_contacts,
       round(100.0 * count(*) filter (where p.is_passed) / nullif(count(p.is_passed), 0), 2) as pass_rate_pct,
       count(*) filter (where p.fatal_error_count > 0) as fatal_error_contacts,
       count(*) filter (where p.is_churn_risk) as churn_risk_contacts,
       count(*) filter (where p.is_escalation) as escalation_contacts,
       sum(p.duration_ms) as duration_ms_sum,
       count(p.duration_ms) as timed_contacts,
       sum(p.empathy_score_sum) as empathy_score_sum,
       sum(p.empathy_scored_parts)::bigint as empathy_scored_parts,
       sum(p.crutch_word_score_sum) as crutch_word_score_sum,
       sum(p.crutch_word_scored_parts)::bigint as crutch_word_scored_parts
from koresync.agent_parts p
left join kore.agents d on d.agent_key = p.agent_key
group by p.started_on, p.stream, d.agent_key;

create view kore.queue_daily as
select p.started_on, p.stream, d.queue_key, d.queue_id, d.queue_name,
       count(*) as contacts,
       sum(p.allocation_weight) as allocated_contacts,
       count(p.evaluation_score) as evaluated_contacts,
       coalesce(sum(p.allocation_weight) filter (where p.evaluation_score is not null), 0) as allocated_evaluated_contacts,
       sum(p.evaluation_score) as evaluation_score_sum,
       sum(p.allocation_weight * p.evaluation_score) as allocated_evaluation_score_sum,
       round(sum(p.evaluation_score) / nullif(count(p.evaluation_score), 0), 2) as evaluation_score_mean,
       count(p.is_passed) as judged_contacts,
       count(*) filter (where p.is_passed) as passed_contacts,
       coalesce(sum(p.allocation_weight) filter (where p.is_passed is not null), 0) as allocated_judged_contacts,
       coalesce(sum(p.allocation_weight) filter (where p.is_passed), 0) as allocated_passed_contacts,
       round(100.0 * count(*) filter (where p.is_passed) / nullif(count(p.is_passed), 0), 2) as pass_rate_pct,
       count(*) filter (where p.is_churn_risk) as churn_risk_contacts,
       count(*) filter (where p.is_escalation) as escalation_contacts,
       sum(p.duration_ms) as duration_ms_sum,
       count(p.duration_ms) as timed_contacts
from koresync.queue_parts p
left join kore.queues d on d.queue_key = p.queue_key
group by p.started_on, p.stream, d.queue_key;

create view kore.metric_compliance_daily as
select c.started_on, c.stream, m.metric_key, m.metric_id, m.metric_name,
       count(*) as metric_count,
       count(*) filter (where c.evaluation_score is null) as unscored_count,
       count(*) filter (where c.evaluation_score is not null and f.qualification = 'YES') as yes_count,
       count(*) filter (where c.evaluation_score is not null and f.qualification = 'NO') as no_count,
       count(*) filter (where c.evaluation_score is not null and f.qualification = 'NA') as na_count,
       count(*) filter (where c.evaluation_score is not null and f.qualification is null) as missing_count,
       count(*) filter (where c.evaluation_score is not null and f.qualification not in ('YES', 'NO', 'NA')) as other_count,
       count(*) filter (where c.evaluation_score is not null and f.qualification in ('YES', 'NO')) as judged_count,
       round(100.0 * count(*) filter (where c.evaluation_score is not null and f.qualification = 'YES')
             / nullif(count(*) filter (where c.evaluation_score is not null and f.qualification in ('YES', 'NO')), 0), 2) as compliance_pct,
       count(*) filter (where c.evaluation_score is not null and f.qualification = 'NO' and f.is_fatal_error) as fatal_no_count
from kore.contacts c
join kore.contact_metrics f on f.contact_key = c.contact_key
join kore.metrics m on m.metric_key = f.metric_key
where c.removed_at is null
group by c.started_on, c.stream, m.metric_key;

create view kore.metric_evidence as
select c.contact_key, c.started_on, c.started_at, c.stream, c.conversation_id,
       pa.agent_key as primary_agent_key, a.agent_name as primary_agent_name,
       f.ordinal as metric_ordinal, f.metric_key, m.metric_id, m.metric_name, f.qualification, f.is_fatal_error,
       j.kind, j.ordinal as justification_ordinal, j.justification,
       j.source_system_value, j.agent_mentioned_value, j.agent_entity,
       (select array_agg(e.message_id order by e.ordinal) from kore.justification_messages e
        where e.contact_key = c.contact_key and e.metric_ordinal = f.ordinal
          and e.kind = j.kind and e.justification_ordinal = j.ordinal) as message_ids,
       (select min(e.message_at) from kore.justification_messages e
        where e.contact_key = c.contact_key and e.metric_ordinal = f.ordinal
          and e.kind = j.kind and e.justification_ordinal = j.ordinal) as first_message_at
from kore.contacts c
join kore.contact_metrics f on f.contact_key = c.contact_key
join kore.metrics m on m.metric_key = f.metric_key
join kore.metric_justifications j on j.contact_key = c.contact_key and j.metric_ordinal = f.ordinal
left join kore.contact_agents pa on pa.contact_key = c.contact_key and pa.is_primary
left join kore.agents a on a.agent_key = pa.agent_key
where c.removed_at is null;

-- A topic that a contact names twice is one contact and two mentions.
create view kore.topic_daily as
select p.started_on, p.stream, t.topic_key, t.parent_topic_key, t.level, t.topic_name, t.l1_name, t.l2_name, t.l3_name, t.topic_path,
       count(*) as contacts,
       sum(p.mentions)::bigint as mentions,
       count(*) filter (where p.reported_mentions > 0) as reported_contacts,
       count(*) filter (where p.reported_mentions > 0 and p.unresolved_mentions = 0) as resolved_contacts,
       round(100.0 * count(*) filter (where p.reported_mentions > 0 and p.unresolved_mentions = 0)
             / nullif(count(*) filter (where p.reported_mentions > 0), 0), 2) as resolved_pct,
       sum(p.sentiment_score_sum) as sentiment_score_sum,
       sum(p.sentiment_scored_mentions)::bigint as sentiment_scored_mentions,
       round(sum(p.sentiment_score_sum) / nullif(sum(p.sentiment_scored_mentions), 0), 2) as sentiment_score_mean
from (
    select c.started_on, c.stream, c.contact_key, f.topic_key,
           count(*) as mentions, count(f.is_resolved) as reported_mentions,
           count(*) filter (where not f.is_resolved) as unresolved_mentions,
           sum(f.sentiment_score) as sentiment_score_sum, count(f.sentiment_score) as sentiment_scored_mentions
    from kore.contacts c
    join kore.contact_topics f on f.contact_key = c.contact_key
    where c.removed_at is null
    group by c.contact_key, f.topic_key
) p
join kore.topics t on t.topic_key = p.topic_key
group by p.started_on, p.stream, t.topic_key;

create view kore.emotion_daily as
select p.started_on, p.stream, p.speaker, e.emotion_key, e.emotion,
       count(*) as contacts,
       sum(p.occurrences)::bigint as occurrences,
       sum(p.duration_ms_sum) as duration_ms_sum,
       sum(p.timed_occurrences)::bigint as timed_occurrences,
       sum(p.proportion_pct_sum) as proportion_pct_sum,
       sum(p.proportioned_occurrences)::bigint as proportioned_occurrences,
       round(sum(p.proportion_pct_sum) / nullif(sum(p.proportioned_occurrences), 0), 2) as proportion_pct_mean
from (
    select c.started_on, c.stream, c.contact_key, f.speaker, f.emotion_key,
           count(*) as occurrences, sum(f.duration_ms) as duration_ms_sum, count(f.duration_ms) as timed_occurrences,
           sum(f.proportion_pct) as proportion_pct_sum, count(f.proportion_pct) as proportioned_occurrences
    from kore.contacts c
    join kore.contact_emotions f on f.contact_key = c.contact_key
    where c.removed_at is null
    group by c.contact_key, f.speaker, f.emotion_key
) p
join kore.emotions e on e.emotion_key = p.emotion_key
group by p.started_on, p.stream, p.speaker, e.emotion_key;

create view kore.sentiment_daily as
select c.started_on, c.stream, c.sentiment_start, c.sentiment_end,
       count(*) as contacts,
       count(c.sentiment_score) as sentiment_scored_contacts,
       sum(c.sentiment_score) as sentiment_score_sum,
       round(avg(c.sentiment_score), 2) as sentiment_score_mean,
       count(*) filter (where c.is_churn_risk) as churn_risk_contacts,
       count(c.evaluation_score) as evaluated_contacts,
       sum(c.evaluation_score) as evaluation_score_sum
from kore.contacts c
where c.removed_at is null
group by c.started_on, c.stream, c.sentiment_start, c.sentiment_end;

-- Few contacts of many have no score.
set local citus.enable_ddl_propagation = on;
create index contacts_unscored on kore.contacts (started_at) where evaluation_score is null and removed_at is null;
set local citus.enable_ddl_propagation = off;

create view kore.evaluation_backlog as
select b.stream, b.duration_status, b.is_awaited, b.age_rank,
       (array['under 1 hour', '1 to 24 hours', '1 to 7 days', '7 to 30 days', 'over 30 days'])[b.age_rank] as age,
       count(*) as contacts, min(b.started_at) as oldest_started_at, max(b.started_at) as newest_started_at
from (
    select c.stream, c.duration_status, c.started_at,
           coalesce(c.duration_status not in ('below_threshold', 'duration_unavailable'), true) as is_awaited,
           case when c.started_at > now() - interval '1 hour' then 1 when c.started_at > now() - interval '24 hours' then 2
                when c.started_at > now() - interval '7 days' then 3 when c.started_at > now() - interval '30 days' then 4 else 5 end as age_rank
    from kore.contacts c
    where c.evaluation_score is null and c.removed_at is null
) b
group by b.stream, b.duration_status, b.is_awaited, b.age_rank;

-- What is proved of a stretch holds of contacts by their start only as far as the vendor filters by it; else contacts
-- that start before its end may be listed after it, by the longest lag seen.
create view koresync.completeness as
select s.stream, s.is_configured, s.last_success_at, b.begins_at, s.frontier,
       greatest(b.begins_at, s.watermark - lag.length) as complete_through,
       coalesce((
           select range_agg(tstzrange(greatest(lower(v.span), b.begins_at), upper(v.span) - lag.length))
                  filter (where greatest(lower(v.span), b.begins_at) < upper(v.span) - lag.length)
           from (select unnest(range_agg(tstzrange(w.from_at, w.to_at))) as span
                 from koresync.windows w where w.stream = s.stream and w.state = 'verified') v
       ), '{}') as complete,
       coalesce((
           select range_agg(tstzrange(greatest(w.from_at, b.begins_at), w.to_at)) filter (where w.to_at > b.begins_at)
           from koresync.windows w where w.stream = s.stream and w.state = 'unverified'
       ), '{}') as unverified
from koresync.streams s
cross join lateral (select greatest(s.start_at, s.kept_from) as begins_at) b
cross join lateral (select make_interval(secs => s.filter_lag_seconds) as length) lag;

create view kore.data_completeness as
select c.stream, c.is_configured, p.status, lower(p.span) as from_at, upper(p.span) as to_at
from koresync.completeness c
cross join lateral (
    select 'complete' as status, unnest(c.complete) as span
    union all
    select 'unverified', unnest(c.unverified - c.complete)
    union all
    select 'missing', unnest(case when c.begins_at < c.frontier then tstzmultirange(tstzrange(c.begins_at, c.frontier)) else '{}' end
        - c.complete - c.unverified)
) p;

create view kore.data_freshness as
select c.stream, c.is_configured, c.begins_at as complete_from, c.complete_through,
       extract(epoch from now() - c.complete_through)::bigint as lag_seconds,
       (select lower(i) from unnest(c.complete) i order by i desc limit 1) as newest_complete_from,
       (select upper(i) from unnest(c.complete) i order by i desc limit 1) as newest_complete_through,
       (select count(*) from unnest(c.complete) i) as complete_intervals,
       (select count(*) from koresync.windows w where w.stream = c.stream and w.state = 'unverified') as unverified_windows,
       (select string_agg(to_char(lower(u) at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' to '
                          || to_char(upper(u) at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS'), ', ' order by u)
        from unnest(c.unverified) u) as unverified_ranges,
       c.last_success_at
from koresync.completeness c;

-- A function: what is complete is worked out once a stream, not once a day, and on a cluster it is asked in one place, under the
-- rights of its owner.
create function koresync.daily_completeness()
returns table (stream text, is_configured boolean, started_on date, is_complete boolean)
language plpgsql stable security definer set search_path = pg_catalog
as $$
declare
    zone text := coalesce((select s.time_zone from kore.settings s), 'UTC');
begin
    return query
    select c.stream, c.is_configured, d.day::date,
           c.complete @> tstzrange(greatest(c.begins_at, d.day at time zone zone), (d.day + interval '1 day') at time zone zone)
    from (select * from koresync.completeness offset 0) c
    cross join lateral generate_series((c.begins_at at time zone zone)::date::timestamp, (now() at time zone zone)::date::timestamp, interval '1 day') d (day);
end
$$;
comment on function koresync.daily_completeness() is 'What kore.daily_completeness shows.';

create view kore.daily_completeness as
select d.stream, d.is_configured, d.started_on, d.is_complete from koresync.daily_completeness() d;

-- A view inherits no comment. What it passes on means there what it means in its table; the rest is told below.
do $$
declare
    c record;
begin
    for c in
        select v.relname as view, a.attname as name, col_description(t.oid, b.attnum) as words
        from (values ('contact_overview', 'contacts'), ('contact_overview', 'evaluation_forms'), ('contact_agent_allocations', 'contacts'),
                     ('contact_agent_allocations', 'agents'), ('contact_queue_allocations', 'contacts'), ('contact_queue_allocations', 'queues'),
                     ('agent_daily_scorecard', 'agents'), ('queue_daily', 'queues'), ('metric_compliance_daily', 'metrics'),
                     ('metric_evidence', 'contacts'), ('metric_evidence', 'metrics'), ('metric_evidence', 'contact_metrics'),
                     ('metric_evidence', 'metric_justifications'), ('topic_daily', 'topics'), ('emotion_daily', 'contact_emotions'),
                     ('emotion_daily', 'emotions'), ('sentiment_daily', 'contacts'), ('evaluation_backlog', 'contacts')
             ) as passed_on (view, source)
        join pg_class v on v.oid = ('kore.' || passed_on.view)::regclass
        join pg_class t on t.oid = ('kore.' || passed_on.source)::regclass
        join pg_attribute a on a.attrelid = v.oid and a.attnum > 0
        join pg_attribute b on b.attrelid = t.oid and b.attname = a.attname and b.attnum > 0
    loop
        execute format('comment on column kore.%I.%I is %L', c.view, c.name, c.words);
    end loop;
    -- Columns that mean the same wherever they stand.
    for c in
        select v.relname as view, a.attname as name, w.words
        from pg_class v
        join pg_attribute a on a.attrelid = v.oid and a.attnum > 0
        join (values
            ('started_on', 'The business day on which the contacts began, in the time zone of kore.settings.'),
            ('stream', 'Name of the configured stream.'),
            ('primary_agent_key', 'The first agent that the payload lists: agents.agent_key; NULL when it lists none.'),
            ('primary_agent_id', 'The vendor''s id of that agent.'),
            ('primary_agent_name', 'Name of that agent.'),
            ('primary_queue_key', 'The first queue that the payload lists: queues.queue_key; NULL when it lists none.'),
            ('primary_queue_id', 'The vendor''s id of that queue.'),
            ('primary_queue_name', 'Name of that queue.'),
            ('allocation_weight', 'The part of the contact that is counted here: over the agents (queues) of a contact the parts sum to 1 exactly. Filter by the day and stream of this view, not by those of a table that is joined to it.'),
            ('allocated_contacts', 'Contacts, each divided among its agents (queues): sums to the number of contacts. Add this up, not contacts.'),
            ('evaluated_contacts', 'Contacts that have an evaluation score: the denominator of evaluation_score_mean.'),
            ('allocated_evaluated_contacts', 'Contacts that have an evaluation score, each divided among its agents (queues): sums to their number.'),
            ('evaluation_score_sum', 'Sum of the evaluation scores; over evaluated_contacts it is the mean.'),
            ('allocated_evaluation_score_sum', 'Sum of the evaluation scores, each divided among the agents (queues) of the contact: sums to that of all contacts.'),
            ('evaluation_score_mean', 'evaluation_score_sum / evaluated_contacts, rounded to 0.01; NULL when no contact has a score. Of several rows add up both and divide.'),
            ('judged_contacts', 'Contacts that have a score and are said to pass or not: the denominator of pass_rate_pct. Unscored ones are never in it.'),
            ('passed_contacts', 'Of judged_contacts those whose score passes.'),
            ('allocated_judged_contacts', 'judged_contacts, each divided among its agents (queues): sums to their number.'),
            ('allocated_passed_contacts', 'passed_contacts, each divided among its agents (queues): sums to their number.'),
            ('pass_rate_pct', '100 * passed_contacts / judged_contacts, rounded to 0.01; NULL when none is judged. Of several rows add up both and divide.'),
            ('fatal_error_contacts', 'Contacts with one fatal error or more.'),
            ('churn_risk_contacts', 'Contacts in which a risk of churn was observed.'),
            ('escalation_contacts', 'Contacts in which an escalation was observed.'),
            ('duration_ms_sum', 'Sum of the lengths, milliseconds.'),
            ('timed_contacts', 'Contacts whose length is known: the denominator for duration_ms_sum.'),
            ('empathy_score_sum', 'Sum of the agent''s empathy scores; over empathy_scored_parts it is the mean.'),
            ('empathy_scored_parts', 'The agent''s parts in contacts that have an empathy score.'),
            ('crutch_word_score_sum', 'Sum of the agent''s scores for filler words; over crutch_word_scored_parts it is the mean.'),
            ('crutch_word_scored_parts', 'The agent''s parts in contacts that have a score for filler words.'),
            ('sentiment_score_sum', 'Sum of the sentiment scores, in the vendor''s scale.'),
            ('is_configured', 'False once the stream is gone from the configuration: its data stays as it was.')
        ) as w (name, words) on w.name = a.attname
        where v.relnamespace = 'kore'::regnamespace and v.relkind = 'v' and col_description(v.oid, a.attnum) is null
    loop
        execute format('comment on column kore.%I.%I is %L', c.view, c.name,
            replace(c.words, 'agents (queues)', case when c.view in ('queue_daily', 'contact_queue_allocations') then 'queues' else 'agents' end));
    end loop;
end
$$;

comment on view kore.contact_overview is 'Contacts with their form, first agent and first queue by name: the place to begin. Contacts that the vendor no longer has are left out. Grain: a contact.';
comment on column kore.contact_overview.started_local is 'When the conversation began, as the clock of the business time zone showed.';
comment on column kore.contact_overview.is_evaluated is 'True when there is an evaluation score. Pass rates are among these alone.';
comment on column kore.contact_overview.is_passed is 'Whether the score passes; NULL when there is no score.';

comment on view kore.contact_agent_allocations is 'Which part of a contact each of its agents is counted with, so that totals by agent add up to totals of contacts. A contact without an agent has one row, whose agent_key is NULL. Grain: an agent of a contact, once however often he took part.';
comment on column kore.contact_agent_allocations.contact_key is 'The contact.';
comment on column kore.contact_agent_allocations.agent_key is 'The agent; NULL for a contact without one.';
comment on column kore.contact_agent_allocations.part_count is 'How often the payload lists the agent; 0 for a contact without one.';
comment on column kore.contact_agent_allocations.is_primary is 'True for the first agent that the payload lists.';

comment on view kore.contact_queue_allocations is 'Which part of a contact each of its queues is counted with, so that totals by queue add up to totals of contacts. A contact without a queue has one row, whose queue_key is NULL. Grain: a queue of a contact, once however often it was passed.';
comment on column kore.contact_queue_allocations.contact_key is 'The contact.';
comment on column kore.contact_queue_allocations.queue_key is 'The queue; NULL for a contact without one.';
comment on column kore.contact_queue_allocations.part_count is 'How often the payload lists the queue; 0 for a contact without one.';
comment on column kore.contact_queue_allocations.is_primary is 'True for the first queue that the payload lists.';

comment on view kore.agent_daily_scorecard is 'How agents did. Contacts without an agent are in a row whose agent_key is NULL. A contact with two agents counts in full for both: to add up over agents take the allocated_ columns. Grain: a business day, stream and agent.';
comment on column kore.agent_daily_scorecard.agent_key is 'The agent; NULL for contacts without one.';
comment on column kore.agent_daily_scorecard.contacts is 'Contacts in which the agent took part.';

comment on view kore.queue_daily is 'What went through queues. Contacts without a queue are in a row whose queue_key is NULL. A contact that passed two queues counts in full for both: to add up over queues take the allocated_ columns. Grain: a business day, stream and queue.';
comment on column kore.queue_daily.queue_key is 'The queue; NULL for contacts without one.';
comment on column kore.queue_daily.contacts is 'Contacts that passed the queue.';

comment on view kore.metric_compliance_daily is 'How often metrics were met. metric_count is the sum of unscored_count, yes_count, no_count, na_count, missing_count and other_count. Grain: a business day, stream and metric.';
comment on column kore.metric_compliance_daily.metric_key is 'The metric.';
comment on column kore.metric_compliance_daily.metric_count is 'How often contacts list the metric, evaluated or not.';
comment on column kore.metric_compliance_daily.unscored_count is 'Of these in contacts without an evaluation score; in no other count.';
comment on column kore.metric_compliance_daily.yes_count is 'Met (YES), in evaluated contacts.';
comment on column kore.metric_compliance_daily.no_count is 'Not met (NO), in evaluated contacts.';
comment on column kore.metric_compliance_daily.na_count is 'Said not to apply (NA), in evaluated contacts.';
comment on column kore.metric_compliance_daily.missing_count is 'Without a result, in evaluated contacts.';
comment on column kore.metric_compliance_daily.other_count is 'With another result than these, in evaluated contacts.';
comment on column kore.metric_compliance_daily.judged_count is 'yes_count + no_count: the denominator of compliance_pct.';
comment on column kore.metric_compliance_daily.compliance_pct is '100 * yes_count / judged_count, rounded to 0.01; NULL when none is judged. Of several rows add up both and divide.';
comment on column kore.metric_compliance_daily.fatal_no_count is 'Of no_count those in which the metric is a fatal one.';

comment on view kore.metric_evidence is 'Why metrics were judged so, with the messages cited. A metric without an entry has no row. Grain: a justification entry of a metric of a contact.';
comment on column kore.metric_evidence.contact_key is 'The contact.';
comment on column kore.metric_evidence.metric_key is 'The metric.';
comment on column kore.metric_evidence.metric_ordinal is 'The metric''s place in the contact: contact_metrics.ordinal.';
comment on column kore.metric_evidence.justification_ordinal is 'Place of the entry in the payload''s list, from 1: metric_justifications.ordinal.';
comment on column kore.metric_evidence.message_ids is 'The vendor''s ids of the messages that the entry cites, in its order; NULL when it cites none.';
comment on column kore.metric_evidence.first_message_at is 'When the earliest message it cites was sent (UTC).';

comment on view kore.topic_daily is 'What contacts were about. Each level of the taxonomy has rows of its own, so filter by level before adding up; the vendor tells resolution and sentiment at level 3 alone. A contact with two topics counts for both. Grain: a business day, stream and topic.';
comment on column kore.topic_daily.topic_key is 'The topic.';
comment on column kore.topic_daily.contacts is 'Contacts in which the topic was found.';
comment on column kore.topic_daily.mentions is 'How often it was found; a contact may name it more than once.';
comment on column kore.topic_daily.reported_contacts is 'Of contacts those of which it is told whether the topic was resolved: the denominator of resolved_pct.';
comment on column kore.topic_daily.resolved_contacts is 'Of reported_contacts those in which no mention was left unresolved.';
comment on column kore.topic_daily.resolved_pct is '100 * resolved_contacts / reported_contacts, rounded to 0.01; NULL when none is reported. Of several rows add up both and divide.';
comment on column kore.topic_daily.sentiment_scored_mentions is 'Mentions that have a sentiment score: the denominator of sentiment_score_mean.';
comment on column kore.topic_daily.sentiment_score_mean is 'sentiment_score_sum / sentiment_scored_mentions, rounded to 0.01; NULL when none is scored.';

comment on view kore.emotion_daily is 'Emotions that were detected. A contact with two emotions counts for both. Grain: a business day, stream, speaker and emotion.';
comment on column kore.emotion_daily.emotion_key is 'The emotion.';
comment on column kore.emotion_daily.contacts is 'Contacts in which the speaker showed the emotion.';
comment on column kore.emotion_daily.occurrences is 'How often payloads list it; a contact may list it more than once.';
comment on column kore.emotion_daily.duration_ms_sum is 'How long it lasted, added up over timed_occurrences, milliseconds.';
comment on column kore.emotion_daily.timed_occurrences is 'Occurrences whose length is told.';
comment on column kore.emotion_daily.proportion_pct_sum is 'Its share among the speaker''s emotions, percent, added up over proportioned_occurrences.';
comment on column kore.emotion_daily.proportioned_occurrences is 'Occurrences whose share is told: the denominator of proportion_pct_mean.';
comment on column kore.emotion_daily.proportion_pct_mean is 'proportion_pct_sum / proportioned_occurrences, rounded to 0.01; NULL when none is told.';

comment on view kore.sentiment_daily is 'From which sentiment to which contacts went. Grain: a business day, stream, sentiment at the beginning and at the end; either may be NULL, not reported.';
comment on column kore.sentiment_daily.started_on is 'The business day on which the contacts began, in the time zone of kore.settings.';
comment on column kore.sentiment_daily.contacts is 'Contacts that went so.';
comment on column kore.sentiment_daily.sentiment_scored_contacts is 'Of these such as have a sentiment score: the denominator of sentiment_score_mean.';
comment on column kore.sentiment_daily.sentiment_score_mean is 'sentiment_score_sum / sentiment_scored_contacts, rounded to 0.01; NULL when none is scored.';

comment on view kore.evaluation_backlog is 'Contacts without an evaluation score, by age at the moment of asking. Grain: a stream, duration status and range of age.';
comment on column kore.evaluation_backlog.is_awaited is 'False where the duration status says that the vendor will not evaluate them: below_threshold, duration_unavailable.';
comment on column kore.evaluation_backlog.age_rank is 'Place of the range of age, 1 the youngest to 5: to sort by.';
comment on column kore.evaluation_backlog.age is 'Time since the start of the contacts, in words.';
comment on column kore.evaluation_backlog.contacts is 'Contacts without an evaluation score.';
comment on column kore.evaluation_backlog.oldest_started_at is 'Start of the oldest of them (UTC).';
comment on column kore.evaluation_backlog.newest_started_at is 'Start of the newest of them (UTC).';

-- What is asked about these columns most.
comment on column kore.contacts.is_passed is 'Whether the score passes, as the vendor says; NULL where it does not say. Means something where evaluation_score is not NULL.';
comment on column kore.contacts.fatal_error_count is 'Number of fatal errors, as the vendor counts them: nothing ties it to single rows of contact_metrics.';
comment on column kore.contacts.audit_status is 'State of the audit as sent; the vendor lists no values. A contact was audited where audited_at or audit_score is not NULL.';
comment on column kore.contact_metrics.is_fatal_error is 'Whether the metric is a fatal one. The error occurred where qualification is NO as well.';
comment on column kore.contact_metrics.auditor_response is 'The auditor''s answer as sent; the vendor lists no values.';
comment on column kore.contact_topics.is_resolved is 'Whether the topic was resolved; the vendor tells it of level 3 alone, so it is NULL above.';
comment on column kore.contact_topics.sentiment_score is 'Sentiment score of the topic; the vendor tells it of level 3 alone, so it is NULL above.';
comment on column kore.contact_emotions.ordinal is 'Place in the payload''s list of that speaker, from 1; no order in time.';
comment on column kore.contact_changes.old_values is 'The differing columns as they were, a child table as the list of its rows: (old_values ->> ''evaluation_score'')::numeric.';
comment on function kore.contacts_as_of(timestamptz) is 'Contacts as this warehouse knew them at a moment: those first seen by then, with the columns of contacts, the values that later changes replaced put back. Contacts that were gone by then have removed_at; child tables are as they are now. Grain: a contact.';

comment on view koresync.agent_parts is 'Contacts by their agents, with what daily views count of them. Grain: an agent of a contact, or a contact without one.';
comment on column koresync.agent_parts.started_on is 'The business day.';
comment on column koresync.agent_parts.stream is 'The stream.';
comment on column koresync.agent_parts.contact_key is 'The contact.';
comment on column koresync.agent_parts.agent_key is 'The agent; NULL for a contact without one.';
comment on column koresync.agent_parts.part_count is 'How often the payload lists the agent (queue) in the contact; 0 for a contact without one.';
comment on column koresync.agent_parts.is_primary is 'True for the first that the payload lists.';
comment on column koresync.agent_parts.allocation_weight is 'The part of the contact that is counted here.';
comment on column koresync.agent_parts.evaluation_score is 'Score of the contact.';
comment on column koresync.agent_parts.is_passed is 'Whether it passes; NULL when there is no score.';
comment on column koresync.agent_parts.fatal_error_count is 'Fatal errors of the contact.';
comment on column koresync.agent_parts.is_churn_risk is 'Whether a risk of churn was observed.';
comment on column koresync.agent_parts.is_escalation is 'Whether an escalation was observed.';
comment on column koresync.agent_parts.duration_ms is 'Length of the contact, milliseconds.';
comment on column koresync.agent_parts.empathy_score_sum is 'Sum of the agent''s empathy scores in the contact.';
comment on column koresync.agent_parts.empathy_scored_parts is 'Parts that have one.';
comment on column koresync.agent_parts.crutch_word_score_sum is 'Sum of the agent''s scores for filler words in the contact.';
comment on column koresync.agent_parts.crutch_word_scored_parts is 'Parts that have one.';
comment on view koresync.queue_parts is 'Contacts by their queues, with what daily views count of them. Grain: a queue of a contact, or a contact without one.';
comment on column koresync.queue_parts.started_on is 'The business day.';
comment on column koresync.queue_parts.stream is 'The stream.';
comment on column koresync.queue_parts.contact_key is 'The contact.';
comment on column koresync.queue_parts.queue_key is 'The queue; NULL for a contact without one.';
comment on column koresync.queue_parts.part_count is 'How often the payload lists the agent (queue) in the contact; 0 for a contact without one.';
comment on column koresync.queue_parts.is_primary is 'True for the first that the payload lists.';
comment on column koresync.queue_parts.allocation_weight is 'The part of the contact that is counted here.';
comment on column koresync.queue_parts.evaluation_score is 'Score of the contact.';
comment on column koresync.queue_parts.is_passed is 'Whether it passes; NULL when there is no score.';
comment on column koresync.queue_parts.fatal_error_count is 'Fatal errors of the contact.';
comment on column koresync.queue_parts.is_churn_risk is 'Whether a risk of churn was observed.';
comment on column koresync.queue_parts.is_escalation is 'Whether an escalation was observed.';
comment on column koresync.queue_parts.duration_ms is 'Length of the contact, milliseconds.';

comment on view koresync.completeness is 'How far contacts are proved to be here, by their start. Grain: a stream.';
comment on column koresync.completeness.stream is 'The stream.';
comment on column koresync.completeness.is_configured is 'False once it is gone from the configuration.';
comment on column koresync.completeness.last_success_at is 'When a window was last verified (UTC).';
comment on column koresync.completeness.begins_at is 'From where on contacts are kept (UTC): the configured start, or later by retention.';
comment on column koresync.completeness.frontier is 'Up to where live windows are planned (UTC).';
comment on column koresync.completeness.complete_through is 'All contacts that start before are here (UTC).';
comment on column koresync.completeness.complete is 'All stretches that are proved (UTC).';
comment on column koresync.completeness.unverified is 'All stretches that were read and could not be proved (UTC).';

comment on view kore.data_freshness is 'How far the data is complete: what may be shown as final. Grain: a stream.';
comment on column kore.data_freshness.complete_from is 'Where the stream''s contacts begin (UTC).';
comment on column kore.data_freshness.complete_through is 'All contacts from complete_from to here (UTC) are proved to be here. While the first backfill is on its way, later stretches may be complete already: newest_complete_from and data_completeness.';
comment on column kore.data_freshness.lag_seconds is 'Time from complete_through to now, seconds.';
comment on column kore.data_freshness.newest_complete_from is 'Begin of the latest stretch that is complete (UTC); NULL when there is none.';
comment on column kore.data_freshness.newest_complete_through is 'End of the latest stretch that is complete (UTC).';
comment on column kore.data_freshness.complete_intervals is 'Number of stretches that are complete; 1 when nothing is missing between.';
comment on column kore.data_freshness.unverified_windows is 'Windows that were read and could not be proved; their data is here, and may lack contacts.';
comment on column kore.data_freshness.unverified_ranges is 'Where these are (UTC), in words; NULL when there is none.';
comment on column kore.data_freshness.last_success_at is 'When a read was last proved (UTC).';

comment on view kore.data_completeness is 'Which stretches of time are complete. Grain: a stretch of a stream in one status.';
comment on column kore.data_completeness.status is 'complete: all contacts that start in it are proved to be here; unverified: read, not proved; missing: not read yet, or its backfill was cancelled.';
comment on column kore.data_completeness.from_at is 'Its begin (UTC), inclusive.';
comment on column kore.data_completeness.to_at is 'Its end (UTC), exclusive.';

comment on view kore.daily_completeness is 'Which business days are complete: join it to any daily view by stream and started_on. Grain: a business day of a stream, up to today.';
comment on column kore.daily_completeness.started_on is 'The business day.';
comment on column kore.daily_completeness.is_complete is 'True once all contacts that start on this day are proved to be here, scored or not; of the first day only what the stream has of it. Earlier days have no row.';

-- A second reader, for whom what [privacy] calls personal does not exist: by grants of columns. What a later migration adds
-- is closed to it until it is granted. Roles belong to the whole cluster; a login that may not make one leaves it to somebody
-- who may: `create role kore_reader_restricted nologin`, then as kore_owner `select koresync.grant_restricted_reader()`.
reset role;
set local citus.enable_ddl_propagation = on;
do $$
begin
    for attempt in 1..20 loop
        begin
            if not exists (select from pg_roles where rolname = 'kore_reader_restricted') then
                create role kore_reader_restricted nologin;
            end if;
            exit;
        exception
            when insufficient_privilege then exit;
            when duplicate_object or unique_violation or internal_error then
                if attempt = 20 then raise; end if;
                perform pg_sleep(0.02 * attempt);
        end;
    end loop;
end
$$;
set local role kore_owner;
set local citus.enable_ddl_propagation = off;

create table koresync.personal_columns (
    table_name  text not null,
    column_name text not null,
    primary key (table_name, column_name)
);
comment on table koresync.personal_columns is 'Columns of kore that hold personal data, or may: closed to kore_reader_restricted. Grain: a column.';
comment on column koresync.personal_columns.table_name is 'Table or view of kore.';
comment on column koresync.personal_columns.column_name is 'Its column.';
insert into koresync.personal_columns (table_name, column_name) values
    ('agents', 'agent_name'), ('agents', 'agent_email'), ('agent_daily_scorecard', 'agent_name'),
    ('contact_overview', 'primary_agent_name'), ('metric_evidence', 'primary_agent_name'),
    ('contacts', 'auditor_name'), ('contact_overview', 'auditor_name'),
    ('contacts', 'custom_fields'), ('contact_overview', 'custom_fields'), ('contacts', 'extra'),
    ('contact_changes', 'old_values'), ('contact_changes', 'new_values'),
    ('metric_justifications', 'justification'), ('metric_justifications', 'source_system_value'),
    ('metric_justifications', 'agent_mentioned_value'), ('metric_justifications', 'agent_entity'),
    ('metric_evidence', 'justification'), ('metric_evidence', 'source_system_value'),
    ('metric_evidence', 'agent_mentioned_value'), ('metric_evidence', 'agent_entity'),
    ('generated_intents', 'intent'), ('generated_intents', 'topic'), ('generated_intent_keywords', 'keyword');

create function koresync.grant_restricted_reader() returns void language plpgsql
set search_path = pg_catalog
as $$
declare
    t record;
begin
    grant usage on schema kore to kore_reader_restricted;
    for t in
        select c.relname, string_agg(quote_ident(a.attname), ', ' order by a.attnum) as columns
        from pg_class c
        join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relnamespace = 'kore'::regnamespace and c.relkind in ('r', 'p', 'v')
          and not exists (select from koresync.personal_columns p where p.table_name = c.relname and p.column_name = a.attname)
        group by c.relname
    loop
        execute format('grant select (%s) on kore.%I to kore_reader_restricted', t.columns, t.relname);
    end loop;
end
$$;
comment on function koresync.grant_restricted_reader() is 'Opens to kore_reader_restricted every column of kore that koresync.personal_columns does not name: for kore_owner, once the role is there.';

do $$
begin
    if exists (select from pg_roles where rolname = 'kore_reader_restricted') then
        perform koresync.grant_restricted_reader();
    end if;
end
$$;

insert into koresync.schema_versions (migration, oldest_program) values (13, '0.1.0');

reset role;
