-- The monthly mart counts a topic's contacts as the daily view does. Only what was not written since the mart was made.
with daily as (
    select stream, {{ first_day('month', 'started_on') }} as month_start, topic_key, sum(contacts) as contacts,
           sum(reported_contacts) as reported, sum(resolved_contacts) as resolved, sum(sentiment_score_sum) as sentiment
    from {{ source('kore', 'topic_daily') }}
    group by 1, 2, 3
), written as (
    select stream, {{ first_day('month', 'started_on') }} as month_start, max(greatest(updated_at, removed_at)) as written_at
    from {{ source('kore', 'contacts') }}
    group by 1, 2
)
select m.stream, m.month_start, m.topic_key, m.contacts, d.contacts as contacts_of_view, m.resolved_contacts, d.resolved as resolved_of_view
from {{ ref('mart_topic_monthly') }} m
join written w on w.stream = m.stream and w.month_start = m.month_start and w.written_at < m.built_at - interval '10 minutes'
left join daily d on d.stream = m.stream and d.month_start = m.month_start and d.topic_key = m.topic_key
where (m.contacts, m.reported_contacts, m.resolved_contacts, m.sentiment_score_sum)
      is distinct from (d.contacts, d.reported, d.resolved, d.sentiment)
