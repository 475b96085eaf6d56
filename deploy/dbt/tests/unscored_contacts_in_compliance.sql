-- Results of metrics in contacts without a score are in unscored_count and nowhere else.
with expected as (
    select f.started_on, f.stream, f.metric_key, count(*) as listed,
           count(*) filter (where c.evaluation_score is null) as unscored,
           count(*) filter (where c.evaluation_score is not null and f.qualification in ('YES', 'NO')) as judged,
           count(*) filter (where c.evaluation_score is not null and f.qualification = 'YES') as met
    from {{ ref('stg_contact_metrics') }} f
    join {{ ref('stg_contacts') }} c on c.contact_key = f.contact_key
    group by f.started_on, f.stream, f.metric_key
)
select coalesce(e.started_on, s.started_on) as started_on, coalesce(e.stream, s.stream) as stream,
       coalesce(e.metric_key, s.metric_key) as metric_key,
       e.unscored as expected_unscored, s.unscored_count, e.judged as expected_judged, s.judged_count, s.compliance_pct
from expected e
full join {{ source('kore', 'metric_compliance_daily') }} s
       on s.started_on = e.started_on and s.stream = e.stream and s.metric_key = e.metric_key
where (e.listed, e.unscored, e.judged, e.met) is distinct from (s.metric_count, s.unscored_count, s.judged_count, s.yes_count)
   or s.metric_count <> s.unscored_count + s.yes_count + s.no_count + s.na_count + s.missing_count + s.other_count
   or s.compliance_pct is distinct from round(100.0 * s.yes_count / nullif(s.yes_count + s.no_count, 0), 2)
