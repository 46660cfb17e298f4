//! The relay through its route, against upstreams in this process.

mod items;

use std::sync::Arc;

use axum::body::Body;
use chrono::TimeDelta;
use domain::projection::{EnvelopeKind, Statement, seal};
use domain::relay::{DISCOVER_PATH, Discover};
use domain::snapshot::{CredentialPlace, CredentialStore};
use domain::{Clock, Credential, CredentialId, EraPin, Secret, TenantId};
use egress::{Dialer, Rules};
use http::{Request, StatusCode};
use secrets::{MasterKey, NodeKeys, SigningKey, Store, VerifyingKeys};
use serde_json::{Value, json};
use service::Drain;
use tower::ServiceExt as _;
use url::Url;

use super::{Parts, Relay};
use crate::audit::tests::Redis;
use crate::credentials::Credentials;
use crate::testing::upstream::{Speaks, Upstream};
use crate::testing::{DEPLOYMENT, Told, recorder};
use crate::upstream::Upstreams;

struct Place {
    relay: Relay,
    keys: Arc<NodeKeys>,
    signing: SigningKey,
    clock: Clock,
    redis: Redis,
}

impl Place {
    async fn new() -> Self {
        let (redis, clock, drain, signing) =
            (Redis::start().await, service::clock(), Drain::new(), SigningKey::generate());
        let keys = Arc::new(NodeKeys {
            deployment: DEPLOYMENT.to_owned(),
            master: MasterKey::generate(),
            verifying: VerifyingKeys::from_text(&signing.verifying_text()).unwrap(),
        });
        let relay = Relay::new(Parts {
            clock: clock.clone(),
            keys: Arc::clone(&keys),
            upstreams: Upstreams::new(Dialer::new(Rules::development()), drain.clone(), None),
            credentials: Credentials::new(Store::Sealed),
            recorder: recorder(&keys, &redis, &clock),
            redis: service::redis::connect(&redis.url()).await.unwrap(),
            drain,
        });
        Self { relay, keys, signing, clock, redis }
    }

    fn asked(&self, endpoint: &Url, era: EraPin) -> Discover {
        let tenant = TenantId::new(&self.clock);
        Discover {
            tenant,
            server: None,
            endpoint: endpoint.clone(),
            era,
            credential: Credential::None,
            data_key: self.keys.master.wrap(tenant, "dat1", &secrets::new_data_key()),
            items: true,
            jti: hex::encode(secrets::random::<16>()),
            expires_at: self.clock.now() + TimeDelta::seconds(20),
        }
    }

    fn envelope(&self, asked: &Discover, signing: &SigningKey) -> Vec<u8> {
        let statement = Statement {
            deployment: DEPLOYMENT,
            kind: EnvelopeKind::Relay,
            tenant: Some(asked.tenant),
            key: DISCOVER_PATH,
            epoch: 0,
            revision: 0,
            signed_at: self.clock.now(),
        };
        seal(&statement, &serde_json::to_vec(asked).unwrap(), signing)
    }

    async fn post(&self, envelope: Vec<u8>) -> Told {
        let request = Request::post(DISCOVER_PATH).body(Body::from(envelope)).unwrap();
        Told::read(self.relay.clone().routes().oneshot(request).await.unwrap()).await
    }

    async fn look(&self, asked: &Discover) -> Vec<(String, Value)> {
        let told = self.post(self.envelope(asked, &self.signing)).await;
        assert_eq!(told.status, StatusCode::OK);
        let named = |event: &str| {
            let (kind, data) = event.split_once("\ndata: ").unwrap();
            (kind.to_owned(), serde_json::from_str(data.trim()).unwrap())
        };
        told.text.split("event: ").skip(1).map(named).collect()
    }
}

#[tokio::test]
async fn a_server_of_either_era_is_found_with_all_its_pages() {
    for (speaks, era, version) in [(Speaks::Modern, "modern", "2026-07-28"), (Speaks::Legacy, "legacy", "2025-11-25")] {
        let (place, upstream) = (Place::new().await, Upstream::start(speaks).await);
        let events = place.look(&place.asked(&upstream.url(), EraPin::Auto)).await;
        let steps: Vec<_> = events.iter().filter_map(|(_, data)| data["step"].as_str()).collect();
        assert_eq!(steps, ["address", "connect", "era", "auth", "tools", "prompts", "resources"]);
        let (kind, found) = events.last().unwrap();
        assert_eq!((kind.as_str(), &found["era"], &found["protocol_version"]), ("found", &json!(era), &json!(version)));
        let names: Vec<_> = found["tools"].as_array().unwrap().iter().map(|tool| tool["name"].clone()).collect();
        assert_eq!(names, ["echo", "fail", "progress"]);
        assert_eq!((&found["server_info"]["name"], &found["instructions"]), (&json!("fixture"), &json!("Be kind.")));
        assert!(upstream.calls().is_empty());
    }
}

#[tokio::test]
async fn only_the_control_planes_signature_counts_and_only_once() {
    let (place, upstream) = (Place::new().await, Upstream::start(Speaks::Modern).await);
    let asked = place.asked(&upstream.url(), EraPin::Auto);
    let forged = place.envelope(&asked, &SigningKey::generate());
    assert_eq!(place.post(forged).await.status, StatusCode::FORBIDDEN);
    assert_eq!(place.post(b"{}".to_vec()).await.status, StatusCode::FORBIDDEN);
    assert_eq!(place.look(&asked).await.last().unwrap().0, "found");
    let seen = upstream.seen().len();
    let again = place.look(&asked).await;
    assert_eq!((again[0].0.as_str(), &again[0].1["code"]), ("failed", &json!("replayed")));
    let mut old = place.asked(&upstream.url(), EraPin::Auto);
    old.expires_at = place.clock.now() - TimeDelta::seconds(1);
    assert_eq!(place.look(&old).await[0].1["code"], "expired");
    assert_eq!(upstream.seen().len(), seen, "nothing was asked of the upstream");
}

#[tokio::test]
async fn what_is_wrong_is_told_at_its_step() {
    let place = Place::new().await;
    for (url, step, code) in [
        ("https://10.0.0.1/mcp", "address", "address_refused"),
        ("https://nowhere.invalid/mcp", "address", "unresolved"),
        ("http://127.0.0.1:1/mcp", "connect", "unreachable"),
    ] {
        let events = place.look(&place.asked(&url.parse().unwrap(), EraPin::Auto)).await;
        let (kind, failed) = events.last().unwrap();
        assert_eq!((kind.as_str(), &failed["step"], &failed["code"]), ("failed", &json!(step), &json!(code)), "{url}");
    }
    let web = Upstream::start(Speaks::Legacy).await;
    let events = place.look(&place.asked(&web.url(), EraPin::Modern)).await;
    assert_eq!(events.last().unwrap().1["code"], "not_mcp");
    drop(place.redis);
}

#[tokio::test]
async fn a_credential_that_can_not_be_had_is_no_refusal_of_the_servers() {
    let (place, upstream) = (Place::new().await, Upstream::start(Speaks::Modern).await);
    let asked = place.asked(&upstream.url(), EraPin::Auto);
    // Sealed under a key that is not the tenant's.
    let id = CredentialId::from_uuid(uuid::Uuid::from_u128(2));
    let value = Secret::new("canary".to_owned());
    let envelope = secrets::sealed::seal(&secrets::new_data_key(), asked.tenant, id, 1, &value);
    let kept = CredentialPlace { id, version: 1, store: CredentialStore::Sealed { envelope } };
    let events = place.look(&Discover { credential: Credential::Bearer { place: kept }, ..asked }).await;
    let expected = json!({"step": "auth", "code": "credential_unavailable",
        "detail": "The credential could not be had now; try again."});
    assert_eq!(events, [("failed".to_owned(), expected)]);
    let asked = place.asked(&upstream.url(), EraPin::Auto);
    let other = MasterKey::generate().wrap(asked.tenant, "dat1", &secrets::new_data_key());
    let events = place.look(&Discover { data_key: other, ..asked }).await;
    assert_eq!(events[0].1["code"], "credential_unavailable");
    assert!(upstream.seen().is_empty());
}
