-- Signed checkpoints of tenants' logs (C2SP tlog-checkpoint): what proves an export, and what auditors keep.
create table audit_checkpoint (
    tenant_id uuid not null,
    epoch bigint not null,
    size bigint not null,
    -- The whole signed note.
    note text not null,
    signed_at timestamptz not null,
    constraint audit_checkpoint_pkey primary key (tenant_id, epoch, size)
);
create index audit_checkpoint_signed on audit_checkpoint (signed_at);
select audit_fence('audit_checkpoint', true);
grant select, insert, delete on audit_checkpoint to sluice_ingest;
-- Logs with leaves that no checkpoint covers.
create index audit_head_unsigned on audit_head (tenant_id) where size > signed_size;

-- When a log last got a note of how far its sources' numbers are in it, and how far each was said to be.
alter table audit_head add column marked_at timestamptz not null default clock_timestamp();
create index audit_head_marked on audit_head (marked_at);
alter table audit_source_last add column marked_n bigint not null default 0;
