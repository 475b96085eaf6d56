-- Which contacts have no score yet, how old are they, and why?
--
-- How to read it: a row is a reason and a range of age (since the contact began, at the moment of asking), oldest first.
-- Rows with is_awaited are the backlog: the vendor should score them. The others will not be scored, and say why.
-- contacts of all_contacts is the part of the row in all contacts that are as awaited, or as little, as it.
-- kore.evaluation_backlog has the same by stream, with the oldest and newest of each row.
--
-- What to change: stream ('*' is all streams). There is no period: a backlog is as of now.
with parameters as (
    select '*' as stream
),
backlog as (
    select b.is_awaited, b.age_rank, b.age, b.contacts,
           case b.duration_status
               when 'evaluated'            then 'long enough, and not scored yet'
               when 'below_threshold'      then 'shorter than what is scored'
               when 'duration_unavailable' then 'of unknown length'
               else coalesce('status ' || b.duration_status, 'status not told')
           end as reason
    from kore.evaluation_backlog b
    join parameters p on p.stream in (b.stream, '*')
)
select is_awaited, reason, age,
       sum(contacts)                                                                            as contacts,
       sum(sum(contacts)) over (partition by is_awaited)                                        as all_contacts,
       round(100.0 * sum(contacts) / sum(sum(contacts)) over (partition by is_awaited), 2)      as contacts_pct
from backlog
group by is_awaited, reason, age_rank, age
order by is_awaited desc, age_rank desc, reason;
