//! The tables of the protocol, row by row, and any order of many sources' frames.

use bytes::Bytes;
use domain::{BootId, CallId, NodeId};
use proptest::prelude::*;

use super::*;

fn source(boot: u128) -> Source {
    Source { node: NodeId::from_uuid(Uuid::from_u128(1)), boot: BootId::from_uuid(Uuid::from_u128(boot)), shard: 3 }
}

fn tenant(number: u128) -> TenantId {
    TenantId::from_uuid(Uuid::from_u128(number))
}

fn call(number: u128) -> CallId {
    CallId::from_uuid(Uuid::from_u128(number))
}

fn body(text: &str) -> Body {
    Body { record: Bytes::copy_from_slice(text.as_bytes()), private: None }
}

fn intent(number: u128) -> Entry {
    Entry::Intent { tenant: tenant(7), call: call(number), n: 0, body: body("intent") }
}

fn outcome(number: u128) -> Entry {
    Entry::Final { tenant: tenant(7), call: call(number), n: 0, had_intent: true, body: body("final") }
}

fn denied(n: u64) -> Entry {
    Entry::Final { tenant: tenant(7), call: call(99), n, had_intent: false, body: body("denied") }
}

fn arrived(boot: u128, s: u64, entries: &[Entry]) -> Arrived {
    Arrived { source: source(boot), s, content: Content::Entries(Frame { entries: entries.to_vec() }) }
}

fn log(world: &World, tenant: TenantId) -> Vec<&What> {
    world.log.appends.iter().filter(|append| append.tenant == tenant).map(|append| &append.what).collect()
}

#[test]
fn an_outcome_follows_its_intent_and_leaves_no_row() {
    let mut world = World::default();
    assert_eq!(world.apply(arrived(1, 1, &[intent(1)])), Verdict::Applied);
    assert!(matches!(world.opens.find(tenant(7), call(1)), Some(Open::Open { .. })));
    assert_eq!(world.apply(arrived(1, 2, &[outcome(1)])), Verdict::Applied);
    assert_eq!(log(&world, tenant(7)), [&What::Final(body("final"))]);
    assert_eq!(world.opens.changes().count(), 0, "what came and went in one batch is not written");
}

#[test]
fn a_stored_row_is_deleted_by_its_outcome() {
    let mut world = World::default();
    world.sources.insert(source(1), SourceState { wm: 1, life: Life::Live, ..SourceState::default() });
    world.opens.load(tenant(7), call(1), Open::Open { source: source(1), n: 0, intent: body("intent") });
    assert_eq!(world.opens.changes().count(), 0);
    world.apply(arrived(1, 2, &[outcome(1)]));
    assert_eq!(world.opens.changes().collect::<Vec<_>>(), [((tenant(7), call(1)), Change::Delete)]);
}

#[test]
fn a_frame_that_comes_twice_has_one_effect() {
    let mut world = World::default();
    assert_eq!(world.apply(arrived(1, 1, &[denied(0)])), Verdict::Applied);
    assert_eq!(world.apply(arrived(1, 1, &[denied(0)])), Verdict::Duplicate);
    assert_eq!(world.log.appends.len(), 1);
}

#[test]
fn a_gap_before_the_first_frames_of_a_run_is_named_to_whom_it_serves() {
    let mut world = World::default();
    assert_eq!(world.apply(arrived(1, 4, &[denied(9)])), Verdict::Held);
    world.give_up(source(1), GapReason::SetBack);
    let missing: Ranges = [(1, 4)].into_iter().collect();
    let gap = What::Gap { source: source(1), missing, reason: GapReason::SetBack };
    assert_eq!(log(&world, tenant(7)), [&gap, &What::Final(body("denied"))]);
    assert_eq!(log(&world, DEPLOYMENT), [&gap]);
}

#[test]
fn a_tenant_whose_first_records_of_a_run_were_in_a_gap_is_told_when_it_is_first_seen() {
    let of = |number, n: u64| {
        let (tenant, call) = (tenant(number), call(n.into()));
        Entry::Final { tenant, call, n, had_intent: false, body: body("") }
    };
    let mut world = World::default();
    world.apply(arrived(1, 1, &[denied(0)]));
    world.apply(arrived(1, 3, &[denied(1), of(8, 1)]));
    world.give_up(source(1), GapReason::Lost);
    let missing: Ranges = [(2, 3)].into_iter().collect();
    let gap = What::Gap { source: source(1), missing, reason: GapReason::Lost };
    assert_eq!(log(&world, tenant(8)), [&gap, &What::Final(body(""))], "told once, before its record");
    // Nothing of these waited when frame 2 was given up.
    world.apply(arrived(1, 4, &[of(9, 2), of(9, 3)]));
    assert_eq!(log(&world, tenant(9)), [&gap, &What::Final(body("")), &What::Final(body(""))]);
    let first = Entry::Note { tenant: tenant(10), n: 0, body: body("first") };
    world.apply(arrived(1, 5, &[first]));
    assert_eq!(log(&world, tenant(10)), [&What::Note(body("first"))], "it lacks nothing");
    assert_eq!(log(&world, tenant(7)).iter().filter(|what| **what == &gap).count(), 1);
}

#[test]
fn a_frame_waits_for_its_predecessors() {
    let mut world = World::default();
    assert_eq!(world.apply(arrived(1, 2, &[outcome(1)])), Verdict::Held);
    assert_eq!(world.apply(arrived(1, 2, &[outcome(1)])), Verdict::Duplicate);
    assert!(world.log.appends.is_empty());
    world.apply(arrived(1, 1, &[intent(1)]));
    assert_eq!((world.sources[&source(1)].wm, world.sources[&source(1)].held.len()), (2, 0));
    assert_eq!(log(&world, tenant(7)), [&What::Final(body("final"))]);
}

#[test]
fn a_silent_source_lapses_and_what_comes_later_is_late() {
    let mut world = World { tick: 5, ..World::default() };
    world.apply(arrived(1, 1, &[intent(1)]));
    world.tick += LAPSE_TICKS - 1;
    assert!(world.due().is_empty());
    world.tick += 1;
    assert_eq!(world.due(), [source(1)]);
    world.lapse(source(1));
    assert!(world.due().is_empty());
    let end =
        |clean| What::BootEnd { source: source(1), last_s: 1, last_n: Some(0), clean, missing: Ranges::default() };
    assert_eq!(log(&world, tenant(7)), [&What::Unknown(body("intent")), &end(false)]);
    assert_eq!(log(&world, DEPLOYMENT).len(), 1);

    world.apply(arrived(1, 2, &[outcome(1)]));
    assert_eq!(world.sources[&source(1)].life, Life::Live);
    assert_eq!(log(&world, tenant(7))[2], &What::Late { body: body("final"), amends: 0 });
    assert_eq!(world.opens.find(tenant(7), call(1)), Some(&Open::Done));
}

#[test]
fn a_hole_is_named_when_its_source_lapses_and_filled_when_its_frame_comes() {
    let mut world = World::default();
    world.apply(arrived(1, 1, &[denied(0)]));
    world.apply(arrived(1, 3, &[outcome(1)]));
    world.lapse(source(1));
    let missing: Ranges = [(2, 3)].into_iter().collect();
    assert_eq!(world.sources[&source(1)].missing, missing);
    assert_eq!(log(&world, tenant(7))[1], &What::Gap { source: source(1), missing, reason: GapReason::Lost });
    assert_eq!(log(&world, tenant(7))[2], &What::Final(body("final")), "its intent lies in the hole");

    assert_eq!(world.apply(arrived(1, 2, &[intent(1)])), Verdict::Applied);
    assert!(world.sources[&source(1)].missing.is_empty());
    world.note_filled();
    let filled = [(2, 3)].into_iter().collect();
    assert_eq!(log(&world, tenant(7)).last(), Some(&&What::GapFilled { source: source(1), filled }));
    assert_eq!(log(&world, tenant(7)).iter().filter(|what| matches!(what, What::Final(_))).count(), 2);
}

#[test]
fn what_fills_gaps_in_one_batch_is_said_once_a_source_and_never_more_than_came() {
    let mut world = World::default();
    let last = 6 * SPANS_MAX as u64;
    world.apply(arrived(1, 1, &[denied(0)]));
    world.apply(arrived(1, last, &[denied(1)]));
    world.give_up(source(1), GapReason::SetBack);
    for s in (2..last).filter(|s| s % 2 == 0) {
        world.apply(arrived(1, s, &[Entry::Beat]));
    }
    let said = |world: &World| -> Vec<Ranges> {
        let filled = |what: &&What| match what {
            What::GapFilled { filled, .. } => Some(filled.clone()),
            _ => None,
        };
        log(world, tenant(7)).iter().filter_map(filled).collect()
    };
    assert_eq!(said(&world), []);
    world.note_filled();
    world.note_filled();
    let said = said(&world);
    assert_eq!(said.len(), 3);
    let all: Vec<(u64, u64)> = said.iter().flat_map(|filled| filled.as_slice().to_vec()).collect();
    assert_eq!(all, (2..last).filter(|s| s % 2 == 0).map(|s| (s, s + 1)).collect::<Vec<_>>());
}

#[test]
fn a_good_bye_is_clean_only_when_nothing_is_missing() {
    let mut world = World::default();
    world.apply(arrived(1, 1, &[denied(0), Entry::End]));
    assert!(matches!(log(&world, DEPLOYMENT)[..], [What::BootEnd { clean: true, .. }]));
    assert_eq!(world.sources[&source(1)].life, Life::Ended);
    world.lapse(source(1));
    assert_eq!(log(&world, DEPLOYMENT).len(), 1, "who said good-bye does not lapse");
}

#[test]
fn a_later_boot_ends_earlier_ones_of_its_own_node_and_shard_only() {
    let mut world = World::default();
    let other_node = Source { node: NodeId::from_uuid(Uuid::from_u128(2)), ..source(1) };
    world.apply(arrived(1, 1, &[intent(1)]));
    world.apply(Arrived { source: other_node, ..arrived(1, 1, &[intent(2)]) });
    let dead = arrived(9, 1, &[Entry::Dead(vec![source(1).boot, source(9).boot])]);
    assert_eq!(sources_of(std::slice::from_ref(&dead)), [source(1), source(9)].into_iter().collect());
    assert!(world.needs(std::slice::from_ref(&dead), &[]).open_of.contains(&source(1)));
    world.apply(dead);
    assert_eq!(world.sources[&source(1)].life, Life::Lapsed);
    assert_eq!(world.sources[&source(9)].life, Life::Live, "a boot can't declare itself dead");
    assert_eq!(world.sources[&other_node].life, Life::Live);
    assert_eq!(log(&world, tenant(7))[0], &What::Unknown(body("intent")));
}

#[test]
fn poison_counts_as_applied_and_is_named() {
    let mut world = World::default();
    world.apply(arrived(1, 1, &[denied(0)]));
    world.apply(Arrived { content: Content::Poison, ..arrived(1, 2, &[]) });
    world.apply(arrived(1, 3, &[denied(1)]));
    assert_eq!(world.sources[&source(1)].wm, 3);
    let gap = |what: &&What| matches!(what, What::Gap { reason: GapReason::Unreadable, .. });
    assert_eq!((log(&world, tenant(7)).iter().filter(|what| gap(what)).count(), log(&world, DEPLOYMENT).len()), (1, 1));
}

#[test]
fn too_many_held_frames_do_not_wait_for_ever() {
    let mut world = World::default();
    for s in 2..=HELD_MAX as u64 + 2 {
        world.apply(arrived(1, s, &[Entry::Beat]));
    }
    let state = &world.sources[&source(1)];
    assert_eq!((state.held.len(), state.wm, state.life), (0, HELD_MAX as u64 + 2, Life::Live));
    assert!(state.missing.contains(1));
    assert!(matches!(log(&world, DEPLOYMENT)[..], [What::Gap { reason: GapReason::Overdue, .. }]));
}

proptest! {
    /// What frames come to does not depend on how often and in what order they come.
    #[test]
    fn any_order_gives_the_same_finals(order in proptest::collection::vec((1_u128..3, 1_u64..9), 0..60)) {
        let frames = |boot: u128, s: u64| {
            let number = boot * 100 + u128::from(s / 2);
            arrived(boot, s, &[if s.is_multiple_of(2) { intent(number) } else { outcome(number) }, Entry::Beat])
        };
        let mut world = World::default();
        for (boot, s) in order {
            world.apply(frames(boot, s));
        }
        for (boot, s) in (1..3).flat_map(|boot| (1..9).map(move |s| (boot, s))) {
            world.apply(frames(boot, s));
        }
        // Of each boot: 1 is an outcome without intent, 2 to 7 are three whole calls, 8 is an open one.
        prop_assert_eq!(log(&world, tenant(7)).len(), 8);
        prop_assert_eq!(world.opens.iter().filter(|(_, open)| matches!(open, Open::Open { .. })).count(), 2);
        prop_assert_eq!(world.log.appends.iter().map(|append| append.seq).collect::<Vec<_>>(), (0..8).collect::<Vec<_>>());
    }
}
