-- What the views of kore must show, computed from the payloads as they were received and from nothing that the mapper made.
-- Needs a table reference.payloads (stream, conversation_id, is_removed, record jsonb) and the zone in reference.zone (name).

-- A member under its documented name, or that name in camel or snake case.
create function reference.member(record jsonb, name text) returns jsonb language sql immutable as $$
    select coalesce(record -> name,
                    record -> (lower(left(name, 1)) || substr(replace(initcap(name), ' ', ''), 2)),
                    record -> replace(lower(name), ' ', '_'))
$$;
-- What a member says; the ways of saying nothing say nothing.
create function reference.said(record jsonb, name text) returns text language sql immutable as $$
    select nullif(nullif(nullif(case when name like '% %' then reference.member(record, name) #>> '{}' else record ->> name end, 'NA'), '-'), '')
$$;
create function reference.list(record jsonb, name text) returns setof jsonb language sql immutable as $$
    select e from jsonb_array_elements(case jsonb_typeof(reference.member(record, name)) when 'array' then reference.member(record, name) else '[]' end) e
$$;
-- A value alone, or the list that it is.
create function reference.several(value jsonb) returns setof text language sql immutable as $$
    select e #>> '{}' from jsonb_array_elements(case when value is null or value = 'null' then '[]' when jsonb_typeof(value) = 'array' then value else jsonb_build_array(value) end) e
$$;

create materialized view reference.contacts as
select p.stream, p.conversation_id, p.record,
       (reference.said(record, 'Conversation Start Time')::timestamptz at time zone z.name)::date as started_on,
       reference.said(record, 'Conversation Start Time')::timestamptz as started_at,
       reference.said(record, 'Conversation Start Time')::timestamptz at time zone z.name as started_local,
       reference.said(record, 'Kore Evaluation Score')::numeric as score,
       case when reference.said(record, 'Kore Evaluation Score') is not null then reference.said(record, 'IsPassed')::boolean end as is_passed,
       reference.said(record, 'IsChurnRiskObserved')::boolean as churn, reference.said(record, 'IsEscalationObserved')::boolean as escalation,
       reference.said(record, 'Fatal Errors')::numeric as fatal,
       replace(reference.said(record, 'Duration'), ' milliseconds', '')::numeric as duration,
       reference.said(record, 'Sentiment Score')::numeric as sentiment_score,
       reference.said(record, 'duration_status') as duration_status
from reference.payloads p cross join reference.zone z where not p.is_removed;

create materialized view reference.agents as
select c.stream, c.conversation_id, p.place,
       coalesce(reference.said(p.agent, 'agentId'), reference.said(p.agent, 'Agent ID')) as agent_id,
       coalesce(reference.said(p.agent, 'agentId'), reference.said(p.agent, 'Agent ID'),
                concat_ws('/', reference.said(p.agent, 'Agent Email'), reference.said(p.agent, 'Agent Name'))) as agent,
       reference.said(p.agent, 'Empathy Score')::numeric as empathy, reference.said(p.agent, 'Crutch Word Score')::numeric as crutch
from reference.contacts c cross join lateral reference.list(c.record, 'Agents') with ordinality p (agent, place);

create materialized view reference.queues as
select c.stream, c.conversation_id, p.place,
       coalesce(reference.said(p.queue, 'Queue ID'), reference.said(p.queue, 'Queue Name')) as queue
from reference.contacts c cross join lateral reference.list(c.record, 'Queues') with ordinality p (queue, place);

create materialized view reference.metrics as
select c.stream, c.conversation_id, c.started_on, c.started_at, c.score, p.place, p.metric,
       reference.said(p.metric, 'Metric ID') as metric_id, reference.said(p.metric, 'Metric Name') as metric_name,
       nullif(nullif(reference.member(p.metric, 'Qualification') #>> '{}', '-'), '') as qualification,
       reference.said(p.metric, 'isFatalError')::boolean as is_fatal
from reference.contacts c cross join lateral reference.list(c.record, 'Metrics') with ordinality p (metric, place);

create view reference.contact_overview as
select c.stream, c.conversation_id, reference.said(record, 'customConversationId') as custom_conversation_id,
       reference.said(record, 'src') as source, reference.said(record, 'Channel') as channel,
       reference.said(record, 'contactDirection') as direction, c.started_at, c.started_local, c.started_on,
       reference.said(record, 'Conversation End Time')::timestamptz as ended_at, c.duration as duration_ms,
       reference.said(record, 'Language') as language, c.duration_status, reference.said(record, 'Sentiment') as sentiment,
       c.sentiment_score, reference.said(reference.member(record, 'Sentiment Pattern'), 'start') as sentiment_start,
       reference.said(reference.member(record, 'Sentiment Pattern'), 'end') as sentiment_end,
       reference.said(reference.member(record, 'Sentiment Ratio'), 'positive')::numeric as positive_pct,
       reference.said(reference.member(record, 'Sentiment Ratio'), 'neutral')::numeric as neutral_pct,
       reference.said(reference.member(record, 'Sentiment Ratio'), 'negative')::numeric as negative_pct,
       c.score is not null as is_evaluated, c.score as evaluation_score, reference.said(record, 'Pass Score')::numeric as pass_score,
       c.is_passed, c.fatal as fatal_error_count, reference.said(record, 'Evaluation Form Name') as form_name,
       reference.said(record, 'Evaluation Form Scoring Type') as scoring_type, c.churn as is_churn_risk, c.escalation as is_escalation,
       reference.said(record, 'Taxonomy Resolution') as taxonomy_resolution,
       reference.said(record, 'Customer talk ratio percentage')::numeric as customer_talk_pct,
       reference.said(record, 'Agent talk ratio percentage')::numeric as agent_talk_pct,
       reference.said(record, 'Silence percentage')::numeric as silence_pct,
       reference.said(record -> 'Configured_Intents', 'total_topics_identified')::numeric as total_topics_identified,
       a.agent as primary_agent, q.queue as primary_queue,
       reference.said(record, 'Audit Status') as audit_status, reference.said(record, 'Audit Score')::numeric as audit_score,
       reference.said(record, 'Audit Date')::timestamptz as audited_at, reference.said(record, 'Auditor Name') as auditor_name,
       reference.member(record, 'custom_fields') as custom_fields
from reference.contacts c
left join reference.agents a on a.stream = c.stream and a.conversation_id = c.conversation_id and a.place = 1
left join reference.queues q on q.stream = c.stream and q.conversation_id = c.conversation_id and q.place = 1;

-- Sums by name, whole and divided; the divided ones are exact to the rounding of a weight.
create view reference.agent_daily_scorecard as
select c.started_on, c.stream, a.agent,
       count(*) as contacts, count(c.score) as evaluated_contacts, sum(c.score) as evaluation_score_sum, round(avg(c.score), 2) as evaluation_score_mean,
       count(c.is_passed) as judged_contacts, coalesce(sum(c.is_passed::int), 0) as passed_contacts,
       round(sum(c.is_passed::int) * 100.0 / nullif(count(c.is_passed), 0), 2) as pass_rate_pct,
       count(nullif(c.fatal > 0, false)) as fatal_error_contacts, count(nullif(c.churn, false)) as churn_risk_contacts,
       count(nullif(c.escalation, false)) as escalation_contacts, sum(c.duration) as duration_ms_sum, count(c.duration) as timed_contacts,
       sum(a.empathy) as empathy_score_sum, sum(a.empathies) as empathy_scored_parts,
       sum(a.crutch) as crutch_word_score_sum, sum(a.crutches) as crutch_word_scored_parts,
       sum(a.share) as allocated_contacts, sum(case when c.score is not null then a.share else 0 end) as allocated_evaluated_contacts,
       sum(a.share * c.score) as allocated_evaluation_score_sum, sum(case when c.is_passed is not null then a.share else 0 end) as allocated_judged_contacts,
       sum(case when c.is_passed then a.share else 0 end) as allocated_passed_contacts
from reference.contacts c
join (
    select i.stream, i.conversation_id, i.agent, 1.0 / n.agents as share, i.empathy, i.empathies, i.crutch, i.crutches
    from (select stream, conversation_id, agent, sum(empathy) as empathy, count(empathy) as empathies, sum(crutch) as crutch, count(crutch) as crutches
          from reference.agents group by 1, 2, 3) i
    join (select stream, conversation_id, count(distinct agent) as agents from reference.agents group by 1, 2) n using (stream, conversation_id)
    union all
    select c.stream, c.conversation_id, null, 1, null, 0, null, 0 from reference.contacts c
    where not exists (select from reference.agents a where a.stream = c.stream and a.conversation_id = c.conversation_id)
) a using (stream, conversation_id)
group by 1, 2, 3;

create view reference.queue_daily as
select c.started_on, c.stream, q.queue,
       count(*) as contacts, count(c.score) as evaluated_contacts, sum(c.score) as evaluation_score_sum, round(avg(c.score), 2) as evaluation_score_mean,
       count(c.is_passed) as judged_contacts, coalesce(sum(c.is_passed::int), 0) as passed_contacts,
       round(sum(c.is_passed::int) * 100.0 / nullif(count(c.is_passed), 0), 2) as pass_rate_pct,
       count(nullif(c.churn, false)) as churn_risk_contacts, count(nullif(c.escalation, false)) as escalation_contacts,
       sum(c.duration) as duration_ms_sum, count(c.duration) as timed_contacts,
       sum(q.share) as allocated_contacts, sum(case when c.score is not null then q.share else 0 end) as allocated_evaluated_contacts,
       sum(q.share * c.score) as allocated_evaluation_score_sum, sum(case when c.is_passed is not null then q.share else 0 end) as allocated_judged_contacts,
       sum(case when c.is_passed then q.share else 0 end) as allocated_passed_contacts
from reference.contacts c
join (
    select distinct i.stream, i.conversation_id, i.queue, 1.0 / n.queues as share
    from reference.queues i
    join (select stream, conversation_id, count(distinct queue) as queues from reference.queues group by 1, 2) n using (stream, conversation_id)
    union all
    select c.stream, c.conversation_id, null, 1 from reference.contacts c
    where not exists (select from reference.queues q where q.stream = c.stream and q.conversation_id = c.conversation_id)
) q using (stream, conversation_id)
group by 1, 2, 3;

create view reference.metric_compliance_daily as
select started_on, stream, metric_id, metric_name, count(*) as metric_count, coalesce(sum((score is null)::int), 0) as unscored_count,
       coalesce(sum((qualification = 'YES' and score is not null)::int), 0) as yes_count, coalesce(sum((qualification = 'NO' and score is not null)::int), 0) as no_count,
       coalesce(sum((qualification = 'NA' and score is not null)::int), 0) as na_count, coalesce(sum((qualification is null and score is not null)::int), 0) as missing_count,
       coalesce(sum((qualification <> all ('{YES,NO,NA}') and score is not null)::int), 0) as other_count,
       coalesce(sum((qualification = any ('{YES,NO}') and score is not null)::int), 0) as judged_count,
       round(100.0 * sum((qualification = 'YES' and score is not null)::int) / nullif(sum((qualification = any ('{YES,NO}') and score is not null)::int), 0), 2) as compliance_pct,
       coalesce(sum((qualification = 'NO' and is_fatal and score is not null)::int), 0) as fatal_no_count
from reference.metrics group by 1, 2, 3, 4;

create view reference.metric_evidence as
select m.stream, m.conversation_id, m.started_on, m.started_at, a.agent as primary_agent, m.place as metric_ordinal, m.metric_id, m.metric_name,
       m.qualification, m.is_fatal as is_fatal_error, j.kind, j.place as justification_ordinal, reference.said(j.entry, 'justification') as justification,
       reference.said(j.entry, 'sourceSystemValue') as source_system_value, reference.said(j.entry, 'agentMentionedValue') as agent_mentioned_value,
       reference.said(j.entry, 'AgentEntity') as agent_entity,
       (select array_agg(id order by place) from reference.several(j.entry -> 'message_id') with ordinality s (id, place)) as message_ids,
       (select min(to_timestamp(ms::numeric / 1000)) from reference.several(j.entry -> 'timestamp') s (ms)) as first_message_at
from reference.metrics m
cross join lateral (
    select 'justification' as kind, e.entry, e.place from reference.list(m.metric, 'justification') with ordinality e (entry, place)
    union all
    select 'trigger', e.entry, e.place from reference.list(m.metric, 'triggerJustification') with ordinality e (entry, place)
) j
left join reference.agents a on a.stream = m.stream and a.conversation_id = m.conversation_id and a.place = 1;

create view reference.topic_daily as
with nodes as (
    select c.started_on, c.stream, c.conversation_id, t.level, t.topic, t.l1, t.l2, t.l3
    from reference.contacts c
    cross join lateral (
        select 1 as level, o as topic, o ->> 'topic_name' as l1, null as l2, null as l3 from jsonb_path_query(c.record, 'strict $.Configured_Intents.topics[*]', silent => true) o
        union all
        select 2, w, o ->> 'topic_name', w ->> 'topic_name', null
        from jsonb_path_query(c.record, 'strict $.Configured_Intents.topics[*]', silent => true) o, jsonb_path_query(o, 'lax $.L2_topics[*]') w
        union all
        select 3, h, o ->> 'topic_name', w ->> 'topic_name', h ->> 'topic_name'
        from jsonb_path_query(c.record, 'strict $.Configured_Intents.topics[*]', silent => true) o, jsonb_path_query(o, 'lax $.L2_topics[*]') w, jsonb_path_query(w, 'lax $.L3_topics[*]') h
    ) t
),
told as (
    select *, reference.said(topic, 'sentiment')::numeric as sentiment, reference.said(topic, 'resolution')::numeric as resolution from nodes
)
select started_on, stream, level, coalesce(l3, l2, l1) as topic_name, l1 as l1_name, l2 as l2_name, l3 as l3_name, concat_ws(' > ', l1, l2, l3) as topic_path,
       count(distinct conversation_id) as contacts, count(*) as mentions,
       count(distinct conversation_id) filter (where resolution is not null) as reported_contacts,
       count(distinct conversation_id) filter (where resolution is not null) - count(distinct conversation_id) filter (where resolution = 0) as resolved_contacts,
       round(100.0 * (count(distinct conversation_id) filter (where resolution is not null) - count(distinct conversation_id) filter (where resolution = 0))
             / nullif(count(distinct conversation_id) filter (where resolution is not null), 0), 2) as resolved_pct,
       sum(sentiment) as sentiment_score_sum, count(sentiment) as sentiment_scored_mentions, round(avg(sentiment), 2) as sentiment_score_mean
from told group by 1, 2, 3, 4, 5, 6, 7, 8;

create view reference.emotion_daily as
with told as (
    select c.started_on, c.stream, c.conversation_id, 'contact' as speaker, e #>> '{}' as emotion, null::numeric as duration, null::numeric as proportion
    from reference.contacts c cross join lateral reference.list(c.record, 'Emotions') e
    union all
    select c.started_on, c.stream, c.conversation_id, 'customer', reference.said(e, 'emotion'), reference.said(e, 'duration')::numeric, reference.said(e, 'proportion')::numeric
    from reference.contacts c cross join lateral reference.list(c.record, 'Customer emotions') e
    union all
    select c.started_on, c.stream, c.conversation_id, 'agent', reference.said(e, 'emotion'), reference.said(e, 'duration')::numeric, reference.said(e, 'proportion')::numeric
    from reference.contacts c cross join lateral reference.list(c.record, 'Agent emotions') e
)
select started_on, stream, speaker, lower(emotion collate "und-x-icu") collate "default" as emotion, count(distinct conversation_id) as contacts, count(*) as occurrences,
       sum(duration) as duration_ms_sum, count(duration) as timed_occurrences, sum(proportion) as proportion_pct_sum, count(proportion) as proportioned_occurrences,
       round(avg(proportion), 2) as proportion_pct_mean
from told group by 1, 2, 3, 4;

create view reference.sentiment_daily as
select started_on, stream, reference.said(reference.member(record, 'Sentiment Pattern'), 'start') as sentiment_start,
       reference.said(reference.member(record, 'Sentiment Pattern'), 'end') as sentiment_end,
       count(*) as contacts, count(sentiment_score) as sentiment_scored_contacts, sum(sentiment_score) as sentiment_score_sum,
       round(avg(sentiment_score), 2) as sentiment_score_mean, count(nullif(churn, false)) as churn_risk_contacts,
       count(score) as evaluated_contacts, sum(score) as evaluation_score_sum
from reference.contacts group by 1, 2, 3, 4;

create view reference.evaluation_backlog as
select stream, duration_status, duration_status is null or duration_status = 'evaluated' as is_awaited,
       1 + (select count(*) from unnest('{1 hour,24 hours,7 days,30 days}'::interval[]) i where started_at <= now() - i) as age_rank,
       count(*) as contacts, min(started_at) as oldest_started_at, max(started_at) as newest_started_at
from reference.contacts where score is null group by 1, 2, 3, 4;
