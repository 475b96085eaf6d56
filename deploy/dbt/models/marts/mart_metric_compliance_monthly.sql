-- From single results, since the daily view has no weights.
with results as (
    select {{ first_day('month', 'f.started_on') }} as month_start, f.stream, f.metric_key, f.contact_key,
           c.evaluation_score is not null as is_scored, f.qualification, f.is_fatal_error,
           -- What has no weight is in the counts alone, above and below the line.
           case when c.evaluation_score is not null and f.qualification in ('YES', 'NO') then f.weight end as judged_weight
    from {{ ref('stg_contact_metrics') }} f
    join {{ ref('stg_contacts') }} c on c.contact_key = f.contact_key
), months as (
    select month_start, stream, metric_key,
           count(*) as metric_count,
           count(*) filter (where not is_scored) as unscored_count,
           count(*) filter (where is_scored and qualification = 'YES') as yes_count,
           count(*) filter (where is_scored and qualification = 'NO') as no_count,
           count(*) filter (where is_scored and qualification = 'NA') as na_count,
           count(*) filter (where is_scored and qualification is null) as missing_count,
           count(*) filter (where is_scored and qualification not in ('YES', 'NO', 'NA')) as other_count,
           count(*) filter (where is_scored and qualification in ('YES', 'NO')) as judged_count,
           count(*) filter (where is_scored and qualification = 'NO' and is_fatal_error) as fatal_no_count,
           count(judged_weight) as weighed_count,
           sum(judged_weight) filter (where qualification = 'YES') as yes_weight_sum,
           sum(judged_weight) as judged_weight_sum
    from results
    group by month_start, stream, metric_key
), complete as (
    {{ complete_periods('month') }}
)
select t.month_start, t.stream, t.metric_key, m.metric_id, m.metric_name,
       t.metric_count, t.unscored_count, t.yes_count, t.no_count, t.na_count, t.missing_count, t.other_count, t.judged_count,
       {{ ratio('t.yes_count', 't.judged_count', 100) }} as compliance_pct,
       {{ ratio('b.yes_count', 'b.judged_count', 100) }} as previous_compliance_pct,
       t.fatal_no_count, t.weighed_count,
       coalesce(t.yes_weight_sum, 0) as yes_weight_sum, coalesce(t.judged_weight_sum, 0) as judged_weight_sum,
       {{ ratio('coalesce(t.yes_weight_sum, 0)', 't.judged_weight_sum', 100) }} as weighted_compliance_pct,
       coalesce(c.is_complete, false) as is_complete,
       now() as built_at
from months t
join {{ source('kore', 'metrics') }} m on m.metric_key = t.metric_key
left join months b on b.stream = t.stream and b.metric_key = t.metric_key
                  and b.month_start = (t.month_start - interval '1 month')::date
left join complete c on c.stream = t.stream and c.period_start = t.month_start
