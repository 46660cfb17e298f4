-- Who made a tenant, so that how many a person makes can be bounded. None: made before this was kept.
alter table tenants add column founded_by uuid;
create index tenants_founded_by_idx on tenants (founded_by);
