-- As in 0072.
select audit_fence_once('audit_rollup_minute');
