-- What share of contacts is resolved, by topic of level 3?
--
-- How to read it: a row is a topic of the lowest level; the least resolved ones come first. resolved_pct is
-- resolved_contacts of reported_contacts: contacts of which the vendor tells whether the topic was resolved. A contact
-- that names the topic twice is resolved when no mention was left unresolved. Contacts of which nothing is told are in
-- contacts alone; a topic of which nothing is told at all comes last, without a share. Whether a contact was scored
-- does not matter here. A contact with two topics counts for both.
--
-- What to change: the period, and stream ('*' is all streams).
with parameters as (
    select max(started_on) - 29 as first_day, max(started_on) as last_day, '*' as stream
    from kore.contacts
    where removed_at is null
)
select l1_name, l2_name, l3_name,
       sum(contacts)          as contacts,
       sum(mentions)          as mentions,
       sum(reported_contacts) as reported_contacts,
       sum(resolved_contacts) as resolved_contacts,
       round(100.0 * sum(resolved_contacts) / nullif(sum(reported_contacts), 0), 2) as resolved_pct
from kore.topic_daily
where level = 3
  and started_on between (select first_day from parameters) and (select last_day from parameters)
  and (select stream from parameters) in (stream, '*')
group by topic_key, l1_name, l2_name, l3_name
order by resolved_pct nulls last, reported_contacts desc, l1_name, l2_name, l3_name, topic_key;
