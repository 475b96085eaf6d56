-- Contacts divided among agents, or queues, add up to the contacts of the day.
with expected as (
    select started_on, stream, count(*)::numeric as contacts, sum(evaluation_score) as score_sum
    from {{ ref('stg_contacts') }}
    group by started_on, stream
), shown as (
    select 'agent_daily_scorecard' as view, started_on, stream, sum(allocated_contacts) as contacts,
           sum(allocated_evaluation_score_sum) as score_sum
    from {{ source('kore', 'agent_daily_scorecard') }}
    group by started_on, stream
    union all
    select 'queue_daily', started_on, stream, sum(allocated_contacts), sum(allocated_evaluation_score_sum)
    from {{ source('kore', 'queue_daily') }}
    group by started_on, stream
)
select v.view, coalesce(e.started_on, s.started_on) as started_on, coalesce(e.stream, s.stream) as stream,
       e.contacts as expected_contacts, s.contacts as shown_contacts, e.score_sum as expected_score_sum, s.score_sum as shown_score_sum
from expected e
cross join (values ('agent_daily_scorecard'), ('queue_daily')) as v (view)
full join shown s on s.view = v.view and s.started_on = e.started_on and s.stream = e.stream
where (e.contacts, e.score_sum) is distinct from (s.contacts, s.score_sum)
