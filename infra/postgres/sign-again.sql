-- Has everything nodes believe signed again, by the signing key of the control plane that publishes: each tenant's configuration
-- and each token that has not expired. The last step before an old key is taken out of verifying.keys (docs/operate.md, Keys).
-- psql -v ON_ERROR_STOP=1 -f sign-again.sql "$DATABASE_URL", as the program's role.
do $$
declare
    tenants uuid[];
    tenant uuid;
begin
    set local role sluice_platform;
    select coalesce(array_agg(tenant_id), '{}') into tenants from published;
    reset role;
    foreach tenant in array tenants loop
        perform set_config('app.tenant_id', tenant::text, true);
        insert into outbox (revision) select revision from published;
        insert into outbox (token_id) select token_id from published_tokens;
    end loop;
end
$$;
