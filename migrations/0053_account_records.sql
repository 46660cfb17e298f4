-- What a person does to their own account (signing in and out, another password, another address) is said in the log of every
-- workspace they are a member of, in the transaction that does it. The platform only adds; what waits it does not read.
create policy platform_add on audit_inbox for insert to sluice_platform with check (current_user = 'sluice_platform');
grant insert (tenant_id, record_id, body, pii) on audit_inbox to sluice_platform;
