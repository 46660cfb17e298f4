//! What an upstream was found to speak, era by era, and which of them a call is made in.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mcp::Era;
use tokio::time::Instant;

/// For how long it is believed. A server that learns another era is heard of then, and one that forgets an era at once: it
/// refuses what it does not know.
pub(super) const LEARNED: Duration = Duration::from_hours(24);

/// For how long it is believed that it lacks an era which it had before, or whose absence a bare status alone told: a server
/// that is being released, or a proxy before it, says so for a while.
pub(super) const DOUBTED: Duration = Duration::from_mins(5);

/// What an upstream was found to speak.
#[derive(Debug)]
pub(super) struct Learned {
    began: Instant,
    modern: Fact,
    legacy: Fact,
}

/// Whether it speaks one era: in the lowest bit the answer, above it until when that is believed, in seconds since the
/// beginning; 0 is unknown.
#[derive(Debug, Default)]
struct Fact(AtomicU64);

/// How to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// In this era.
    Speak(Era),
    /// It is not known whether it speaks the modern era, which has to be asked first.
    Ask,
}

impl Learned {
    /// Knows what a probe found that asked for the modern era first; without one, nothing.
    pub(super) fn probed(found: Option<Era>, now: Instant) -> Self {
        let learned = Self { began: now, modern: Fact::default(), legacy: Fact::default() };
        match found {
            Some(Era::Modern) => learned.note(Era::Modern, true, now),
            Some(Era::Legacy) => {
                learned.note(Era::Modern, false, now);
                learned.note(Era::Legacy, true, now);
            }
            None => {}
        }
        learned
    }

    /// Whether it speaks that era; `None` is unknown.
    pub(super) fn speaks(&self, era: Era, now: Instant) -> Option<bool> {
        let fact = self.fact(era).0.load(Ordering::Relaxed);
        (fact >> 1 > self.seconds(now)).then_some(fact & 1 == 1)
    }

    /// Remembers whether it speaks that era.
    pub(super) fn note(&self, era: Era, speaks: bool, now: Instant) {
        self.store((era, speaks), LEARNED, now);
    }

    /// Takes it to lack that era for [`DOUBTED`].
    pub(super) fn doubt(&self, era: Era, now: Instant) {
        self.store((era, false), DOUBTED, now);
    }

    fn store(&self, (era, speaks): (Era, bool), within: Duration, now: Instant) {
        let until = self.seconds(now) + within.as_secs();
        self.fact(era).0.store(until << 1 | u64::from(speaks), Ordering::Relaxed);
    }

    /// Believes no longer what was found of that era.
    pub(super) fn forget(&self, era: Era) {
        self.fact(era).0.store(0, Ordering::Relaxed);
    }

    /// The era to speak for a client of this one: its own where the upstream speaks both, so that what either side may ask
    /// in the middle of a call needs no translation.
    ///
    /// An unknown legacy era is tried: `initialize` has no effect but a session. The modern one is asked for first, since
    /// whoever does not know it may take what it understands of a modern call for one of its own.
    pub(super) fn choose(&self, client: Era, now: Instant) -> Choice {
        match (client, self.speaks(Era::Modern, now), self.speaks(Era::Legacy, now)) {
            (Era::Legacy, _, None | Some(true)) | (_, Some(false), _) => Choice::Speak(Era::Legacy),
            (_, Some(true), _) => Choice::Speak(Era::Modern),
            (_, None, _) => Choice::Ask,
        }
    }

    const fn fact(&self, era: Era) -> &Fact {
        match era {
            Era::Modern => &self.modern,
            Era::Legacy => &self.legacy,
        }
    }

    fn seconds(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_secs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEAK_MODERN: Choice = Choice::Speak(Era::Modern);
    const SPEAK_LEGACY: Choice = Choice::Speak(Era::Legacy);

    #[test]
    fn a_client_is_spoken_for_in_its_own_era_where_there_is_a_choice() {
        let now = Instant::now();
        for (modern, legacy, for_modern, for_legacy) in [
            (None, None, Choice::Ask, SPEAK_LEGACY),
            (None, Some(true), Choice::Ask, SPEAK_LEGACY),
            (None, Some(false), Choice::Ask, Choice::Ask),
            (Some(true), None, SPEAK_MODERN, SPEAK_LEGACY),
            (Some(true), Some(true), SPEAK_MODERN, SPEAK_LEGACY),
            (Some(true), Some(false), SPEAK_MODERN, SPEAK_MODERN),
            (Some(false), None, SPEAK_LEGACY, SPEAK_LEGACY),
            (Some(false), Some(true), SPEAK_LEGACY, SPEAK_LEGACY),
            (Some(false), Some(false), SPEAK_LEGACY, SPEAK_LEGACY),
        ] {
            let learned = Learned::probed(None, now);
            for (era, speaks) in [(Era::Modern, modern), (Era::Legacy, legacy)] {
                if let Some(speaks) = speaks {
                    learned.note(era, speaks, now);
                }
                assert_eq!(learned.speaks(era, now), speaks);
            }
            let chosen = (learned.choose(Era::Modern, now), learned.choose(Era::Legacy, now));
            assert_eq!(chosen, (for_modern, for_legacy), "{modern:?} {legacy:?}");
        }
    }

    #[test]
    fn what_was_found_is_believed_for_a_day() {
        let began = Instant::now();
        let learned = Learned::probed(Some(Era::Legacy), began);
        let later = began + Duration::from_hours(12);
        learned.note(Era::Legacy, false, later);
        let day = began + LEARNED;
        assert_eq!(learned.speaks(Era::Modern, day - Duration::from_secs(1)), Some(false));
        assert_eq!((learned.speaks(Era::Modern, day), learned.speaks(Era::Legacy, day)), (None, Some(false)));
        assert_eq!(learned.speaks(Era::Legacy, later + LEARNED), None);
        learned.note(Era::Modern, true, later + LEARNED);
        learned.forget(Era::Modern);
        assert_eq!(learned.speaks(Era::Modern, later + LEARNED), None);
    }

    #[test]
    fn what_is_doubted_is_asked_again_within_minutes() {
        let now = Instant::now();
        let learned = Learned::probed(Some(Era::Modern), now);
        learned.note(Era::Legacy, true, now);
        learned.doubt(Era::Legacy, now);
        let until = now + DOUBTED;
        assert_eq!(learned.choose(Era::Legacy, until - Duration::from_secs(1)), SPEAK_MODERN);
        assert_eq!(learned.choose(Era::Legacy, until), SPEAK_LEGACY);
    }

    #[test]
    fn a_probe_that_found_the_older_era_had_asked_for_the_newer() {
        let now = Instant::now();
        let of = |found| {
            let learned = Learned::probed(found, now);
            (learned.speaks(Era::Modern, now), learned.speaks(Era::Legacy, now))
        };
        assert_eq!(of(None), (None, None));
        assert_eq!(of(Some(Era::Modern)), (Some(true), None));
        assert_eq!(of(Some(Era::Legacy)), (Some(false), Some(true)));
    }
}
