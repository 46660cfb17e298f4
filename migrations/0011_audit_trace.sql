-- A client shows the trace id of an answer; whoever looks into a failure begins with it.
create index audit_record_trace on audit_record (tenant_id, trace_id) where trace_id is not null;
