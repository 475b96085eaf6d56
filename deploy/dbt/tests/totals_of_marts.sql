-- What the marts add up to is what the contacts do. koresync goes on writing meanwhile: so only weeks and months of which no
-- contact was written since 10 minutes before the mart was made. After an erasure or retention, make the marts anew.
{% set marts = [('mart_agent_weekly', 'week', 'week_start'), ('mart_metric_compliance_monthly', 'month', 'month_start'), ('mart_topic_monthly', 'month', 'month_start')] %}
with contacts as (
    select contact_key, stream, started_on, removed_at is null as is_there, evaluation_score, greatest(updated_at, removed_at) as written_at
    from {{ source('kore', 'contacts') }}
), metrics as (
    select f.contact_key, count(*) as results
    from {{ source('kore', 'contact_metrics') }} f
    group by f.contact_key
), topics as (
    select f.contact_key, count(*) as mentions
    from {{ source('kore', 'contact_topics') }} f
    group by f.contact_key
), expected as (
    {% for mart, unit, start in marts -%}
    select '{{ mart }}' as mart, c.stream, {{ first_day(unit, 'c.started_on') }} as period_start, max(c.written_at) as written_at,
           {% if unit == 'week' -%}
           count(*) filter (where c.is_there) as counted, sum(c.evaluation_score) filter (where c.is_there) as added_up
           {%- elif 'metric' in mart -%}
           coalesce(sum(m.results) filter (where c.is_there), 0) as counted,
           sum(m.results) filter (where c.is_there and c.evaluation_score is null) as added_up
           {%- else -%}
           coalesce(sum(t.mentions) filter (where c.is_there), 0) as counted, null::numeric as added_up
           {%- endif %}
    from contacts c
    {% if 'metric' in mart %}left join metrics m on m.contact_key = c.contact_key{% endif -%}
    {% if 'topic' in mart %}left join topics t on t.contact_key = c.contact_key{% endif %}
    group by c.stream, {{ first_day(unit, 'c.started_on') }}
    union all
    {% endfor -%}
    select null, null, null, null, null, null where false
), shown as (
    select 'mart_agent_weekly' as mart, stream, week_start as period_start, min(built_at) as built_at,
           sum(allocated_contacts) as counted, sum(allocated_evaluation_score_sum) as added_up
    from {{ ref('mart_agent_weekly') }}
    group by stream, week_start
    union all
    select 'mart_metric_compliance_monthly', stream, month_start, min(built_at), sum(metric_count), sum(unscored_count)
    from {{ ref('mart_metric_compliance_monthly') }}
    group by stream, month_start
    union all
    select 'mart_topic_monthly', stream, month_start, min(built_at), sum(mentions), null
    from {{ ref('mart_topic_monthly') }}
    group by stream, month_start
)
select coalesce(e.mart, s.mart) as mart, coalesce(e.stream, s.stream) as stream, coalesce(e.period_start, s.period_start) as period_start,
       e.counted as expected_count, s.counted as shown_count, e.added_up as expected_sum, s.added_up as shown_sum
from expected e
full join shown s on s.mart = e.mart and s.stream = e.stream and s.period_start = e.period_start
where (coalesce(e.counted, 0), coalesce(e.added_up, 0)) is distinct from (coalesce(s.counted, 0), coalesce(s.added_up, 0))
  and (e.written_at is null or e.written_at < coalesce(s.built_at, now()) - interval '10 minutes')
