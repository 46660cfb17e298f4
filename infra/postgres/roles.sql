-- The roles of a deployment; run once by a superuser. `sluice` logs in and owns the schema. It enters the other two by
-- `set local role`: `sluice_ingest` writes the audit tables of many tenants, `sluice_platform` the tables of none.
-- It inherits nothing, so that a policy of theirs never applies to it by itself; therefore the schema must be its own:
-- `alter schema public owner to sluice` in its database.
-- One statement a line: `sluice up` feeds them to Postgres' single-user mode.
create role sluice login createdb nosuperuser nobypassrls nocreaterole noinherit;
create role sluice_ingest nologin nosuperuser nobypassrls nocreaterole;
create role sluice_platform nologin nosuperuser nobypassrls nocreaterole;
grant sluice_ingest, sluice_platform to sluice;
