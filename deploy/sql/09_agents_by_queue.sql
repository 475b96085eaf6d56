-- How do agents score in each queue, so that the numbers add up?
--
-- How to read it: a row is an agent in a queue. A contact is divided among its agents and its queues, so contacts,
-- evaluated_contacts, score_sum, judged_contacts and passed_contacts may be fractions, and each adds up to the figure of
-- all contacts, over agents, queues or both. score_mean is score_sum / evaluated_contacts, pass_rate_pct is
-- passed_contacts of judged_contacts, queue_score_mean is the mean of the whole queue, to compare with. Contacts
-- without a score are in contacts alone. An empty name is contacts without an agent, or without a queue.
--
-- What to change: the period, and stream ('*' is all streams).
with parameters as (
    select max(started_on) - 29 as first_day, max(started_on) as last_day, '*' as stream
    from kore.contacts
    where removed_at is null
),
parts as (
    select a.agent_key, q.queue_key, a.allocation_weight * q.allocation_weight as weight, c.evaluation_score,
           case when c.evaluation_score is not null then c.is_passed end as is_passed
    from kore.contact_agent_allocations a
    join kore.contact_queue_allocations q on q.contact_key = a.contact_key
    join kore.contacts c                  on c.contact_key = a.contact_key
    where a.started_on between (select first_day from parameters) and (select last_day from parameters)
      and q.started_on between (select first_day from parameters) and (select last_day from parameters)
      and (select stream from parameters) in (a.stream, '*')
      and c.removed_at is null
),
cells as (
    select queue_key, agent_key,
           sum(weight)                                                        as contacts,
           coalesce(sum(weight) filter (where evaluation_score is not null), 0) as evaluated_contacts,
           sum(weight * evaluation_score)                                     as score_sum,
           coalesce(sum(weight) filter (where is_passed is not null), 0)      as judged_contacts,
           coalesce(sum(weight) filter (where is_passed), 0)                  as passed_contacts
    from parts
    group by queue_key, agent_key
)
select q.queue_name, a.agent_id, a.agent_name,
       trim_scale(x.contacts)                                       as contacts,
       trim_scale(x.evaluated_contacts)                             as evaluated_contacts,
       trim_scale(x.score_sum)                                      as score_sum,
       round(x.score_sum / nullif(x.evaluated_contacts, 0), 2)      as score_mean,
       round(sum(x.score_sum) over (partition by x.queue_key)
             / nullif(sum(x.evaluated_contacts) over (partition by x.queue_key), 0), 2) as queue_score_mean,
       trim_scale(x.judged_contacts)                                as judged_contacts,
       trim_scale(x.passed_contacts)                                as passed_contacts,
       round(100 * x.passed_contacts / nullif(x.judged_contacts, 0), 2) as pass_rate_pct
from cells x
left join kore.queues q on q.queue_key = x.queue_key
left join kore.agents a on a.agent_key = x.agent_key
order by q.queue_name, x.queue_key, a.agent_name, x.agent_key;
