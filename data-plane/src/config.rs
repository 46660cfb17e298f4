//! What a node is told at start: read once from the environment, plain values afterwards.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use domain::{NodeId, Secret};
use ipnet::IpNet;
use secrets::{KeyError, MasterKey, NodeKeys, VerifyingKeys};
use url::Url;

use crate::audit::SpoolMode;

/// A node's settings. Every field has its variable named `SLUICE_` and the field in capitals, where not said otherwise.
#[derive(Debug, Clone)]
pub struct Config {
    /// The node's id, the same over restarts.
    pub node: NodeId,
    /// Where clients connect (`SLUICE_LISTEN`).
    pub listen: SocketAddr,
    /// Metrics, health and the relay; never public (`SLUICE_INTERNAL_LISTEN`).
    pub internal_listen: SocketAddr,
    /// Where the control plane reaches the internal listener; its own address when not set.
    pub internal_url: Url,
    /// What clients call us, with the scheme they see (`SLUICE_GATEWAY_URL`).
    pub public_url: Url,
    /// Host names besides the public URL's that requests may name (comma-separated).
    pub allowed_hosts: Vec<String>,
    /// Origins besides the public URL's that browsers may send (comma-separated).
    pub allowed_origins: Vec<String>,
    /// Redis with the projections (`REDIS_URL`).
    pub redis_url: Secret<String>,
    /// Redis with the audit streams (`AUDIT_REDIS_URL`); the same when not set.
    pub audit_redis_url: Secret<String>,
    /// The deployment's id, the master key and the public keys configuration is signed with.
    pub keys: KeySource,
    /// Where the node keeps its audit spool.
    pub data_dir: PathBuf,
    /// How many audit streams there are; the same on every node and the control plane.
    pub audit_shards: u16,
    /// When records go to the disk: `always`, beside Redis, or as `fallback`, while Redis is away.
    pub audit_spool: SpoolMode,
    /// Over how many bytes an audit stream is left alone and the spool is used instead.
    pub audit_stream_max: u64,
    /// Networks outside the public internet that upstreams may be in (comma-separated).
    pub egress_allowed: Vec<IpNet>,
    /// Whether upstreams may be on this machine (development).
    pub egress_loopback: Switch,
    /// Vault, where credentials rest there (`VAULT_ADDR` and its companions).
    pub vault: Option<VaultConfig>,
    /// Most requests served at once.
    pub concurrency: usize,
    /// Most of them that one tenant may have, in percent.
    pub tenant_share: Percent,
    /// Most of them that one person may have, in percent.
    pub caller_share: Percent,
    /// Most bytes of loaded tenants' configurations kept in memory.
    pub tenant_cache_bytes: u64,
    /// Most callers kept in memory.
    pub caller_cache: usize,
    /// For how long a node goes on with the configuration it has while the control plane writes none (`SLUICE_MAX_STALE_S`).
    pub max_stale: Duration,
}

/// Where a node's keys come from.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// The directory that `sluice keys create` made (`SLUICE_KEYS`).
    Directory(PathBuf),
    /// The environment itself.
    Values {
        /// `SLUICE_DEPLOYMENT`.
        deployment: String,
        /// `SLUICE_MASTER_KEY`, base64 of 32 bytes.
        master: Secret<String>,
        /// `SLUICE_VERIFYING_KEYS`, one or two of `<key id>:<base64>`.
        verifying: String,
    },
}

impl KeySource {
    /// Reads the keys.
    ///
    /// # Errors
    /// [`KeyError`] naming the file or the key and what to do.
    pub fn load(&self) -> Result<NodeKeys, KeyError> {
        match self {
            Self::Directory(dir) => NodeKeys::load(dir),
            Self::Values { deployment, master, verifying } => Ok(NodeKeys {
                deployment: deployment.clone(),
                master: MasterKey::from_text(master.expose())?,
                verifying: VerifyingKeys::from_text(verifying)?,
            }),
        }
    }
}

/// Something that is on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Switch {
    /// Not done.
    #[default]
    Off,
    /// Done.
    On,
}

impl FromStr for Switch {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "on" | "true" | "1" => Ok(Self::On),
            "off" | "false" | "0" | "" => Ok(Self::Off),
            _ => Err("write `on` or `off`"),
        }
    }
}

/// A part of a whole, 1 to 100 percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percent(u8);

impl Percent {
    /// This part of so many, at least one.
    #[must_use]
    pub fn of(self, whole: usize) -> usize {
        (whole.saturating_mul(usize::from(self.0)) / 100).max(1)
    }
}

impl FromStr for Percent {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.parse().ok().filter(|number| (1..=100).contains(number));
        number.map(Self).ok_or("write a number from 1 to 100")
    }
}

impl FromStr for SpoolMode {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "always" => Ok(Self::Always),
            "fallback" => Ok(Self::Fallback),
            "first" => Ok(Self::First),
            _ => Err("write `always`, `first` or `fallback`"),
        }
    }
}

/// How Vault is reached.
#[derive(Debug, Clone)]
pub struct VaultConfig {
    /// `VAULT_ADDR`.
    pub address: Url,
    /// The mount of the KV v2 engine (`SLUICE_VAULT_MOUNT`, `secret` when not set).
    pub mount: String,
    /// Vault's namespace, where it has them (`SLUICE_VAULT_NAMESPACE`).
    pub namespace: Option<String>,
    /// How we sign in.
    pub login: VaultLogin,
}

/// The two ways to sign in to Vault.
#[derive(Debug, Clone)]
pub enum VaultLogin {
    /// `VAULT_TOKEN`.
    Token(Secret<String>),
    /// `SLUICE_VAULT_ROLE_ID` and `SLUICE_VAULT_SECRET_ID`.
    AppRole {
        /// Names the role.
        role_id: String,
        /// Proves it.
        secret_id: Secret<String>,
    },
}

/// Why the environment does not make a configuration; says which variable and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The variable must be set.
    #[error("`{name}` is not set: {hint}")]
    Missing {
        /// The variable.
        name: &'static str,
        /// What it is for, or the command that makes it.
        hint: &'static str,
    },
    /// The variable's value means nothing.
    #[error("`{name}` is wrong: {reason}")]
    Wrong {
        /// The variable.
        name: &'static str,
        /// Why, without the value.
        reason: String,
    },
}

impl Config {
    /// Reads the settings through `get`, which looks a variable up.
    ///
    /// # Errors
    /// [`ConfigError`] naming the first variable that is missing or wrong.
    pub fn from_env(get: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let from = Environment(get);
        let listen = from.or("SLUICE_LISTEN", "127.0.0.1:7310")?;
        let internal_listen: SocketAddr = from.or("SLUICE_INTERNAL_LISTEN", "127.0.0.1:7311")?;
        let redis_url = Secret::new(from.text("REDIS_URL", "for example redis://127.0.0.1:6379")?);
        Ok(Self {
            node: from.must("SLUICE_NODE_ID", "this node's id, `node_…`, the same over restarts")?,
            listen,
            internal_listen,
            internal_url: from.or("SLUICE_INTERNAL_URL", &format!("http://{internal_listen}"))?,
            public_url: from.or("SLUICE_GATEWAY_URL", &format!("http://{listen}"))?,
            allowed_hosts: from.list("SLUICE_ALLOWED_HOSTS")?,
            allowed_origins: from.list("SLUICE_ALLOWED_ORIGINS")?,
            audit_redis_url: from.find("AUDIT_REDIS_URL").map_or_else(|| redis_url.clone(), Secret::new),
            redis_url,
            keys: from.keys()?,
            data_dir: from.or("SLUICE_DATA_DIR", ".sluice/node")?,
            audit_shards: from.or("SLUICE_AUDIT_SHARDS", "1")?,
            audit_spool: from.or("SLUICE_AUDIT_SPOOL", "fallback")?,
            audit_stream_max: from.or("SLUICE_AUDIT_STREAM_MAX", "268435456")?,
            egress_allowed: from.list("SLUICE_EGRESS_ALLOWED")?,
            egress_loopback: from.or("SLUICE_EGRESS_LOOPBACK", "off")?,
            vault: from.vault()?,
            concurrency: from.or("SLUICE_CONCURRENCY", "1024")?,
            tenant_share: from.or("SLUICE_TENANT_SHARE", "75")?,
            caller_share: from.or("SLUICE_CALLER_SHARE", "50")?,
            tenant_cache_bytes: from.or("SLUICE_TENANT_CACHE_BYTES", "536870912")?,
            caller_cache: from.or("SLUICE_CALLER_CACHE", "100000")?,
            max_stale: Duration::from_secs(from.or("SLUICE_MAX_STALE_S", "86400")?),
        })
    }
}

/// Reads variables, and says which one is wrong.
struct Environment<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Environment<'_> {
    fn find(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    fn text(&self, name: &'static str, hint: &'static str) -> Result<String, ConfigError> {
        self.find(name).ok_or(ConfigError::Missing { name, hint })
    }

    fn must<T: FromStr<Err: Display>>(&self, name: &'static str, hint: &'static str) -> Result<T, ConfigError> {
        parse(name, &self.text(name, hint)?)
    }

    fn or<T: FromStr<Err: Display>>(&self, name: &'static str, default: &str) -> Result<T, ConfigError> {
        parse(name, self.find(name).as_deref().unwrap_or(default))
    }

    fn list<T: FromStr<Err: Display>>(&self, name: &'static str) -> Result<Vec<T>, ConfigError> {
        let text = self.find(name).unwrap_or_default();
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(|part| parse(name, part)).collect()
    }

    fn keys(&self) -> Result<KeySource, ConfigError> {
        if let Some(path) = self.find("SLUICE_KEYS") {
            return Ok(KeySource::Directory(path.into()));
        }
        let hint = "set `SLUICE_KEYS` to a directory made by `sluice keys create`";
        Ok(KeySource::Values {
            deployment: self.text("SLUICE_DEPLOYMENT", hint)?,
            master: Secret::new(self.text("SLUICE_MASTER_KEY", hint)?),
            verifying: self.text("SLUICE_VERIFYING_KEYS", hint)?,
        })
    }

    fn vault(&self) -> Result<Option<VaultConfig>, ConfigError> {
        let Some(address) = self.find("VAULT_ADDR") else { return Ok(None) };
        let login = match self.find("SLUICE_VAULT_ROLE_ID") {
            Some(role_id) => VaultLogin::AppRole {
                role_id,
                secret_id: Secret::new(self.text("SLUICE_VAULT_SECRET_ID", "the role's secret id")?),
            },
            None => VaultLogin::Token(Secret::new(self.text("VAULT_TOKEN", "or `SLUICE_VAULT_ROLE_ID` for AppRole")?)),
        };
        let mount = self.or("SLUICE_VAULT_MOUNT", "secret")?;
        let namespace = self.find("SLUICE_VAULT_NAMESPACE");
        Ok(Some(VaultConfig { address: parse("VAULT_ADDR", &address)?, mount, namespace, login }))
    }
}

fn parse<T: FromStr<Err: Display>>(name: &'static str, text: &str) -> Result<T, ConfigError> {
    text.parse().map_err(|error: T::Err| ConfigError::Wrong { name, reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(changes: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let base = [
            ("SLUICE_DEPLOYMENT", "dep"),
            ("SLUICE_NODE_ID", "node_00000000000000000000000001"),
            ("REDIS_URL", "redis://127.0.0.1:1"),
            ("SLUICE_MASTER_KEY", "c2VjcmV0"),
            ("SLUICE_VERIFYING_KEYS", "a:b"),
        ];
        Config::from_env(&|name| {
            let found = changes.iter().chain(&base).find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_node_needs_five_variables_and_says_which_is_missing() {
        assert!(read(&[]).is_ok());
        for name in ["SLUICE_DEPLOYMENT", "SLUICE_NODE_ID", "REDIS_URL", "SLUICE_MASTER_KEY", "SLUICE_VERIFYING_KEYS"] {
            let error = read(&[(name, "")]).unwrap_err();
            assert!(error.to_string().starts_with(&format!("`{name}` is not set")), "{error}");
        }
    }

    #[test]
    fn a_wrong_value_names_its_variable() {
        for (name, value) in [
            ("SLUICE_LISTEN", "here"),
            ("SLUICE_NODE_ID", "srv_1"),
            ("SLUICE_EGRESS_ALLOWED", "10.0.0.0/8,x"),
            ("SLUICE_EGRESS_LOOPBACK", "perhaps"),
            ("SLUICE_AUDIT_SPOOL", "perhaps"),
        ] {
            let Err(ConfigError::Wrong { name: named, .. }) = read(&[(name, value)]) else { panic!("{name}") };
            assert_eq!(named, name);
        }
    }

    #[test]
    fn vault_needs_a_token_or_a_role_with_its_secret() {
        let address = ("VAULT_ADDR", "https://vault:8200");
        let wrong = read(&[address]).unwrap_err().to_string();
        assert!(wrong.contains("VAULT_TOKEN") && wrong.contains("SLUICE_VAULT_ROLE_ID"), "{wrong}");
        let role = ("SLUICE_VAULT_ROLE_ID", "role");
        let wrong = read(&[address, role]).unwrap_err().to_string();
        assert!(wrong.contains("SLUICE_VAULT_SECRET_ID"), "{wrong}");
        let secret = ("SLUICE_VAULT_SECRET_ID", "canary");
        let vault = read(&[address, role, secret, ("SLUICE_VAULT_NAMESPACE", "team")]).unwrap().vault.unwrap();
        assert_eq!((vault.mount.as_str(), vault.namespace.as_deref()), ("secret", Some("team")));
        assert!(matches!(vault.login, VaultLogin::AppRole { .. }));
    }

    #[test]
    fn no_secret_of_the_configuration_shows_itself() {
        let changes = [("REDIS_URL", "redis://:canary@h"), ("VAULT_ADDR", "http://h"), ("VAULT_TOKEN", "canary")];
        let text = format!("{:?}", read(&changes).unwrap());
        assert!(!text.contains("canary") && !text.contains("c2VjcmV0"), "{text}");
    }
}
