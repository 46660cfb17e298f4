//! The methods of both eras, and how we stand to each.

use crate::Era;

/// How we answer a method in an era.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is answered.
    Served,
    /// The era has it, we do not yet: `MethodNotFound`, and its capability is not advertised.
    Later,
    /// The era does not have it (any more): `MethodNotFound`.
    Removed,
}

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $modern:ident, $legacy:ident;)*) => {
        /// A request a client may send, in any era.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Method {
            $($(#[$doc])* $name,)*
        }

        impl Method {
            /// Every method there is.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Reads the name on the wire; case counts.
            #[must_use]
            pub fn find(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$name),)* _ => None }
            }

            /// How we stand to it.
            #[must_use]
            pub const fn standing(self, era: Era) -> Standing {
                match (self, era) {
                    $((Self::$name, Era::Modern) => Standing::$modern, (Self::$name, Era::Legacy) => Standing::$legacy,)*
                }
            }
        }
    };
}

methods! {
    /// What the server is and speaks.
    Discover = "server/discover", Served, Removed;
    /// The legacy handshake.
    Initialize = "initialize", Removed, Served;
    /// Whether the other side is there.
    Ping = "ping", Removed, Served;
    /// The tools.
    ToolsList = "tools/list", Served, Served;
    /// One call of a tool.
    ToolsCall = "tools/call", Served, Served;
    /// The resources.
    ResourcesList = "resources/list", Later, Later;
    /// Patterns of resources.
    ResourceTemplatesList = "resources/templates/list", Later, Later;
    /// What a resource holds.
    ResourcesRead = "resources/read", Later, Later;
    /// To hear of a resource's changes.
    ResourcesSubscribe = "resources/subscribe", Removed, Later;
    /// No longer to.
    ResourcesUnsubscribe = "resources/unsubscribe", Removed, Later;
    /// The prompts.
    PromptsList = "prompts/list", Later, Later;
    /// One prompt, filled in.
    PromptsGet = "prompts/get", Later, Later;
    /// Values for an argument.
    Complete = "completion/complete", Later, Later;
    /// The legacy session's least log level.
    SetLevel = "logging/setLevel", Removed, Later;
    /// A stream of change notifications.
    Listen = "subscriptions/listen", Later, Removed;
    /// A task's state.
    TasksGet = "tasks/get", Later, Later;
    /// Answers to what a task asked.
    TasksUpdate = "tasks/update", Later, Removed;
    /// The end of a task before its time.
    TasksCancel = "tasks/cancel", Later, Later;
    /// The legacy list of tasks.
    TasksList = "tasks/list", Removed, Later;
    /// The legacy wait for a task.
    TasksResult = "tasks/result", Removed, Later;
}

impl Method {
    /// The member of `params` that the `Mcp-Name` header repeats.
    #[must_use]
    pub const fn named_by(self) -> Option<&'static str> {
        match self {
            Self::ToolsCall | Self::PromptsGet => Some("name"),
            Self::ResourcesRead => Some("uri"),
            Self::TasksGet | Self::TasksUpdate | Self::TasksCancel => Some("taskId"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back_and_case_counts() {
        for method in Method::ALL {
            assert_eq!(Method::find(method.as_str()), Some(*method));
        }
        assert_eq!(Method::find("Tools/Call"), None);
        assert_eq!(Method::find(""), None);
    }

    #[test]
    fn what_the_modern_era_removed_is_not_found_there() {
        for text in [
            "initialize",
            "ping",
            "logging/setLevel",
            "resources/subscribe",
            "resources/unsubscribe",
            "tasks/list",
            "tasks/result",
        ] {
            assert_eq!(Method::find(text).unwrap().standing(Era::Modern), Standing::Removed, "{text}");
        }
    }

    #[test]
    fn a_session_has_no_modern_methods() {
        for text in ["server/discover", "subscriptions/listen", "tasks/update"] {
            assert_eq!(Method::find(text).unwrap().standing(Era::Legacy), Standing::Removed, "{text}");
        }
    }
}
