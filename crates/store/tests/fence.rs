//! The fence itself, read from the catalog: no table can be added without it.
#![expect(clippy::unwrap_used, reason = "a test may stop here")]

use sqlx::{PgPool, Row};

/// The first column of each row.
async fn names(pool: &PgPool, sql: &'static str) -> Vec<String> {
    sqlx::query(sql).fetch_all(pool).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn every_table_and_partition_has_forced_row_level_security_and_a_policy(pool: PgPool) {
    let tables = names(&pool, TABLES_UNFENCED).await;
    assert_eq!(tables, Vec::<String>::new());
}

const TABLES_UNFENCED: &str = "select c.relname::text
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'public' and c.relkind in ('r', 'p') and c.relname <> '_sqlx_migrations'
      and not (c.relrowsecurity and c.relforcerowsecurity and exists (select from pg_policy p where p.polrelid = c.oid))";

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn no_policy_is_open_to_whoever_inherits_a_role(pool: PgPool) {
    // A policy `to sluice_platform using (true)` also applies to a login role that inherits from it.
    let open = names(
        &pool,
        "select tablename || '.' || policyname from pg_policies
         where schemaname = 'public'
           and coalesce(qual, '') || coalesce(with_check, '') !~ 'CURRENT_USER = ''sluice_|app\\.tenant_id|app\\.user_id'",
    )
    .await;
    assert_eq!(open, Vec::<String>::new());
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn keys_of_tenant_tables_begin_with_the_tenant(pool: PgPool) {
    let loose = names(
        &pool,
        "select c.conrelid::regclass::text || '.' || c.conname from pg_constraint c
         join pg_attribute a on a.attrelid = c.conrelid and a.attname = 'tenant_id' and not a.attisdropped
         where c.connamespace = 'public'::regnamespace and c.contype = 'p' and c.conkey[1] <> a.attnum",
    )
    .await;
    assert_eq!(loose, Vec::<String>::new());
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn foreign_keys_between_tenant_tables_carry_the_tenant(pool: PgPool) {
    let loose = names(
        &pool,
        "select c.conrelid::regclass::text || '.' || c.conname from pg_constraint c
         join pg_attribute a on a.attrelid = c.conrelid and a.attname = 'tenant_id' and not a.attisdropped
         join pg_attribute b on b.attrelid = c.confrelid and b.attname = 'tenant_id' and not b.attisdropped
         where c.connamespace = 'public'::regnamespace and c.contype = 'f' and not a.attnum = any (c.conkey)",
    )
    .await;
    assert_eq!(loose, Vec::<String>::new());
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn the_global_tables_are_those_of_the_readme(pool: PgPool) {
    let global = names(
        &pool,
        "select c.relname::text from pg_class c
         where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and c.relname <> '_sqlx_migrations'
           and not exists (select from pg_policies p where p.tablename = c.relname and p.qual like '%app.tenant_id%')
         order by 1",
    )
    .await;
    let readme = include_str!("../../../migrations/README.md");
    let (_, section) = readme.split_once("## Global tables").unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let mut listed: Vec<&str> = rows
        .flat_map(|row| row.split('|').nth(1).unwrap().split(','))
        .map(|name| name.trim().trim_matches('`'))
        .collect();
    listed.sort_unstable();
    assert_eq!(global, listed);
}
