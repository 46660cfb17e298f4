-- As in 0072, and the last of them.
select audit_fence_once('audit_rollup_hour');
drop function audit_fence_once;
