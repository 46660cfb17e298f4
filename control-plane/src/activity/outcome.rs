//! What became of a call, in the few words people tell apart.

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It went through.
    Allowed,
    /// Sluice refused it.
    Denied,
    /// A person must agree first.
    Waiting,
    /// It was allowed, and the other side failed.
    Failed,
    /// There were too many.
    Limited,
}

impl Outcome {
    /// All of them, as filters list them.
    pub(crate) const ALL: [Self; 5] = [Self::Allowed, Self::Denied, Self::Waiting, Self::Failed, Self::Limited];

    /// Those one chooses from; of the others there are few or none.
    pub(crate) const CHOICES: [Self; 3] = [Self::Allowed, Self::Denied, Self::Failed];

    /// By the words of a record.
    pub(crate) fn of(effect: Option<&str>, status: Option<&str>) -> Option<Self> {
        let by_status = status.and_then(|status| Self::ALL.into_iter().find(|one| one.statuses().contains(&status)));
        by_status.or(match effect {
            Some("allow") => Some(Self::Allowed),
            Some("deny") => Some(Self::Denied),
            Some("require_approval") => Some(Self::Waiting),
            Some("rate_limited") => Some(Self::Limited),
            _ => None,
        })
    }

    /// The ways calls end that are this.
    pub(crate) const fn statuses(self) -> &'static [&'static str] {
        match self {
            Self::Allowed => &["success", "cancelled"],
            Self::Denied => &["denied", "approval_rejected", "approval_expired"],
            Self::Waiting => &["approval_pending"],
            Self::Failed => {
                &["tool_error", "protocol_error", "timeout", "upstream_unavailable", "gateway_error", "unknown"]
            }
            Self::Limited => &["rate_limited"],
        }
    }

    /// As addresses write it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Waiting => "waiting",
            Self::Failed => "failed",
            Self::Limited => "limited",
        }
    }

    /// Reads what people write for it.
    pub(crate) fn find(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "allowed" | "allow" => Self::Allowed,
            "denied" | "deny" => Self::Denied,
            "waiting" | "approval" => Self::Waiting,
            "failed" | "error" => Self::Failed,
            "limited" => Self::Limited,
            _ => return None,
        })
    }

    /// What `ui::decision` takes.
    pub(crate) const fn badge(self) -> &'static str {
        match self {
            Self::Allowed => "allow",
            Self::Denied => "deny",
            Self::Waiting => "approval",
            Self::Failed => "error",
            Self::Limited => "Rate limited",
        }
    }

    /// Its colour in charts.
    pub(crate) const fn class(self) -> &'static str {
        match self {
            Self::Allowed => "s-allow",
            Self::Denied => "s-deny",
            Self::Waiting | Self::Limited => "s-wait",
            Self::Failed => "s-fail",
        }
    }

    /// For people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Allowed => "Allowed",
            Self::Denied => "Denied",
            Self::Waiting => "Waiting",
            Self::Failed => "Failed",
            Self::Limited => "Rate limited",
        }
    }
}

#[cfg(test)]
mod tests {
    use audit::words::Status;

    use super::*;

    #[test]
    fn every_way_a_call_ends_is_one_outcome() {
        for status in Status::ALL {
            let outcomes = Outcome::ALL.into_iter().filter(|one| one.statuses().contains(&status.as_str()));
            assert_eq!(outcomes.count(), 1, "{}", status.as_str());
        }
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::find(outcome.word()), Some(outcome));
        }
        assert_eq!(Outcome::of(Some("deny"), None), Some(Outcome::Denied));
        assert_eq!(Outcome::of(Some("allow"), Some("timeout")), Some(Outcome::Failed));
        assert_eq!(Outcome::of(None, Some("timeout")), Some(Outcome::Failed), "counts know no effect");
        assert_eq!(Outcome::of(None, Some("fine")), None);
    }
}
