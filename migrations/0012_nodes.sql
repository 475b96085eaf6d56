-- What the planner of a cluster refuses goes another way, on one server too: it knows no FOR UPDATE over more than one node,
-- and of a subquery for each contact only one that is grouped by it.
set local role kore_owner;
-- Of a cluster, functions are called on the coordinator alone. Elsewhere the setting means nothing.
set local citus.enable_ddl_propagation = off;

create function koresync.lock_contacts(keys uuid[]) returns void language plpgsql
set search_path = pg_catalog
-- A plan that was made while the table was small stays with the session.
set enable_seqscan = off
as $$
begin
    perform from kore.contacts where contact_key = any(keys) order by contact_key for update;
    -- A row that was replaced while it was waited for is another one, which only a new statement sees.
    perform from kore.contacts where contact_key = any(keys) order by contact_key for update;
end
$$;
comment on function koresync.lock_contacts(uuid[]) is 'Locks contacts in key order, for the transaction that is about to write what hangs on them. deploy/citus/spread.sql replaces it.';

-- As before.
create or replace function kore.contacts_as_of(as_of timestamptz) returns setof kore.contacts
language sql stable parallel safe
as $$
    select c.* from kore.contacts c
    where c.first_seen_at <= as_of and (c.removed_at is null or c.removed_at <= as_of)
      and not exists (select from kore.contact_changes h where h.contact_key = c.contact_key and h.valid_to > as_of)
    union all
    select r.*
    from kore.contacts c
    left join lateral (
        select jsonb_object_agg(v.key, v.value order by h.version desc) as columns,
               (array_agg(h.valid_from order by h.version))[1] as updated_at
        from kore.contact_changes h cross join lateral jsonb_each(h.old_values) v
        where h.contact_key = c.contact_key and h.valid_to > as_of
        group by h.contact_key
    ) old on true
    cross join lateral jsonb_populate_record(c, coalesce(old.columns, '{}') || jsonb_build_object(
        'started_on', coalesce((coalesce((old.columns ->> 'started_at')::timestamptz, c.started_at)
            at time zone (select s.time_zone from kore.settings s))::date, c.started_on),
        'updated_at', coalesce(old.updated_at, c.updated_at),
        'removed_at', case when (case when old.columns ? 'removed_at' then (old.columns ->> 'removed_at')::timestamptz else c.removed_at end) <= as_of
            then case when old.columns ? 'removed_at' then (old.columns ->> 'removed_at')::timestamptz else c.removed_at end end)) r
    where c.first_seen_at <= as_of
      and (c.removed_at > as_of
        or exists (select from kore.contact_changes h where h.contact_key = c.contact_key and h.valid_to > as_of))
$$;

insert into koresync.schema_versions (migration, oldest_program) values (12, '0.1.0');

reset role;
