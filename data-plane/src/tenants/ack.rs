//! What a node says of itself: that it is there, how far it has come, and which revision of a tenant is live on it.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use domain::projection::{HEARTBEAT_MS, Live, Member, keys};
use domain::{BootId, Clock, NodeId, TenantId};
use redis::aio::ConnectionManager;
use secrets::Sealer;

use super::Tenants;

/// How far a node has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Position {
    pub(super) epoch: u64,
    /// `None` while a tenant in memory is behind.
    pub(super) change: Option<u64>,
    pub(super) revocation: u64,
}

/// Writes a node's acknowledgements.
pub(crate) struct Acks {
    redis: ConnectionManager,
    who: Who,
    clock: Clock,
    member: Sealer,
    live: Sealer,
    told: Told,
}

/// Which node, and where.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    pub(crate) node: NodeId,
    pub(crate) boot: BootId,
    pub(crate) address: String,
}

/// What was written last.
#[derive(Default)]
struct Told {
    at: Option<Instant>,
    position: Position,
    /// The last change at which the node was in step.
    change: u64,
    live: HashMap<TenantId, (u64, u64)>,
}

impl Acks {
    pub(crate) fn new(redis: ConnectionManager, who: Who, clock: Clock, member: Sealer, live: Sealer) -> Self {
        Self { redis, who, clock, member, live, told: Told::default() }
    }

    /// Writes what has changed, and everything every two seconds. Failing is not told: the next time says it again.
    pub(super) async fn tell(&mut self, position: Position, tenants: &Tenants) {
        let is_due = self.told.at.is_none_or(|at| at.elapsed() >= Duration::from_millis(HEARTBEAT_MS));
        let live: HashMap<TenantId, (u64, u64)> =
            tenants.loaded().into_iter().map(|(tenant, _, loaded)| (tenant, (loaded.epoch, loaded.revision))).collect();
        if !is_due && position == self.told.position && live == self.told.live {
            return;
        }
        if position.epoch != self.told.position.epoch {
            self.told.change = 0;
        }
        self.told.change = position.change.unwrap_or(self.told.change);
        let mut pipe = redis::pipe();
        for (tenant, revision) in &live {
            if is_due || self.told.live.get(tenant) != Some(revision) {
                pipe.hset(keys::live(*tenant), self.who.node.to_string(), self.live(*tenant, *revision)).ignore();
            }
        }
        for tenant in self.told.live.keys().filter(|tenant| !live.contains_key(tenant)) {
            pipe.hdel(keys::live(*tenant), self.who.node.to_string()).ignore();
        }
        pipe.hset(keys::NODES, self.who.node.to_string(), self.member(position)).ignore();
        if pipe.exec_async(&mut self.redis).await.is_ok() {
            self.told.at = Some(Instant::now());
            self.told.position = position;
            self.told.live = live;
        }
    }

    /// Leaves the list of members.
    pub(super) async fn leave(&mut self) {
        let node = self.who.node.to_string();
        let mut pipe = redis::pipe();
        for tenant in self.told.live.keys() {
            pipe.hdel(keys::live(*tenant), &node).ignore();
        }
        pipe.hdel(keys::NODES, &node).ignore();
        // Whoever does not hear of it will find the node silent.
        let _ = pipe.exec_async(&mut self.redis).await;
    }

    fn member(&self, position: Position) -> Vec<u8> {
        let member = Member {
            node: self.who.node,
            boot: self.who.boot,
            address: self.who.address.clone(),
            seen: self.clock.now(),
            epoch: position.epoch,
            change: self.told.change,
            revocation: position.revocation,
        };
        seal(&self.member, keys::NODES, self.who.node, &member)
    }

    fn live(&self, tenant: TenantId, (epoch, revision): (u64, u64)) -> Vec<u8> {
        seal(&self.live, &keys::live(tenant), self.who.node, &Live { boot: self.who.boot, epoch, revision })
    }
}

fn seal(sealer: &Sealer, key: &str, node: NodeId, value: &impl serde::Serialize) -> Vec<u8> {
    let plain = serde_json::to_vec(value).unwrap_or_default();
    sealer.seal(&[key.as_bytes(), node.to_string().as_bytes()], &plain)
}

impl fmt::Debug for Acks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acks").field("who", &self.who).finish_non_exhaustive()
    }
}
