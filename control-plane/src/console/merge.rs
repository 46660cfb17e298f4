//! Two people who change the same thing: what only one of them changed stands, what both changed is asked about.

use chrono::{DateTime, Utc};
use domain::UserId;
use store::people::Membership;
use store::tenants::LastChange;

use super::show;

/// A field of a form: what it held when the form was opened, what is kept now, and what the form sends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<'a> {
    /// As people read it: `Role`.
    pub(crate) label: &'static str,
    /// None: the form does not say, and what it sends stands.
    pub(crate) was: Option<&'a str>,
    pub(crate) now: &'a str,
    pub(crate) sent: &'a str,
}

impl Field<'_> {
    /// Whether somebody else changed it to something else meanwhile.
    fn is_contested(&self) -> bool {
        self.was.is_some_and(|was| was != self.now && was != self.sent) && self.now != self.sent
    }

    /// What it is to be, where nothing is contested.
    pub(crate) fn merged(&self) -> String {
        if self.was == Some(self.sent) { self.now.to_owned() } else { self.sent.to_owned() }
    }
}

/// What two people changed at once, to be decided by the later one. Nothing was changed.
#[derive(Debug, Clone)]
pub(crate) struct Conflict {
    /// Who was first, as a sentence begins with them.
    pub(crate) who: String,
    pub(crate) at: Option<DateTime<Utc>>,
    pub(crate) fields: Vec<Contested>,
}

/// A field that both changed.
#[derive(Debug, Clone)]
pub(crate) struct Contested {
    pub(crate) label: &'static str,
    pub(crate) now: String,
    pub(crate) sent: String,
}

impl Conflict {
    /// What of these fields is contested; none where nothing is. `me` sends the form, `last` changed it before.
    pub(crate) fn find(fields: &[Field<'_>], me: UserId, last: LastChange, people: &[Membership]) -> Option<Self> {
        let contested = fields.iter().filter(|field| field.is_contested());
        let shown = |text: &str| if text.is_empty() { "nothing".to_owned() } else { text.to_owned() };
        let fields: Vec<Contested> = contested
            .map(|field| Contested { label: field.label, now: shown(field.now), sent: shown(field.sent) })
            .collect();
        let name = |user| people.iter().find(|member| member.user == user).map(|member| show::visible(&member.name));
        let who = match last.by {
            Some(user) if user == me => "You".to_owned(),
            by => by.and_then(name).unwrap_or_else(|| "Somebody".to_owned()),
        };
        (!fields.is_empty()).then_some(Self { who, at: last.at, fields })
    }

    /// Says the values of a field as people read them.
    pub(crate) fn spelled(mut self, label: &str, spell: impl Fn(&str) -> String) -> Self {
        for field in self.fields.iter_mut().filter(|field| field.label == label) {
            field.now = spell(&field.now);
            field.sent = spell(&field.sent);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field<'a>(was: Option<&'a str>, now: &'a str, sent: &'a str) -> Field<'a> {
        Field { label: "Name", was, now, sent }
    }

    #[test]
    fn only_what_both_changed_differently_is_contested() {
        for (was, now, sent, contested, merged) in [
            (Some("a"), "a", "a", false, "a"),
            (Some("a"), "a", "b", false, "b"),
            (Some("a"), "b", "a", false, "b"),
            (Some("a"), "b", "b", false, "b"),
            (Some("a"), "b", "c", true, "c"),
            (None, "b", "c", false, "c"),
        ] {
            let field = field(was, now, sent);
            assert_eq!((field.is_contested(), field.merged().as_str()), (contested, merged), "{field:?}");
        }
    }

    #[test]
    fn a_conflict_says_who_was_first() {
        let (me, other) = (UserId::from_uuid(uuid::Uuid::from_u128(1)), UserId::from_uuid(uuid::Uuid::from_u128(2)));
        let by = |by| LastChange { by, at: None };
        let find = |fields: &[Field<'_>], last| Conflict::find(fields, me, last, &[]);
        assert!(find(&[field(Some("a"), "b", "a")], by(Some(other))).is_none());
        let found = find(&[field(Some("a"), "b", "c"), field(Some("a"), "a", "c")], by(Some(me))).unwrap();
        assert_eq!((found.who.as_str(), found.fields.len()), ("You", 1));
        assert_eq!(find(&[field(Some("a"), "", "c")], by(None)).unwrap().fields[0].now, "nothing");
    }
}
