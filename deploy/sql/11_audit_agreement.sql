-- Do auditors agree with the automatic evaluation?
--
-- How to read it: first a row for each auditor, whose score is compared with the automatic score (compares = 'score');
-- then a row for each metric, of which the auditor's answer is compared with the automatic result (compares = 'metric').
-- agreed_count of compared_count: scores at most tolerance points apart, or the same answer. Where they differ,
-- auditor_higher and auditor_lower tell the direction: a higher or lower score; YES instead of NO, or NO instead of YES;
-- an answer of another kind (NA, say) is in neither. difference_mean is the auditor's score less the automatic one,
-- where plus and minus cancel each other; absolute_difference_mean, where they do not. verdicts_changed: how often the
-- auditor's score would pass where the automatic one does not, or the reverse. not_compared_count: audits of contacts
-- or metrics without an automatic score or result; they are in no rate.
--
-- What to change: the period (by the start of the contacts), stream ('*' is all streams), and tolerance in points.
with parameters as (
    select max(started_on) - 29 as first_day, max(started_on) as last_day, '*' as stream, 5 as tolerance
    from kore.contacts
    where removed_at is null
),
scores as (
    select c.auditor_name as name, null::text as metric_id, null::integer as metric_key, p.tolerance,
           c.audit_score - c.evaluation_score as difference,
           c.evaluation_score is not null and (c.audit_score >= c.pass_score) <> c.is_passed as is_verdict_changed
    from parameters p
    join kore.contacts c on c.started_on between p.first_day and p.last_day and p.stream in (c.stream, '*')
    where c.removed_at is null and c.audit_score is not null
),
answers as (
    select m.metric_name as name, m.metric_id, m.metric_key,
           case when c.evaluation_score is not null then f.qualification end as automatic, upper(f.auditor_response) as audited
    from parameters p
    join kore.contacts c        on c.started_on between p.first_day and p.last_day and p.stream in (c.stream, '*')
    join kore.contact_metrics f  on f.contact_key = c.contact_key
    join kore.metrics m          on m.metric_key = f.metric_key
    where c.removed_at is null and f.auditor_response is not null
),
agreement as (
    select 'score' as compares, name, metric_id, metric_key,
           count(difference)                                           as compared_count,
           count(*) filter (where abs(difference) <= tolerance)        as agreed_count,
           count(*) filter (where difference > tolerance)              as auditor_higher,
           count(*) filter (where difference < - tolerance)            as auditor_lower,
           count(*) filter (where difference is null)                  as not_compared_count,
           sum(difference)                                             as difference_sum,
           sum(abs(difference))                                        as absolute_difference_sum,
           count(*) filter (where is_verdict_changed)                  as verdicts_changed
    from scores
    group by name, metric_id, metric_key
    union all
    select 'metric', name, metric_id, metric_key,
           count(automatic),
           count(*) filter (where audited = automatic),
           count(*) filter (where audited = 'YES' and automatic = 'NO'),
           count(*) filter (where audited = 'NO' and automatic = 'YES'),
           count(*) filter (where automatic is null),
           null, null, null
    from answers
    group by name, metric_id, metric_key
)
select compares, name, metric_id, compared_count, agreed_count,
       round(100.0 * agreed_count / nullif(compared_count, 0), 2)      as agreed_pct,
       auditor_higher, auditor_lower, not_compared_count,
       difference_sum,
       round(difference_sum / nullif(compared_count, 0), 2)            as difference_mean,
       absolute_difference_sum,
       round(absolute_difference_sum / nullif(compared_count, 0), 2)   as absolute_difference_mean,
       verdicts_changed
from agreement
order by compares desc, agreed_pct nulls last, compared_count desc, name, metric_key;
