-- Each view has one row for what its description calls its grain. NULL is a value of its own.
{% set grains = {
    'contact_overview': ['contact_key'],
    'contact_agent_allocations': ['contact_key', 'agent_key'],
    'contact_queue_allocations': ['contact_key', 'queue_key'],
    'agent_daily_scorecard': ['started_on', 'stream', 'agent_key'],
    'queue_daily': ['started_on', 'stream', 'queue_key'],
    'metric_compliance_daily': ['started_on', 'stream', 'metric_key'],
    'metric_evidence': ['contact_key', 'metric_ordinal', 'kind', 'justification_ordinal'],
    'topic_daily': ['started_on', 'stream', 'topic_key'],
    'emotion_daily': ['started_on', 'stream', 'speaker', 'emotion_key'],
    'sentiment_daily': ['started_on', 'stream', 'sentiment_start', 'sentiment_end'],
    'evaluation_backlog': ['stream', 'duration_status', 'age_rank'],
    'data_freshness': ['stream'],
    'data_completeness': ['stream', 'status', 'from_at'],
    'daily_completeness': ['stream', 'started_on'],
} %}
{% for view, columns in grains.items() -%}
select '{{ view }}' as view, concat_ws(', ', {% for c in columns %}coalesce({{ c }}::text, 'NULL'){{ ', ' if not loop.last }}{% endfor %}) as key, count(*) as rows_with_it
from {{ source('kore', view) }}
group by {{ columns | join(', ') }}
having count(*) > 1
{% if not loop.last %}union all{% endif %}
{% endfor %}
