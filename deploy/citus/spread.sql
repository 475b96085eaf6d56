-- Spreads the warehouse's tables over the nodes of a Citus cluster: after `koresync migrate`, on the coordinator, as a member
-- of kore_owner that may use Citus. May be run again, as after a migration that made new tables: what is spread stays as it is.
--
--   psql -v ON_ERROR_STOP=1 -f deploy/citus/spread.sql postgres://admin@coordinator/warehouse
--
-- Tables of kore with a contact_key, and koresync.raw_contacts, are spread by it, a contact's rows on one node. Every other
-- table of kore is copied to every node. The ledger stays on the coordinator, and commits together with the rows.
begin;
-- Later migrations work as the owner of the tables, and reach the other nodes as nobody else. It has no password: which node may
-- log in as it is said by pg_hba.conf.
do $$
begin
    if exists (select from pg_roles where rolname = 'kore_owner' and not rolcanlogin) then
        alter role kore_owner login;
    end if;
end
$$;

-- A spread table has no triggers, which days that are kept need.
set local citus.enable_ddl_propagation = off;
do $$
begin
    if to_regprocedure('koresync.count_every_day()') is not null then
        perform koresync.count_every_day();
    end if;
end
$$;
set local citus.enable_ddl_propagation = on;

-- Keys to tables that are on every node: all of it over one connection a node.
set local citus.multi_shard_modify_mode = 'sequential';

create temporary table to_spread on commit drop as
select c.oid::regclass as relation,
       exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'contact_key' and not a.attisdropped) as is_fact
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where (n.nspname = 'kore' and c.relkind in ('r', 'p') or c.oid = 'koresync.raw_contacts'::regclass)
  and not exists (select from pg_dist_partition d where d.logicalrelid = c.oid);

-- A table that others refer to can only be spread while nothing refers to it. The same keys come back at the end, and are
-- enforced on the nodes from then on.
create temporary table keys on commit drop as
select conrelid::regclass as relation, conname as name, pg_get_constraintdef(oid) as definition
from pg_constraint
where contype = 'f' and (conrelid in (select relation from to_spread) or confrelid in (select relation from to_spread));

do $$
declare
    k record;
    t record;
begin
    for k in select * from keys loop
        execute format('alter table %s drop constraint %I', k.relation, k.name);
    end loop;

    -- A unique key of a spread table must hold the column that it is spread by. Without it the same columns are an index that
    -- finds, and no longer one that refuses: that no conversation comes twice then rests on the key of a contact, which is made
    -- of start, stream and conversation, and on leases; `koresync verify --keys` counts repeats.
    for k in
        select conrelid::regclass as relation, conname as name,
               (select string_agg(quote_ident(a.attname), ', ' order by u.place)
                from unnest(conkey) with ordinality u (number, place)
                join pg_attribute a on a.attrelid = conrelid and a.attnum = u.number) as columns
        from pg_constraint
        where contype = 'u' and conrelid in (select relation from to_spread where is_fact)
          and not exists (select from pg_attribute a where a.attrelid = conrelid and a.attname = 'contact_key' and a.attnum = any(conkey))
    loop
        execute format('alter table %s drop constraint %I', k.relation, k.name);
        execute format('create index %I on %s (%s)', k.name, k.relation, k.columns);
    end loop;

    for t in select * from to_spread where not is_fact loop
        perform create_reference_table(t.relation);
    end loop;
    -- kore.contacts first: the others go where its rows are.
    for t in select * from to_spread where is_fact order by relation <> 'kore.contacts'::regclass, relation::text loop
        if t.relation = 'kore.contacts'::regclass then
            perform create_distributed_table(t.relation, 'contact_key', colocate_with => 'none');
        else
            perform create_distributed_table(t.relation, 'contact_key', colocate_with => 'kore.contacts');
        end if;
    end loop;

    for k in select * from keys loop
        execute format('alter table %s add constraint %I %s', k.relation, k.name, k.definition);
    end loop;
end
$$;

-- Rows of more than one node are locked by writing them: each gets the value that it has.
set local citus.enable_ddl_propagation = off;
create or replace function koresync.lock_contacts(keys uuid[]) returns void language plpgsql
set search_path = pg_catalog
as $lock$
begin
    update kore.contacts set updated_at = updated_at where contact_key = any(keys);
end
$lock$;

-- A function in SQL with parameters cannot ask more than one node; the same in PL/pgSQL can.
do $$
declare
    body text;
begin
    select p.prosrc into body from pg_proc p join pg_language l on l.oid = p.prolang
    where p.oid = 'kore.contacts_as_of(timestamptz)'::regprocedure and l.lanname = 'sql';
    if found then
        execute format('create or replace function kore.contacts_as_of(as_of timestamptz) returns setof kore.contacts '
            'language plpgsql stable parallel safe as %L', 'begin return query ' || body || '; end');
    end if;
end
$$;

-- Grants of columns reach the nodes as well, now that the tables are there.
set local citus.enable_ddl_propagation = on;
do $$
begin
    if to_regprocedure('koresync.grant_restricted_reader()') is not null
       and exists (select from pg_roles where rolname = 'kore_reader_restricted') then
        perform koresync.grant_restricted_reader();
    end if;
end
$$;

-- What the daemon's login may leave unchecked here it may leave unchecked on every node.
do $$
declare
    answer record;
begin
    if current_setting('server_version_num')::int >= 150000 then
        if has_parameter_privilege('kore_writer', 'session_replication_role', 'set') then
            for answer in select * from run_command_on_workers('grant set on parameter session_replication_role to kore_writer') loop
                if not answer.success then
                    raise exception 'on %:%: %', answer.nodename, answer.nodeport, answer.result;
                end if;
            end loop;
        end if;
    end if;
end
$$;

commit;

select table_name, citus_table_type, distribution_column, shard_count from citus_tables order by citus_table_type, table_name::text;
