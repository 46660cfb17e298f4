-- Changes, sign-ins and gaps are few among millions of calls, and looked for by themselves: without this, a page that asks for the
-- gaps of 90 days reads all calls of them.
create index audit_record_not_call on audit_record (tenant_id, time) where kind <> 'call';
