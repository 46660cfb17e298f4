//! A credential on its way through Vault's client reaches no log, at any level.

#![expect(clippy::unwrap_used, reason = "a test may stop here")]

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::Uri;
use domain::{CredentialId, Secret, TenantId};
use secrets::{Login, Store, StoreError, VaultConfig, VaultStore};
use tracing_subscriber::filter::LevelFilter;
use uuid::Uuid;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const META: &str = r#""created_time":"","deletion_time":"","custom_metadata":null,"destroyed":false,"version":1"#;
const HEAD: &str =
    r#""request_id":"","lease_id":"","renewable":false,"lease_duration":0,"warnings":null,"wrap_info":null"#;

/// Takes any login, takes a value, gives one.
async fn answer(method: axum::http::Method, uri: Uri) -> String {
    if uri.path().ends_with("/login") {
        return format!(
            r#"{{{HEAD},"data":null,"auth":{{"client_token":"canary-token","accessor":"","policies":[],"token_policies":[],"metadata":null,"lease_duration":60,"renewable":true,"entity_id":"","token_type":"","orphan":true}}}}"#
        );
    }
    if method == axum::http::Method::POST {
        return format!(r#"{{{HEAD},"auth":null,"data":{{{META}}}}}"#);
    }
    format!(r#"{{{HEAD},"auth":null,"data":{{"data":{{"value":"canary-value"}},"metadata":{{{META}}}}}}}"#)
}

async fn put_and_get() -> Result<(), StoreError> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    let secret_id = Secret::new("canary-secret-id".to_owned());
    let config = VaultConfig {
        address,
        mount: "secret".to_owned(),
        namespace: None,
        login: Login::AppRole { mount: "approle".to_owned(), role_id: "role".to_owned(), secret_id },
        certificates: None,
        deadline: Duration::from_secs(10),
    };
    let store = Store::Vault(VaultStore::connect(config).await?);
    let data_key = secrets::new_data_key();
    let tenant = TenantId::from_uuid(Uuid::from_u128(1));
    let scope = secrets::Scope { tenant, data_key: &data_key };
    let value = Secret::new("canary-value".to_owned());
    let place = store.put(scope, CredentialId::from_uuid(Uuid::from_u128(2)), 0, &value).await?;
    assert_eq!(store.get(scope, &place).await?.expose(), "canary-value");
    Ok(())
}

#[test]
fn no_log_of_any_level_shows_a_credential_a_token_or_a_secret_id() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_writer(move || writer.clone());
    tracing::subscriber::with_default(subscriber.finish(), || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(put_and_get()).unwrap();
    });
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("vaultrs"), "the client does log at this level: {text}");
    assert!(!text.contains("canary"), "{text}");
}
