//! Gives records their places: leaf hashes, frontiers and tiles of their tenants' logs, their rows, and what is counted
//! of them (O3.4).

use std::collections::{BTreeMap, BTreeSet};

use audit::merkle::{self, Frontier, Hash};
use audit::notes;
use audit::protocol::{Append, What};
use audit::{Columns, columns::NotARecord};
use chrono::{DateTime, Duration, DurationRound as _, NaiveDate, Utc};
use domain::{RecordId, TenantId, TokenId};
use store::IngestTx;
use store::audit::head::Head;
use store::audit::record::Placed;
use store::audit::rollup::{self, Count};
use store::audit::tile::Tile;
use store::audit::{callers, head, partition, record, tile, token_use};

use super::Means;
use super::personal::{self, PersonalError, PersonalKeys};

/// A record's time is believed when it is at most this old …
const PAST: Duration = Duration::days(2);
/// … or at most this far ahead of the database's clock.
const FUTURE: Duration = Duration::minutes(5);

/// Why records could not be placed.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlaceError {
    /// One could not be made from what came; its frame was sound, so this is a fault of ours.
    #[error("a record could not be made")]
    Render(#[from] notes::NotAnObject),
    /// One that was made does not read back; likewise.
    #[error("a record does not read back")]
    Unreadable(#[from] NotARecord),
    /// A log's frontier does not read back.
    #[error("a log's frontier does not read back")]
    Frontier(#[from] merkle::NotAFrontier),
    /// Its personal part could not be sealed.
    #[error(transparent)]
    Personal(#[from] PersonalError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] store::Error),
}

/// What an owner keeps between its transactions; to be dropped when one fails.
pub(super) struct Caches {
    pub(crate) keys: PersonalKeys,
    days: BTreeSet<NaiveDate>,
}

impl Caches {
    /// Empty ones.
    pub(super) fn new(means: &Means) -> Self {
        Self { keys: PersonalKeys::new(means.needs.master.clone()), days: BTreeSet::new() }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.days.clear();
    }
}

/// Places records in the logs whose heads are locked.
pub(super) async fn place(
    tx: &mut IngestTx,
    means: &Means,
    caches: &mut Caches,
    (appends, mut heads): (&[Append], Vec<Head>),
    now: DateTime<Utc>,
) -> Result<(), PlaceError> {
    if appends.is_empty() {
        return Ok(());
    }
    let mut placed = Vec::with_capacity(appends.len());
    let epochs: BTreeMap<TenantId, u64> = heads.iter().map(|head| (head.tenant, head.epoch)).collect();
    for append in appends {
        let epoch = epochs.get(&append.tenant).copied().unwrap_or(1);
        placed.push(placed_record(tx, means, caches, (append, epoch), now).await?);
    }
    add_partitions(tx, caches, &placed).await?;
    record::add(tx, &placed).await?;
    grow(tx, &mut heads, &placed).await?;
    rollup::add(tx, &counts(&placed)).await?;
    callers::add(tx, &by_caller(&placed)).await?;
    token_use::note(tx, &uses(&placed)).await?;
    Ok(())
}

async fn placed_record(
    tx: &mut IngestTx,
    means: &Means,
    caches: &mut Caches,
    (append, epoch): (&Append, u64),
    now: DateTime<Utc>,
) -> Result<Placed, PlaceError> {
    let body = notes::render(append, RecordId::new(&means.needs.clock), now)?;
    let columns = Columns::of(&body.record)?;
    let time = columns.time.unwrap_or(now);
    let is_plausible = time >= now - PAST && time <= now + FUTURE;
    let part_time = if is_plausible { time } else { now };
    let pii = match &body.private {
        None => None,
        Some(private) => {
            let key = caches.keys.of(tx, append.tenant, part_time).await?;
            Some(personal::seal(key, append.tenant, RecordId::from_uuid(columns.id), private))
        }
    };
    let leaf_hash = merkle::leaf_hash(&body.record);
    let (tenant, seq, received_at) = (append.tenant, append.seq, now);
    Ok(Placed { tenant, epoch, seq, leaf_hash, body: body.record, pii, columns, received_at, time, part_time })
}

async fn add_partitions(tx: &mut IngestTx, caches: &mut Caches, placed: &[Placed]) -> Result<(), store::Error> {
    let days: BTreeSet<NaiveDate> = placed.iter().map(|placed| placed.part_time.date_naive()).collect();
    let new: Vec<NaiveDate> = days.difference(&caches.days).copied().collect();
    if !new.is_empty() {
        partition::add(tx, &new).await?;
        caches.days.extend(new);
    }
    Ok(())
}

/// Carries the frontiers and tiles of the logs along.
async fn grow(tx: &mut IngestTx, heads: &mut Vec<Head>, placed: &[Placed]) -> Result<(), PlaceError> {
    let mut leaves: BTreeMap<TenantId, Vec<Hash>> = BTreeMap::new();
    for placed in placed {
        leaves.entry(placed.tenant).or_default().push(placed.leaf_hash);
    }
    heads.retain(|head| leaves.contains_key(&head.tenant));
    let mut pieces = Vec::new();
    for head in heads.iter_mut() {
        let new = leaves.remove(&head.tenant).unwrap_or_default();
        let mut frontier = Frontier::parse(&head.frontier)?;
        for leaf in &new {
            frontier.append(*leaf);
        }
        pieces.extend(pieces_of(head, 0, head.size, &new));
        head.size = frontier.size();
        head.frontier = frontier.to_bytes();
    }
    head::save(tx, heads).await?;
    let mut level = 0;
    while !pieces.is_empty() {
        let full = tile::append(tx, &pieces).await?;
        level += 1;
        pieces = above(heads, level, &full);
    }
    Ok(())
}

/// Hashes that go to one level of a log from a place on, by tile.
fn pieces_of(head: &Head, level: u8, from: u64, hashes: &[Hash]) -> Vec<Tile> {
    let tile_size = merkle::TILE as u64;
    let mut tiles: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    for (place, hash) in (from..).zip(hashes) {
        tiles.entry(place / tile_size).or_default().extend_from_slice(hash);
    }
    let tile = |(index, hashes)| Tile { tenant: head.tenant, epoch: head.epoch, level, index, hashes };
    tiles.into_iter().map(tile).collect()
}

/// What full tiles give to the level above. They come in order.
fn above(heads: &[Head], level: u8, full: &[Tile]) -> Vec<Tile> {
    let mut pieces = Vec::new();
    for head in heads {
        let mut of_head = full.iter().filter(|tile| tile.tenant == head.tenant).peekable();
        let Some(first) = of_head.peek().map(|tile| tile.index) else { continue };
        let roots: Vec<Hash> = of_head.map(|tile| merkle::tile_root(tile.hashes.as_chunks::<32>().0)).collect();
        pieces.extend(pieces_of(head, level, first, &roots));
    }
    pieces
}

/// Calls that have their last word, counted by what charts ask for.
fn counts(placed: &[Placed]) -> Vec<Count> {
    let mut counts: BTreeMap<_, (i64, i64)> = BTreeMap::new();
    for placed in placed.iter().filter(|placed| placed.columns.is_final && placed.columns.kind == "call") {
        let columns = &placed.columns;
        let duration = columns.dur_total.map(|took| took.max(0));
        let minute = placed.part_time.duration_trunc(Duration::minutes(1)).unwrap_or(placed.part_time);
        // The name of a tool nobody knows is the caller's to choose: it is not counted by.
        let tool = columns.server_id.and(columns.tool_name.as_deref()).unwrap_or_default();
        let (effect, status) = (columns.effect.as_deref(), columns.status.as_deref());
        let bucket = duration.map_or(rollup::UNTIMED, |took| rollup::bucket(took.cast_unsigned()));
        let words = (tool, effect.unwrap_or_default(), status.unwrap_or_default());
        let count = counts.entry((placed.tenant, minute, columns.server_id, words, bucket)).or_default();
        count.0 += 1;
        count.1 = count.1.saturating_add(duration.unwrap_or(0));
    }
    let count = |((tenant, minute, server, (tool, effect, status), bucket), (count, duration_us))| Count {
        tenant,
        minute,
        server,
        tool: short(tool),
        effect: short(effect),
        status: short(status),
        bucket,
        count,
        duration_us,
    };
    counts.into_iter().map(count).collect()
}

/// All records that begin when they say, counted by who made them and how they ended.
fn by_caller(placed: &[Placed]) -> Vec<callers::Count> {
    let mut counts: BTreeMap<_, callers::Count> = BTreeMap::new();
    for placed in placed.iter().filter(|placed| placed.part_time == placed.time) {
        let (columns, time) = (&placed.columns, placed.time);
        let hour = time.duration_trunc(Duration::hours(1)).unwrap_or(time);
        let texts = [
            Some(&columns.kind),
            columns.actor_kind.as_ref(),
            columns.actor_id.as_ref(),
            columns.client_name.as_ref(),
            columns.effect.as_ref(),
            columns.status.as_ref(),
        ]
        // As the record's columns have them: no two counts are of the same.
        .map(|text| text.map_or("", |text| record::column_text(text)));
        let count = counts.entry((placed.tenant, hour, texts)).or_insert_with(|| {
            let [kind, actor_kind, actor_id, client_name, effect, status] = texts.map(str::to_owned);
            let (tenant, first, last) = (placed.tenant, time, time);
            callers::Count {
                tenant,
                hour,
                kind,
                actor_kind,
                actor_id,
                client_name,
                effect,
                status,
                count: 0,
                first,
                last,
            }
        });
        count.count += 1;
        (count.first, count.last) = (count.first.min(time), count.last.max(time));
    }
    counts.into_values().collect()
}

/// A text as an index takes it.
fn short(text: &str) -> String {
    text[..text.floor_char_boundary(200)].to_owned()
}

/// When tokens made calls.
fn uses(placed: &[Placed]) -> Vec<(TenantId, TokenId, DateTime<Utc>)> {
    let calls = placed.iter().filter(|placed| matches!(placed.columns.kind.as_str(), "call" | "mcp_request"));
    calls.filter_map(|placed| Some((placed.tenant, placed.columns.token_id?, placed.part_time))).collect()
}

/// What there was of the kinds that someone may want to know of.
pub(super) fn tally(means: &Means, appends: &[Append]) {
    let count = |test: fn(&What) -> bool| appends.iter().filter(|append| test(&append.what)).count();
    let metrics = &means.metrics;
    metrics.records.add(appends.len());
    metrics.unknown.add(count(|what| matches!(what, What::Unknown(_))));
    metrics.gaps.add(count(|what| matches!(what, What::Gap { .. })));
    metrics.late.add(count(|what| matches!(what, What::Late { .. })));
}
