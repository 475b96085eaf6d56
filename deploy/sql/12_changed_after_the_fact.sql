-- What changed after the fact, and which days are final?
--
-- How to read it: a row is a day of a stream. contacts, evaluated_contacts and score_mean are as they are now;
-- the same with _then are as this warehouse knew them at the moment as_of: what a report of that moment said, so it
-- lacks contacts that came later. The next four count contacts by what happened to them since they were first seen:
-- scored_later (seen without a score, which came), rescored (one score replaced by another), score_withdrawn, and
-- removed (the vendor has them no more; they are in no other number). is_complete is true once all contacts of the day
-- are proved to be here. awaited_contacts are those that should still get a score; is_final is true when the day is
-- complete and none is awaited. Even then an audit or a dispute may change a score later: ask again.
--
-- What to change: the period, stream ('*' is all streams), and as_of, say timestamptz '2026-05-04 09:00+00'; as it
-- stands, the begin of the seventh day from the end. A question that needs columns of contacts alone (04) is asked of a
-- past moment by reading kore.contacts_as_of('2026-05-04 09:00+00') in the place of kore.contacts; metrics, topics and
-- agents are known as they are now.
with parameters as (
    select max(c.started_on) - 13 as first_day, max(c.started_on) as last_day, '*' as stream,
           (max(c.started_on) - 6)::timestamp at time zone max(s.time_zone) as as_of
    from kore.contacts c
    cross join (select coalesce(max(time_zone), 'UTC') as time_zone from kore.settings) s
    where c.removed_at is null
),
score_changes as (
    select contact_key,
           bool_or(old_values ->> 'evaluation_score' is null)          as is_scored_later,
           bool_or(old_values ->> 'evaluation_score' is not null
                   and new_values ->> 'evaluation_score' is not null)  as is_rescored,
           bool_or(new_values ->> 'evaluation_score' is null)          as is_withdrawn
    from kore.contact_changes
    where 'evaluation_score' = any (changed_columns)
    group by contact_key
),
days_now as (
    select c.started_on, c.stream,
           count(*)                  filter (where c.removed_at is null)                       as contacts,
           count(c.evaluation_score) filter (where c.removed_at is null)                       as evaluated_contacts,
           sum(c.evaluation_score)   filter (where c.removed_at is null)                       as score_sum,
           count(*) filter (where c.removed_at is null and c.evaluation_score is null
                              and coalesce(c.duration_status, '') not in ('below_threshold', 'duration_unavailable')) as awaited_contacts,
           count(*) filter (where c.removed_at is null and h.is_scored_later)                  as scored_later,
           count(*) filter (where c.removed_at is null and h.is_rescored)                      as rescored,
           count(*) filter (where c.removed_at is null and h.is_withdrawn)                     as score_withdrawn,
           count(c.removed_at)                                                                 as removed
    from parameters p
    join kore.contacts c      on c.started_on between p.first_day and p.last_day and p.stream in (c.stream, '*')
    left join score_changes h on h.contact_key = c.contact_key
    group by c.started_on, c.stream
),
days_then as (
    select c.started_on, c.stream,
           count(*)                as contacts,
           count(c.evaluation_score) as evaluated_contacts,
           sum(c.evaluation_score) as score_sum
    from kore.contacts_as_of((select as_of from parameters)) c
    where c.removed_at is null
    group by c.started_on, c.stream
),
days as (
    select started_on, stream, is_complete
    from kore.daily_completeness
    where started_on between (select first_day from parameters) and (select last_day from parameters)
      and (select stream from parameters) in (stream, '*')
)
select started_on, stream,
       coalesce(d.is_complete, false)                                                   as is_complete,
       coalesce(n.awaited_contacts, 0)                                                  as awaited_contacts,
       coalesce(d.is_complete, false) and coalesce(n.awaited_contacts, 0) = 0           as is_final,
       coalesce(n.contacts, 0)                                                          as contacts,
       coalesce(n.evaluated_contacts, 0)                                                as evaluated_contacts,
       n.score_sum, round(n.score_sum / nullif(n.evaluated_contacts, 0), 2)             as score_mean,
       coalesce(t.contacts, 0)                                                          as contacts_then,
       coalesce(t.evaluated_contacts, 0)                                                as evaluated_then,
       t.score_sum as score_sum_then, round(t.score_sum / nullif(t.evaluated_contacts, 0), 2) as score_mean_then,
       coalesce(n.scored_later, 0)                                                      as scored_later,
       coalesce(n.rescored, 0)                                                          as rescored,
       coalesce(n.score_withdrawn, 0)                                                   as score_withdrawn,
       coalesce(n.removed, 0)                                                           as removed
from days d
full join days_now n   using (started_on, stream)
left join days_then t  using (started_on, stream)
order by started_on desc, stream;
