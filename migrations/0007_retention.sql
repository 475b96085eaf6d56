-- Retention: payloads may be let go of before their contacts.
set local role kore_owner;

comment on column koresync.raw_contacts.payload is 'The record''s JSON text, compressed with zstd; empty once retention.payloads has let go of it. Its hashes stay: a record that comes again is known as unchanged.';
-- What is still to be let go of is found by key, which begins with the start.
create index raw_contacts_kept on koresync.raw_contacts (contact_key) where payload <> '';

insert into koresync.schema_versions (migration, oldest_program) values (7, '0.1.0');

reset role;
