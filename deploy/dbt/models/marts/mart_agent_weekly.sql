-- A contact has one business day, so counts of days add up to counts of weeks.
with weeks as (
    select {{ first_day('week', 's.started_on') }} as week_start, s.stream, s.agent_key, s.agent_id, s.agent_name,
           sum(s.contacts)::bigint as contacts,
           sum(s.allocated_contacts) as allocated_contacts,
           sum(s.evaluated_contacts)::bigint as evaluated_contacts,
           sum(s.allocated_evaluated_contacts) as allocated_evaluated_contacts,
           sum(s.evaluation_score_sum) as evaluation_score_sum,
           sum(s.allocated_evaluation_score_sum) as allocated_evaluation_score_sum,
           sum(s.judged_contacts)::bigint as judged_contacts,
           sum(s.passed_contacts)::bigint as passed_contacts,
           sum(s.allocated_judged_contacts) as allocated_judged_contacts,
           sum(s.allocated_passed_contacts) as allocated_passed_contacts,
           sum(s.fatal_error_contacts)::bigint as fatal_error_contacts,
           sum(s.churn_risk_contacts)::bigint as churn_risk_contacts,
           sum(s.escalation_contacts)::bigint as escalation_contacts,
           sum(s.duration_ms_sum) as duration_ms_sum,
           sum(s.timed_contacts)::bigint as timed_contacts,
           sum(s.empathy_score_sum) as empathy_score_sum,
           sum(s.empathy_scored_parts)::bigint as empathy_scored_parts,
           sum(s.crutch_word_score_sum) as crutch_word_score_sum,
           sum(s.crutch_word_scored_parts)::bigint as crutch_word_scored_parts
    from {{ source('kore', 'agent_daily_scorecard') }} s
    group by 1, 2, 3, 4, 5
), complete as (
    {{ complete_periods('week') }}
)
select w.week_start, w.stream, w.agent_key, w.agent_id, w.agent_name,
       w.contacts, w.allocated_contacts,
       w.evaluated_contacts, w.allocated_evaluated_contacts, w.evaluation_score_sum, w.allocated_evaluation_score_sum,
       {{ ratio('w.evaluation_score_sum', 'w.evaluated_contacts') }} as evaluation_score_mean,
       w.judged_contacts, w.passed_contacts, w.allocated_judged_contacts, w.allocated_passed_contacts,
       {{ ratio('w.passed_contacts', 'w.judged_contacts', 100) }} as pass_rate_pct,
       -- No row of the week before is no rate, not that of an earlier week.
       {{ ratio('b.passed_contacts', 'b.judged_contacts', 100) }} as previous_pass_rate_pct,
       w.fatal_error_contacts, w.churn_risk_contacts, w.escalation_contacts,
       w.duration_ms_sum, w.timed_contacts, {{ ratio('w.duration_ms_sum', 'w.timed_contacts') }} as duration_ms_mean,
       w.empathy_score_sum, w.empathy_scored_parts, {{ ratio('w.empathy_score_sum', 'w.empathy_scored_parts') }} as empathy_score_mean,
       w.crutch_word_score_sum, w.crutch_word_scored_parts,
       {{ ratio('w.crutch_word_score_sum', 'w.crutch_word_scored_parts') }} as crutch_word_score_mean,
       coalesce(c.is_complete, false) as is_complete,
       now() as built_at
from weeks w
left join weeks b on b.stream = w.stream and b.agent_key is not distinct from w.agent_key and b.week_start = w.week_start - 7
left join complete c on c.stream = w.stream and c.period_start = w.week_start
