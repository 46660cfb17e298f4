//! What one tenant or principal has never becomes another's: values moved about in Redis, lists kept in memory, tokens
//! past their time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use sluice_tests::api::{Api, Tenant, Token};
use sluice_tests::behind::{Postgres, Redis, metric};
use sluice_tests::client::Client;
use sluice_tests::patience::{until, until_within};
use sluice_tests::stack::{Endpoints, Stack};
use sluice_tests::upstream::{Eras, Upstream};

/// A deployment of one node with two tenants, the demo tenant and another, each with a server of its own name.
struct Neighbours {
    stack: Stack,
    redis: Redis,
    ours: Api,
    other: Tenant,
    _upstreams: [Upstream; 2],
}

impl Neighbours {
    async fn new() -> Self {
        let stack = tokio::task::block_in_place(|| Stack::start(1, &[]));
        let upstreams = [Upstream::start(Eras::Modern).await, Upstream::start(Eras::Modern).await];
        let ours = Api::of(&stack.endpoints);
        let other = ours.another_tenant("neighbour").await;
        for (api, key, upstream) in
            [(&ours, "ours", &upstreams[0]), (&other.api(&stack.endpoints), "theirs", &upstreams[1])]
        {
            api.add_server(key, &upstream.url()).await;
            api.allow_everything().await;
            api.is_live().await;
        }
        let redis = Redis::of(&stack.endpoints).await;
        Self { stack, redis, ours, other, _upstreams: upstreams }
    }

    fn at(&self, slug: &str, token: &str) -> Client {
        Client::new(&format!("{}/{slug}/mcp", self.stack.endpoints.data_plane_urls[0]), token)
    }

    fn endpoints(&self) -> &Endpoints {
        &self.stack.endpoints
    }

    /// The node forgets all it has in memory.
    async fn restart_node(&self) {
        tokio::task::block_in_place(|| self.stack.kill("node-1"));
        let ready = self.endpoints().metrics_urls[0].replace("/metrics", "/readyz");
        until("the node is ready", async || {
            reqwest::get(&ready).await.is_ok_and(|answer| answer.status() == 200).then_some(())
        })
        .await;
    }

    async fn swap(&self, first: &str, second: &str) {
        let (one, two) = (self.redis.get(first).await, self.redis.get(second).await);
        self.redis.set(first, &two).await;
        self.redis.set(second, &one).await;
    }

    /// How many values of this kind the node did not believe.
    async fn disbelieved(&self, kind: &str) -> u64 {
        let name = format!("sluice_refused_projections_total{{kind=\"{kind}\"}}");
        metric(&self.endpoints().metrics_urls[0], &name).await.unwrap_or_default()
    }

    /// Issues a token that no node has seen, and gives the key its record has in Redis besides.
    async fn unseen_token(&self, api: &Api, tenant: &str) -> (Token, String) {
        let pattern = format!("*{tenant}*:token:*");
        let before = self.redis.keys(&pattern).await;
        let token = api.issue_token("unseen").await;
        let key = until("the token's record in Redis", async || {
            self.redis.keys(&pattern).await.into_iter().find(|key| !before.contains(key))
        })
        .await;
        (token, key)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_values_under_another_tenants_keys_are_not_believed() {
    let place = Neighbours::new().await;
    let (ours, theirs) = (place.endpoints().tenant.clone(), place.other.slug.clone());
    let clients =
        [(place.at(&ours, &place.endpoints().token), "theirs__"), (place.at(&theirs, &place.other.token), "ours__")];
    let snapshots = place.redis.keys("*:snapshot").await;
    let [first, second] = snapshots.as_slice() else { panic!("two tenants have two snapshots: {snapshots:?}") };
    for (kind, first, second) in
        [("snapshot", first.clone(), second.clone()), ("slug", format!("slug:{ours}"), format!("slug:{theirs}"))]
    {
        place.swap(&first, &second).await;
        place.restart_node().await;
        for (client, foreign) in &clients {
            let answer = client.modern("tools/list", json!({})).await;
            assert_ne!(answer.status, 200, "{kind}: {answer:?}");
            assert!(!answer.text.contains(foreign), "{kind}: {answer:?}");
        }
        assert!(place.disbelieved(kind).await > 0, "the node says that it did not believe the {kind}");
        place.swap(&first, &second).await;
        for (client, foreign) in &clients {
            let tools = until("the tenant is served again", async || {
                let answer = client.modern("tools/list", json!({})).await;
                (answer.status == 200).then_some(answer.text)
            })
            .await;
            assert!(!tools.contains(foreign), "{tools}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tokens_record_under_another_key_is_worth_nothing() {
    let place = Neighbours::new().await;
    let (ours, theirs) = (place.endpoints().tenant.clone(), place.other.slug.clone());
    let their_api = place.other.api(place.endpoints());
    let our_id = place.redis.keys("*:snapshot").await;
    let our_id = our_id.iter().find(|key| !key.contains(&place.other.id)).unwrap().trim_end_matches(":snapshot");
    let (our_token, our_key) = place.unseen_token(&place.ours, our_id).await;
    let (their_token, their_key) = place.unseen_token(&their_api, &place.other.id).await;
    let (_, our_digest) = our_key.rsplit_once(':').unwrap();
    // Our record, moved below the other tenant, does not let us in there.
    let moved = format!("{{{}}}:token:{our_digest}", place.other.id);
    place.redis.set(&moved, &place.redis.get(&our_key).await).await;
    assert_ne!(place.at(&theirs, &our_token.text).modern("tools/list", json!({})).await.status, 200);
    assert_eq!(place.disbelieved("token").await, 1);
    // Nor does theirs, under our token's digest, make us one of them.
    place.redis.set(&moved, &place.redis.get(&their_key).await).await;
    assert_ne!(place.at(&theirs, &our_token.text).modern("tools/list", json!({})).await.status, 200);
    place.swap(&our_key, &their_key).await;
    assert_ne!(place.at(&ours, &our_token.text).modern("tools/list", json!({})).await.status, 200);
    assert_ne!(place.at(&theirs, &their_token.text).modern("tools/list", json!({})).await.status, 200);
    place.swap(&our_key, &their_key).await;
    assert_eq!(place.at(&ours, &our_token.text).modern("tools/list", json!({})).await.status, 200);
    assert_eq!(place.at(&theirs, &their_token.text).modern("tools/list", json!({})).await.status, 200);
}

/// The owner sees everything, members see `echo`.
const OWNERS_SEE_MORE: &str = "@id(\"owners\") permit (principal, action, resource) when { principal.roles.contains(\"owner\") };\n\
    @id(\"echo\") permit (principal, action in Sluice::Action::\"tools/call\", resource) when { resource.name == \"echo\" };";

#[tokio::test(flavor = "multi_thread")]
async fn a_list_kept_for_one_principal_is_never_anothers() {
    let place = Neighbours::new().await;
    let (ours, theirs) = (place.endpoints().tenant.clone(), place.other.slug.clone());
    place.ours.set_policy(OWNERS_SEE_MORE).await;
    place.ours.is_live().await;
    let member = place.ours.add_member("colleague@example.com").await;
    let member = place.at(&ours, &place.ours.issue_token_for(&member).await.text);
    let owner = place.at(&ours, &place.endpoints().token);
    let stranger = place.at(&theirs, &place.other.token);
    until("the member's token is known", async || is_let_in(&member).await.then_some(())).await;
    let (owner_sees, stranger_sees) = (owner.tools().await, stranger.tools().await);
    assert!(owner_sees.len() > 20 && owner_sees.iter().any(|name| name == "notes__delete_note"), "{owner_sees:?}");
    assert!(stranger_sees.len() > 15 && stranger_sees.iter().all(|name| name.starts_with("theirs__")));
    let server = place.ours.server("ours").await;
    for round in 0..4 {
        // In different orders, each list kept and taken again, and over a publication.
        for _ in 0..2 {
            assert_eq!(member.tools().await, ["notes__echo", "ours__echo"]);
            assert_eq!(stranger.tools().await, stranger_sees);
            assert_eq!(owner.tools().await, owner_sees);
        }
        let denied = member.call("ours__vendor", json!({})).await;
        assert_eq!(denied.error_code(), Some(-32602), "what is not listed looks unknown: {denied:?}");
        place.ours.label_server(&server, &format!("round-{round}")).await;
        place.ours.is_live().await;
    }
}

async fn is_let_in(client: &Client) -> bool {
    client.modern("tools/list", json!({})).await.status == 200
}

/// Refusals of a minute become a record when it ends.
const A_MINUTE_AND_MORE: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_is_refused_like_none_and_its_refusals_are_counted() {
    let stack = tokio::task::block_in_place(|| Stack::start(1, &[]));
    let api = Api::of(&stack.endpoints);
    let member = api.add_member("leaver@example.com").await;
    let token = api.issue_token_for(&member).await;
    let client = Client::new(&stack.endpoints.tenant_url, &token.text);
    let refused = AtomicU64::new(0);
    let is_let_in = async || {
        let is_let_in = is_let_in(&client).await;
        refused.fetch_add(u64::from(!is_let_in), Ordering::Relaxed);
        is_let_in
    };
    until("the token is known", async || is_let_in().await.then_some(())).await;
    // The shortest life the API gives is a day: bring its end nearer, and have what nodes know of its holder made anew.
    let postgres = Postgres::of(&stack.endpoints, stack.folder());
    let set = "update gateway_tokens set expires_at = now() + interval '3 s' where title = 'of a member' returning 1";
    assert_eq!(postgres.query(set).await, "1");
    api.rename_member(&member, "Leaver").await;
    until("the end of the token", async || (!is_let_in().await).then_some(())).await;
    let state = "select expires_at < now(), revoked_at is null from gateway_tokens where title = 'of a member'";
    assert_eq!(postgres.query(state).await, "t|t", "it was let in until its time, and not revoked");
    let expired = client.modern("tools/list", json!({})).await;
    let without = client.with_token(None).modern("tools/list", json!({})).await;
    refused.fetch_add(2, Ordering::Relaxed);
    assert_eq!((expired.status.as_u16(), &expired.text), (401, &without.text));
    assert_eq!(expired.headers["www-authenticate"], without.headers["www-authenticate"]);
    let refused = refused.into_inner();
    until_within(A_MINUTE_AND_MORE, "the record of the refusals", async || {
        let mut counted = 0;
        for found in api.activity("kind=auth").await {
            let record = api.record(found["id"].as_str().unwrap()).await["record"].clone();
            assert_eq!(record["decision"]["code"], "unauthenticated", "{record}");
            assert_eq!(
                (&record["decision"]["effect"], &record["actor"]["kind"]),
                (&json!("deny"), &json!("anonymous"))
            );
            counted += record["count"].as_u64().unwrap();
        }
        assert!(counted <= refused, "{counted} refusals are on record, of {refused}");
        (counted == refused).then_some(())
    })
    .await;
}
