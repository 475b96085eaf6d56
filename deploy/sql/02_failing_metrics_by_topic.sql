-- Which metrics fail most, by topic?
--
-- How to read it: a row is a metric among contacts about a topic; place 1 fails most there. Each level of the taxonomy is
-- listed by itself: a failure in a contact about Billing > Refund > Late refund is in all three levels, so never add up
-- levels. failed_count is how often the result was NO, judged_count how often it was YES or NO; NA, missing results and
-- contacts without a score are in neither. A contact with two topics counts for both. Topics in which no metric was
-- judged often enough do not appear.
--
-- What to change: the period, stream ('*' is all streams), levels, least_judged (fewer results say nothing) and how many
-- metrics a topic shows (places).
with parameters as (
    select max(started_on) - 29 as first_day, max(started_on) as last_day, '*' as stream,
           array[1, 2, 3] as levels, 5 as least_judged, 3 as places
    from kore.contacts
    where removed_at is null
),
topic_contacts as (  -- once, however often the contact names the topic
    select distinct c.contact_key, t.topic_key
    from parameters p
    join kore.contacts c       on c.started_on between p.first_day and p.last_day and p.stream in (c.stream, '*')
    join kore.contact_topics t on t.contact_key = c.contact_key and t.level = any (p.levels)
    where c.removed_at is null and c.evaluation_score is not null
),
results as (
    select t.topic_key, f.metric_key,
           count(*)                                      as judged_count,
           count(*) filter (where f.qualification = 'NO') as failed_count
    from topic_contacts t
    join kore.contact_metrics f on f.contact_key = t.contact_key
    where f.qualification in ('YES', 'NO')
    group by t.topic_key, f.metric_key
),
ranked as (
    select t.level, t.topic_path, r.topic_key, m.metric_id, m.metric_name, r.failed_count, r.judged_count,
           row_number() over (partition by r.topic_key
                              order by r.failed_count::numeric / r.judged_count desc, r.failed_count desc,
                                       m.metric_name, r.metric_key) as place
    from results r
    cross join parameters p
    join kore.topics t  on t.topic_key = r.topic_key
    join kore.metrics m on m.metric_key = r.metric_key
    where r.judged_count >= p.least_judged and r.failed_count > 0
)
select r.level, r.topic_path, r.place, r.metric_id, r.metric_name, r.failed_count, r.judged_count,
       round(100.0 * r.failed_count / r.judged_count, 2) as failed_pct
from ranked r
join parameters p on r.place <= p.places
order by r.level, r.topic_path, r.topic_key, r.place;
