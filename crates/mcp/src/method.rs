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

/// Which part of the gateway answers a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// We answer it of ourselves: who we are, and that we are there.
    Own,
    /// From memory: what the tenant offers of a kind.
    List(Kind),
    /// One thing of one upstream server: decided, recorded, forwarded.
    Target,
    /// A stream of what changes.
    Listen,
    /// A task that was begun before.
    Task,
    /// It changes what a legacy session wants to hear.
    SessionState,
}

/// What a server offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Something to call.
    Tool,
    /// A text to begin with.
    Prompt,
    /// Something to read.
    Resource,
    /// A pattern of things to read.
    Template,
}

impl Kind {
    /// The method that lists what there is of it.
    #[must_use]
    pub const fn list_method(self) -> Method {
        match self {
            Self::Tool => Method::ToolsList,
            Self::Prompt => Method::PromptsList,
            Self::Resource => Method::ResourcesList,
            Self::Template => Method::ResourceTemplatesList,
        }
    }

    /// The member of that method's result which holds the list.
    #[must_use]
    pub const fn member(self) -> &'static str {
        match self {
            Self::Tool => "tools",
            Self::Prompt => "prompts",
            Self::Resource => "resources",
            Self::Template => "resourceTemplates",
        }
    }

    /// The member of a definition by which clients ask for it.
    #[must_use]
    pub const fn named_by(self) -> &'static str {
        match self {
            Self::Tool | Self::Prompt => "name",
            Self::Resource => "uri",
            Self::Template => "uriTemplate",
        }
    }
}

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $route:expr, $modern:ident, $legacy:ident;)*) => {
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

            /// Which part of the gateway answers it, once it is served.
            #[must_use]
            pub const fn route(self) -> Route {
                match self { $(Self::$name => $route,)* }
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
    Discover = "server/discover", Route::Own, Served, Removed;
    /// The legacy handshake.
    Initialize = "initialize", Route::Own, Removed, Served;
    /// Whether the other side is there.
    Ping = "ping", Route::Own, Removed, Served;
    /// The tools.
    ToolsList = "tools/list", Route::List(Kind::Tool), Served, Served;
    /// One call of a tool.
    ToolsCall = "tools/call", Route::Target, Served, Served;
    /// The resources.
    ResourcesList = "resources/list", Route::List(Kind::Resource), Later, Later;
    /// Patterns of resources.
    ResourceTemplatesList = "resources/templates/list", Route::List(Kind::Template), Later, Later;
    /// What a resource holds.
    ResourcesRead = "resources/read", Route::Target, Later, Later;
    /// To hear of a resource's changes.
    ResourcesSubscribe = "resources/subscribe", Route::SessionState, Removed, Later;
    /// No longer to.
    ResourcesUnsubscribe = "resources/unsubscribe", Route::SessionState, Removed, Later;
    /// The prompts.
    PromptsList = "prompts/list", Route::List(Kind::Prompt), Later, Later;
    /// One prompt, filled in.
    PromptsGet = "prompts/get", Route::Target, Later, Later;
    /// Values for an argument.
    Complete = "completion/complete", Route::Target, Later, Later;
    /// The legacy session's least log level.
    SetLevel = "logging/setLevel", Route::SessionState, Removed, Served;
    /// A stream of change notifications.
    Listen = "subscriptions/listen", Route::Listen, Later, Removed;
    /// A task's state.
    TasksGet = "tasks/get", Route::Task, Later, Later;
    /// Answers to what a task asked.
    TasksUpdate = "tasks/update", Route::Task, Later, Removed;
    /// The end of a task before its time.
    TasksCancel = "tasks/cancel", Route::Task, Later, Later;
    /// The legacy list of tasks.
    TasksList = "tasks/list", Route::Task, Removed, Later;
    /// The legacy wait for a task.
    TasksResult = "tasks/result", Route::Task, Removed, Later;
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
    fn a_kind_is_listed_by_its_own_method() {
        for (kind, text) in [
            (Kind::Tool, "tools/list"),
            (Kind::Prompt, "prompts/list"),
            (Kind::Resource, "resources/list"),
            (Kind::Template, "resources/templates/list"),
        ] {
            assert_eq!((kind.list_method().as_str(), kind.list_method().route()), (text, Route::List(kind)));
        }
    }

    #[test]
    fn four_methods_are_about_one_thing_of_one_server() {
        let targets: Vec<_> = Method::ALL.iter().filter(|method| method.route() == Route::Target).collect();
        assert_eq!(
            targets.iter().map(|method| method.as_str()).collect::<Vec<_>>(),
            ["tools/call", "resources/read", "prompts/get", "completion/complete"]
        );
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
