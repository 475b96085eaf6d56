-- Which metrics lead to fatal errors, with which agents, and who repeats them?
--
-- How to read it: a row is a fatal metric that an agent's contacts failed (NO); agents with most such contacts come
-- first. fatal_contacts of judged_contacts failed this metric where it is a fatal one. agent_fatal_contacts of
-- agent_evaluated_contacts failed any fatal metric; is_repeated is true from repeated_from such contacts on. The vendor
-- does not tell whose fault it was: a contact counts for the first agent that it lists, and shared_contacts of
-- fatal_contacts had other agents too: listen to them before you judge. An empty name is contacts without an agent.
-- Contacts without a score are left out. (contacts.fatal_error_count is the vendor's own number, without metrics.)
--
-- What to change: the period, stream ('*' is all streams), and repeated_from.
with parameters as (
    select max(started_on) - 29 as first_day, max(started_on) as last_day, '*' as stream, 2 as repeated_from
    from kore.contacts
    where removed_at is null
),
results as (  -- a contact may list a metric twice; one without a fatal metric has one row, without a metric
    select a.contact_key, a.started_on, a.agent_key, a.allocation_weight < 1 as is_shared, f.metric_key,
           coalesce(bool_or(f.qualification = 'NO'), false) as is_failed
    from kore.contact_agent_allocations a
    join kore.contacts c             on c.contact_key = a.contact_key
    left join kore.contact_metrics f on f.contact_key = a.contact_key and f.is_fatal_error and f.qualification in ('YES', 'NO')
    where a.started_on between (select first_day from parameters) and (select last_day from parameters)
      and (select stream from parameters) in (a.stream, '*')
      and c.removed_at is null
      and c.evaluation_score is not null
      and (a.is_primary or a.agent_key is null)
    group by a.contact_key, a.started_on, a.agent_key, a.allocation_weight, f.metric_key
),
agents as (
    select agent_key,
           count(distinct contact_key)                            as agent_evaluated_contacts,
           count(distinct contact_key) filter (where is_failed)   as agent_fatal_contacts
    from results
    group by agent_key
),
agent_metrics as (
    select agent_key, metric_key,
           count(*)                                               as judged_contacts,
           count(*) filter (where is_failed)                      as fatal_contacts,
           count(*) filter (where is_failed and is_shared)        as shared_contacts,
           min(started_on) filter (where is_failed)               as first_fatal_on,
           max(started_on) filter (where is_failed)               as last_fatal_on
    from results
    where metric_key is not null
    group by agent_key, metric_key
)
select n.agent_id, n.agent_name, m.metric_id, m.metric_name,
       x.fatal_contacts, x.judged_contacts,
       round(100.0 * x.fatal_contacts / x.judged_contacts, 2) as fatal_pct,
       x.shared_contacts, x.first_fatal_on, x.last_fatal_on,
       a.agent_fatal_contacts, a.agent_evaluated_contacts,
       x.agent_key is not null and a.agent_fatal_contacts >= p.repeated_from as is_repeated
from agent_metrics x
cross join parameters p
join agents a           on a.agent_key is not distinct from x.agent_key
join kore.metrics m     on m.metric_key = x.metric_key
left join kore.agents n on n.agent_key = x.agent_key
where x.fatal_contacts > 0
order by a.agent_fatal_contacts desc, n.agent_name, x.agent_key, x.fatal_contacts desc, m.metric_name, x.metric_key;
