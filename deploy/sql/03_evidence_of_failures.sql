-- What is the evidence behind failed metrics: those of one conversation, or of the worst metric?
--
-- How to read it: a row is a reason that the evaluation gave for a NO, newest conversations first. kind tells whether it
-- is a reason for the result (justification) or for the metric to apply (trigger). messages are the vendor's ids of the
-- messages that it cites, seconds_in how far into the conversation the first of them is: where to listen. A NO without
-- any reason is a row whose kind is empty. failed_count of judged_count is how often the metric failed among all
-- evaluated contacts of the period.
--
-- What to change: conversation_id, as 'c-4711' in the place of null: then all failed metrics of this conversation are
-- shown, whenever it was. As it stands the metric with the largest share of NO is shown, of those that were judged
-- least_judged times or more in the period. The period, stream ('*' is all streams), and the limit at the end, which
-- cuts the list.
with parameters as (
    select max(c.started_on) - 29 as first_day, max(c.started_on) as last_day, '*' as stream,
           null::text as conversation_id, 5 as least_judged, max(s.time_zone) as time_zone
    from kore.contacts c
    cross join (select coalesce(max(time_zone), 'UTC') as time_zone from kore.settings) s
    where c.removed_at is null
),
results as (
    select metric_key, metric_name, sum(no_count) as failed_count, sum(judged_count) as judged_count
    from kore.metric_compliance_daily
    where started_on between (select first_day from parameters) and (select last_day from parameters)
      and (select stream from parameters) in (stream, '*')
    group by metric_key, metric_name
),
worst as (
    select r.metric_key
    from results r
    join parameters p on r.judged_count >= p.least_judged
    order by r.failed_count / nullif(r.judged_count, 0) desc nulls last, r.failed_count desc, r.metric_name, r.metric_key
    limit 1
)
select c.stream, c.conversation_id, c.started_at at time zone p.time_zone as started_local, a.agent_name as primary_agent_name,
       m.metric_name, f.is_fatal_error,
       coalesce(r.failed_count, 0)                                      as failed_count,
       coalesce(r.judged_count, 0)                                      as judged_count,
       round(100.0 * r.failed_count / nullif(r.judged_count, 0), 2)     as failed_pct,
       j.kind, j.justification, j.source_system_value, j.agent_mentioned_value, j.agent_entity,
       string_agg(e.message_id, ', ' order by e.ordinal)                as messages,
       extract(epoch from min(e.message_at) - c.started_at)::bigint     as seconds_in
from parameters p
join kore.contacts c                    on c.conversation_id = p.conversation_id
                                        or (p.conversation_id is null and c.started_on between p.first_day and p.last_day)
join kore.contact_metrics f             on f.contact_key = c.contact_key
join kore.metrics m                     on m.metric_key = f.metric_key
left join results r                     on r.metric_key = f.metric_key
left join kore.contact_agents pa        on pa.contact_key = c.contact_key and pa.is_primary
left join kore.agents a                 on a.agent_key = pa.agent_key
left join kore.metric_justifications j  on j.contact_key = f.contact_key and j.metric_ordinal = f.ordinal
left join kore.justification_messages e on e.contact_key = j.contact_key and e.metric_ordinal = j.metric_ordinal
                                       and e.kind = j.kind and e.justification_ordinal = j.ordinal
where p.stream in (c.stream, '*')
  and c.removed_at is null
  and c.evaluation_score is not null
  and f.qualification = 'NO'
  and (p.conversation_id is not null or f.metric_key = (select metric_key from worst))
group by c.contact_key, c.stream, c.conversation_id, c.started_at, p.time_zone, a.agent_name, m.metric_name, f.ordinal, f.is_fatal_error,
         r.failed_count, r.judged_count, j.kind, j.ordinal, j.justification, j.source_system_value, j.agent_mentioned_value, j.agent_entity
order by c.started_at desc, c.stream, c.conversation_id, f.ordinal, j.kind, j.ordinal
limit 500;
