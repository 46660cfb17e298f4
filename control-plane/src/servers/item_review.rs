//! Compares the prompts, resources and templates that a probe found with what is live: what a person must look at. Pure.

use std::collections::{BTreeMap, BTreeSet};

use domain::relay::FoundItems;
use domain::{ItemId, ItemKind};
use store::items::{Change, Item, Seen};
use store::tools::{self, ChangeKind, ChangeState};

use super::item_definition::ItemDefinition;
use super::review::FoundError;

/// What was found of the kinds that were listed.
pub(crate) type Listed = BTreeMap<ItemKind, Vec<ItemDefinition>>;

/// Reads all definitions of a probe.
pub(crate) fn read(found: &FoundItems) -> Result<Listed, FoundError> {
    let mut listed = Listed::new();
    for kind in ItemKind::ALL {
        if let Some(texts) = found.of(kind) {
            let texts: Vec<&str> = texts.iter().map(|text| text.get()).collect();
            listed.insert(kind, read_kind(kind, &texts)?);
        }
    }
    Ok(listed)
}

fn read_kind(kind: ItemKind, texts: &[&str]) -> Result<Vec<ItemDefinition>, FoundError> {
    if texts.len() > kind.most() {
        return Err(FoundError::TooManyItems { kind, count: texts.len() });
    }
    let mut names = BTreeSet::new();
    let mut definitions = Vec::with_capacity(texts.len());
    for (place, text) in texts.iter().enumerate() {
        let number = place + 1;
        let definition = ItemDefinition::read(kind, text).map_err(|error| FoundError::Item { kind, number, error })?;
        if !names.insert(definition.name.clone()) {
            return Err(FoundError::ItemTwice { kind, number });
        }
        definitions.push(definition);
    }
    Ok(definitions)
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
        compare(known, &read(found).unwrap(), || ItemId::from_uuid(Uuid::from_u128(99)))
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
        later.take_over(&waiting.changes, &read(&found).unwrap());
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

    #[test]
    fn too_many_of_a_kind_or_two_of_one_name_are_refused() {
        for kind in ItemKind::ALL {
            let text = |number: usize| json!({kind.named_by(): format!("n{number}")}).to_string();
            let many: Vec<String> = (0..=kind.most()).map(text).collect();
            let mut many: Vec<&str> = many.iter().map(String::as_str).collect();
            assert_eq!(read_kind(kind, &many), Err(FoundError::TooManyItems { kind, count: kind.most() + 1 }));
            many.truncate(kind.most());
            assert_eq!(read_kind(kind, &many).unwrap().len(), kind.most());
            assert_eq!(read_kind(kind, &[many[0], many[0]]), Err(FoundError::ItemTwice { kind, number: 2 }));
        }
        let error = FoundError::TooManyItems { kind: ItemKind::Template, count: 501 };
        assert_eq!(error.to_string(), "the server has 501 templates; at most 500 are taken");
    }
}
