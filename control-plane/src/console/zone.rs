//! The zone in which times are shown and read: the viewer's, as their browser says in a cookie; UTC where it does not.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use chrono::{DateTime, NaiveDateTime, SecondsFormat, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;

use super::cookie;

/// The cookie that `sluice.js` sets. It holds nothing secret, and what is no zone counts as UTC.
const COOKIE: &str = "zone";

/// A zone of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Zone(Tz);

/// The present time, and where it is looked at from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Present {
    pub(crate) now: DateTime<Utc>,
    pub(crate) zone: Zone,
}

impl Zone {
    /// Everybody's.
    pub(crate) const UTC: Self = Self(Tz::UTC);

    /// The one of a name of the zone database: `Europe/Paris`.
    pub(crate) fn find(name: &str) -> Option<Self> {
        name.parse().ok().map(Self)
    }

    /// The one that a browser said.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        cookie::find(headers, COOKIE).and_then(Self::find).unwrap_or(Self::UTC)
    }

    /// Its name, as it is printed beside times.
    pub(crate) fn name(self) -> &'static str {
        self.0.name()
    }

    /// A time as clocks there show it.
    pub(crate) fn local(self, at: DateTime<Utc>) -> DateTime<Tz> {
        at.with_timezone(&self.0)
    }

    /// When clocks there show this: the first time where they show it twice, an hour later where they leave it out.
    pub(crate) fn read(self, shown: NaiveDateTime) -> DateTime<Utc> {
        let found = |shown: &NaiveDateTime| self.0.from_local_datetime(shown).earliest();
        found(&shown).or_else(|| found(&(shown + TimeDelta::hours(1)))).map_or(shown.and_utc(), |at| at.to_utc())
    }

    /// A time for an address, to the second: `2026-11-19T14:30:00+01:00`.
    pub(crate) fn written(self, at: DateTime<Utc>) -> String {
        self.local(at).to_rfc3339_opts(SecondsFormat::Secs, true)
    }
}

impl<S: Sync> FromRequestParts<S> for Zone {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_clocks_show_twice_or_never_are_read_all_the_same() {
        let paris = Zone::find("Europe/Paris").unwrap();
        let read = |text: &str| paris.read(text.parse().unwrap()).to_rfc3339_opts(SecondsFormat::Secs, true);
        assert_eq!(read("2026-11-19T15:00:00"), "2026-11-19T14:00:00Z");
        assert_eq!(read("2026-10-25T02:30:00"), "2026-10-25T00:30:00Z", "the first of two");
        assert_eq!(read("2026-03-29T02:30:00"), "2026-03-29T01:30:00Z", "left out");
        assert_eq!(paris.written("2026-11-19T14:00:00Z".parse().unwrap()), "2026-11-19T15:00:00+01:00");
    }

    #[test]
    fn what_is_no_zone_is_utc() {
        for cookie in ["zone=Mars/Olympus", "zone=", "zone=Europe/Paris; zone=Asia/Tokyo", "other=1"] {
            let headers = [("cookie".parse().unwrap(), cookie.parse().unwrap())].into_iter().collect();
            assert_eq!(Zone::of(&headers), Zone::UTC, "{cookie}");
        }
    }
}
