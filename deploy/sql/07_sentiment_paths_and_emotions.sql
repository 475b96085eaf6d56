-- With which sentiment did customers begin and end, and which emotions were on the way?
--
-- How to read it: contacts are grouped by path, sentiment at the beginning and at the end; contacts of all_contacts is
-- how many went so. Below each path, a row for each emotion of the customer and of the agent: emotion_contacts of
-- contacts showed it, and it lasted emotion_ms of the speaker_ms that all emotions of this speaker lasted on this path.
-- The vendor tells how long an emotion lasted and not when, so begin and end are known of the sentiment alone: compare
-- the emotions of the paths. An empty sentiment was not reported; a path without emotions is one row without a speaker.
-- A contact with two emotions counts for both, so add up contacts over paths only, one row of each.
--
-- What to change: the period, and stream ('*' is all streams).
with parameters as (
    select max(started_on) - 29 as first_day, max(started_on) as last_day, '*' as stream
    from kore.contacts
    where removed_at is null
),
paths as (
    select sentiment_start, sentiment_end, sum(contacts) as contacts, sum(sum(contacts)) over () as all_contacts
    from kore.sentiment_daily
    where started_on between (select first_day from parameters) and (select last_day from parameters)
      and (select stream from parameters) in (stream, '*')
    group by sentiment_start, sentiment_end
),
emotions as (
    select c.sentiment_start, c.sentiment_end, f.speaker, e.emotion,
           count(distinct c.contact_key) as emotion_contacts, sum(f.duration_ms) as emotion_ms
    from parameters p
    join kore.contacts c         on c.started_on between p.first_day and p.last_day and p.stream in (c.stream, '*')
    join kore.contact_emotions f on f.contact_key = c.contact_key
    join kore.emotions e         on e.emotion_key = f.emotion_key
    where c.removed_at is null and f.speaker in ('customer', 'agent')
    group by c.sentiment_start, c.sentiment_end, f.speaker, e.emotion
),
shares as (
    select sentiment_start, sentiment_end, speaker, emotion, emotion_contacts, emotion_ms,
           sum(emotion_ms) over (partition by sentiment_start, sentiment_end, speaker) as speaker_ms
    from emotions
)
select t.sentiment_start, t.sentiment_end, t.contacts, t.all_contacts,
       round(100.0 * t.contacts / t.all_contacts, 2)            as contacts_pct,
       s.speaker, s.emotion, s.emotion_contacts,
       round(100.0 * s.emotion_contacts / t.contacts, 2)        as emotion_contacts_pct,
       s.emotion_ms, s.speaker_ms,
       round(100.0 * s.emotion_ms / nullif(s.speaker_ms, 0), 2) as emotion_ms_pct
from paths t
left join shares s on coalesce(s.sentiment_start, '') = coalesce(t.sentiment_start, '')
                  and coalesce(s.sentiment_end, '') = coalesce(t.sentiment_end, '')
order by t.contacts desc, t.sentiment_start, t.sentiment_end, s.speaker desc, s.emotion_contacts desc, s.emotion;
