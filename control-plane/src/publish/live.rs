//! How far the nodes have come, from what they say themselves.

use std::collections::HashMap;
use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use domain::projection::{self, Member, SILENT_AFTER_MS, keys};
use domain::{Clock, NodeId, TenantId};
use redis::aio::ConnectionManager;
use redis::{AsyncCommands, RedisError};
use secrets::{MasterKey, Purpose, Sealer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use store::published::Publication;
use utoipa::ToSchema;

/// How long a silent node stays in the list of members.
const FORGOTTEN_AFTER: TimeDelta = TimeDelta::hours(24);

/// Reads the nodes' acknowledgements.
#[derive(Clone)]
pub struct Live {
    redis: ConnectionManager,
    member: Sealer,
    revisions: Sealer,
    clock: Clock,
}

/// On which nodes a change is live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Reach {
    /// On how many it is.
    pub live: usize,
    /// Of how many.
    pub of: usize,
    /// Each of them; a silent one is named as unknown, never left out.
    pub nodes: Vec<NodeReach>,
}

/// How far one node has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct NodeReach {
    /// Which.
    #[schema(value_type = String)]
    pub id: NodeId,
    /// Whether the change is live there.
    pub reached: Reached,
    /// When the node last said anything.
    pub seen: DateTime<Utc>,
}

/// Whether a change is live on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reached {
    /// It is.
    Yes,
    /// The node still has something older.
    NotYet,
    /// The node is silent.
    Unknown,
}

impl Live {
    /// Reads what the nodes of this deployment say.
    #[must_use]
    pub fn new(redis: ConnectionManager, master: &MasterKey, deployment: &str, clock: Clock) -> Self {
        let sealer = |purpose| master.sealer(purpose, deployment);
        Self { redis, member: sealer(Purpose::Member), revisions: sealer(Purpose::Live), clock }
    }

    /// The members, those that are silent too.
    ///
    /// # Errors
    /// [`RedisError`] when Redis can't be asked.
    pub async fn members(&self) -> Result<Vec<Member>, RedisError> {
        let found: HashMap<String, Vec<u8>> = self.redis.clone().hgetall(keys::NODES).await?;
        let mut members: Vec<Member> =
            found.iter().filter_map(|(node, sealed)| read(&self.member, keys::NODES, node, sealed)).collect();
        members.retain(|member| self.clock.now() - member.seen < FORGOTTEN_AFTER);
        members.sort_by_key(|member| member.node);
        Ok(members)
    }

    /// On which nodes a tenant's publication is live.
    ///
    /// # Errors
    /// [`RedisError`] when Redis can't be asked.
    pub async fn publication(&self, tenant: TenantId, published: &Publication) -> Result<Reach, RedisError> {
        let key = keys::live(tenant);
        let said: HashMap<String, Vec<u8>> = self.redis.clone().hgetall(&key).await?;
        let wanted = (published.epoch, published.revision);
        let members = self.members().await?;
        Ok(self.reach(&members, |member| {
            let node = member.node.to_string();
            let live: Option<projection::Live> =
                said.get(&node).and_then(|sealed| read(&self.revisions, &key, &node, sealed));
            match live.filter(|live| live.boot == member.boot) {
                Some(live) => (live.epoch, live.revision) >= wanted,
                // A node that has not loaded the tenant will load what is published then.
                None => (member.epoch, member.change) >= (published.epoch, published.change),
            }
        }))
    }

    /// On which nodes a token's revocation is applied.
    ///
    /// # Errors
    /// [`RedisError`] when Redis can't be asked.
    pub async fn revocation(&self, number: u64) -> Result<Reach, RedisError> {
        let members = self.members().await?;
        Ok(self.reach(&members, |member| member.revocation >= number))
    }

    fn reach(&self, members: &[Member], is_live: impl Fn(&Member) -> bool) -> Reach {
        let silent_after = TimeDelta::milliseconds(SILENT_AFTER_MS);
        let nodes: Vec<_> = members
            .iter()
            .map(|member| {
                let reached = if self.clock.now() - member.seen > silent_after {
                    Reached::Unknown
                } else if is_live(member) {
                    Reached::Yes
                } else {
                    Reached::NotYet
                };
                NodeReach { id: member.node, reached, seen: member.seen }
            })
            .collect();
        let live = nodes.iter().filter(|one| one.reached == Reached::Yes).count();
        Reach { live, of: nodes.len(), nodes }
    }
}

/// Opens what a node says of itself; what does not open was not said by a node of ours.
fn read<T: DeserializeOwned>(sealer: &Sealer, key: &str, node: &str, bytes: &[u8]) -> Option<T> {
    let opened = sealer.open(&[key.as_bytes(), node.as_bytes()], bytes).ok()?;
    serde_json::from_slice(&opened).ok()
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Live")
    }
}
