-- Logs that go on in a new epoch because Postgres was set back.

-- How each epoch ended that is over: what was left of it, and the last checkpoint of the log that was known then.
create table audit_epoch (
    tenant_id uuid not null,
    epoch bigint not null,
    size bigint not null,
    root bytea not null,
    -- The whole signed note; absent when none was kept outside of Postgres.
    signed text,
    ended_at timestamptz not null,
    constraint audit_epoch_pkey primary key (tenant_id, epoch)
);
select audit_fence('audit_epoch', true);
grant select, insert on audit_epoch to sluice_ingest;

-- The least number of the epoch that is to be begun: somebody says that Postgres was set back.
alter table audit_head add column begin_epoch bigint;
create index audit_head_begin on audit_head (tenant_id) where begin_epoch is not null;
-- Postgres was set back, and frames that the stream and the nodes no longer have are not yet given up.
alter table audit_shard add column set_back boolean not null default false;
