-- Data for which the answers to deploy/sql are known by hand: NN_name.expected beside this file. For a database that was
-- just migrated, loaded by a superuser. After each block stands which of its facts decides which answer, and how.
--
-- The newest day is Friday 2024-05-31, so the default period of 30 days is 2024-05-02 to 05-31, that of coaching
-- 05-03 to 05-16 and 05-18 to 05-31 (coached on 05-17), that of changes 05-18 to 05-31, as of 05-25 00:00.

insert into kore.settings (time_zone) values ('Europe/Berlin')
on conflict (is_only_row) do update set time_zone = excluded.time_zone;

-- Two agents by one name: who groups by name mixes them up. One without an id.
insert into kore.agents (agent_key, agent_id, agent_name, first_seen_at, last_seen_at, last_contact_key)
select v.agent_key, v.agent_id, v.agent_name, '2024-05-01 12:00+00', '2024-05-31 12:00+00', md5('A01')::uuid
from (values (1, 'a-1', 'Ada'), (2, 'a-2', 'Ben'), (3, 'a-3', 'Ben'), (4, 'a-4', 'Dee'), (5, null, 'Eli')) v (agent_key, agent_id, agent_name);

insert into kore.queues (queue_key, queue_id, queue_name, first_seen_at, last_seen_at, last_contact_key)
select v.queue_key, v.queue_id, v.queue_name, '2024-05-01 12:00+00', '2024-05-31 12:00+00', md5('A01')::uuid
from (values (1, 'q-1', 'Billing'), (2, 'q-2', 'Sales')) v (queue_key, queue_id, queue_name);

-- The contacts. score: null, not evaluated. passed: t, f, or - for not told.
create temporary table seed_contacts (
    conversation text, stream text, started_on date, score numeric, passed text, agents text, queues text, removed_at timestamptz
);
insert into seed_contacts values
    -- Ada, better after coaching.
    ('A01', 'support', '2024-05-03',   40, 'f', 'a-1',         'q-1',     null),
    ('A02', 'support', '2024-05-06',   50, 'f', 'a-1',         'q-1',     null),
    ('A03', 'support', '2024-05-08',   60, 't', 'a-1',         'q-1',     null),
    ('A04', 'support', '2024-05-10',   50, 'f', 'a-1',         'q-1',     null),
    ('A05', 'support', '2024-05-16',   50, 'f', 'a-1',         'q-1',     null),
    ('A06', 'support', '2024-05-18',   70, 't', 'a-1',         'q-1',     null),
    ('A07', 'support', '2024-05-20',   80, 't', 'a-1,a-1',     'q-1',     null), -- lists Ada twice: one contact of hers
    ('A08', 'support', '2024-05-22',   90, 't', 'a-1,Eli',     'q-1,q-2', null), -- four cells of 1/4
    ('A09', 'support', '2024-05-24',   80, 't', 'a-1',         'q-1,q-1', null), -- passes Billing twice: one contact
    ('A10', 'support', '2024-05-31',   80, '-', 'a-1',         'q-1',     null), -- evaluated, not judged
    -- Ben a-2: a change smaller than its margin.
    ('B01', 'support', '2024-05-03',   60, 't', 'a-2',         'q-2',     null),
    ('B02', 'support', '2024-05-04',   60, 't', 'a-2',         'q-2',     null),
    ('B03', 'support', '2024-05-05',   60, 't', 'a-2',         'q-2',     null),
    ('B04', 'support', '2024-05-06',   60, 't', 'a-2',         'q-2',     null),
    ('B05', 'support', '2024-05-07',   60, 't', 'a-2',         'q-2',     null),
    ('B06', 'support', '2024-05-18',   63, 't', 'a-2',         'q-2',     null),
    ('B07', 'support', '2024-05-19',   59, 'f', 'a-2',         'q-2',     null),
    ('B08', 'support', '2024-05-20',   71, 't', 'a-2',         'q-2',     null),
    ('B09', 'support', '2024-05-21',   51, 'f', 'a-2',         'q-2',     null),
    ('B10', 'support', '2024-05-22',   61, 't', 'a-2',         '',        null), -- no queue
    -- Dee, worse after coaching.
    ('D01', 'support', '2024-05-03',   90, 't', 'a-4',         'q-1',     null),
    ('D02', 'support', '2024-05-04',   90, 't', 'a-4',         'q-1',     null),
    ('D03', 'support', '2024-05-05',   90, 't', 'a-4',         'q-1',     null),
    ('D04', 'support', '2024-05-06',   90, 't', 'a-4',         'q-1',     null),
    ('D05', 'support', '2024-05-07',   90, 't', 'a-4',         'q-1',     null),
    ('D06', 'support', '2024-05-23',   70, 't', 'a-4',         'q-2',     null),
    ('D07', 'support', '2024-05-24',   70, 't', 'a-4',         'q-2',     null),
    ('D08', 'support', '2024-05-25',   70, 't', 'a-4',         'q-2',     null),
    ('D09', 'support', '2024-05-26',   70, 't', 'a-4',         'q-2',     null),
    ('D10', 'support', '2024-05-27',   70, 't', 'a-4',         'q-2',     null),
    -- The other Ben: 20 to 90, on one contact each.
    ('N01', 'sales',   '2024-05-10',   20, 'f', 'a-3',         'q-2',     null),
    ('N02', 'sales',   '2024-05-20',   90, 't', 'a-3',         'q-2',     null),
    ('E01', 'sales',   '2024-05-21',   30, 'f', 'Eli',         'q-1',     null),
    ('O01', 'sales',   '2024-05-22',   10, 'f', '',            '',        null), -- neither agent nor queue
    -- On the day of coaching: in neither of its periods, and in all others. A score of 0 is a score.
    ('S01', 'support', '2024-05-17',    0, 'f', 'a-1',         'q-1',     null),
    ('T01', 'support', '2024-05-17',   90, 't', 'a-4,a-2,Eli', 'q-1,q-2', null), -- thirds, which no decimal holds
    ('S02', 'support', '2024-05-01', -100, 'f', 'a-1',         'q-1',     null), -- a day before every period
    ('S03', 'support', '2024-05-02',  100, 't', 'a-1',         'q-1',     null), -- the first day of 30, before coaching's first
    -- No score. U01 is even said not to pass, which must count nowhere.
    ('U01', 'support', '2024-05-25', null, 'f', 'a-1',         'q-1',     null),
    ('U02', 'support', '2024-05-31', null, '-', '',            '',        null),
    ('U03', 'support', '2024-05-31', null, '-', 'a-2',         'q-2',     null),
    ('U04', 'sales',   '2024-05-31', null, '-', '',            '',        null),
    ('U05', 'sales',   '2024-05-31', null, '-', '',            '',        null),
    ('U06', 'support', '2024-05-29', null, '-', '',            '',        null),
    ('U07', 'support', '2024-05-29', null, '-', '',            '',        null),
    ('U08', 'support', '2024-05-01', null, '-', '',            '',        null), -- outside the period; a backlog has none
    -- Removed: in no answer but the last. R03 is the newest of all: a period that it ends would begin a day too late.
    ('R01', 'support', '2024-05-26', -100, 'f', 'a-1',         'q-1',     '2024-05-28 12:00+00'),
    ('R02', 'support', '2024-05-30', null, '-', 'a-2',         'q-2',     '2024-05-30 23:00+00'),
    ('R03', 'support', '2024-06-01',  100, 't', 'a-1',         'q-1',     '2024-06-02 12:00+00');
-- In the period and present: A 10, B 10, D 10, N 2, E01, O01, S01, S03, T01 = 37 evaluated, and U01 to U07: 44 contacts.
-- Scores: A 250 + 400, B 300 + 305, D 450 + 350, N 110, E 30, O 10, S 0 + 100, T 90 = 2395.
-- Judged: all but A10 = 36. Passed: A03, A06 to A09 = 5, B 5 + 3, D 10, N02, S03, T01 = 26.

insert into kore.contacts (contact_key, stream, conversation_id, started_at, started_on, evaluation_score, pass_score, is_passed,
                           is_churn_risk, duration_status, first_seen_at, updated_at, removed_at)
select md5(conversation)::uuid, stream, conversation, started_on + time '12:00' at time zone 'UTC', started_on,
       score, 60, case passed when 't' then true when 'f' then false end,
       false, 'evaluated', started_on + time '13:00' at time zone 'UTC', started_on + time '13:00' at time zone 'UTC', removed_at
from seed_contacts;

insert into kore.contact_agents (contact_key, ordinal, agent_key, is_primary)
select md5(s.conversation)::uuid, p.ordinal, a.agent_key, p.ordinal = 1
from seed_contacts s
cross join regexp_split_to_table(s.agents, ',') with ordinality p (agent, ordinal)
join kore.agents a on coalesce(a.agent_id, a.agent_name) = p.agent;

insert into kore.contact_queues (contact_key, ordinal, queue_key, is_primary)
select md5(s.conversation)::uuid, p.ordinal, q.queue_key, p.ordinal = 1
from seed_contacts s
cross join regexp_split_to_table(s.queues, ',') with ordinality p (queue, ordinal)
join kore.queues q on q.queue_id = p.queue;
drop table seed_contacts;

-- 01 Agents after coaching
--   Ada    before 40 50 60 50 50: sum 250, mean 50, variance (100 + 0 + 100 + 0 + 0) / 4 = 50; passed A03 of 5.
--          after 70 80 90 80 80 (A06 to A10): sum 400, mean 80, variance 50; A10 is not judged: 4 of 4.
--          Margin 2 * sqrt(50/5 + 50/5) = 2 * sqrt(20) = 8.94; 30 is more: improved.
--          S01 (that day), S02, S03 (too early), U01 (no score), R01 (removed) would each lower or raise her.
--   Ben    a-2: before five times 60, variance 0. After 63 59 71 51 61: sum 305, mean 61, variance (4 + 4 + 100 + 100 + 0) / 4
--          = 52, margin 2 * sqrt(52/5) = 2 * sqrt(10.4) = 6.45; 1 is less: no clear change. Passed 63, 71, 61.
--   Dee    five times 90, five times 70: -20 with a margin of 0: worse.
--   Ben    a-3: 20 and 90, on one contact each: too few, no margin; so he comes after the others despite +70.
--   Eli    nothing before; after E01 30 and A08 90, which counts for Ada and for Eli: sum 120, mean 60, passed A08 of 2.
-- 09 Agents by queue. Weights: A08 1/4 in each of four cells. T01 has agents a-2, a-4, Eli in the order of their keys: the first
--   0.333334, the others 0.333333; halved by queue 0.166667 and 0.1666665, times 90 is 15.00003 and 14.999985.
--   Billing Ada   A01 to A07, A09, A10, S01, S03, U01 = 12 and A08 .25: 12.25; evaluated without U01 11.25;
--                 400 + 80 + 80 + 0 + 100 + 22.5 = 682.5; mean 60.67; judged without A10 10.25; passed A03, A06, A07, A09,
--                 S03 and .25 = 5.25: 51.22 %.
--           Ben   T01: 0.166667, 15.00003.           Dee   D01 to D05 and T01: 5.1666665, 450 + 14.999985, mean 90.
--           Eli   E01 1, A08 .25, T01 .1666665: 1.4166665; 30 + 22.5 + 14.999985 = 67.499985; mean 47.65; passed
--                 .25 + .1666665 = .4166665: 29.41 %.
--           Queue 1230 of 18 evaluated: 68.33.
--   Sales   Ada   A08 .25, 22.5.
--           Ben   a-2: B01 to B09, T01, U03: 10.166667; evaluated 9.166667; 300 + 63 + 59 + 71 + 51 = 544 + 15.00003; mean
--                 60.98; passed B01 to B06, B08, T01 = 7.166667: 78.18 %.
--           Ben   a-3: N01, N02: 110, mean 55, 1 of 2.
--           Dee   D06 to D10, T01: 5.1666665; 350 + 14.999985; mean 70.65.
--           Eli   A08, T01: .25 + .1666665 = .4166665; 22.5 + 14.999985 = 37.499985; mean 90.
--           Queue 1094 of 17 evaluated: 64.35.
--   None    Ben   B10: 61.       No agent: O01, U02, U04 to U07: 6; evaluated O01: 10.       Queue 71 of 2: 35.50.
--   All     contacts 12.25 + .166667 + 5.1666665 + 1.4166665 + .25 + 10.166667 + 2 + 5.1666665 + .4166665 + 1 + 6 = 44;
--           scores 1230 + 1094 + 71 = 2395; evaluated 18 + 17 + 2 = 37: as above.

-- 08 Unscored backlog. The age is told by started_at; started_on stays where it is, so that no period moves with the clock.
do $$
declare
    v record;
begin
    -- A cluster takes moments as they are, not what makes them.
    for v in select u.conversation, u.status, now() - u.age::interval as at
             from (values ('U01', 'below_threshold',      null),
                          ('U02', 'evaluated',            '30 minutes'),
                          ('U03', 'evaluated',            '5 hours'),
                          ('U04', null,                   '3 days'),
                          ('U05', 'duration_unavailable', '20 days')) u (conversation, status, age)
    loop
        update kore.contacts set duration_status = v.status where conversation_id = v.conversation;
        if v.at is not null then
            update kore.contacts set started_at = v.at, first_seen_at = v.at, updated_at = v.at where conversation_id = v.conversation;
        end if;
    end loop;
end
$$;
-- Awaited 6: over 30 days U06, U07, U08 = 3; 1 to 7 days U04, whose status is not told; 1 to 24 hours U03; under 1 hour U02.
-- Not awaited 2: U01 over 30 days, U05 7 to 30 days. R02 is removed.

-- 04 Silence and talk. Of all other contacts nothing is reported: 36 contacts, 30 evaluated, 2395 - 400 = 1995, mean 66.5;
-- judged 36 - 7 = 29, passed 26 - 3 (A03, A06, A07) = 23: 79.31 %. The same three times.
update kore.contacts c
set silence_pct = v.silence, agent_talk_pct = v.agent, customer_talk_pct = v.customer
from (values ('A01', 35,    40, 25),
             ('A02', 30,    45, 25),
             ('A03', 10,    50, 40),
             ('A04', 39.99, 35, 25.01),
             ('A05', 100,   0,  0),      -- 100 belongs to the last range; 0 is reported
             ('A06', 0,     55, 45),
             ('A07', 9.99,  60, 30.01),
             ('U01', 12,    50, 38),     -- no score: in contacts alone
             ('R01', 12,    88, 0),
             ('S02', 5,     50, 45)) v (conversation, silence, agent, customer)
where c.conversation_id = v.conversation;
-- Silence  0 A06 70, A07 80 = 150, 2 of 2.   10 A03 60, U01: 1 of 1.   30 A01, A02, A04 = 140, mean 46.67, 0 of 3.   90 A05 50, 0 of 1.
-- Agent    0 A05 50.   30 A04 50.   40 A01, A02 = 90, 0 of 2.   50 A03, A06 = 130 and U01, 2 of 2.   60 A07 80.
-- Customer 0 A05 50.   20 A01, A02, A04 = 140.   30 A07 80 and U01, 1 of 1.   40 A03, A06 = 130, 2 of 2.

-- 06 Churn risk by intent
update kore.contacts c
set is_churn_risk = v.risk
from (values ('B01', true), ('B02', true), ('B04', null), ('B05', true), ('B09', null), ('D01', true), ('E01', true), ('U01', true),
             ('U02', null), ('U03', null), ('U04', null), ('U05', null), ('U06', null), ('U07', null),
             ('R01', true), ('S02', true)) v (conversation, risk)
where c.conversation_id = v.conversation;

insert into kore.generated_intents (contact_key, ordinal, intent, topic)
select md5(v.conversation)::uuid, v.ordinal, v.intent, v.topic
from (values ('B01', 1, 'Cancel contract',  null),
             ('B02', 1, 'cancel contract ', 'Contract'), -- another spelling; its topic counts nowhere
             ('B03', 1, 'Cancel contract',  null),
             ('B04', 1, 'Cancel contract',  null),
             ('B05', 1, 'Cancel contract',  null),
             ('B05', 2, 'Price',            null),       -- in both
             ('B06', 1, 'Price',            null),
             ('B07', 1, null,               'Price'),    -- its topic stands for it
             ('B08', 1, 'Price',            null),
             ('B08', 2, 'price',            null),       -- twice: one contact
             ('B09', 1, null,               null),       -- as if there were none
             ('D01', 1, 'Rare wish',        null),       -- 1 reported contact: left out
             ('U01', 1, 'Cancel contract',  null),       -- needs no score
             ('R01', 1, 'Cancel contract',  null),
             ('S02', 1, 'Cancel contract',  null)) v (conversation, ordinal, intent, topic);
-- All 44: not reported are B04, B09, U02 to U07 = 8, so 36; at risk B01, B02, B05, D01, E01, U01 = 6: 16.67 %.
-- cancel contract  B01 to B05, U01 = 6; without B04 5; at risk B01, B02, B05, U01 = 4: 80 %.
-- price            B05 to B08 = 4; at risk B05: 25 %.
-- (no intent)      44 - B01 to B08, D01, U01 = 34; without B09, U02 to U07 27; at risk E01: 3.70 %.

-- 07 Sentiment and emotions
update kore.contacts c
set sentiment_start = v.at_start, sentiment_end = v.at_end
from (values ('A01', 'negative', 'positive'),
             ('A02', 'negative', 'positive'),
             ('A03', 'negative', 'negative'),
             ('A04', 'positive', 'positive'),
             ('A05', 'negative', null),
             ('U01', 'negative', 'positive'), -- needs no score
             ('R01', 'negative', 'positive'),
             ('S02', 'negative', 'positive')) v (conversation, at_start, at_end)
where c.conversation_id = v.conversation;

insert into kore.emotions (emotion_key, emotion) values (1, 'anger'), (2, 'relief'), (3, 'calm'), (4, 'sadness'), (5, 'joy');
insert into kore.contact_emotions (contact_key, speaker, ordinal, emotion_key, duration_ms)
select md5(v.conversation)::uuid, v.speaker, v.ordinal, v.emotion_key, v.duration_ms
from (values ('A01', 'customer', 1, 1, 5000),
             ('A01', 'customer', 2, 1, 1000), -- again: one contact, 6000 ms
             ('A01', 'customer', 3, 2, 2000),
             ('A01', 'agent',    1, 3, 4000),
             ('A01', 'contact',  1, 5, null), -- of nobody: left out
             ('A02', 'customer', 1, 1, 2000),
             ('A02', 'customer', 2, 2, null), -- counts as a contact, without a length
             ('A03', 'customer', 1, 4, 0),    -- 0 of 0 is no share
             ('A05', 'customer', 1, 3, 3000), -- on a path whose end is not reported
             ('U01', 'customer', 1, 2, null),
             ('R01', 'customer', 1, 1, 9000),
             ('S02', 'customer', 1, 1, 9000)) v (conversation, speaker, ordinal, emotion_key, duration_ms);
-- Negative to positive: A01, A02, U01 = 3 of 44: 6.82 %. Customer: anger in A01, A02 = 2 of 3, 6000 + 2000 = 8000 of 10000 ms; relief in
-- A01, A02, U01 = 3 of 3, 2000 of 10000. Agent: calm in A01 = 1 of 3, 4000 of 4000. Others: one contact each (2.27 %), in the order
-- negative to negative (A03), negative to nothing (A05: calm, 3000 of 3000), positive to positive (A04). Nothing reported: 44 - 6
-- = 38, 86.36 %.

-- 02, 05 Topics
insert into kore.topics (topic_key, parent_topic_key, level, topic_name, l1_name, l2_name, l3_name, topic_path) values
    (1, null, 1, 'Billing',        'Billing', null,     null,             'Billing'),
    (2, 1,    2, 'Refund',         'Billing', 'Refund', null,             'Billing > Refund'),
    (3, 2,    3, 'Late refund',    'Billing', 'Refund', 'Late refund',    'Billing > Refund > Late refund'),
    (4, 2,    3, 'Partial refund', 'Billing', 'Refund', 'Partial refund', 'Billing > Refund > Partial refund'),
    (5, null, 1, 'Account',        'Account', null,     null,             'Account'),
    (6, 5,    2, 'Access',         'Account', 'Access', null,             'Account > Access'),
    (7, 6,    3, 'Locked out',     'Account', 'Access', 'Locked out',     'Account > Access > Locked out'),
    (8, 6,    3, 'Password',       'Account', 'Access', 'Password',       'Account > Access > Password');

-- The level above a row is the one before it, but in A03, which names a topic of level 3 twice under one of level 2.
create temporary table seed_topics (conversation text, topic_key integer, ordinal smallint, parent_ordinal smallint, is_resolved boolean);
insert into seed_topics values
    ('A01', 3, 3, 2, false),
    ('A02', 3, 3, 2, false),
    ('A03', 3, 3, 2, true),
    ('A03', 3, 4, 2, false),
    ('A04', 3, 3, 2, true),
    ('A05', 3, 3, 2, null),
    ('A06', 3, 3, 2, true),
    ('A07', 4, 3, 2, true),
    ('A07', 7, 6, 5, false), -- of the same contact: it counts for both topics
    ('A08', 4, 3, 2, false),
    ('B06', 7, 3, 2, true),
    ('B07', 7, 3, 2, true),
    ('B08', 7, 3, 2, true),  -- on the day of A07: their mean is no mean of days
    ('B09', 7, 3, 2, false),
    ('B10', 7, 3, 2, null),
    ('D06', 7, 3, 2, true),
    ('D07', 8, 3, 2, null),
    ('S03', 4, 3, 2, true),  -- on the first day of the period
    ('U01', 4, 3, 2, false), -- resolution needs no score
    ('R01', 4, 3, 2, true),
    ('S02', 4, 3, 2, true);
insert into kore.contact_topics (contact_key, ordinal, parent_ordinal, topic_key, level, is_resolved)
select md5(s.conversation)::uuid, s.ordinal, s.parent_ordinal, s.topic_key, 3, s.is_resolved
from seed_topics s
union all
select md5(s.conversation)::uuid, s.ordinal - 1, s.ordinal - 2, l3.parent_topic_key, 2, null
from seed_topics s join kore.topics l3 on l3.topic_key = s.topic_key
where s.parent_ordinal = s.ordinal - 1
union all
select md5(s.conversation)::uuid, s.ordinal - 2, null, l2.parent_topic_key, 1, null
from seed_topics s join kore.topics l3 on l3.topic_key = s.topic_key join kore.topics l2 on l2.topic_key = l3.parent_topic_key
where s.parent_ordinal = s.ordinal - 1;
drop table seed_topics;
-- 05 Late refund: 6 contacts, 7 mentions (A03 two); without A05 5 reported; A03 left one mention unresolved; resolved A04, A06: 40 %.
--    Partial refund: A07, A08, S03, U01; resolved A07, S03: 50 %.
--    Locked out: A07, B06 to B10, D06 = 7; without B10 6; without A07 and B09 4 resolved: 66.67 %.
--    Password: nothing reported.

-- 02, 03, 10, 11 Metrics. An empty result: the metric is not listed; -: listed without a result.
insert into kore.metrics (metric_key, metric_id, metric_name) values
    (1, 'm-1', 'Greeting'), (2, 'm-2', 'Identity check'), (3, 'm-3', 'Refund policy'), (4, 'm-9', 'Greeting'), (5, 'm-5', 'Closing');

create temporary table seed_metrics (conversation text, greeting text, identity_check text, refund_policy text, closing text);
insert into seed_metrics values
    ('A01', 'NO',  'NO',  'NO',  'YES'),
    ('A02', 'NO',  'YES', 'NO',  'YES'),
    ('A03', 'YES', 'YES', 'NO',  'YES'),
    ('A04', 'YES', 'NO',  'YES', 'NO'),
    ('A05', 'YES', 'NA',  '-',   'YES'),
    ('A06', 'YES', 'YES', '',    'YES'),
    ('A07', 'YES', 'YES', 'YES', ''),
    ('A08', 'NO',  'YES', 'YES', ''),
    ('B06', 'NO',  'NO',  '',    ''),
    ('B07', 'NO',  'NO',  '',    ''),
    ('B08', 'NO',  'YES', '',    ''),
    ('B09', 'NO',  'NO',  '',    ''),
    ('B10', 'YES', 'YES', '',    ''),
    ('D06', 'YES', 'YES', '',    ''),
    ('D07', 'YES', 'YES', '',    ''),
    ('D01', '',    'NO',  '',    ''),
    ('D02', '',    'NO',  '',    ''),
    ('D03', '',    'YES', '',    ''),
    ('D04', '',    'YES', '',    ''),
    ('T01', '',    'NO',  '',    ''),
    ('O01', '',    'NO',  '',    ''),
    ('N01', '',    'NO',  '',    ''),
    ('N02', '',    'YES', '',    ''),
    ('S03', '',    '',    'NO',  ''),    -- on the first day of the period
    ('U01', 'NO',  'NO',  'NO',  'YES'), -- no score
    ('R01', 'NO',  'NO',  'NO',  'YES'), -- removed
    ('S02', '',    'NO',  'NO',  '');    -- outside
insert into kore.contact_metrics (contact_key, ordinal, metric_key, qualification, is_fatal_error)
select md5(s.conversation)::uuid, m.metric_key, m.metric_key, nullif(v.result, '-'), m.metric_key = 2
from seed_metrics s
cross join lateral (values (1, s.greeting), (2, s.identity_check), (3, s.refund_policy), (5, s.closing)) v (metric_key, result)
join kore.metrics m on m.metric_key = v.metric_key
where v.result <> '';
drop table seed_metrics;
insert into kore.contact_metrics (contact_key, ordinal, metric_key, qualification, is_fatal_error) values
    (md5('B06')::uuid, 6, 4, 'NO', false), -- the other Greeting: once judged, once failed
    (md5('D01')::uuid, 6, 2, 'NO', true);  -- Identity check again: two results, one contact
-- 02 Evaluated, with YES or NO (judged) and NO (failed), by topic:
--      Late refund (A01 to A06)                Identity check 5, 2 (A01, A04; A05 is NA): 40 %.   Greeting 6, 2: 33.33 %.
--                                              Closing 6, 1: 16.67 %.   Refund policy 4, 3 (A05 has no result): too few.
--      Partial refund (A07, A08, S03)          3 at most: too few.
--      Billing, Refund (A01 to A08, S03)       Refund policy 7, 4 (A01, A02, A03, S03): 57.14 %.   Greeting 8, 3 (A01, A02, A08):
--                                              37.50 %.   Identity check 7, 2: 28.57 %.   Closing 6, 1 would be the fourth.
--      Locked out (A07, B06 to B10, D06)       Greeting 7, 4 (B06 to B09): 57.14 %.   Identity check 7, 3 (B06, B07, B09): 42.86 %.
--                                              Greeting m-9 1, 1 and Refund policy 1, 0: too few.
--      Password (D07)                          too few.
--      Account, Access (and D07)               Greeting 8, 4: 50 %.   Identity check 8, 3: 37.50 %.
-- 03 Over all topics, each contact once: Refund policy 7, 4: 57.14 %.   Identity check 23, 11: 47.83 %.   Greeting 15, 7: 46.67 %.
--    Closing 6, 1.   m-9 1, 1: too few. So Refund policy is the worst, failed by A01, A02, A03, S03 (and U01, R01, which do not
--    count), and not by most: Identity check is.
insert into kore.metric_justifications (contact_key, metric_ordinal, kind, ordinal, justification, source_system_value, agent_mentioned_value, agent_entity) values
    (md5('A01')::uuid, 3, 'justification', 1, 'Promised a refund.', null, null, null),
    (md5('A01')::uuid, 3, 'trigger',       1, 'Asked for money.',   null, null, null),
    (md5('A01')::uuid, 1, 'justification', 1, 'No greeting.',       null, null, null), -- another metric
    (md5('A02')::uuid, 3, 'justification', 1, null, '14 days', '30 days', 'refund period'),
    (md5('A04')::uuid, 3, 'justification', 1, 'Named the policy.',  null, null, null), -- a YES
    (md5('U01')::uuid, 3, 'justification', 1, 'Unscored.',          null, null, null),
    (md5('R01')::uuid, 3, 'justification', 1, 'Removed.',           null, null, null);
insert into kore.justification_messages (contact_key, metric_ordinal, kind, justification_ordinal, ordinal, message_id, message_at) values
    (md5('A01')::uuid, 3, 'justification', 1, 1, 'ms-2', '2024-05-03 12:02+00'),
    (md5('A01')::uuid, 3, 'justification', 1, 2, 'ms-1', '2024-05-03 12:01:30+00'); -- cited second, sent first: 90 s in
-- Newest first: A03 (no reason at all), A02 (by value), A01 (justification, then trigger), S03 (no reason). Begun at 12:00 UTC, 14:00 in Berlin.

-- 10 Fatal errors. Identity check is fatal, with two exceptions; Refund policy is so in A01.
update kore.contact_metrics set is_fatal_error = false where contact_key = md5('B07')::uuid and metric_key = 2;
update kore.contact_metrics set is_fatal_error = null  where contact_key = md5('N01')::uuid and metric_key = 2;
update kore.contact_metrics set is_fatal_error = true  where contact_key = md5('A01')::uuid and metric_key = 3;
-- Dee  Identity check: D01 (two results, one contact), D02, T01 (shared with two others) of D01 to D04, D06, D07, T01 = 7: 42.86 %; 05-03 to
--      05-17. Any metric: 3 of D01 to D10, T01 = 11.
-- Ada  Identity check: A01, A04 of A01 to A04, A06 to A08 = 7: 28.57 %; 05-03 to 05-10. Refund policy: A01 of 1. Any metric:
--      A01, A04 = 2 (A01 once) of A01 to A10, S01, S03 = 12.
-- Ben  a-2: B06, B09 of B06, B08 to B10 = 4: 50 %; 05-18 to 05-21. Any: 2 of 10; T01 is Dee's.
-- None O01: 1 of 1; nobody repeats. Ben a-3 has none: N01 is not said to be fatal. U01, R01, S02 would be Ada's.

-- 11 Audit agreement
update kore.contacts c
set audit_status = v.status, audit_score = v.score, auditor_name = v.auditor
from (values ('A01', 'completed', 44,   'Zoe'), -- automatic 40: +4, within 5
             ('A02', 'completed', 60,   'Zoe'), -- automatic 50: +10; would pass now
             ('A03', 'completed', 50,   'Zoe'), -- automatic 60: -10; would fail now
             ('A04', 'completed', 50,   'Yan'), -- the same
             ('A05', 'pending',   null, 'Yan'), -- no audit score yet: no audit
             ('A06', 'completed', 70,   null),  -- the same; auditor not told
             ('S03', 'completed', 97,   'Yan'), -- automatic 100: -3, within 5; on the first day of the period
             ('U01', 'completed', 90,   'Yan'), -- no automatic score: not compared, and no verdict to change
             ('R01', 'completed', 90,   'Zoe'),
             ('S02', 'completed', 0,    'Zoe')) v (conversation, status, score, auditor)
where c.conversation_id = v.conversation;
update kore.contact_metrics f
set auditor_response = v.response
from (values ('A01', 1, 'NO'),  -- NO: agreed
             ('A02', 1, 'Yes'), -- NO: higher; spelling does not matter
             ('A03', 1, 'NO'),  -- YES: lower
             ('U01', 1, 'YES'), -- no score: not compared
             ('A01', 2, 'NO'),  -- NO: agreed
             ('A04', 2, 'NA'),  -- NO: differs, neither higher nor lower
             ('A05', 2, 'NA'),  -- NA: agreed
             ('A05', 3, 'NO'),  -- no result: not compared
             ('R01', 1, 'YES'),
             ('S02', 2, 'YES')) v (conversation, ordinal, response)
where f.contact_key = md5(v.conversation)::uuid and f.ordinal = v.ordinal;
-- Zoe: 3 compared, 1 agreed (33.33 %), 1 higher, 1 lower; 4 + 10 - 10 = 4, mean 1.33; 24 without signs, mean 8; 2 verdicts.
-- Yan: A04, S03 of 2, U01 not compared; 0 - 3 = -3, mean -1.50; 3 without signs, mean 1.50.       Not told: A06 of 1.
-- Greeting: 3 compared, 1 agreed, 1 higher, 1 lower, 1 not.   Identity check: 3, 2 agreed (66.67 %).   Refund policy: 0, 1 not.

-- 12 Changed after the fact. Support: proved from April up to 05-31 12:00 but for six hours of 05-23, a range read in the business
-- zone: in UTC the gap would touch 05-22 too. Sales: proved from 05-22 on. So complete are support 05-18 to 05-22 and 05-24 to
-- 05-30, and sales 05-22 to 05-31; the sales contacts of 05-20 and 05-21 are on days nobody vouches for.
insert into koresync.streams (stream, account_id, stream_id, start_at, frontier, watermark, span_seconds, created_at) values
    ('support', 'account', 'st-1', '2024-04-01 00:00+02', '2024-05-31 12:00+02', '2024-05-23 00:00+02', 3600, '2024-05-01 00:00+02'),
    ('sales',   'account', 'st-2', '2024-05-22 00:00+02', '2024-06-01 00:00+02', '2024-06-01 00:00+02', 3600, '2024-05-22 00:00+02');
insert into koresync.windows (stream, lane, from_at, to_at, state, due_at, total, rows, "distinct", repeated, in_window,
                              inserted, changed, unchanged, quarantined, erased, verified_by, verified_at, created_at)
select v.stream, 'live', v.from_at::timestamptz, v.to_at::timestamptz, v.state, v.to_at::timestamptz, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
       case v.state when 'verified' then 'count' end, case v.state when 'verified' then v.to_at::timestamptz end, v.to_at::timestamptz
from (values ('support', '2024-04-01 00:00+02', '2024-05-23 00:00+02', 'verified'),
             ('support', '2024-05-23 00:00+02', '2024-05-23 06:00+02', 'unverified'),
             ('support', '2024-05-23 06:00+02', '2024-05-31 12:00+02', 'verified'),
             ('sales',   '2024-05-22 00:00+02', '2024-06-01 00:00+02', 'verified')) v (stream, from_at, to_at, state);

update kore.contacts set first_seen_at = '2024-05-30 12:00+00' where conversation_id = 'E01'; -- came after 05-25

insert into kore.contact_changes (contact_key, version, valid_from, valid_to, changed_columns, old_values, new_values)
select md5(v.conversation)::uuid, v.version, v.valid_from::timestamptz, v.valid_to::timestamptz,
       array(select jsonb_object_keys(v.old_values::jsonb)), v.old_values::jsonb, v.new_values::jsonb
from (values
    ('A06', 1, '2024-05-18 13:00+00', '2024-05-19 13:00+00', '{"evaluation_score": null, "is_passed": null}', '{"evaluation_score": 65, "is_passed": true}'),
    ('A06', 2, '2024-05-19 13:00+00', '2024-05-27 13:00+00', '{"evaluation_score": 65}', '{"evaluation_score": 70}'),
    ('A07', 1, '2024-05-20 13:00+00', '2024-05-26 13:00+00', '{"audit_status": "open"}', '{"audit_status": null}'),
    ('A08', 1, '2024-05-22 13:00+00', '2024-05-24 12:00+00', '{"removed_at": null}', '{"removed_at": "2024-05-24T12:00:00+00:00"}'),
    ('A08', 2, '2024-05-24 12:00+00', '2024-05-26 12:00+00', '{"removed_at": "2024-05-24T12:00:00+00:00"}', '{"removed_at": null}'),
    ('A09', 1, '2024-05-24 13:00+00', '2024-05-24 21:00+00', '{"evaluation_score": 70}', '{"evaluation_score": 80}'), -- before midnight in Berlin
    ('D07', 1, '2024-05-24 13:00+00', '2024-05-24 23:00+00', '{"evaluation_score": 60}', '{"evaluation_score": 70}'), -- after it, before it in UTC
    ('B06', 1, '2024-05-18 13:00+00', '2024-05-19 13:00+00', '{"evaluation_score": 40}', '{"evaluation_score": 50}'),
    ('B06', 2, '2024-05-19 13:00+00', '2024-05-20 13:00+00', '{"evaluation_score": 50}', '{"evaluation_score": 63}'),
    ('U06', 1, '2024-05-29 13:00+00', '2024-05-30 13:00+00', '{"evaluation_score": 55}', '{"evaluation_score": null}'),
    ('R01', 1, '2024-05-26 13:00+00', '2024-05-27 12:00+00', '{"evaluation_score": -50}', '{"evaluation_score": -100}'),
    ('R01', 2, '2024-05-27 12:00+00', '2024-05-28 12:00+00', '{"removed_at": null}', '{"removed_at": "2024-05-28T12:00:00+00:00"}')
) v (conversation, version, valid_from, valid_to, old_values, new_values);
-- 05-31 sales U04, U05: U04 is awaited, U05 is not.   Support A10 80, U02, U03: 2 awaited.
-- 05-30 support: R02 removed.
-- 05-29 support: U06, U07 awaited, so complete and not final; U06 lost its score.
-- 05-27 D10.   05-26 D09; R01 removed, and its other score counts nowhere.   05-25 D08 70, U01: not awaited, so final.
-- From 05-25 on nothing was known at 05-25 00:00. 05-24 A09 80, D07 70 = 150, both
-- rescored; then A09 80, D07 60 = 140.   05-23 D06, not complete.
-- 05-22 sales O01.   Support A08 90, B10 61 = 151; A08 was gone from 05-24 to 05-26, so then B10 alone.
-- 05-21 sales E01, not known then.   Support B09.   05-20 sales N02.   Support A07 80, B08 71, then too: another column changed.
-- 05-19 B07.   05-18 A06 70, B06 63 = 133; then A06 65: 128. A06 was scored later and rescored, B06 rescored, twice: 1 and 2.
