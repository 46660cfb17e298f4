//! What the control plane is told from outside, read once at start.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use domain::Secret;
use egress::Rules;
use secrets::{Login, VaultConfig};
use url::Url;

use crate::ingest::Retention;
use crate::sinks::MEMORY_LEAST;

/// Configuration of the control plane. What is secret in it does not show itself.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the API is served: `SLUICE_LISTEN`, 127.0.0.1:7301 if not set.
    pub listen: SocketAddr,
    /// Where metrics and health are served, never public: `SLUICE_INTERNAL_LISTEN`, 127.0.0.1:7305 if not set.
    pub internal_listen: SocketAddr,
    /// Postgres: `DATABASE_URL`. May hold a password.
    pub database_url: Secret<String>,
    /// Most connections to Postgres at a time: `SLUICE_DATABASE_CONNECTIONS`, 20 if not set.
    pub database_connections: u32,
    /// Most connections to Postgres of what sends records to destinations, besides the others: `SLUICE_SINK_CONNECTIONS`, 4
    /// if not set.
    pub sink_connections: u32,
    /// Most memory that batches for destinations take at once: `SLUICE_SINK_MEMORY_MB`, 256 MiB if not set.
    pub sink_memory: Mebibytes,
    /// Redis: `REDIS_URL`. May hold a password.
    pub redis_url: Secret<String>,
    /// Redis with the audit streams: `AUDIT_REDIS_URL`; the same if not set. May hold a password.
    pub audit_redis_url: Secret<String>,
    /// How many audit streams there are: `SLUICE_AUDIT_SHARDS`, 1 if not set; a power of two, the same on every node.
    pub audit_shards: u16,
    /// The directory of the deployment's keys: `SLUICE_KEYS`.
    pub keys: PathBuf,
    /// Where clients reach the data plane: `SLUICE_GATEWAY_URL`.
    pub gateway_url: Arc<Url>,
    /// The nodes' internal listeners, which probe upstream servers for us: `SLUICE_RELAY_URLS`, separated by commas.
    pub relay_urls: Vec<Url>,
    /// For how many days audit records are kept: `SLUICE_AUDIT_RETENTION_DAYS`, 400 if not set.
    pub audit_retention: Retention,
    /// How often each live server is looked at: `SLUICE_SERVER_CHECK_S`, 300 seconds if not set.
    pub server_check: Seconds,
    /// How often people of a tenant may have servers looked at within a minute: `SLUICE_PROBES_PER_MINUTE`, 30 if not set.
    pub probes_per_minute: u32,
    /// How many tenants a person may make through the API: `SLUICE_TENANTS_PER_PERSON`, 20 if not set.
    pub tenants_per_person: u32,
    /// Vault, where new credentials are put (`VAULT_ADDR`); none: they are sealed.
    ///
    /// `SLUICE_VAULT_MOUNT` (`secret`), `SLUICE_VAULT_NAMESPACE`, and `SLUICE_VAULT_ROLE_ID` with `SLUICE_VAULT_SECRET_ID`
    /// or `VAULT_TOKEN`.
    pub vault: Option<VaultConfig>,
    /// Where people reach the console: `SLUICE_PUBLIC_URL`, https; http on this machine only, where it is
    /// `http://127.0.0.1:<port of SLUICE_LISTEN>` if not set.
    pub public_url: Url,
    /// How many proxies of ours stand before the console, each adding to `X-Forwarded-For`: `SLUICE_PROXIES`, 0 if not set.
    pub proxies: u8,
    /// How mail leaves.
    pub mail: MailConfig,
    /// Which addresses destinations may have besides public ones over https: networks (`SLUICE_EGRESS_ALLOWED`, separated
    /// by commas) and, for development, this machine (`SLUICE_EGRESS_LOOPBACK`, `on`), as on nodes.
    pub egress: Rules,
    /// A server to try Sluice with, offered where servers are added: `SLUICE_SANDBOX_URL`.
    pub sandbox_url: Option<Url>,
}

/// How mail leaves: sign-up, forgotten passwords, changed addresses.
#[derive(Debug, Clone)]
pub enum MailConfig {
    /// `SLUICE_SMTP_URL` (`smtps://user:password@host`, or `smtp://host?tls=required`) and `SLUICE_MAIL_FROM`.
    Smtp {
        /// The mail server. May hold a password.
        url: Secret<String>,
        /// The sender.
        from: String,
    },
    /// Kept as files, and shown to whoever asked for them: `SLUICE_MAIL_FOLDER`, `mail` if not set. For consoles that
    /// only this machine reaches.
    Kept(PathBuf),
}

/// Why the configuration can't be used. Never repeats a value: it may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A value is missing.
    #[error("{name} is not set: it must be {what}")]
    Missing {
        /// The variable.
        name: &'static str,
        /// What it must be.
        what: &'static str,
    },
    /// A value is not what it must be.
    #[error("{name} is wrong: it must be {what}")]
    Wrong {
        /// The variable.
        name: &'static str,
        /// What it must be.
        what: &'static str,
    },
}

impl Config {
    /// Reads the configuration through `variable`, which gives an environment variable's value.
    ///
    /// # Errors
    /// [`ConfigError`] that names the first variable that is missing or wrong.
    pub fn from_env(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let source = Source(variable);
        let listen: SocketAddr = source.or("SLUICE_LISTEN", "an address and a port", "127.0.0.1:7301")?;
        Ok(Self {
            listen,
            internal_listen: source.or("SLUICE_INTERNAL_LISTEN", "an address and a port", "127.0.0.1:7305")?,
            public_url: source.or("SLUICE_PUBLIC_URL", PUBLIC_URL, &format!("http://127.0.0.1:{}", listen.port()))?,
            proxies: source.or("SLUICE_PROXIES", "a number from 0 to 255", "0")?,
            mail: source.mail()?,
            database_url: Secret::new(source.required("DATABASE_URL", "a Postgres address (postgres://…)")?),
            database_connections: source.or("SLUICE_DATABASE_CONNECTIONS", "a number from 1 to 1000", "20")?,
            sink_connections: source.or("SLUICE_SINK_CONNECTIONS", "a number from 1 to 1000", "4")?,
            sink_memory: source.or("SLUICE_SINK_MEMORY_MB", "a number of MiB from 96 to 65536", "256")?,
            redis_url: Secret::new(source.required("REDIS_URL", "a Redis address (redis://…)")?),
            audit_redis_url: Secret::new(match source.find("AUDIT_REDIS_URL") {
                Some(url) => url,
                None => source.required("REDIS_URL", "a Redis address (redis://…)")?,
            }),
            audit_shards: source.or("SLUICE_AUDIT_SHARDS", "a power of two from 1 to 256", "1")?,
            keys: source.required("SLUICE_KEYS", "the directory that `sluice keys create` filled")?,
            gateway_url: Arc::new(source.required("SLUICE_GATEWAY_URL", GATEWAY_URL)?),
            relay_urls: source.list("SLUICE_RELAY_URLS", RELAY_URLS)?,
            audit_retention: source.or("SLUICE_AUDIT_RETENTION_DAYS", "a number of days from 35 to 36500", "400")?,
            server_check: source.or("SLUICE_SERVER_CHECK_S", "a number of seconds from 10 to 86400", "300")?,
            probes_per_minute: source.or("SLUICE_PROBES_PER_MINUTE", "a number", "30")?,
            tenants_per_person: source.or("SLUICE_TENANTS_PER_PERSON", "a number", "20")?,
            vault: source.vault()?,
            egress: source.egress()?,
            sandbox_url: source.maybe("SLUICE_SANDBOX_URL", "an http or https address")?,
        })
    }
}

/// A time in whole seconds, 10 to 86,400.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seconds(pub Duration);

impl FromStr for Seconds {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let seconds = text.parse().ok().filter(|seconds| (10..=86_400).contains(seconds)).ok_or(())?;
        Ok(Self(Duration::from_secs(seconds)))
    }
}

/// A size in whole MiB, 16 to 65,536; kept in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mebibytes(pub usize);

impl FromStr for Mebibytes {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mebibytes: usize = text.parse().ok().filter(|size| (MEMORY_LEAST..=65_536).contains(size)).ok_or(())?;
        mebibytes.checked_mul(1024 * 1024).map(Self).ok_or(())
    }
}

/// Longest wait for an answer of Vault's.
const VAULT_DEADLINE: Duration = Duration::from_secs(5);
const GATEWAY_URL: &str = "the http or https address where clients reach the data plane";
const PUBLIC_URL: &str = "the https address where people reach the console";
const RELAY_URLS: &str = "the http addresses of the nodes' internal listeners, separated by commas";

struct Source<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Source<'_> {
    fn find(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    fn required<T: FromStr>(&self, name: &'static str, what: &'static str) -> Result<T, ConfigError> {
        let value = self.find(name).ok_or(ConfigError::Missing { name, what })?;
        value.parse().map_err(|_| ConfigError::Wrong { name, what })
    }

    fn or<T: FromStr>(&self, name: &'static str, what: &'static str, otherwise: &str) -> Result<T, ConfigError> {
        let value = self.find(name).unwrap_or_else(|| otherwise.to_owned());
        value.parse().map_err(|_| ConfigError::Wrong { name, what })
    }

    fn maybe<T: FromStr>(&self, name: &'static str, what: &'static str) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.find(name) else { return Ok(None) };
        value.parse().map(Some).map_err(|_| ConfigError::Wrong { name, what })
    }

    fn mail(&self) -> Result<MailConfig, ConfigError> {
        let Some(url) = self.find("SLUICE_SMTP_URL") else {
            return Ok(MailConfig::Kept(self.or("SLUICE_MAIL_FOLDER", "a folder", "mail")?));
        };
        Ok(MailConfig::Smtp { url: Secret::new(url), from: self.required("SLUICE_MAIL_FROM", "an e-mail address")? })
    }

    fn egress(&self) -> Result<Rules, ConfigError> {
        let allow_loopback = match self.find("SLUICE_EGRESS_LOOPBACK").as_deref() {
            None | Some("off") => false,
            Some("on") => true,
            Some(_) => return Err(ConfigError::Wrong { name: "SLUICE_EGRESS_LOOPBACK", what: "on or off" }),
        };
        let allowed = match self.find("SLUICE_EGRESS_ALLOWED") {
            None => Vec::new(),
            Some(_) => self.list("SLUICE_EGRESS_ALLOWED", "networks like 10.0.0.0/8, separated by commas")?,
        };
        Ok(Rules { allow_loopback, allowed, https_only: !allow_loopback })
    }

    fn vault(&self) -> Result<Option<VaultConfig>, ConfigError> {
        if self.find("VAULT_ADDR").is_none() {
            return Ok(None);
        }
        let login = match self.find("SLUICE_VAULT_ROLE_ID") {
            Some(role_id) => Login::AppRole {
                mount: "approle".to_owned(),
                role_id,
                secret_id: Secret::new(self.required("SLUICE_VAULT_SECRET_ID", "the role's secret id")?),
            },
            None => {
                Login::Token(Secret::new(self.required("VAULT_TOKEN", "a token, or SLUICE_VAULT_ROLE_ID instead")?))
            }
        };
        Ok(Some(VaultConfig {
            address: self.required("VAULT_ADDR", "the https address of Vault")?,
            mount: self.or("SLUICE_VAULT_MOUNT", "the mount of the KV engine", "secret")?,
            namespace: self.find("SLUICE_VAULT_NAMESPACE"),
            login,
            certificates: None,
            deadline: VAULT_DEADLINE,
        }))
    }

    fn list<T: FromStr>(&self, name: &'static str, what: &'static str) -> Result<Vec<T>, ConfigError> {
        let value = self.find(name).ok_or(ConfigError::Missing { name, what })?;
        value.split(',').map(|one| one.trim().parse().map_err(|_| ConfigError::Wrong { name, what })).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(name: &str) -> Option<String> {
        let value = match name {
            "DATABASE_URL" => "postgres://sluice:canary@127.0.0.1/sluice",
            "REDIS_URL" => "redis://:canary@127.0.0.1",
            "SLUICE_KEYS" => "/keys",
            "SLUICE_GATEWAY_URL" => "https://mcp.example.com",
            "SLUICE_RELAY_URLS" => "http://127.0.0.1:7400, http://127.0.0.1:7401",
            _ => return None,
        };
        Some(value.to_owned())
    }

    #[test]
    fn what_is_set_is_read_and_the_rest_has_a_default() {
        let config = Config::from_env(&variable).unwrap();
        assert_eq!(config.relay_urls.len(), 2);
        assert_eq!(config.listen.port(), 7301);
        assert_eq!((config.sink_connections, config.sink_memory.0), (4, 256 * 1024 * 1024));
        assert!(!format!("{config:?}").contains("canary"));
    }

    #[test]
    fn a_missing_or_wrong_value_is_named_and_never_repeated() {
        let error = Config::from_env(&|name| variable(name).filter(|_| name != "SLUICE_KEYS")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "SLUICE_KEYS is not set: it must be the directory that `sluice keys create` filled"
        );
        let wrong = |name: &str| if name == "SLUICE_GATEWAY_URL" { Some("canary".to_owned()) } else { variable(name) };
        let error = Config::from_env(&wrong).unwrap_err().to_string();
        assert!(error.starts_with("SLUICE_GATEWAY_URL is wrong") && !error.contains("canary"), "{error}");
        let memory = |size: &'static str| {
            Config::from_env(&move |name| {
                if name == "SLUICE_SINK_MEMORY_MB" { Some(size.to_owned()) } else { variable(name) }
            })
        };
        assert_eq!(memory("96").unwrap().sink_memory.0, 96 * 1024 * 1024);
        let error = memory("95").unwrap_err().to_string();
        assert_eq!(error, "SLUICE_SINK_MEMORY_MB is wrong: it must be a number of MiB from 96 to 65536");
    }
}
