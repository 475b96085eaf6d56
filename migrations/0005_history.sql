-- Contacts as this warehouse knew them at an earlier moment.
set local role kore_owner;

-- A contact that was not touched since is its own row, so that filters reach the table's indexes. Of any other one each
-- column has the value that the first later change of it replaced; its business day is counted in today's zone.
create function kore.contacts_as_of(as_of timestamptz) returns setof kore.contacts
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
    cross join lateral jsonb_populate_record(c, old.columns || jsonb_build_object(
        'started_on', coalesce((coalesce((old.columns ->> 'started_at')::timestamptz, c.started_at)
            at time zone (select s.time_zone from kore.settings s))::date, c.started_on),
        'updated_at', coalesce(old.updated_at, c.updated_at),
        'removed_at', case when c.removed_at <= as_of then c.removed_at end)) r
    where c.first_seen_at <= as_of
      and (c.removed_at > as_of
        or exists (select from kore.contact_changes h where h.contact_key = c.contact_key and h.valid_to > as_of))
$$;
comment on function kore.contacts_as_of(timestamptz) is
    'Contacts as this warehouse knew them at a moment: those first seen by then, with the columns of contacts, the values that later changes replaced put back. Grain: a contact.';

insert into koresync.schema_versions (migration, oldest_program) values (5, '0.1.0');

reset role;
