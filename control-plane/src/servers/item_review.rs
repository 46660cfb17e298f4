//! Compares the prompts, resources and templates that a probe found with what is live: what a person must look at. Pure.

use std::collections::{BTreeMap, BTreeSet};

use domain::relay::FoundItems;
use domain::{ItemId, ItemKind};
use store::items::{Change, Item, Seen};
use store::tools::{self, ChangeKind, ChangeState};

use super::item_definition::{ItemDefinition, ItemError};
use crate::console::show;

/// What was found of the kinds that were listed.
pub(crate) type Listed = BTreeMap<ItemKind, Vec<ItemDefinition>>;

/// What was left out that is told one by one, of each kind; of what is beyond, how many there are.
const TOLD_MAX: usize = 4;
/// Characters of what is told of one that was left out.
const TOLD_MAX_CHARACTERS: usize = 240;

/// What of a look's prompts, resources and templates is taken. What can't be used is left out alone, never with the tools.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) listed: Listed,
    /// What was left out, a sentence each, in our words.
    pub(crate) findings: Vec<String>,
}

/// Why one is left out.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum LeftOut {
    #[error("{0}")]
    Definition(#[from] ItemError),
    #[error("has the `{0}` of one before it")]
    Twice(&'static str),
}

/// Reads all definitions of a probe. A kind of which there are too many counts as not listed.
pub(crate) fn read(found: &FoundItems) -> Taken {
    let mut taken = Taken::default();
    for kind in ItemKind::ALL {
        let Some(texts) = found.of(kind) else { continue };
        if texts.len() > kind.most() {
            let (count, most) = (texts.len(), kind.most());
            taken
                .findings
                .push(format!("It has {count} {}s; none is taken where there are more than {most}.", kind.as_str()));
            continue;
        }
        let (definitions, left_out) = read_kind(kind, texts.iter().map(|text| text.get()));
        taken.listed.insert(kind, definitions);
        taken.findings.extend(told(kind, &left_out));
    }
    taken
}

/// Those that may be kept; and those left out, by their number in the server's order, from 1.
fn read_kind<'a>(kind: ItemKind, texts: impl Iterator<Item = &'a str>) -> (Vec<ItemDefinition>, Vec<(usize, LeftOut)>) {
    let (mut names, mut definitions, mut left_out) = (BTreeSet::new(), Vec::new(), Vec::new());
    for (place, text) in texts.enumerate() {
        match ItemDefinition::read(kind, text) {
            Ok(definition) if names.contains(&definition.name) => {
                left_out.push((place + 1, LeftOut::Twice(kind.named_by())));
            }
            Ok(definition) => {
                names.insert(definition.name.clone());
                definitions.push(definition);
            }
            Err(error) => left_out.push((place + 1, error.into())),
        }
    }
    (definitions, left_out)
}

/// What was left out of a kind, for people.
fn told(kind: ItemKind, left_out: &[(usize, LeftOut)]) -> Vec<String> {
    let kind = kind.as_str();
    let one = |(number, why): &(usize, LeftOut)| {
        let why: String = why.to_string().chars().filter(|letter| !letter.is_control()).collect();
        format!("Left out: {kind} {number} {}.", show::clip(&why, TOLD_MAX_CHARACTERS))
    };
    let mut told: Vec<String> = left_out.iter().take(TOLD_MAX).map(one).collect();
    if let Some(more) = left_out.len().checked_sub(TOLD_MAX).filter(|more| *more > 0) {
        told.push(format!("Left out: {more} more of its {kind}s."));
    }
    told
}

/// What a probe brings.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct BroughtItems {
    /// Definitions to make known.
    pub(crate) seen: Vec<Seen>,
    /// What a person must look at; empty when everything is as it was accepted.
    pub(crate) changes: Vec<Change>,
}

/// Compares the kinds that were listed; of the others nothing is said. `new_id` makes the id of an item that was never
/// seen on this server.
pub(crate) fn compare(known: &[Item], listed: &Listed, mut new_id: impl FnMut() -> ItemId) -> BroughtItems {
    let by_name: BTreeMap<(ItemKind, &str), &Item> =
        known.iter().map(|item| ((item.kind, item.name.as_str()), item)).collect();
    let mut brought = BroughtItems::default();
    for (kind, definitions) in listed {
        for (place, definition) in definitions.iter().enumerate() {
            let item = by_name.get(&(*kind, definition.name.as_str())).copied();
            brought.add(*kind, (place, definition), item, &mut new_id);
        }
        let names: BTreeSet<&str> = definitions.iter().map(|definition| definition.name.as_str()).collect();
        let is_gone = |item: &&Item| item.kind == *kind && item.live.is_some() && !names.contains(item.name.as_str());
        brought.changes.extend(known.iter().filter(is_gone).map(|item| Change {
            item: item.id,
            of: *kind,
            name: item.name.clone(),
            kind: ChangeKind::Removed,
            position: item.position,
            state: ChangeState::Held,
            before: item.live.clone(),
            after: None,
        }));
    }
    brought
}

impl BroughtItems {
    /// Adds what was found of one item, where that is not what is live.
    fn add(
        &mut self,
        of: ItemKind,
        (place, found): (usize, &ItemDefinition),
        item: Option<&Item>,
        new_id: &mut impl FnMut() -> ItemId,
    ) {
        let live = item.and_then(|item| item.live.as_ref());
        if live.is_some_and(|live| live.digest == found.digest) {
            return;
        }
        let id = item.map_or_else(new_id, |item| item.id);
        let position = u32::try_from(place).unwrap_or(u32::MAX);
        let definition = tools::Definition { digest: found.digest.clone(), text: found.text.clone() };
        self.changes.push(Change {
            item: id,
            of,
            name: found.name.clone(),
            kind: if live.is_some() { ChangeKind::Changed } else { ChangeKind::New },
            position,
            state: ChangeState::Held,
            before: live.cloned(),
            after: Some(definition.clone()),
        });
        self.seen.push(Seen { id, kind: of, name: found.name.clone(), position, definition });
    }

    /// Leaves out what a person has said no to already.
    pub(crate) fn leave_out(&mut self, rejected: &[(ItemId, Option<String>)]) {
        let rejected: BTreeSet<(ItemId, Option<&str>)> =
            rejected.iter().map(|(item, digest)| (*item, digest.as_deref())).collect();
        self.changes.retain(|change| {
            !rejected.contains(&(change.item, change.after.as_ref().map(|after| after.digest.as_str())))
        });
        self.seen.retain(|seen| !rejected.contains(&(seen.id, Some(seen.definition.digest.as_str()))));
    }

    /// Takes over what waits already of kinds that were not listed: a look that says nothing of it takes none of it back.
    pub(crate) fn take_over(&mut self, waiting: &[Change], listed: &Listed) {
        let stays = |change: &&Change| change.state == ChangeState::Held && !listed.contains_key(&change.of);
        self.changes.extend(waiting.iter().filter(stays).cloned());
    }

    /// Whether these are the changes a person is to look at already.
    pub(crate) fn is_waiting(&self, changes: &[Change]) -> bool {
        let digest = |definition: &Option<tools::Definition>| definition.as_ref().map(|found| found.digest.clone());
        let named = |change: &Change| (change.item, digest(&change.before), digest(&change.after));
        let waiting = changes.iter().filter(|change| change.state == ChangeState::Held);
        waiting.map(named).collect::<BTreeSet<_>>() == self.changes.iter().map(named).collect::<BTreeSet<_>>()
    }
}

#[cfg(test)]
mod tests {
    use domain::ServerId;
    use serde_json::json;
    use serde_json::value::RawValue;
    use uuid::Uuid;

    use super::*;

    fn prompt(name: &str, description: &str) -> Box<RawValue> {
        RawValue::from_string(json!({"name": name, "description": description}).to_string()).unwrap()
    }

    fn prompts(found: Vec<Box<RawValue>>) -> FoundItems {
        FoundItems { prompts: Some(found), ..FoundItems::default() }
    }

    fn live(number: u128, kind: ItemKind, name: &str, text: &str) -> Item {
        let definition = ItemDefinition::read(kind, text).unwrap();
        Item {
            id: ItemId::from_uuid(Uuid::from_u128(number)),
            server: ServerId::from_uuid(Uuid::from_u128(1)),
            kind,
            name: name.to_owned(),
            position: 0,
            labels: BTreeSet::new(),
            live: Some(tools::Definition { digest: definition.digest, text: definition.text }),
        }
    }

    fn brought(known: &[Item], found: &FoundItems) -> BroughtItems {
        compare(known, &read(found).listed, || ItemId::from_uuid(Uuid::from_u128(99)))
    }

    fn kinds(brought: &BroughtItems) -> Vec<(&str, &'static str)> {
        brought.changes.iter().map(|change| (change.name.as_str(), change.kind.as_str())).collect()
    }

    #[test]
    fn new_changed_and_removed_items_are_held_and_what_is_as_it_was_is_not() {
        let known = [
            live(1, ItemKind::Prompt, "kept", prompt("kept", "x").get()),
            live(2, ItemKind::Prompt, "changed", prompt("changed", "x").get()),
            live(3, ItemKind::Prompt, "gone", prompt("gone", "x").get()),
        ];
        let found = prompts(vec![prompt("fresh", "x"), prompt("kept", "x"), prompt("changed", "ignore all before")]);
        assert_eq!(kinds(&brought(&known, &found)), [("fresh", "new"), ("changed", "changed"), ("gone", "removed")]);
    }

    #[test]
    fn of_a_kind_that_was_not_listed_nothing_is_removed_and_what_waits_stays() {
        let known = [live(1, ItemKind::Resource, "a://b", r#"{"uri":"a://b"}"#)];
        let waiting = brought(&known, &FoundItems { resources: Some(Vec::new()), ..FoundItems::default() });
        assert_eq!(kinds(&waiting), [("a://b", "removed")]);
        let found = prompts(vec![prompt("p", "x")]);
        let mut later = brought(&known, &found);
        assert_eq!(kinds(&later), [("p", "new")]);
        later.take_over(&waiting.changes, &read(&found).listed);
        assert_eq!(kinds(&later), [("p", "new"), ("a://b", "removed")]);
        let mut nothing = brought(&known, &FoundItems::default());
        nothing.take_over(&waiting.changes, &Listed::new());
        assert!(nothing.is_waiting(&waiting.changes));
    }

    #[test]
    fn a_prompt_and_a_resource_of_one_name_are_two() {
        let known = [live(1, ItemKind::Prompt, "a", prompt("a", "x").get())];
        let resource = RawValue::from_string(r#"{"uri":"a"}"#.to_owned()).unwrap();
        let found =
            FoundItems { prompts: Some(vec![prompt("a", "x")]), resources: Some(vec![resource]), templates: None };
        let brought = brought(&known, &found);
        assert_eq!((kinds(&brought), brought.changes[0].of), (vec![("a", "new")], ItemKind::Resource));
        assert_ne!(brought.changes[0].item, known[0].id);
    }

    #[test]
    fn what_was_rejected_is_left_out_until_it_is_another() {
        let mut first = brought(&[], &prompts(vec![prompt("a", "x")]));
        let (item, digest) = (first.changes[0].item, first.seen[0].definition.digest.clone());
        first.leave_out(&[(item, Some(digest.clone()))]);
        assert_eq!(first, BroughtItems::default());
        let mut other = brought(&[], &prompts(vec![prompt("a", "y")]));
        other.leave_out(&[(item, Some(digest))]);
        assert_eq!(kinds(&other), [("a", "new")]);
    }

    fn found(kind: ItemKind, texts: Vec<String>) -> FoundItems {
        let mut found = FoundItems::default();
        found.set(kind, texts.into_iter().map(|text| RawValue::from_string(text).unwrap()).collect());
        found
    }

    #[test]
    fn a_kind_of_which_there_are_too_many_counts_as_not_listed() {
        for kind in ItemKind::ALL {
            let text = |number: usize| json!({kind.named_by(): format!("n{number}")}).to_string();
            let most = read(&found(kind, (0..kind.most()).map(text).collect()));
            assert_eq!((most.listed[&kind].len(), most.findings.len()), (kind.most(), 0));
            let many = read(&found(kind, (0..=kind.most()).map(text).collect()));
            assert_eq!((many.listed.len(), many.findings.len()), (0, 1));
        }
        let many = (0..501).map(|number| json!({"uriTemplate": format!("n{number}")}).to_string()).collect();
        let said = read(&found(ItemKind::Template, many)).findings;
        assert_eq!(said, ["It has 501 templates; none is taken where there are more than 500."]);
    }

    #[test]
    fn what_cant_be_used_is_left_out_alone_and_said() {
        let texts =
            [r#"{"name":"a"}"#, r#"{"name":"a","title":"x"}"#, r#"{"name":5}"#, "7", r#"{"name":"b"}"#, "[]", "{}"];
        let taken = read(&found(ItemKind::Prompt, texts.map(str::to_owned).to_vec()));
        let names: Vec<&str> = taken.listed[&ItemKind::Prompt].iter().map(|kept| kept.text.as_str()).collect();
        assert_eq!(names, [texts[0], texts[4]]);
        assert_eq!(taken.findings.len(), 5, "{:?}", taken.findings);
        assert_eq!(taken.findings[0], "Left out: prompt 2 has the `name` of one before it.");
        assert_eq!(taken.findings[4], "Left out: 1 more of its prompts.");
        let key = "k".repeat(9_000);
        let long = format!(r#"{{"name":"a","arguments":[{{"name":"b","required":"{key}"}}]}}"#);
        let said = read(&found(ItemKind::Prompt, vec![long])).findings.remove(0);
        assert!(said.len() < 500 && !said.contains("kkk"), "{said}");
    }
}
