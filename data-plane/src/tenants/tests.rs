//! The feed and the callers against a Redis that anybody may write to.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use domain::projection::{EnvelopeKind, RevocationKind, TokenRecord, keys};
use domain::{Slug, TokenKind};
use secrets::SigningKey;

use super::testing::{Keys, Plane, seal_with, second, snapshot, tenant};
use crate::caller::Refused;

fn slug(text: &str) -> Slug {
    text.parse().unwrap()
}

#[tokio::test]
async fn what_is_published_is_served_and_a_new_revision_takes_its_place() {
    let (mut plane, acme) = Plane::serving().await;
    let found = plane.node.tenants.find(&slug("acme")).await.unwrap().unwrap();
    assert_eq!((found.snapshot.tenant, found.snapshot.revision), (acme, 1));
    let next = snapshot(&plane.hand.keys, acme, "acme", 2);
    plane.hand.publish(&next);
    plane.in_step().await;
    assert_eq!(plane.node.tenants.get(acme).await.unwrap().unwrap().snapshot.revision, 2);
    assert!(plane.node.tenants.find(&slug("other")).await.unwrap().is_none());
    assert!(plane.node.tenants.get(tenant(9)).await.unwrap().is_none());
}

#[tokio::test]
async fn what_is_published_while_a_tenant_is_being_read_is_not_lost() {
    let (mut plane, acme) = Plane::serving().await;
    let tenants = Arc::clone(&plane.node.tenants);
    tenants.get(acme).await.unwrap().unwrap();
    let (slot, index) = (tenants.slot(acme).unwrap(), tenants.index.load_full().unwrap());
    let reading = slot.loading.lock().await;
    let next = snapshot(&plane.hand.keys, acme, "acme", 2);
    plane.hand.publish(&next);
    plane.round().await.unwrap();
    tenants.settle(acme, &slot, &index);
    drop(reading);
    plane.in_step().await;
    assert_eq!(tenants.get(acme).await.unwrap().unwrap().snapshot.revision, 2);
}

#[tokio::test]
async fn a_snapshot_that_is_forged_moved_or_old_is_not_served() {
    let (mut plane, acme) = Plane::serving().await;
    let key = keys::snapshot(acme);
    let first = plane.hand.get(&key);
    let next = snapshot(&plane.hand.keys, acme, "acme", 2);
    plane.hand.publish(&next);
    plane.round().await.unwrap();
    let good = plane.hand.get(&key);

    let other = snapshot(&plane.hand.keys, tenant(2), "other", 2);
    plane.hand.publish(&other);
    plane.round().await.unwrap();
    let moved = plane.hand.get(&keys::snapshot(tenant(2)));
    let body = zstd::bulk::compress(&serde_json::to_vec(&next).unwrap(), 1).unwrap();
    let kind = (EnvelopeKind::Snapshot, Some(acme));
    let deployment = plane.hand.keys.deployment.clone();
    let forged = seal_with(&SigningKey::generate(), &deployment, kind, (&key, 1, 2), &body);
    let foreign = seal_with(&plane.hand.keys.signing, "dep_ffffffffffffffff", kind, (&key, 1, 2), &body);
    let mut changed = good.clone();
    *changed.last_mut().unwrap() ^= 1;

    for (name, bytes) in
        [("old", first), ("moved", moved), ("forged", forged), ("foreign", foreign), ("changed", changed)]
    {
        plane.hand.set(&key, &bytes);
        assert!(plane.node.tenants.get(acme).await.is_err(), "{name}");
    }
    plane.hand.set(&key, &good);
    assert_eq!(plane.node.tenants.get(acme).await.unwrap().unwrap().snapshot.revision, 2);
}

#[tokio::test]
async fn a_running_node_never_goes_back() {
    let (mut plane, acme) = Plane::serving().await;
    plane.node.tenants.get(acme).await.unwrap().unwrap();
    let older = plane.hand.sealed_head();
    let next = snapshot(&plane.hand.keys, acme, "acme", 2);
    plane.hand.publish(&next);
    plane.in_step().await;
    plane.hand.set(keys::HEAD, &older);
    assert_eq!(plane.round().await, Err("the head is older than the one before".to_owned()));
    // The same number with other contents: somebody signs two states as one.
    let other = snapshot(&plane.hand.keys, acme, "acme", 3);
    plane.hand.publish(&other);
    plane.hand.change -= 1;
    plane.hand.head();
    assert_eq!(plane.round().await, Err("the head is older than the one before".to_owned()));
    assert_eq!(plane.node.tenants.get(acme).await.unwrap().unwrap().snapshot.revision, 2);
}

#[tokio::test]
async fn a_head_or_an_index_written_by_hand_changes_nothing() {
    let (mut plane, acme) = Plane::serving().await;
    plane.node.tenants.get(acme).await.unwrap().unwrap();
    let good = plane.hand.get(keys::HEAD);
    let signer = SigningKey::generate();
    let forged = seal_with(&signer, &plane.hand.keys.deployment, (EnvelopeKind::Head, None), (keys::HEAD, 9, 9), b"{}");
    plane.hand.set(keys::HEAD, &forged);
    assert_eq!(plane.round().await, Err("`head` is not believed".to_owned()));
    let moved = plane.hand.get(keys::INDEX);
    plane.hand.set(keys::HEAD, &moved);
    assert_eq!(plane.round().await, Err("`head` is not believed".to_owned()));
    plane.hand.set(keys::HEAD, &good);

    let index = plane.hand.get(keys::INDEX);
    let next = snapshot(&plane.hand.keys, acme, "acme", 2);
    plane.hand.publish(&next);
    plane.hand.set(keys::INDEX, &index);
    assert_eq!(plane.round().await, Err("the index is not that of the head".to_owned()));
    assert_eq!(plane.node.tenants.get(acme).await.unwrap().unwrap().snapshot.revision, 1);
}

#[tokio::test]
async fn an_old_slug_record_leads_to_no_tenant_of_another_name() {
    let (mut plane, acme) = Plane::serving().await;
    plane.hand.name("former", acme);
    assert!(plane.node.tenants.find(&slug("former")).await.unwrap().is_none());
    let moved = plane.hand.get(&keys::slug("acme"));
    plane.hand.set(&keys::slug("thief"), &moved);
    assert!(plane.node.tenants.find(&slug("thief")).await.is_err(), "it is signed for another slug");
}

#[tokio::test]
async fn a_token_is_its_tenants_and_nobody_elses() {
    let (mut plane, acme) = Plane::serving().await;
    let issued = plane.hand.issue(acme, 1);
    let callers = &plane.node.callers;
    let caller = callers.authenticate(acme, Some(&issued.header())).await.unwrap();
    assert_eq!(caller.principal, issued.principal);
    let again = callers.authenticate(acme, Some(&issued.header())).await.unwrap();
    assert!(Arc::ptr_eq(&caller, &again), "known callers cost no look-up");
    let elsewhere = callers.authenticate(tenant(2), Some(&issued.header())).await;
    assert_eq!(elsewhere.unwrap_err(), Refused::Unauthorized, "checked after the cache");
    let unknown = secrets::new_token(TokenKind::Gateway);
    let header = http::HeaderValue::try_from(format!("Bearer {}", unknown.expose())).unwrap();
    assert_eq!(callers.authenticate(acme, Some(&header)).await.unwrap_err(), Refused::Unauthorized);
    assert_eq!(callers.authenticate(acme, None).await.unwrap_err(), Refused::Unauthorized);
}

#[tokio::test]
async fn a_token_record_that_is_forged_or_moved_is_not_believed() {
    let (mut plane, acme) = Plane::serving().await;
    let (mine, other) = (plane.hand.issue(acme, 1), plane.hand.issue(tenant(2), 2));
    let key = keys::token(acme, mine.digest());
    let body = serde_json::to_vec(&TokenRecord::Live(mine.principal.clone())).unwrap();
    let deployment = plane.hand.keys.deployment.clone();
    let kind = (EnvelopeKind::Token, Some(acme));
    let forged = seal_with(&SigningKey::generate(), &deployment, kind, (&key, 1, 0), &body);
    let moved = plane.hand.get(&keys::token(tenant(2), other.digest()));
    let misnamed = plane.hand.seal(EnvelopeKind::Token, Some(tenant(2)), (&key, 0), &body);
    for (name, bytes) in [("forged", forged), ("moved", moved), ("misnamed", misnamed), ("nothing", b"{}".to_vec())] {
        plane.hand.set(&key, &bytes);
        let outcome = plane.node.callers.authenticate(acme, Some(&mine.header())).await;
        assert_eq!(outcome.unwrap_err(), Refused::Unavailable, "{name}");
    }
    // Signed for this place, but it speaks of another tenant's person.
    plane.hand.record(acme, mine.digest(), &TokenRecord::Live(other.principal), 0);
    let outcome = plane.node.callers.authenticate(acme, Some(&mine.header())).await;
    assert_eq!(outcome.unwrap_err(), Refused::Unauthorized);
}

#[tokio::test]
async fn a_revocation_ends_the_caller_and_its_old_record_is_not_believed_again() {
    let (mut plane, acme) = Plane::serving().await;
    let (issued, other) = (plane.hand.issue(acme, 1), plane.hand.issue(acme, 2));
    let caller = plane.node.callers.authenticate(acme, Some(&issued.header())).await.unwrap();
    let kept = plane.node.callers.authenticate(acme, Some(&other.header())).await.unwrap();
    plane.hand.revoke(&issued, RevocationKind::Revoked);
    plane.round().await.unwrap();
    assert!(caller.ended.is_cancelled() && !kept.ended.is_cancelled());
    // The record from before still stands in Redis, as if somebody had put it back.
    let outcome = plane.node.callers.authenticate(acme, Some(&issued.header())).await;
    assert_eq!(outcome.unwrap_err(), Refused::Unauthorized);
    // A node that starts later hears of it too.
    let (node, mut feed, _, drain) = second(&plane.server, &plane.hand, &[]).await;
    feed.round(&drain).await.unwrap();
    let outcome = node.callers.authenticate(acme, Some(&issued.header())).await;
    assert_eq!(outcome.unwrap_err(), Refused::Unauthorized);
}

#[tokio::test]
async fn a_changed_principal_is_read_again_and_the_old_one_is_not() {
    let (mut plane, acme) = Plane::serving().await;
    let issued = plane.hand.issue(acme, 1);
    let caller = plane.node.callers.authenticate(acme, Some(&issued.header())).await.unwrap();
    plane.hand.revoke(&issued, RevocationKind::Changed);
    plane.round().await.unwrap();
    assert!(caller.ended.is_cancelled());
    let outcome = plane.node.callers.authenticate(acme, Some(&issued.header())).await;
    assert_eq!(outcome.unwrap_err(), Refused::Unauthorized, "the record is older than the change");
    let mut changed = issued.principal.clone();
    changed.role = domain::Role::Admin;
    plane.hand.record(acme, issued.digest(), &TokenRecord::Live(changed.clone()), 1);
    let caller = plane.node.callers.authenticate(acme, Some(&issued.header())).await.unwrap();
    assert_eq!(caller.principal.role, domain::Role::Admin);
    // A role that calls nothing is nobody here.
    plane.hand.revoke(&issued, RevocationKind::Changed);
    plane.round().await.unwrap();
    changed.role = domain::Role::Auditor;
    plane.hand.record(acme, issued.digest(), &TokenRecord::Live(changed), 2);
    let outcome = plane.node.callers.authenticate(acme, Some(&issued.header())).await;
    assert_eq!(outcome.unwrap_err(), Refused::Unauthorized);
}

#[tokio::test]
async fn revocations_are_applied_in_order_and_forged_ones_are_passed_over() {
    let (mut plane, acme) = Plane::serving().await;
    let (first, second) = (plane.hand.issue(acme, 1), plane.hand.issue(acme, 2));
    // Number 1 is missing, so number 2 has to wait.
    plane.hand.revocation = 2;
    let sealed = plane.hand.sealed_revocation(&second, RevocationKind::Revoked);
    plane.hand.add_revocation(2, &sealed);
    plane.hand.head();
    assert_eq!(plane.round().await, Err("revocations up to 2 are not all there: 0 applied".to_owned()));
    // Somebody fills the hole with the second one, then the publisher writes the stream anew.
    let _: () = redis::Commands::del(&mut plane.hand.redis, keys::REVOKE).unwrap();
    plane.hand.add_revocation(1, &sealed);
    assert!(plane.round().await.is_err());
    let _: () = redis::Commands::del(&mut plane.hand.redis, keys::REVOKE).unwrap();
    plane.hand.revocation = 1;
    let one = plane.hand.sealed_revocation(&first, RevocationKind::Revoked);
    plane.hand.add_revocation(1, &one);
    plane.hand.revocation = 2;
    plane.hand.add_revocation(2, &sealed);
    plane.round().await.unwrap();
    for issued in [first, second] {
        let outcome = plane.node.callers.authenticate(acme, Some(&issued.header())).await;
        assert_eq!(outcome.unwrap_err(), Refused::Unauthorized);
    }
}

#[tokio::test]
async fn in_an_emptied_redis_known_callers_go_on_and_unseen_tokens_are_told_to_wait() {
    let (mut plane, acme) = Plane::serving().await;
    let (known, unseen) = (plane.hand.issue(acme, 1), plane.hand.issue(acme, 2));
    plane.node.tenants.get(acme).await.unwrap().unwrap();
    plane.node.callers.authenticate(acme, Some(&known.header())).await.unwrap();
    plane.hand.empty();
    assert_eq!(plane.round().await, Err("there is no head".to_owned()));
    assert!(plane.node.callers.authenticate(acme, Some(&known.header())).await.is_ok());
    let outcome = plane.node.callers.authenticate(acme, Some(&unseen.header())).await;
    assert_eq!(outcome.unwrap_err(), Refused::Unavailable, "a missing record says nothing now");
    assert!(plane.node.tenants.get(acme).await.unwrap().is_some());
}

#[tokio::test]
async fn a_cut_off_node_turns_blind_within_its_bounds() {
    let (mut plane, acme) = Plane::serving().await;
    let (known, unseen) = (plane.hand.issue(acme, 1), plane.hand.issue(acme, 2));
    plane.node.tenants.get(acme).await.unwrap().unwrap();
    let callers = Arc::clone(&plane.node.callers);
    callers.authenticate(acme, Some(&known.header())).await.unwrap();
    let touch = Arc::clone(&plane.node.tenants.touch);

    touch.pass(Duration::from_secs(1));
    assert!(callers.authenticate(acme, Some(&known.header())).await.is_ok());
    assert_eq!(callers.authenticate(acme, Some(&unseen.header())).await.unwrap_err(), Refused::Unavailable);
    assert!(plane.node.tenants.find(&slug("never-seen")).await.is_err());
    touch.pass(Duration::from_mins(1));
    assert_eq!(callers.authenticate(acme, Some(&known.header())).await.unwrap_err(), Refused::Unavailable);

    plane.hand.head();
    plane.round().await.unwrap();
    assert!(callers.authenticate(acme, Some(&known.header())).await.is_ok());
    assert!(callers.authenticate(acme, Some(&unseen.header())).await.is_ok());
}

#[tokio::test]
async fn a_starting_node_waits_for_a_head_and_for_every_revocation() {
    let mut plane = Plane::start(&[]).await;
    let acme = tenant(1);
    let snapshot = snapshot(&plane.hand.keys, acme, "acme", 1);
    assert!(plane.round().await.is_err());
    plane.hand.revocation = 1;
    plane.hand.publish(&snapshot);
    assert!(plane.round().await.is_err(), "a revocation is missing");
    assert!(plane.node.tenants.touch.is_blind());
    let issued = plane.hand.issue(acme, 1);
    let outcome = plane.node.callers.authenticate(acme, Some(&issued.header())).await;
    assert_eq!(outcome.unwrap_err(), Refused::Unavailable, "never 401 while it can't know");
    let sealed = plane.hand.sealed_revocation(&issued, RevocationKind::Revoked);
    plane.hand.add_revocation(1, &sealed);
    plane.round().await.unwrap();
    assert!(!plane.node.tenants.touch.is_blind());
}

#[tokio::test]
async fn a_node_starts_without_a_control_plane_for_a_day_and_no_longer() {
    let mut plane = Plane::start(&[]).await;
    let snapshot = snapshot(&plane.hand.keys, tenant(1), "acme", 1);
    let now = plane.hand.at;
    plane.hand.at = now - TimeDelta::hours(25);
    plane.hand.publish(&snapshot);
    assert_eq!(plane.round().await, Err("the head has not grown younger for too long".to_owned()));
    plane.hand.at = now - TimeDelta::hours(23);
    plane.hand.head();
    plane.round().await.unwrap();
    let mut said = String::new();
    plane.feed.report(None, &mut said);
    let health = format!("{:?}", plane.health);
    assert!(plane.health.is_ready() && health.contains("the control plane writes no configuration"), "{health}");
}

#[tokio::test]
async fn the_tenants_least_lately_used_make_room() {
    let one = serde_json::to_string(&snapshot(&Keys::new(), tenant(1), "three", 1)).unwrap().len();
    let room = (one * 5 / 2).to_string();
    let mut plane = Plane::start(&[("SLUICE_TENANT_CACHE_BYTES", &room)]).await;
    for (number, name) in [(1, "one"), (2, "two"), (3, "three"), (4, "four")] {
        let snapshot = snapshot(&plane.hand.keys, tenant(number), name, 1);
        plane.hand.publish(&snapshot);
    }
    plane.round().await.unwrap();
    for number in [1, 2, 1, 3, 1, 4] {
        assert!(plane.node.tenants.get(tenant(number)).await.unwrap().is_some());
    }
    let loaded: Vec<_> = plane.node.tenants.loaded().into_iter().map(|(tenant, _, _)| tenant).collect();
    assert!(loaded.len() == 2 && loaded.contains(&tenant(1)) && loaded.contains(&tenant(4)), "{loaded:?}");
}

#[tokio::test]
async fn what_a_node_says_of_itself_is_sealed_and_says_how_far_it_is() {
    let (mut plane, acme) = Plane::serving().await;
    plane.node.tenants.get(acme).await.unwrap().unwrap();
    let position = plane.feed.position();
    plane.feed.acks.tell(position, &plane.node.tenants).await;
    let opener = plane.hand.keys.master.sealer(secrets::Purpose::Member, &plane.hand.keys.deployment);
    let node = plane.node.config.node.to_string();
    let sealed: Vec<u8> = redis::Commands::hget(&mut plane.hand.redis, keys::NODES, &node).unwrap();
    let plain = opener.open(&[keys::NODES.as_bytes(), node.as_bytes()], &sealed).unwrap();
    let member: domain::projection::Member = serde_json::from_slice(&plain).unwrap();
    assert_eq!((member.epoch, member.change, member.boot), (1, 1, plane.node.boot));
    let live: Vec<u8> = redis::Commands::hget(&mut plane.hand.redis, keys::live(acme), &node).unwrap();
    assert!(!live.starts_with(b"{"));
    plane.feed.acks.leave().await;
    let left: bool = redis::Commands::hexists(&mut plane.hand.redis, keys::NODES, &node).unwrap();
    assert!(!left);
}
