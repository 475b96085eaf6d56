-- The filter was taken for known as soon as the contacts of one window lay within it, which proves nothing.
set local role kore_owner;

update koresync.streams set filter_field = null where filter_field = 'start';

insert into koresync.schema_versions (migration, oldest_program) values (9, '0.1.0');

reset role;
