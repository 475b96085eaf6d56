-- Roles, schemas and the daemon's own tables: what it has planned, read, proved and set aside.

-- Roles belong to the whole cluster: several databases, and migrations running at once, may want
-- to make them at the same moment, so losing that race is not an error.
do $$
declare
    wanted text;
begin
    foreach wanted in array array['kore_owner', 'kore_writer', 'kore_reader'] loop
        for attempt in 1..20 loop
            begin
                if not exists (select from pg_roles where rolname = wanted) then
                    execute format('create role %I nologin', wanted);
                end if;
                if wanted = 'kore_owner' and not pg_has_role(current_user, wanted, 'member') then
                    execute format('grant %I to %I', wanted, current_user);
                end if;
                exit;
            exception
                when duplicate_object or unique_violation or internal_error then
                    if attempt = 20 then raise; end if;
                    perform pg_sleep(0.02 * attempt);
            end;
        end loop;
    end loop;
end
$$;

-- Foreign keys are declared for BI tools and proved by tests; the loader, which writes parents and
-- children in one transaction, may leave them unchecked row by row (from PostgreSQL 15 on).
do $$
begin
    if current_setting('server_version_num')::int >= 150000
       and (select rolsuper from pg_roles where rolname = current_user) then
        for attempt in 1..20 loop
            begin
                execute 'grant set on parameter session_replication_role to kore_writer';
                exit;
            exception
                when unique_violation or internal_error then
                    if attempt = 20 then raise; end if;
                    perform pg_sleep(0.02 * attempt);
            end;
        end loop;
    end if;
end
$$;

create schema kore authorization kore_owner;
grant usage, create on schema koresync to kore_owner;
grant usage on schema kore to kore_reader, kore_writer;
grant usage on schema koresync to kore_writer;
comment on schema kore is 'For analysts: contacts and all that hangs on them.';
comment on schema koresync is 'The daemon''s own: ledger, payloads, quarantine.';

set local role kore_owner;
alter default privileges in schema kore grant select on tables to kore_reader;
alter default privileges in schema kore grant select, insert, update, delete on tables to kore_writer;
alter default privileges in schema kore grant usage, select on sequences to kore_writer;
alter default privileges in schema koresync grant select, insert, update, delete on tables to kore_writer;
alter default privileges in schema koresync grant usage, select on sequences to kore_writer;

create table koresync.schema_versions (
    migration      bigint      primary key,
    oldest_program text        not null,
    applied_at     timestamptz not null default clock_timestamp()
);
comment on table koresync.schema_versions is 'Which programs work with this schema. Grain: a migration.';
comment on column koresync.schema_versions.migration is 'Number of the migration.';
comment on column koresync.schema_versions.oldest_program is 'The oldest version of koresync that works once it is applied.';
comment on column koresync.schema_versions.applied_at is 'When it was applied (UTC).';
insert into koresync.schema_versions (migration, oldest_program) values (1, '0.1.0');

create table koresync.api_budgets (
    account_id          text             primary key,
    requests_per_minute double precision not null check (requests_per_minute > 0),
    share               double precision not null default 1 check (share between 0.5 and 1),
    next_slot_at        timestamptz      not null,
    gate_until          timestamptz,
    share_changed_at    timestamptz,
    refusals            bigint           not null default 0
);
comment on table koresync.api_budgets is 'The vendor''s rate limit, shared by all replicas. Grain: an account.';
comment on column koresync.api_budgets.account_id is 'The vendor''s account.';
comment on column koresync.api_budgets.requests_per_minute is 'The configured limit.';
comment on column koresync.api_budgets.share is 'The part of the limit that is used, 0.5 to 1; lowered by refusals, regained slowly.';
comment on column koresync.api_budgets.next_slot_at is 'The moment of the next free slot (UTC).';
comment on column koresync.api_budgets.gate_until is 'No request before this moment (UTC), after the vendor refused one.';
comment on column koresync.api_budgets.share_changed_at is 'When the share last changed (UTC).';
comment on column koresync.api_budgets.refusals is 'Rate-limit answers received.';

create table koresync.streams (
    stream                 text        primary key,
    account_id             text        not null,
    stream_id              text        not null,
    start_at               timestamptz not null,
    frontier               timestamptz not null,
    watermark              timestamptz not null,
    is_configured          boolean     not null default true,
    paging                 text        check (paging in ('offset', 'page', 'offset_as_pages')),
    page_limit             integer     check (page_limit > 0),
    pages_max              integer     check (pages_max > 0),
    is_total_rows          boolean,
    repeats_seen_at        timestamptz,
    filter_field           text        check (filter_field in ('start', 'other')),
    filter_lag_seconds     bigint      not null default 0,
    below_threshold_effect text        check (below_threshold_effect in ('counted', 'none')),
    contacts_per_hour      double precision,
    record_bytes           double precision,
    span_seconds           bigint      not null,
    paused_at              timestamptz,
    paused_reason          text,
    retry_at               timestamptz,
    last_success_at        timestamptz,
    created_at             timestamptz not null
);
comment on table koresync.streams is 'What is known of each stream. Grain: a stream.';
comment on column koresync.streams.stream is 'The configured name.';
comment on column koresync.streams.account_id is 'The vendor''s account it belongs to; never changes.';
comment on column koresync.streams.stream_id is 'The vendor''s id of it; never changes.';
comment on column koresync.streams.start_at is 'Where its history begins (UTC).';
comment on column koresync.streams.frontier is 'Up to where live windows are planned (UTC).';
comment on column koresync.streams.watermark is 'End of the unbroken verified prefix since start_at (UTC); always derived from the windows.';
comment on column koresync.streams.is_configured is 'False once it is gone from the configuration.';
comment on column koresync.streams.paging is 'What the vendor''s server obeys, once found out.';
comment on column koresync.streams.page_limit is 'The largest page the server gives, once found out.';
comment on column koresync.streams.pages_max is 'Pages after which the server refuses the offset, once found out.';
comment on column koresync.streams.is_total_rows is 'False once the server''s total was seen to count something else than rows.';
comment on column koresync.streams.repeats_seen_at is 'When an id was last seen twice in one read (UTC).';
comment on column koresync.streams.filter_field is 'Whether the server filters by the start or by another time, once found out.';
comment on column koresync.streams.filter_lag_seconds is 'The furthest that a contact started outside the range that delivered it, seconds.';
comment on column koresync.streams.below_threshold_effect is 'Whether include_below_threshold changed a count, once tried.';
comment on column koresync.streams.contacts_per_hour is 'Recent density, from which windows are sized.';
comment on column koresync.streams.record_bytes is 'Recent size of a record, from which windows are sized.';
comment on column koresync.streams.span_seconds is 'Length of the next window while the density is not known, seconds.';
comment on column koresync.streams.paused_at is 'When the vendor refused it (UTC); NULL while it works.';
comment on column koresync.streams.paused_reason is 'Why it is paused, for the operator.';
comment on column koresync.streams.retry_at is 'When a paused stream is tried again (UTC).';
comment on column koresync.streams.last_success_at is 'When a window was last verified (UTC).';
comment on column koresync.streams.created_at is 'When it was first configured (UTC).';

create table koresync.backfills (
    id           bigint      generated by default as identity primary key,
    stream       text        not null references koresync.streams,
    from_at      timestamptz not null,
    to_at        timestamptz not null,
    planned_down_to timestamptz not null,
    state        text        not null default 'running' check (state in ('running', 'paused', 'cancelled', 'done')),
    origin       text        not null check (origin in ('operator', 'first start', 'earlier start')),
    span_seconds bigint,
    follower     text,
    follower_seen_at timestamptz,
    created_at   timestamptz not null,
    finished_at  timestamptz,
    check (from_at < to_at),
    check (planned_down_to between from_at and to_at)
);
create index backfills_open on koresync.backfills (stream) where state in ('running', 'paused');
comment on table koresync.backfills is 'Ranges to read again or for the first time. Grain: a backfill.';
comment on column koresync.backfills.id is 'Number of the backfill.';
comment on column koresync.backfills.stream is 'The stream.';
comment on column koresync.backfills.from_at is 'Start of the range (UTC), inclusive.';
comment on column koresync.backfills.to_at is 'End of the range (UTC), exclusive.';
comment on column koresync.backfills.planned_down_to is 'Windows are planned newest first; those from here up are (UTC).';
comment on column koresync.backfills.state is 'running, paused, cancelled or done.';
comment on column koresync.backfills.origin is 'Who filed it.';
comment on column koresync.backfills.span_seconds is 'Fixed length of its windows, seconds; NULL when they size themselves.';
comment on column koresync.backfills.follower is 'The process that shows its progress.';
comment on column koresync.backfills.follower_seen_at is 'When that process was last seen (UTC).';
comment on column koresync.backfills.created_at is 'When it was filed (UTC).';
comment on column koresync.backfills.finished_at is 'When it was done or cancelled (UTC).';

create table koresync.windows (
    id               bigint      generated by default as identity primary key,
    stream           text        not null references koresync.streams,
    lane             text        not null check (lane in ('live', 'backfill', 'recheck')),
    backfill_id      bigint      references koresync.backfills,
    from_at          timestamptz not null,
    to_at            timestamptz not null,
    state            text        not null default 'planned' check (state in ('planned', 'verified', 'unverified', 'cancelled')),
    due_at           timestamptz not null,
    owner            text,
    lease_expires_at timestamptz,
    fence            bigint      not null default 0,
    attempts         integer     not null default 0,
    last_error       text,
    requested_from   timestamptz,
    requested_to     timestamptz,
    total            bigint,
    rows             bigint,
    "distinct"       bigint,
    repeated         bigint,
    in_window        bigint,
    inserted         bigint,
    changed          bigint,
    unchanged        bigint,
    quarantined      bigint,
    erased           bigint,
    requests         bigint      not null default 0,
    verified_by      text        check (verified_by in ('snapshot', 'count', 'agreement')),
    verified_at      timestamptz,
    created_at       timestamptz not null,
    finished_at      timestamptz,
    check (from_at < to_at),
    constraint windows_rows_add_up check (rows = "distinct" + repeated),
    constraint windows_outcomes_add_up check ("distinct" = inserted + changed + unchanged + quarantined + erased),
    constraint windows_verified_has_proof check (state <> 'verified' or (verified_by is not null and verified_at is not null and rows is not null))
);
-- The claim looks for work that is due; the watermark walks the verified windows of a stream.
create index windows_due on koresync.windows (stream, lane, due_at) where state in ('planned', 'unverified');
create index windows_verified on koresync.windows (stream, to_at, from_at) where state = 'verified';
create index windows_backfill on koresync.windows (backfill_id) where backfill_id is not null;
create index windows_open on koresync.windows (stream) where state in ('planned', 'unverified');
comment on table koresync.windows is 'The ledger: what was asked, what came, and how it was proved. Grain: a half-open window of a stream.';
comment on column koresync.windows.id is 'Number of the window.';
comment on column koresync.windows.stream is 'The stream.';
comment on column koresync.windows.lane is 'live, backfill or recheck.';
comment on column koresync.windows.backfill_id is 'The backfill it belongs to.';
comment on column koresync.windows.from_at is 'Start (UTC), inclusive.';
comment on column koresync.windows.to_at is 'End (UTC), exclusive.';
comment on column koresync.windows.state is 'planned: to be read; verified: read and proved; unverified: read, kept, not proved, to be read again; cancelled.';
comment on column koresync.windows.due_at is 'Not to be claimed before (UTC).';
comment on column koresync.windows.owner is 'The worker that holds it.';
comment on column koresync.windows.lease_expires_at is 'When the worker''s claim ends (UTC).';
comment on column koresync.windows.fence is 'Grows with each claim; only the latest claim may commit.';
comment on column koresync.windows.attempts is 'Reads that failed or proved nothing.';
comment on column koresync.windows.last_error is 'Why the last attempt failed.';
comment on column koresync.windows.requested_from is 'Start of the range asked for (UTC).';
comment on column koresync.windows.requested_to is 'End of the range asked for (UTC).';
comment on column koresync.windows.total is 'The vendor''s total for that range.';
comment on column koresync.windows.rows is 'Records received in the read that counted.';
comment on column koresync.windows."distinct" is 'Distinct identities among them.';
comment on column koresync.windows.repeated is 'Records that repeat an identity.';
comment on column koresync.windows.in_window is 'Distinct contacts that start inside the window: the only count that may be summed over windows.';
comment on column koresync.windows.inserted is 'Contacts new to the warehouse.';
comment on column koresync.windows.changed is 'Contacts whose content changed.';
comment on column koresync.windows.unchanged is 'Contacts held as they came.';
comment on column koresync.windows.quarantined is 'Records set aside.';
comment on column koresync.windows.erased is 'Records of erased people, left out.';
comment on column koresync.windows.requests is 'Requests spent on it, all attempts together.';
comment on column koresync.windows.verified_by is 'snapshot, count or agreement.';
comment on column koresync.windows.verified_at is 'When it was first proved (UTC).';
comment on column koresync.windows.created_at is 'When it was planned (UTC).';
comment on column koresync.windows.finished_at is 'When it was last committed (UTC).';

create table koresync.runs (
    id          bigint      generated by default as identity primary key,
    worker      text        not null,
    program     text        not null,
    command     text        not null,
    started_at  timestamptz not null,
    seen_at     timestamptz not null,
    ended_at    timestamptz,
    outcome     text
);
comment on table koresync.runs is 'Processes that worked on this warehouse. Grain: a process.';
comment on column koresync.runs.id is 'Number of the run.';
comment on column koresync.runs.worker is 'Host, process id and a random part: the owner of its leases.';
comment on column koresync.runs.program is 'Version of koresync.';
comment on column koresync.runs.command is 'The subcommand.';
comment on column koresync.runs.started_at is 'When it began (UTC).';
comment on column koresync.runs.seen_at is 'When it last told that it lives (UTC).';
comment on column koresync.runs.ended_at is 'When it ended in order (UTC).';
comment on column koresync.runs.outcome is 'How it ended.';

create table koresync.raw_contacts (
    contact_key    uuid        primary key,
    stream         text        not null,
    payload        bytea       not null,
    raw_hash       bytea       not null,
    canonical_hash bytea       not null,
    read_at        timestamptz not null,
    requested_from timestamptz not null,
    requested_to   timestamptz not null,
    mapper_version integer     not null
);
-- The payload is compressed already.
alter table koresync.raw_contacts alter column payload set storage external;
comment on table koresync.raw_contacts is 'Payloads as received. Grain: a contact''s latest version.';
comment on column koresync.raw_contacts.contact_key is 'The contact.';
comment on column koresync.raw_contacts.stream is 'The stream.';
comment on column koresync.raw_contacts.payload is 'The record''s JSON text, compressed with zstd.';
comment on column koresync.raw_contacts.raw_hash is 'Hash of the text as received.';
comment on column koresync.raw_contacts.canonical_hash is 'Hash of its content, whatever the order and spelling.';
comment on column koresync.raw_contacts.read_at is 'When the request that brought it was answered (UTC).';
comment on column koresync.raw_contacts.requested_from is 'Start of the request range that last delivered it anew (UTC).';
comment on column koresync.raw_contacts.requested_to is 'End of the request range that last delivered it anew (UTC).';
comment on column koresync.raw_contacts.mapper_version is 'Version of the mapping that made the rows.';

create table koresync.quarantined_records (
    id              bigint      generated by default as identity primary key,
    stream          text        not null,
    conversation_id text,
    payload         bytea       not null,
    raw_hash        bytea       not null,
    reason          text        not null,
    fault_path      text        not null,
    attempts        integer     not null default 1,
    first_seen_at   timestamptz not null,
    last_tried_at   timestamptz not null,
    requested_from  timestamptz not null,
    requested_to    timestamptz not null,
    mapper_version  integer     not null,
    constraint quarantined_records_once unique (stream, raw_hash)
);
create index quarantined_records_conversation on koresync.quarantined_records (stream, conversation_id);
comment on table koresync.quarantined_records is 'Records that could not become rows, whole. Grain: a record.';
comment on column koresync.quarantined_records.id is 'Number of the record.';
comment on column koresync.quarantined_records.stream is 'The stream.';
comment on column koresync.quarantined_records.conversation_id is 'The conversation id, where it could be read.';
comment on column koresync.quarantined_records.payload is 'The record''s text, compressed with zstd.';
comment on column koresync.quarantined_records.raw_hash is 'Hash of the text.';
comment on column koresync.quarantined_records.reason is 'Why it was set aside.';
comment on column koresync.quarantined_records.fault_path is 'Where in the record the fault is.';
comment on column koresync.quarantined_records.attempts is 'How often it was tried.';
comment on column koresync.quarantined_records.first_seen_at is 'When it first came (UTC).';
comment on column koresync.quarantined_records.last_tried_at is 'When it was last tried (UTC).';
comment on column koresync.quarantined_records.requested_from is 'Start of the request range that delivered it (UTC).';
comment on column koresync.quarantined_records.requested_to is 'End of the request range that delivered it (UTC).';
comment on column koresync.quarantined_records.mapper_version is 'Version of the mapping that refused it.';

create table koresync.unknown_fields (
    stream        text        not null,
    path          text        not null,
    kind          text        not null,
    first_seen_at timestamptz not null,
    last_seen_at  timestamptz not null,
    count         bigint      not null,
    example_type  text        not null,
    primary key (stream, path, kind)
);
comment on table koresync.unknown_fields is 'Drift: fields nobody documented, and values that could not be read as their field''s type. Grain: a path of a stream.';
comment on column koresync.unknown_fields.stream is 'The stream.';
comment on column koresync.unknown_fields.path is 'Path in the payload, without list positions.';
comment on column koresync.unknown_fields.kind is 'unknown for an undocumented field; otherwise what was wrong with the value.';
comment on column koresync.unknown_fields.first_seen_at is 'When it was first seen (UTC).';
comment on column koresync.unknown_fields.last_seen_at is 'When it was last seen in a new or changed contact (UTC).';
comment on column koresync.unknown_fields.count is 'How often it was seen in new and changed contacts.';
comment on column koresync.unknown_fields.example_type is 'JSON type of the value.';

create table koresync.erased_subjects (
    subject_hash bytea       primary key,
    kind         text        not null check (kind in ('conversation', 'agent')),
    erased_at    timestamptz not null
);
comment on table koresync.erased_subjects is 'People who are kept out, by keyed hash alone. Grain: a conversation or an agent.';
comment on column koresync.erased_subjects.subject_hash is 'Keyed hash of the id.';
comment on column koresync.erased_subjects.kind is 'conversation or agent.';
comment on column koresync.erased_subjects.erased_at is 'When it was erased (UTC).';

reset role;
