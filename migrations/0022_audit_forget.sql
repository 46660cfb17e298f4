-- What is dropped by age is found by age.
create index audit_rollup_minute_start_idx on audit_rollup_minute (start);
create index audit_rollup_hour_start_idx on audit_rollup_hour (start);
create index audit_quarantine_added_at_idx on audit_quarantine (added_at);
