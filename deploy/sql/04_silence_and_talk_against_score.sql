-- Do silence and talk ratio go with the score?
--
-- How to read it: three measures after one another (silence, agent talks, customer talks), each share of the conversation
-- in ranges of percent: from_pct inclusive, to_pct exclusive but for the last. Within a measure every contact is in one
-- row; those of which the share is not reported (all but voice) are the row without a range. score_mean is
-- score_sum / evaluated_contacts, pass_rate_pct is passed_contacts of judged_contacts; contacts without a score are in
-- contacts alone. A difference between rows is no proof of cause: queues and topics differ too.
--
-- What to change: the period, stream ('*' is all streams), and width, the width of a range in points of percent.
with parameters as (
    select max(started_on) - 29 as first_day, max(started_on) as last_day, '*' as stream, 10 as width
    from kore.contacts
    where removed_at is null
),
measured as (
    select m.place, m.measure, p.width, c.evaluation_score,
           case when c.evaluation_score is not null then c.is_passed end as is_passed,
           case m.place when 1 then c.silence_pct
                        when 2 then c.agent_talk_pct
                        when 3 then c.customer_talk_pct
           end as share_pct
    from parameters p
    cross join (values (1, 'silence'), (2, 'agent talks'), (3, 'customer talks')) m (place, measure)
    join kore.contacts c on c.started_on between p.first_day and p.last_day and p.stream in (c.stream, '*')
    where c.removed_at is null
),
ranges as (  -- 100 belongs to the last range
    select place, measure, width, evaluation_score, is_passed,
           case when share_pct is not null
                then greatest(least(floor(share_pct / width), ceil(100.0 / width) - 1), 0) * width
           end as from_pct
    from measured
)
select measure, from_pct,
       case when from_pct is not null then least(from_pct + width, 100) end as to_pct,
       count(*)                                                           as contacts,
       count(evaluation_score)                                            as evaluated_contacts,
       sum(evaluation_score)                                              as score_sum,
       round(avg(evaluation_score), 2)                                    as score_mean,
       count(is_passed)                                                   as judged_contacts,
       count(*) filter (where is_passed)                                  as passed_contacts,
       round(100.0 * count(*) filter (where is_passed) / nullif(count(is_passed), 0), 2) as pass_rate_pct
from ranges
group by place, measure, width, from_pct
order by place, from_pct nulls last;
