-- What retention lets go of is not read again.
set local role kore_owner;

alter table koresync.streams add column kept_from timestamptz;
comment on column koresync.streams.kept_from is 'Contacts that start earlier (UTC) are let go by retention.contacts: their ranges are neither read again nor counted. NULL: kept for ever.';

insert into koresync.schema_versions (migration, oldest_program) values (8, '0.1.0');

reset role;
