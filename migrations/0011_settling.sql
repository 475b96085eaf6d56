-- How late contacts and their scores come is learned; removal and return are history too.
set local role kore_owner;

alter table koresync.streams add column settle_seconds bigint check (settle_seconds >= 0);
alter table koresync.streams add column settle_judged_at timestamptz;
comment on column koresync.streams.settle_seconds is 'With sync.settle = "auto": nothing closer to now is read. Seconds; NULL until enough was seen, when 15 minutes are in force.';
comment on column koresync.streams.settle_judged_at is 'When that was last judged (UTC).';

create table koresync.settling (
    stream      text primary key references koresync.streams,
    live_from   timestamptz not null,
    appeared    jsonb not null default '[]',
    listed      jsonb not null default '[]',
    scored      jsonb not null default '[]',
    looks       bigint not null default 0,
    noted_at    timestamptz not null
);
comment on table koresync.settling is 'How late contacts and their scores come, learned from the live lane and from rechecks of what it had read; never from backfills. Each delay is known to lie between two looks: [last look that lacked it, look that showed it, weight], the looks as buckets, of which number b ends at 2^(b/4) seconds, 0 for no look. A weight halves in 14 days. Grain: a stream.';
comment on column koresync.settling.stream is 'The stream.';
comment on column koresync.settling.live_from is 'From where on the live lane read it first (UTC): contacts that start earlier teach nothing.';
comment on column koresync.settling.appeared is 'Delays from the end of a contact to its first sight.';
comment on column koresync.settling.listed is 'Delays from the start of a contact to its first sight: what sync.settle has to cover.';
comment on column koresync.settling.scored is 'Delays from the end of a contact to its first score.';
comment on column koresync.settling.looks is 'Contacts first seen since sync.settle = "auto" was last judged.';
comment on column koresync.settling.noted_at is 'Up to when weights are halved (UTC).';

comment on table kore.contact_changes is 'History of contacts. Grain: a contact as it was before a change of its content, its removal or its return.';
comment on column kore.contact_changes.changed_columns is 'Columns of contacts, and names of child tables, that differ; {removed_at} alone where the vendor only took the contact away or brought it back.';
comment on column kore.contacts.updated_at is 'When this warehouse last wrote a change of the contact, its removal and return included (UTC).';

-- As before, and a contact that was removed or back at the moment is told so: the first later change says, if one
-- concerns it. Of removals from before there were such rows only the latest is known.
create or replace function kore.contacts_as_of(as_of timestamptz) returns setof kore.contacts
language sql stable parallel safe
as $$
    select c.* from kore.contacts c
    where c.first_seen_at <= as_of and (c.removed_at is null or c.removed_at <= as_of)
      and not exists (select from kore.contact_changes h where h.contact_key = c.contact_key and h.valid_to > as_of)
    union all
    select r.*
    from kore.contacts c
    cross join lateral (
        select coalesce(jsonb_object_agg(v.key, v.value order by h.version desc), '{}') as columns,
               (array_agg(h.valid_from order by h.version))[1] as updated_at
        from kore.contact_changes h cross join lateral jsonb_each(h.old_values) v
        where h.contact_key = c.contact_key and h.valid_to > as_of
    ) old
    cross join lateral (
        select case when old.columns ? 'removed_at' then (old.columns ->> 'removed_at')::timestamptz
            else c.removed_at end as removed_at
    ) gone
    cross join lateral jsonb_populate_record(c, old.columns || jsonb_build_object(
        'started_on', coalesce((coalesce((old.columns ->> 'started_at')::timestamptz, c.started_at)
            at time zone (select s.time_zone from kore.settings s))::date, c.started_on),
        'updated_at', coalesce(old.updated_at, c.updated_at),
        'removed_at', case when gone.removed_at <= as_of then gone.removed_at end)) r
    where c.first_seen_at <= as_of
      and (c.removed_at > as_of
        or exists (select from kore.contact_changes h where h.contact_key = c.contact_key and h.valid_to > as_of))
$$;

insert into koresync.schema_versions (migration, oldest_program) values (11, '0.1.0');

reset role;
