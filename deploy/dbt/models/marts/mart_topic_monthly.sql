-- A topic that a contact names twice is one contact and two mentions.
with named as (
    select f.contact_key, f.topic_key, count(*) as mentions,
           count(f.is_resolved) as reported_mentions, count(*) filter (where not f.is_resolved) as unresolved_mentions,
           sum(f.sentiment_score) as sentiment_score_sum, count(f.sentiment_score) as sentiment_scored_mentions
    from {{ ref('stg_contact_topics') }} f
    group by f.contact_key, f.topic_key
), contacts as (
    select contact_key, stream, {{ first_day('month', 'started_on') }} as month_start,
           evaluation_score, case when evaluation_score is not null then is_passed end as is_passed, is_churn_risk, is_escalation
    from {{ ref('stg_contacts') }}
), totals as (
    select stream, month_start, count(*) as all_contacts
    from contacts
    group by stream, month_start
), months as (
    select c.month_start, c.stream, n.topic_key,
           count(*) as contacts,
           sum(n.mentions)::bigint as mentions,
           count(*) filter (where n.reported_mentions > 0) as reported_contacts,
           count(*) filter (where n.reported_mentions > 0 and n.unresolved_mentions = 0) as resolved_contacts,
           sum(n.sentiment_score_sum) as sentiment_score_sum,
           sum(n.sentiment_scored_mentions)::bigint as sentiment_scored_mentions,
           count(c.evaluation_score) as evaluated_contacts,
           sum(c.evaluation_score) as evaluation_score_sum,
           count(c.is_passed) as judged_contacts,
           count(*) filter (where c.is_passed) as passed_contacts,
           count(*) filter (where c.is_churn_risk) as churn_risk_contacts,
           count(*) filter (where c.is_escalation) as escalation_contacts
    from named n
    join contacts c on c.contact_key = n.contact_key
    group by c.month_start, c.stream, n.topic_key
), complete as (
    {{ complete_periods('month') }}
)
select m.month_start, m.stream, m.topic_key, t.parent_topic_key, t.level, t.topic_name, t.l1_name, t.l2_name, t.l3_name, t.topic_path,
       m.contacts, m.mentions, a.all_contacts, {{ ratio('m.contacts', 'a.all_contacts', 100) }} as contact_share_pct,
       b.contacts as previous_contacts,
       m.reported_contacts, m.resolved_contacts, {{ ratio('m.resolved_contacts', 'm.reported_contacts', 100) }} as resolved_pct,
       m.sentiment_score_sum, m.sentiment_scored_mentions,
       {{ ratio('m.sentiment_score_sum', 'm.sentiment_scored_mentions') }} as sentiment_score_mean,
       m.evaluated_contacts, m.evaluation_score_sum,
       {{ ratio('m.evaluation_score_sum', 'm.evaluated_contacts') }} as evaluation_score_mean,
       m.judged_contacts, m.passed_contacts, {{ ratio('m.passed_contacts', 'm.judged_contacts', 100) }} as pass_rate_pct,
       m.churn_risk_contacts, m.escalation_contacts,
       coalesce(c.is_complete, false) as is_complete,
       now() as built_at
from months m
join totals a on a.stream = m.stream and a.month_start = m.month_start
join {{ source('kore', 'topics') }} t on t.topic_key = m.topic_key
left join months b on b.stream = m.stream and b.topic_key = m.topic_key
                  and b.month_start = (m.month_start - interval '1 month')::date
left join complete c on c.stream = m.stream and c.period_start = m.month_start
