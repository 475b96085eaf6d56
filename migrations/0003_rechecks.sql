-- Closed windows are read again: when, why, and what became of the windows whose place the new read takes;
-- weekly counts of settled history; what each lane spends.

set local role kore_owner;

alter table koresync.windows
    add column read_at           timestamptz,
    add column first_verified_at timestamptz,
    add column rung              smallint    check (rung > 0),
    add column ripe_at           timestamptz,
    add column recheck_at        timestamptz,
    add column is_quiet          boolean     not null default false,
    add column reason            text        check (reason in ('rung', 'count', 'difference', 'spare')),
    add column removed           bigint      not null default 0,
    add column returned          bigint      not null default 0,
    add column merged            bigint      not null default 0,
    add column inserted_before   bigint      not null default 0;
-- What is due; what is still to be scheduled; what was read longest ago once all rungs are climbed; what the
-- round of all history spent lately.
create index windows_recheck on koresync.windows (stream, recheck_at) where state = 'verified' and recheck_at is not null;
create index windows_unscheduled on koresync.windows (stream) where state = 'verified' and rung is null;
create index windows_settled on koresync.windows (stream, read_at) where state = 'verified' and rung is not null and recheck_at is null;
create index windows_spare on koresync.windows (finished_at) where reason = 'spare';
comment on column koresync.windows.read_at is 'When the work on the read that counted began (UTC).';
comment on column koresync.windows.first_verified_at is 'When the latest part of it was first proved (UTC): the rungs of sync.recheck count from here, whatever read it since.';
comment on column koresync.windows.rung is 'The next rung of sync.recheck, from 1, beyond the last when all are climbed; of a recheck that is planned the one it answers. NULL until scheduled.';
comment on column koresync.windows.ripe_at is 'From when on it is read again together with a neighbour that is due (UTC).';
comment on column koresync.windows.recheck_at is 'From when on it is due to be read again (UTC): the rung, or later where it is quiet; NULL when all rungs are climbed.';
comment on column koresync.windows.is_quiet is 'True when the last read of a held range found nothing new and every contact scored.';
comment on column koresync.windows.reason is 'Why it is read again: rung (its time has come), difference (a count differed), spare (the round of all history); count: it is only counted.';
comment on column koresync.windows.removed is 'Contacts that this read proved gone.';
comment on column koresync.windows.returned is 'Contacts that were gone and are back.';
comment on column koresync.windows.merged is 'Windows whose place it took.';
comment on column koresync.windows.inserted_before is 'Contacts that the windows whose place it took had inserted.';

alter table koresync.streams
    add column recheck_rungs bigint[],
    add column rungs_carried smallint;
comment on column koresync.streams.recheck_rungs is 'sync.recheck in seconds, as its windows are scheduled by.';
comment on column koresync.streams.rungs_carried is 'How many rungs, from the first, the account''s budget carries; the later ones are given up.';

alter table koresync.backfills
    add column merged_windows     bigint           not null default 0,
    add column merged_seconds     double precision not null default 0,
    add column merged_contacts    bigint           not null default 0,
    add column merged_inserted    bigint           not null default 0,
    add column merged_changed     bigint           not null default 0,
    add column merged_unchanged   bigint           not null default 0,
    add column merged_quarantined bigint           not null default 0,
    add column merged_requests    bigint           not null default 0;
comment on column koresync.backfills.merged_windows is 'Its verified windows whose place later reads took.';
comment on column koresync.backfills.merged_seconds is 'Length of those windows together, seconds.';
comment on column koresync.backfills.merged_contacts is 'Contacts that start inside them.';
comment on column koresync.backfills.merged_inserted is 'Contacts that they inserted.';
comment on column koresync.backfills.merged_changed is 'Contacts that they changed.';
comment on column koresync.backfills.merged_unchanged is 'Contacts that they found unchanged.';
comment on column koresync.backfills.merged_quarantined is 'Records that they set aside.';
comment on column koresync.backfills.merged_requests is 'Requests spent on them.';

create table koresync.counted_ranges (
    stream     text        not null references koresync.streams,
    from_at    timestamptz not null,
    to_at      timestamptz not null,
    due_at     timestamptz not null,
    counted_at timestamptz,
    total      bigint,
    held       bigint,
    accepted   bigint      not null default 0,
    differed_at timestamptz,
    primary key (stream, from_at),
    check (from_at < to_at)
);
create index counted_ranges_due on koresync.counted_ranges (stream, due_at);
comment on table koresync.counted_ranges is 'Weekly counts of history whose rungs are all climbed. Grain: a range of a stream.';
comment on column koresync.counted_ranges.stream is 'The stream.';
comment on column koresync.counted_ranges.from_at is 'Start (UTC), inclusive.';
comment on column koresync.counted_ranges.to_at is 'End (UTC), exclusive.';
comment on column koresync.counted_ranges.due_at is 'When it is counted next (UTC).';
comment on column koresync.counted_ranges.counted_at is 'When it was last counted (UTC).';
comment on column koresync.counted_ranges.total is 'The vendor''s total at the last count.';
comment on column koresync.counted_ranges.held is 'What the warehouse held at the last count: contacts not removed, and records in quarantine.';
comment on column koresync.counted_ranges.accepted is 'Total less held that a read of the range did not explain: no reason to read it again.';
comment on column koresync.counted_ranges.differed_at is 'When a count last led to a read of it (UTC).';

-- What comes back is looked for among the removed, which are few.
create index contacts_removed on kore.contacts (stream, conversation_id) where removed_at is not null;

create table koresync.spending (
    stream   text   not null references koresync.streams,
    day      date   not null,
    lane     text   not null check (lane in ('live', 'backfill', 'recheck')),
    requests bigint not null,
    primary key (stream, day, lane)
);
comment on table koresync.spending is 'Requests to the vendor. Grain: a UTC day of a lane of a stream.';
comment on column koresync.spending.stream is 'The stream.';
comment on column koresync.spending.day is 'The day, in UTC.';
comment on column koresync.spending.lane is 'live, backfill or recheck.';
comment on column koresync.spending.requests is 'Requests sent, refused ones too.';

insert into koresync.schema_versions (migration, oldest_program) values (3, '0.1.0');

reset role;
