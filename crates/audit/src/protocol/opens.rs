//! The calls whose intent came, as far as a batch touches them.

use std::collections::BTreeMap;

use domain::{CallId, TenantId};

use super::Open;

/// The rows of the table of open calls, as far as they are touched.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Opens {
    rows: BTreeMap<(TenantId, CallId), Row>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Row {
    /// Whether the table has a row for it.
    stored: bool,
    changed: bool,
    now: Option<Open>,
}

/// What is to be done to the table of open calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change<'a> {
    /// Insert or replace.
    Put(&'a Open),
    /// Delete.
    Delete,
}

impl Opens {
    /// Takes in a row as it stands in the table.
    pub fn load(&mut self, tenant: TenantId, call: CallId, open: Open) {
        self.rows.entry((tenant, call)).or_insert(Row { stored: true, changed: false, now: Some(open) });
    }

    /// The row as it is now.
    #[must_use]
    pub fn find(&self, tenant: TenantId, call: CallId) -> Option<&Open> {
        self.rows.get(&(tenant, call))?.now.as_ref()
    }

    /// All rows as they are now.
    pub fn iter(&self) -> impl Iterator<Item = ((TenantId, CallId), &Open)> {
        self.rows.iter().filter_map(|(key, row)| Some((*key, row.now.as_ref()?)))
    }

    /// What differs from the table; a row that came and went within the batch does not.
    pub fn changes(&self) -> impl Iterator<Item = ((TenantId, CallId), Change<'_>)> {
        self.rows.iter().filter_map(|(key, row)| match (&row.now, row.stored) {
            (Some(open), _) if row.changed => Some((*key, Change::Put(open))),
            (None, true) => Some((*key, Change::Delete)),
            _ => None,
        })
    }

    /// The changes have been stored.
    pub fn settle(&mut self) {
        self.rows.retain(|_, row| row.now.is_some());
        self.rows.values_mut().for_each(|row| (row.stored, row.changed) = (true, false));
    }

    pub(super) fn set(&mut self, key: (TenantId, CallId), now: Option<Open>) {
        let row = self.rows.entry(key).or_insert(Row { stored: false, changed: false, now: None });
        (row.changed, row.now) = (true, now);
    }
}
