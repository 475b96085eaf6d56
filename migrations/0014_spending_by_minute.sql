-- What was spent of the vendor's limit in the last hours, minute by minute: koresync.spending tells days.

set local role kore_owner;
set local citus.enable_ddl_propagation = off;

create table koresync.spending_by_minute (
    minute   timestamptz not null,
    stream   text        not null references koresync.streams,
    lane     text        not null check (lane in ('live', 'backfill', 'recheck')),
    requests bigint      not null,
    primary key (minute, stream, lane)
);
comment on table koresync.spending_by_minute is 'Requests to the vendor in the last three hours. Grain: a minute of a lane of a stream.';
comment on column koresync.spending_by_minute.minute is 'The minute in which a window was done with, or given up for the time being.';
comment on column koresync.spending_by_minute.stream is 'The stream.';
comment on column koresync.spending_by_minute.lane is 'live, backfill or recheck.';
comment on column koresync.spending_by_minute.requests is 'Requests sent for such windows, refused ones too.';

insert into koresync.schema_versions (migration, oldest_program) values (14, '0.1.0');

reset role;
