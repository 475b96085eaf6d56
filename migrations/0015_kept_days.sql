-- Days that are kept as rows, so that a chart over months does not count every contact again. What changes a contact marks its
-- stream and day in the same transaction; a day without a mark is read as it was kept, a marked one is counted when it is asked
-- for. The daemon counts a day anew once it is quiet, and takes from it the marks that it saw (src/warehouse/days.rs).

-- What commits before the triggers are there must be seen by what follows them, whatever the server's default is.
set transaction isolation level read committed;
-- Who waits for a table here holds up others behind it. The migration may be started again.
set local lock_timeout = '30s';
set local role kore_owner;
-- Of a cluster, views are asked on the coordinator alone. Elsewhere the setting means nothing.
set local citus.enable_ddl_propagation = off;

-- Marks are only added: transactions that change the same day must not wait for each other.
create table koresync.changed_days (
    stream     text        not null,
    started_on date        not null,
    changed_at timestamptz not null default clock_timestamp()
);
create index changed_days_day on koresync.changed_days (started_on, stream);
alter table koresync.changed_days replica identity full;
comment on table koresync.changed_days is 'Days that changed since they were kept, or never were. Grain: a change.';
comment on column koresync.changed_days.stream is 'The stream.';
comment on column koresync.changed_days.started_on is 'The business day.';
comment on column koresync.changed_days.changed_at is 'When it was marked (UTC).';

create view koresync.counted_agent_days as
select p.started_on, p.stream, p.agent_key,
       count(*) as contacts,
       sum(p.allocation_weight) as allocated_contacts,
       count(p.evaluation_score) as evaluated_contacts,
       coalesce(sum(p.allocation_weight) filter (where p.evaluation_score is not null), 0) as allocated_evaluated_contacts,
       sum(p.evaluation_score) as evaluation_score_sum,
       sum(p.allocation_weight * p.evaluation_score) as allocated_evaluation_score_sum,
       count(p.is_passed) as judged_contacts,
       count(*) filter (where p.is_passed) as passed_contacts,
       coalesce(sum(p.allocation_weight) filter (where p.is_passed is not null), 0) as allocated_judged_contacts,
       coalesce(sum(p.allocation_weight) filter (where p.is_passed), 0) as allocated_passed_contacts,
       count(*) filter (where p.fatal_error_count > 0) as fatal_error_contacts,
       count(*) filter (where p.is_churn_risk) as churn_risk_contacts,
       count(*) filter (where p.is_escalation) as escalation_contacts,
       sum(p.duration_ms) as duration_ms_sum,
       count(p.duration_ms) as timed_contacts,
       sum(p.empathy_score_sum) as empathy_score_sum,
       sum(p.empathy_scored_parts)::bigint as empathy_scored_parts,
       sum(p.crutch_word_score_sum) as crutch_word_score_sum,
       sum(p.crutch_word_scored_parts)::bigint as crutch_word_scored_parts
from koresync.agent_parts p
group by p.started_on, p.stream, p.agent_key;
comment on view koresync.counted_agent_days is 'kore.agent_daily_scorecard without names and quotients, counted from contacts. Grain: a business day, stream and agent.';

create view koresync.counted_queue_days as
select p.started_on, p.stream, p.queue_key,
       count(*) as contacts,
       sum(p.allocation_weight) as allocated_contacts,
       count(p.evaluation_score) as evaluated_contacts,
       coalesce(sum(p.allocation_weight) filter (where p.evaluation_score is not null), 0) as allocated_evaluated_contacts,
       sum(p.evaluation_score) as evaluation_score_sum,
       sum(p.allocation_weight * p.evaluation_score) as allocated_evaluation_score_sum,
       count(p.is_passed) as judged_contacts,
       count(*) filter (where p.is_passed) as passed_contacts,
       coalesce(sum(p.allocation_weight) filter (where p.is_passed is not null), 0) as allocated_judged_contacts,
       coalesce(sum(p.allocation_weight) filter (where p.is_passed), 0) as allocated_passed_contacts,
       count(*) filter (where p.is_churn_risk) as churn_risk_contacts,
       count(*) filter (where p.is_escalation) as escalation_contacts,
       sum(p.duration_ms) as duration_ms_sum,
       count(p.duration_ms) as timed_contacts
from koresync.queue_parts p
group by p.started_on, p.stream, p.queue_key;
comment on view koresync.counted_queue_days is 'kore.queue_daily without names and quotients, counted from contacts. Grain: a business day, stream and queue.';

create view koresync.counted_metric_days as
select c.started_on, c.stream, f.metric_key,
       count(*) as metric_count,
       count(*) filter (where c.evaluation_score is null) as unscored_count,
       count(*) filter (where c.evaluation_score is not null and f.qualification = 'YES') as yes_count,
       count(*) filter (where c.evaluation_score is not null and f.qualification = 'NO') as no_count,
       count(*) filter (where c.evaluation_score is not null and f.qualification = 'NA') as na_count,
       count(*) filter (where c.evaluation_score is not null and f.qualification is null) as missing_count,
       count(*) filter (where c.evaluation_score is not null and f.qualification not in ('YES', 'NO', 'NA')) as other_count,
       count(*) filter (where c.evaluation_score is not null and f.qualification in ('YES', 'NO')) as judged_count,
       count(*) filter (where c.evaluation_score is not null and f.qualification = 'NO' and f.is_fatal_error) as fatal_no_count
from kore.contacts c
join kore.contact_metrics f on f.contact_key = c.contact_key
where c.removed_at is null
group by c.started_on, c.stream, f.metric_key;
comment on view koresync.counted_metric_days is 'kore.metric_compliance_daily without names and quotients, counted from contacts. Grain: a business day, stream and metric.';

-- A topic that a contact names twice is one contact and two mentions.
create view koresync.counted_topic_days as
select p.started_on, p.stream, p.topic_key,
       count(*) as contacts,
       sum(p.mentions)::bigint as mentions,
       count(*) filter (where p.reported_mentions > 0) as reported_contacts,
       count(*) filter (where p.reported_mentions > 0 and p.unresolved_mentions = 0) as resolved_contacts,
       sum(p.sentiment_score_sum) as sentiment_score_sum,
       sum(p.sentiment_scored_mentions)::bigint as sentiment_scored_mentions
from (
    select c.started_on, c.stream, c.contact_key, f.topic_key,
           count(*) as mentions, count(f.is_resolved) as reported_mentions,
           count(*) filter (where not f.is_resolved) as unresolved_mentions,
           sum(f.sentiment_score) as sentiment_score_sum, count(f.sentiment_score) as sentiment_scored_mentions
    from kore.contacts c
    join kore.contact_topics f on f.contact_key = c.contact_key
    where c.removed_at is null
    group by c.contact_key, f.topic_key
) p
group by p.started_on, p.stream, p.topic_key;
comment on view koresync.counted_topic_days is 'kore.topic_daily without names and quotients, counted from contacts. Grain: a business day, stream and topic.';

create view koresync.counted_emotion_days as
select p.started_on, p.stream, p.speaker, p.emotion_key,
       count(*) as contacts,
       sum(p.occurrences)::bigint as occurrences,
       sum(p.duration_ms_sum) as duration_ms_sum,
       sum(p.timed_occurrences)::bigint as timed_occurrences,
       sum(p.proportion_pct_sum) as proportion_pct_sum,
       sum(p.proportioned_occurrences)::bigint as proportioned_occurrences
from (
    select c.started_on, c.stream, c.contact_key, f.speaker, f.emotion_key,
           count(*) as occurrences, sum(f.duration_ms) as duration_ms_sum, count(f.duration_ms) as timed_occurrences,
           sum(f.proportion_pct) as proportion_pct_sum, count(f.proportion_pct) as proportioned_occurrences
    from kore.contacts c
    join kore.contact_emotions f on f.contact_key = c.contact_key
    where c.removed_at is null
    group by c.contact_key, f.speaker, f.emotion_key
) p
group by p.started_on, p.stream, p.speaker, p.emotion_key;
comment on view koresync.counted_emotion_days is 'kore.emotion_daily without names and quotients, counted from contacts. Grain: a business day, stream, speaker and emotion.';

-- What is kept of each kind: kept_…_days are the rows, …_days what holds now, from kept and counted days. A day is counted by a
-- function for its settings: along the indexes, whatever whoever asks has set, it costs what its contacts cost. A plan over the whole
-- of a large table, once for each marked day, would be the price of a month.
do $$
declare
    k record;
begin
    for k in select * from (values ('agent', 'agent_daily_scorecard'), ('queue', 'queue_daily'), ('metric', 'metric_compliance_daily'),
        ('topic', 'topic_daily'), ('emotion', 'emotion_daily')) kinds (kind, shown)
    loop
        execute format('create table koresync.kept_%s_days as select * from koresync.counted_%1$s_days where false', k.kind);
        execute format('create index kept_%s_days_day on koresync.kept_%1$s_days (started_on, stream)', k.kind);
        execute format('alter table koresync.kept_%s_days replica identity full', k.kind);
        execute format(
            'create function koresync.count_%1$s_day(stream text, day date) returns setof koresync.kept_%1$s_days '
            'language sql stable security definer rows 200 '
            'set search_path = pg_catalog set enable_seqscan = off set jit = off set work_mem = ''32MB'' '
            'as $count$ select * from koresync.counted_%1$s_days c where c.stream = $1 and c.started_on = $2 $count$', k.kind);
        execute format('comment on function koresync.count_%s_day(text, date) is %L', k.kind,
            format('Counts a day of kore.%s, without names and quotients.', k.shown));
        execute format('create view koresync.%1$s_days as select * from koresync.counted_%1$s_days', k.kind);
        execute format('comment on table koresync.kept_%s_days is %L', k.kind,
            format('Days of kore.%s as they were kept, without names and quotients. Marked days are not to be read here. Grain: as there.', k.shown));
        execute format('comment on view koresync.%s_days is %L', k.kind,
            format('kore.%s without names and quotients: kept days, and marked ones counted. Grain: as there.', k.shown));
    end loop;
    -- What a column means is said of the view that analysts read.
    for k in
        select a.attrelid::regclass as relation, a.attname, col_description(s.attrelid, s.attnum) as words
        from (values ('agent', 'agent_daily_scorecard'), ('queue', 'queue_daily'), ('metric', 'metric_compliance_daily'),
            ('topic', 'topic_daily'), ('emotion', 'emotion_daily')) kinds (kind, shown)
        cross join unnest(array['counted_' || kind || '_days', 'kept_' || kind || '_days', kind || '_days']) relation
        join pg_attribute a on a.attrelid = ('koresync.' || relation)::regclass and a.attnum > 0
        join pg_attribute s on s.attrelid = ('kore.' || shown)::regclass and s.attname = a.attname
    loop
        execute format('comment on column %s.%I is %L', k.relation, k.attname, k.words);
    end loop;
end
$$;

create or replace view kore.agent_daily_scorecard as
select p.started_on, p.stream, d.agent_key, d.agent_id, d.agent_name,
       p.contacts, p.allocated_contacts, p.evaluated_contacts, p.allocated_evaluated_contacts,
       p.evaluation_score_sum, p.allocated_evaluation_score_sum,
       round(p.evaluation_score_sum / nullif(p.evaluated_contacts, 0), 2) as evaluation_score_mean,
       p.judged_contacts, p.passed_contacts, p.allocated_judged_contacts, p.allocated_passed_contacts,
       round(100.0 * p.passed_contacts / nullif(p.judged_contacts, 0), 2) as pass_rate_pct,
       p.fatal_error_contacts, p.churn_risk_contacts, p.escalation_contacts, p.duration_ms_sum, p.timed_contacts,
       p.empathy_score_sum, p.empathy_scored_parts, p.crutch_word_score_sum, p.crutch_word_scored_parts
from koresync.agent_days p
left join kore.agents d on d.agent_key = p.agent_key;

create or replace view kore.queue_daily as
select p.started_on, p.stream, d.queue_key, d.queue_id, d.queue_name,
       p.contacts, p.allocated_contacts, p.evaluated_contacts, p.allocated_evaluated_contacts,
       p.evaluation_score_sum, p.allocated_evaluation_score_sum,
       round(p.evaluation_score_sum / nullif(p.evaluated_contacts, 0), 2) as evaluation_score_mean,
       p.judged_contacts, p.passed_contacts, p.allocated_judged_contacts, p.allocated_passed_contacts,
       round(100.0 * p.passed_contacts / nullif(p.judged_contacts, 0), 2) as pass_rate_pct,
       p.churn_risk_contacts, p.escalation_contacts, p.duration_ms_sum, p.timed_contacts
from koresync.queue_days p
left join kore.queues d on d.queue_key = p.queue_key;

create or replace view kore.metric_compliance_daily as
select p.started_on, p.stream, m.metric_key, m.metric_id, m.metric_name,
       p.metric_count, p.unscored_count, p.yes_count, p.no_count, p.na_count, p.missing_count, p.other_count, p.judged_count,
       round(100.0 * p.yes_count / nullif(p.judged_count, 0), 2) as compliance_pct,
       p.fatal_no_count
from koresync.metric_days p
join kore.metrics m on m.metric_key = p.metric_key;

create or replace view kore.topic_daily as
select p.started_on, p.stream, t.topic_key, t.parent_topic_key, t.level, t.topic_name, t.l1_name, t.l2_name, t.l3_name, t.topic_path,
       p.contacts, p.mentions, p.reported_contacts, p.resolved_contacts,
       round(100.0 * p.resolved_contacts / nullif(p.reported_contacts, 0), 2) as resolved_pct,
       p.sentiment_score_sum, p.sentiment_scored_mentions,
       round(p.sentiment_score_sum / nullif(p.sentiment_scored_mentions, 0), 2) as sentiment_score_mean
from koresync.topic_days p
join kore.topics t on t.topic_key = p.topic_key;

create or replace view kore.emotion_daily as
select p.started_on, p.stream, p.speaker, e.emotion_key, e.emotion,
       p.contacts, p.occurrences, p.duration_ms_sum, p.timed_occurrences, p.proportion_pct_sum, p.proportioned_occurrences,
       round(p.proportion_pct_sum / nullif(p.proportioned_occurrences, 0), 2) as proportion_pct_mean
from koresync.emotion_days p
join kore.emotions e on e.emotion_key = p.emotion_key;

-- Whoever writes contacts marks days, though the table of marks be closed to them.
create function koresync.mark_days() returns trigger language plpgsql security definer
set search_path = pg_catalog
as $$
begin
    if tg_op = 'UPDATE' then
        insert into koresync.changed_days (stream, started_on)
        select stream, started_on from before union select stream, started_on from touched;
    else
        insert into koresync.changed_days (stream, started_on) select distinct stream, started_on from touched;
    end if;
    return null;
end
$$;
comment on function koresync.mark_days() is 'Marks the days of contacts that came, changed or went.';

create function koresync.mark_days_of_parts() returns trigger language plpgsql security definer
set search_path = pg_catalog
-- A plan that was made for few contacts stays with the session.
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
begin
    if tg_op = 'UPDATE' then
        insert into koresync.changed_days (stream, started_on)
        select distinct c.stream, c.started_on
        from (select contact_key from before union select contact_key from touched) t
        join kore.contacts c on c.contact_key = t.contact_key;
    else
        insert into koresync.changed_days (stream, started_on)
        select distinct c.stream, c.started_on
        from (select distinct contact_key from touched) t
        join kore.contacts c on c.contact_key = t.contact_key;
    end if;
    return null;
end
$$;
comment on function koresync.mark_days_of_parts() is 'Marks the days of contacts of which parts changed or went.';

create function koresync.mark_every_day() returns void language plpgsql security definer
set search_path = pg_catalog
as $$
begin
    truncate koresync.kept_agent_days, koresync.kept_queue_days, koresync.kept_metric_days, koresync.kept_topic_days, koresync.kept_emotion_days;
    insert into koresync.changed_days (stream, started_on) select distinct stream, started_on from kore.contacts;
end
$$;
revoke execute on function koresync.mark_every_day() from public;
comment on function koresync.mark_every_day() is 'Forgets the days that are kept, and marks all that there are.';

create function koresync.mark_days_truncated() returns trigger language plpgsql security definer
set search_path = pg_catalog
as $$
begin
    perform koresync.mark_every_day();
    return null;
end
$$;
comment on function koresync.mark_days_truncated() is 'Marks all days, since a table was emptied at once.';

create function koresync.keep_days() returns void language plpgsql
set search_path = pg_catalog
as $$
declare
    name text;
    event text;
begin
    -- Rows that hang on a contact are inserted by the loader alone, beside the contact itself: their inserts mark nothing.
    foreach name in array array['contacts', 'contact_agents', 'contact_queues', 'contact_metrics', 'contact_topics', 'contact_emotions'] loop
        foreach event in array array['insert', 'update', 'delete', 'truncate'] loop
            continue when event = 'insert' and name <> 'contacts';
            execute format('drop trigger if exists mark_days_%s on kore.%I', event, name);
            execute format('create trigger mark_days_%s after %1$s on kore.%I %s for each statement execute function koresync.%I()', event, name,
                case event when 'insert' then 'referencing new table as touched' when 'delete' then 'referencing old table as touched'
                    when 'update' then 'referencing old table as before new table as touched' else '' end,
                case when event = 'truncate' then 'mark_days_truncated' when name = 'contacts' then 'mark_days' else 'mark_days_of_parts' end);
            -- The loader leaves keys unchecked, and with them would go all triggers that are not always fired.
            execute format('alter table kore.%I enable always trigger mark_days_%s', name, event);
        end loop;
    end loop;
    foreach name in array array['agent', 'queue', 'metric', 'topic', 'emotion'] loop
        execute format(
            'create or replace view koresync.%1$s_days as '
            'select k.* from koresync.kept_%1$s_days k '
            'where not exists (select from koresync.changed_days m where m.started_on = k.started_on and m.stream = k.stream) '
            'union all '
            'select d.started_on, d.stream, %2$s from (select distinct m.started_on, m.stream from koresync.changed_days m) d '
            'cross join lateral koresync.count_%1$s_day(d.stream, d.started_on) p',
            name,
            (select string_agg('p.' || quote_ident(attname), ', ' order by attnum) from pg_attribute
             where attrelid = format('koresync.counted_%s_days', name)::regclass and attnum > 0 and attname not in ('started_on', 'stream')));
    end loop;
    perform koresync.mark_every_day();
end
$$;
comment on function koresync.keep_days() is 'Keeps days as rows from here on: for kore_owner, also where a trigger is gone or was disabled.';

-- A table that is spread over nodes has no triggers: there, every day is counted when it is asked for. deploy/citus/spread.sql
-- calls this before it spreads.
create function koresync.count_every_day() returns void language plpgsql
set search_path = pg_catalog
as $$
declare
    t record;
    name text;
begin
    for t in select tgname, tgrelid::regclass as relation from pg_trigger
             where tgname like 'mark\_days\_%' and not tgisinternal and tgrelid in (select oid from pg_class where relnamespace = 'kore'::regnamespace)
    loop
        execute format('drop trigger %I on %s', t.tgname, t.relation);
    end loop;
    foreach name in array array['agent', 'queue', 'metric', 'topic', 'emotion'] loop
        execute format('create or replace view koresync.%s_days as select * from koresync.counted_%1$s_days', name);
        execute format('truncate koresync.kept_%s_days', name);
    end loop;
    truncate koresync.changed_days;
end
$$;
comment on function koresync.count_every_day() is 'Keeps no days from here on, as on a cluster: the views count every day when they are asked.';

do $$
declare
    is_spread boolean := false;
begin
    if to_regclass('pg_dist_partition') is not null then
        execute 'select exists (select from pg_dist_partition where logicalrelid = $1)' into is_spread using 'kore.contacts'::regclass;
    end if;
    if not is_spread then
        perform koresync.keep_days();
    end if;
end
$$;

insert into koresync.schema_versions (migration, oldest_program) values (15, '0.1.0');

reset role;
