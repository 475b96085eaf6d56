-- Which agents improved after coaching?
--
-- How to read it: a row is an agent. Two periods of equal length are compared: the weeks before the day of coaching and
-- the weeks after it; the day itself is in neither. score_before and score_after are the mean automatic scores of the
-- contacts in which the agent took part (score_sum / evaluated). score_change_margin is twice the standard error of the
-- change: a smaller change may well be chance. verdict says so in words; "too few contacts" where one side
-- has fewer evaluated contacts than least_contacts. Contacts without a score count on no side. A contact with two agents
-- counts for both, so do not add up agents (09_agents_by_queue.sql does).
--
-- What to change: weeks, least_contacts and stream ('*' is all streams) in parameters. In coaching: who was coached
-- when. As it stands everybody was, two weeks before the newest day. For a day of each agent put there
--     from kore.agents a
--     join (values ('agent id', date '2026-05-04'), ('another id', date '2026-05-11')) v (agent_id, coached_on) using (agent_id)
with parameters as (
    select 2 as weeks, 5 as least_contacts, '*' as stream
),
coaching as (
    select a.agent_key, a.agent_id, a.agent_name, v.coached_on
    from kore.agents a
    cross join (select max(started_on) - 14 as coached_on from kore.contacts where removed_at is null) v
),
contacts as (
    select k.agent_key, k.agent_id, k.agent_name, k.coached_on, a.started_on > k.coached_on as is_after,
           c.evaluation_score, c.is_passed
    from parameters p
    cross join coaching k
    join kore.contact_agent_allocations a on a.agent_key = k.agent_key
    join kore.contacts c                  on c.contact_key = a.contact_key
    where a.started_on between (select min(coached_on) - 7 * min(weeks) from coaching, parameters)
                           and (select max(coached_on) + 7 * max(weeks) from coaching, parameters)
      and a.started_on between k.coached_on - 7 * p.weeks and k.coached_on + 7 * p.weeks
      and a.started_on <> k.coached_on
      and p.stream in (a.stream, '*')
      and c.removed_at is null
      and c.evaluation_score is not null
),
agents as (
    select agent_key, agent_id, agent_name, coached_on,
           count(*)              filter (where not is_after)               as evaluated_before,
           count(*)              filter (where is_after)                   as evaluated_after,
           sum(evaluation_score) filter (where not is_after)               as score_sum_before,
           sum(evaluation_score) filter (where is_after)                   as score_sum_after,
           avg(evaluation_score) filter (where is_after)
           - avg(evaluation_score) filter (where not is_after)             as score_change,
           2 * sqrt(var_samp(evaluation_score) filter (where not is_after) / count(*) filter (where not is_after)
                    + var_samp(evaluation_score) filter (where is_after)   / count(*) filter (where is_after))
                                                                           as score_change_margin,
           count(is_passed)      filter (where not is_after)               as judged_before,
           count(*)              filter (where not is_after and is_passed) as passed_before,
           count(is_passed)      filter (where is_after)                   as judged_after,
           count(*)              filter (where is_after and is_passed)     as passed_after
    from contacts
    group by agent_key, agent_id, agent_name, coached_on
)
select a.agent_id, a.agent_name, a.coached_on,
       a.evaluated_before, a.evaluated_after,
       a.score_sum_before, a.score_sum_after,
       round(a.score_sum_before / nullif(a.evaluated_before, 0), 2)    as score_before,
       round(a.score_sum_after / nullif(a.evaluated_after, 0), 2)      as score_after,
       round(a.score_change, 2)                                        as score_change,
       round(a.score_change_margin, 2)                                 as score_change_margin,
       a.judged_before, a.passed_before,
       round(100.0 * a.passed_before / nullif(a.judged_before, 0), 2)  as pass_rate_before_pct,
       a.judged_after, a.passed_after,
       round(100.0 * a.passed_after / nullif(a.judged_after, 0), 2)    as pass_rate_after_pct,
       case when least(a.evaluated_before, a.evaluated_after) < p.least_contacts then 'too few contacts'
            when a.score_change > a.score_change_margin                          then 'improved'
            when a.score_change < - a.score_change_margin                        then 'worse'
            else 'no clear change'
       end                                                             as verdict
from agents a
cross join parameters p
order by least(a.evaluated_before, a.evaluated_after) < p.least_contacts,
         a.score_change desc nulls last, a.agent_name, a.agent_key;
