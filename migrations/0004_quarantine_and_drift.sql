-- When a record in quarantine was last received and where it belongs, and what an unknown field looks like.
set local role kore_owner;

alter table koresync.quarantined_records
    add column received_at timestamptz,
    add column started_at  timestamptz;
comment on column koresync.quarantined_records.received_at is 'When the page that last held it came (UTC): content that came later is never replaced by it. NULL for records of older programs: when first seen.';
comment on column koresync.quarantined_records.started_at is 'Start of the conversation (UTC), where it can be read.';

alter table koresync.unknown_fields add column example_shape text;
comment on column koresync.unknown_fields.example_shape is 'The last one, if it was a string: class of its length, then its shape, letters as a and A, digits as 9; never the value.';

insert into koresync.schema_versions (migration, oldest_program) values (4, '0.1.0');

reset role;
