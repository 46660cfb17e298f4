//! What each client is told, to the letter.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

/// The name a client lists the gateway under.
const NAME: &str = "sluice";
/// What stands where a token goes while none is shown.
const PLACEHOLDER: &str = "YOUR_TOKEN";

/// A program that speaks MCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    ClaudeCode,
    Codex,
    Cursor,
    VsCode,
    Other,
}

impl Client {
    pub(crate) const ALL: [Self; 5] = [Self::ClaudeCode, Self::Codex, Self::Cursor, Self::VsCode, Self::Other];

    /// As addresses name it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::ClaudeCode => "claude-code",
            Self::Codex => "codex",
            Self::Cursor => "cursor",
            Self::VsCode => "vscode",
            Self::Other => "other",
        }
    }

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::ClaudeCode => "Claude Code",
            Self::Codex => "Codex",
            Self::Cursor => "Cursor",
            Self::VsCode => "VS Code",
            Self::Other => "Anything else",
        }
    }

    /// As a tab has it.
    pub(crate) const fn short(self) -> &'static str {
        match self {
            Self::Other => "Other",
            _ => self.title(),
        }
    }

    /// Reads what an address says; the first where it says nothing we know.
    pub(crate) fn find(text: &str) -> Self {
        Self::ALL.into_iter().find(|client| client.as_str() == text).unwrap_or(Self::ClaudeCode)
    }
}

/// A text to be copied: a command, or the content of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snippet {
    /// The file it goes into; empty where it is a command.
    pub(crate) file: &'static str,
    pub(crate) text: String,
}

/// How one client is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setup {
    pub(crate) client: Client,
    pub(crate) says: &'static str,
    /// A link that the client itself opens, and its words; only once there is a token to go in it.
    pub(crate) link: Option<(&'static str, String)>,
    pub(crate) snippets: Vec<Snippet>,
    /// The other way.
    pub(crate) more: Vec<Snippet>,
}

impl Setup {
    /// Of a client, at an endpoint, with a token where there is one to show.
    pub(crate) fn new(client: Client, endpoint: &str, token: Option<&str>) -> Self {
        let at = At { url: endpoint, token: token.unwrap_or(PLACEHOLDER) };
        let (says, snippets, more) = match client {
            Client::ClaudeCode => (
                "Run this once. With --scope user it is there in every folder.",
                vec![command(format!(
                    "claude mcp add --transport http {NAME} {} --header \"{}\"",
                    at.url,
                    at.header()
                ))],
                vec![file(".mcp.json", at.servers("mcpServers", Some("http")))],
            ),
            Client::Codex => (
                "The token stays in your environment; Codex writes only its name to the file.",
                vec![
                    command(format!("export SLUICE_TOKEN={}", at.token)),
                    command(format!("codex mcp add {NAME} --url {} --bearer-token-env-var SLUICE_TOKEN", at.url)),
                ],
                vec![file(
                    "~/.codex/config.toml",
                    format!("[mcp_servers.{NAME}]\nurl = \"{}\"\nbearer_token_env_var = \"SLUICE_TOKEN\"", at.url),
                )],
            ),
            Client::Cursor => (
                "Cursor shows what will be added before it is saved.",
                vec![file("~/.cursor/mcp.json", at.servers("mcpServers", None))],
                Vec::new(),
            ),
            Client::VsCode => (
                "VS Code asks you to confirm.",
                vec![command(format!("code --add-mcp '{}'", at.vscode()))],
                vec![file(".vscode/mcp.json", at.servers("servers", Some("http")))],
            ),
            Client::Other => (
                "Any client of MCP over streamable HTTP: an address and a header. One that speaks stdio only goes through mcp-remote.",
                vec![command(at.url.to_owned()), command(at.header())],
                vec![
                    file("mcp.json", at.servers("mcpServers", Some("http"))),
                    command(format!("npx -y mcp-remote {} --header \"{}\"", at.url, at.header())),
                ],
            ),
        };
        Self { client, says, link: token.and_then(|_| at.link(client)), snippets, more }
    }
}

fn command(text: String) -> Snippet {
    Snippet { file: "", text }
}

fn file(file: &'static str, text: String) -> Snippet {
    Snippet { file, text }
}

#[derive(Clone, Copy)]
struct At<'a> {
    url: &'a str,
    token: &'a str,
}

impl At<'_> {
    fn header(self) -> String {
        format!("Authorization: Bearer {}", self.token)
    }

    fn bearer(self) -> String {
        format!("Bearer {}", self.token)
    }

    fn servers(self, member: &str, kind: Option<&str>) -> String {
        let mut server = json!({});
        if let Some(kind) = kind {
            server["type"] = json!(kind);
        }
        server["url"] = json!(self.url);
        server["headers"] = json!({"Authorization": self.bearer()});
        format!("{:#}", json!({member: {NAME: server}}))
    }

    fn vscode(self) -> String {
        json!({"name": NAME, "type": "http", "url": self.url, "headers": {"Authorization": self.bearer()}}).to_string()
    }

    fn link(self, client: Client) -> Option<(&'static str, String)> {
        match client {
            Client::Cursor => {
                let config = json!({"url": self.url, "headers": {"Authorization": self.bearer()}}).to_string();
                let config = escaped(&STANDARD.encode(config));
                let link = format!("cursor://anysphere.cursor-deeplink/mcp/install?name={NAME}&config={config}");
                Some(("Open in Cursor", link))
            }
            Client::VsCode => Some(("Open in VS Code", format!("vscode:mcp/install?{}", escaped(&self.vscode())))),
            _ => None,
        }
    }
}

/// A text as one part of an address.
fn escaped(text: &str) -> String {
    // A form writes a space as `+`, which these programs take for a plus.
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://mcp.example.com/acme/mcp";

    #[test]
    fn every_client_is_told_the_address_and_the_token() {
        for client in Client::ALL {
            assert_eq!(Client::find(client.as_str()), client);
            let setup = Setup::new(client, URL, Some("slc_secret"));
            let all: String = setup.snippets.iter().map(|snippet| snippet.text.as_str()).collect();
            assert!(all.contains(URL) && all.contains("slc_secret"), "{all}");
            assert!(!all.contains(PLACEHOLDER));
            let without = Setup::new(client, URL, None);
            assert!(without.snippets.iter().any(|snippet| snippet.text.contains(PLACEHOLDER)));
            assert_eq!(without.link, None, "a link with a placeholder would be saved as it is");
        }
    }

    #[test]
    fn links_say_what_the_programs_read() {
        let (_, cursor) = Setup::new(Client::Cursor, URL, Some("slc_a")).link.unwrap();
        let link = url::Url::parse(&cursor).unwrap();
        let config = link.query_pairs().find(|(name, _)| name == "config").unwrap().1;
        let read: serde_json::Value = serde_json::from_slice(&STANDARD.decode(&*config).unwrap()).unwrap();
        assert_eq!(read, json!({"url": URL, "headers": {"Authorization": "Bearer slc_a"}}));
        let (_, code) = Setup::new(Client::VsCode, URL, Some("slc_a")).link.unwrap();
        let query = code.strip_prefix("vscode:mcp/install?").unwrap();
        assert!(query.contains("%22Bearer%20slc_a%22") && !query.contains('"'), "{query}");
    }
}
