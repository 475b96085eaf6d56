-- Numerator and denominator of pass rates, by day and stream, are those of the scored contacts and no others.
{% set parts = [('agent_daily_scorecard', 'agents'), ('queue_daily', 'queues')] %}
with expected as (
    select started_on, stream,
           count(*) filter (where evaluation_score is not null) as evaluated,
           count(*) filter (where evaluation_score is not null and is_passed is not null) as judged,
           count(*) filter (where evaluation_score is not null and is_passed) as passed
    from {{ ref('stg_contacts') }}
    group by started_on, stream
), shown as (
    {% for view, name in parts -%}
    select '{{ view }}' as view, started_on, stream, sum(allocated_evaluated_contacts) as evaluated,
           sum(allocated_judged_contacts) as judged, sum(allocated_passed_contacts) as passed,
           -- Counted in full, a rate cannot have more contacts below the line than have a score.
           bool_or(passed_contacts > judged_contacts or judged_contacts > evaluated_contacts or evaluated_contacts > contacts) as is_above
    from {{ source('kore', view) }}
    group by started_on, stream
    {% if not loop.last %}union all{% endif %}
    {% endfor %}
)
select v.view, coalesce(s.started_on, e.started_on) as started_on, coalesce(s.stream, e.stream) as stream,
       e.judged as expected_judged, s.judged as shown_judged, e.passed as expected_passed, s.passed as shown_passed, s.is_above
from expected e
cross join (values {% for view, name in parts %}('{{ view }}'){{ ', ' if not loop.last }}{% endfor %}) as v (view)
full join shown s on s.view = v.view and s.started_on = e.started_on and s.stream = e.stream
where (e.evaluated, e.judged, e.passed) is distinct from (s.evaluated, s.judged, s.passed) or s.is_above
