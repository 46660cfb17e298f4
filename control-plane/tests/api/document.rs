use std::path::Path;

use sqlx::PgPool;

use crate::app::App;

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn the_committed_description_is_the_served_one(pool: PgPool) {
    let app = App::new(&pool).await;
    let served = app.send("GET", "/openapi.json", None, None).await.expect(200).json();
    assert!(served["openapi"].as_str().unwrap().starts_with("3.1"), "{}", served["openapi"]);
    let mut served = serde_json::to_string_pretty(&served).unwrap();
    served.push('\n');
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    if refreshing() {
        std::fs::write(&path, &served).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == served,
        "docs/openapi.json is not what is served: run `SLUICE_REFRESH=1 cargo test -p control-plane --test api document`"
    );
}

#[expect(clippy::disallowed_methods, reason = "a test has no configuration of its own")]
fn refreshing() -> bool {
    std::env::var("SLUICE_REFRESH").is_ok()
}
