//! A deployment's keys in a directory: made once, readable by their owner only; where root owns them, by a group too.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use domain::Secret;

use super::{MasterKey, SigningKey, VerifyingKeys};
use crate::random::random;

/// What a data-plane node holds.
#[derive(Debug)]
pub struct NodeKeys {
    /// The deployment's id, `dep_` and 16 hexadecimal digits; no secret.
    pub deployment: String,
    /// Opens and seals.
    pub master: MasterKey,
    /// Whose signatures are believed.
    pub verifying: VerifyingKeys,
}

/// What the control plane holds.
#[derive(Debug)]
pub struct ControlKeys {
    /// What a node holds too.
    pub shared: NodeKeys,
    /// Signs what nodes believe.
    pub signing: SigningKey,
    /// Signs checkpoints of the audit log.
    pub checkpoint: SigningKey,
}

/// Why a key could not be had. The message says what to do, and never what was read.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is no such file.
    #[error("there is no key file `{}`: make the keys with `sluice keys create {}`", path.display(), directory(path).display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Others could read the file.
    #[error("the key file `{}` may be read by others: run `chmod 600 {}`", path.display(), path.display())]
    TooOpen {
        /// The file.
        path: PathBuf,
    },
    /// Keys are there already; they are never overwritten, because what they sealed would be lost.
    #[error("there is a key file `{}` already: keep it, or name another directory", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file can't be read or written.
    #[error("the key file `{}` can't be used", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The text is not of the key's form.
    #[error("the {what} must be {form}")]
    Malformed {
        /// Which key.
        what: &'static str,
        /// What it must look like.
        form: &'static str,
    },
    /// A file's text is not of its key's form.
    #[error("the key file `{}` is no key file: the {what} must be {form}", path.display())]
    MalformedFile {
        /// The file.
        path: PathBuf,
        /// Which key.
        what: &'static str,
        /// What it must look like.
        form: &'static str,
    },
}

const MASTER: &str = "master.key";
const SIGNING: &str = "signing.key";
const CHECKPOINT: &str = "checkpoint.key";
const VERIFYING: &str = "verifying.keys";
const DEPLOYMENT: &str = "deployment.id";
/// Larger than any key file of ours.
const MAX_BYTES: u64 = 4096;

/// Makes a deployment's keys in `dir`, which is made too where it is missing (mode 0700; files 0600).
///
/// # Errors
/// [`KeyError::Exists`] when one of the files is there already; nothing is written then.
pub fn create(dir: &Path) -> Result<ControlKeys, KeyError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io_error(dir))?;
    if let Some(path) = [MASTER, SIGNING, CHECKPOINT, VERIFYING, DEPLOYMENT]
        .map(|name| dir.join(name))
        .into_iter()
        .find(|path| path.exists())
    {
        return Err(KeyError::Exists { path });
    }
    let (master, signing) = (MasterKey::generate(), SigningKey::generate());
    write(&dir.join(MASTER), &master.to_text())?;
    write(&dir.join(SIGNING), &signing.to_text())?;
    write(&dir.join(CHECKPOINT), &SigningKey::generate().to_text())?;
    write(&dir.join(VERIFYING), &Secret::new(signing.verifying_text() + "\n"))?;
    write(&dir.join(DEPLOYMENT), &Secret::new(format!("dep_{}\n", hex::encode(random::<8>()))))?;
    ControlKeys::load(dir)
}

impl NodeKeys {
    /// Reads `master.key`, `verifying.keys` and `deployment.id`.
    ///
    /// # Errors
    /// [`KeyError`] naming the file and what to do.
    pub fn load(dir: &Path) -> Result<Self, KeyError> {
        Ok(Self {
            deployment: parse(&dir.join(DEPLOYMENT), deployment_id)?,
            master: MasterKey::from_file(&dir.join(MASTER))?,
            verifying: parse(&dir.join(VERIFYING), VerifyingKeys::from_text)?,
        })
    }
}

impl ControlKeys {
    /// Reads what a node reads, `signing.key` and `checkpoint.key`.
    ///
    /// # Errors
    /// [`KeyError`] naming the file and what to do.
    pub fn load(dir: &Path) -> Result<Self, KeyError> {
        Ok(Self {
            shared: NodeKeys::load(dir)?,
            signing: SigningKey::from_file(&dir.join(SIGNING))?,
            checkpoint: SigningKey::from_file(&dir.join(CHECKPOINT))?,
        })
    }
}

impl MasterKey {
    /// Reads a key file, whose mode must be 0600 or less.
    ///
    /// # Errors
    /// [`KeyError`] naming the file and what to do.
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        parse(path, Self::from_text)
    }
}

impl SigningKey {
    /// Reads a key file, whose mode must be 0600 or less.
    ///
    /// # Errors
    /// [`KeyError`] naming the file and what to do.
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        parse(path, Self::from_text)
    }
}

fn deployment_id(text: &str) -> Result<String, KeyError> {
    let id = text.trim();
    let is_id = |id: &str| {
        id.strip_prefix("dep_").is_some_and(|hex| hex.len() == 16 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    if is_id(id) {
        return Ok(id.to_owned());
    }
    Err(KeyError::Malformed { what: "deployment's id", form: "`dep_` and 16 hexadecimal digits" })
}

/// Reads a file nobody else may read, and tells its name with what is wrong in it.
fn parse<T>(path: &Path, from_text: fn(&str) -> Result<T, KeyError>) -> Result<T, KeyError> {
    from_text(read(path)?.expose()).map_err(|error| match error {
        KeyError::Malformed { what, form } => KeyError::MalformedFile { path: path.to_owned(), what, form },
        other => other,
    })
}

fn read(path: &Path) -> Result<Secret<String>, KeyError> {
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => KeyError::Missing { path: path.to_owned() },
        _ => io_error(path)(error),
    })?;
    // Of the open file, so that it can't be another one by the time it is read.
    let metadata = file.metadata().map_err(io_error(path))?;
    if is_too_open(metadata.mode(), metadata.uid(), rustix::process::geteuid().as_raw()) {
        return Err(KeyError::TooOpen { path: path.to_owned() });
    }
    let mut text = String::with_capacity(512);
    file.take(MAX_BYTES).read_to_string(&mut text).map_err(io_error(path))?;
    Ok(Secret::new(text))
}

/// Whether others than us could read a file. One of root's may be read by a group, since that is how we can: so a pod has
/// what is mounted into it.
const fn is_too_open(mode: u32, owner: u32, ourselves: u32) -> bool {
    let by_group = owner == 0 && ourselves != 0;
    mode & if by_group { 0o037 } else { 0o077 } != 0
}

fn write(path: &Path, text: &Secret<String>) -> Result<(), KeyError> {
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => KeyError::Exists { path: path.to_owned() },
            _ => io_error(path)(error),
        })?;
    file.write_all(text.expose().as_bytes()).and_then(|()| file.sync_all()).map_err(io_error(path))
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> KeyError {
    move |source| KeyError::Io { path: path.to_owned(), source }
}

fn directory(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use domain::projection::{EnvelopeKind, Statement, keys, open, seal};

    use super::*;
    use crate::keys::Purpose;

    /// A directory of the test's own, gone with it.
    struct Dir(PathBuf);

    impl Dir {
        fn new() -> Self {
            Self(std::env::temp_dir().join(format!("sluice-keys-{}", hex::encode(random::<8>()))))
        }
        fn file(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }
    }
    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn made_keys_are_readable_by_their_owner_only_and_load_again() {
        let dir = Dir::new();
        let made = create(&dir.0).unwrap();
        for name in [MASTER, SIGNING, VERIFYING, DEPLOYMENT] {
            assert_eq!(fs::metadata(dir.file(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        }
        let node = NodeKeys::load(&dir.0).unwrap();
        assert_eq!(node.deployment, made.shared.deployment);
        let sealed = made.shared.master.sealer(Purpose::Member, &node.deployment).seal(&[], b"x");
        assert_eq!(node.master.sealer(Purpose::Member, &node.deployment).open(&[], &sealed), Ok(b"x".to_vec()));
    }

    #[test]
    fn a_node_without_the_signing_key_believes_what_the_control_plane_signs() {
        let dir = Dir::new();
        let control = create(&dir.0).unwrap();
        fs::remove_file(dir.file(SIGNING)).unwrap();
        let node = NodeKeys::load(&dir.0).unwrap();
        let statement = Statement {
            deployment: &control.shared.deployment,
            kind: EnvelopeKind::Head,
            tenant: None,
            key: keys::HEAD,
            epoch: 1,
            revision: 1,
            signed_at: chrono::DateTime::UNIX_EPOCH,
        };
        let envelope = seal(&statement, b"body", &control.signing);
        let opened = open(&envelope, &node.deployment, EnvelopeKind::Head, keys::HEAD, &node.verifying).unwrap();
        assert_eq!(opened.body, b"body");
        let forged = seal(&statement, b"body", &SigningKey::generate());
        assert!(open(&forged, &node.deployment, EnvelopeKind::Head, keys::HEAD, &node.verifying).is_err());
    }

    #[test]
    fn a_missing_key_names_the_command_that_makes_it() {
        let error = ControlKeys::load(Path::new("/nowhere/keys")).unwrap_err().to_string();
        assert!(error.ends_with("make the keys with `sluice keys create /nowhere/keys`"), "{error}");
    }

    #[test]
    fn a_key_others_may_read_is_refused_with_the_remedy() {
        let dir = Dir::new();
        create(&dir.0).unwrap();
        fs::set_permissions(dir.file(MASTER), fs::Permissions::from_mode(0o640)).unwrap();
        let error = NodeKeys::load(&dir.0).unwrap_err().to_string();
        assert!(error.contains("run `chmod 600 "), "{error}");
    }

    #[test]
    fn a_group_may_read_what_root_owns_and_only_where_we_are_not_root() {
        for (mode, owner, ourselves, too_open) in [
            (0o100_600, 7, 7, false),
            (0o100_400, 7, 7, false),
            (0o100_640, 7, 7, true),
            (0o100_440, 0, 7, false),
            (0o100_640, 0, 7, false),
            (0o100_660, 0, 7, true),
            (0o100_444, 0, 7, true),
            (0o100_640, 0, 0, true),
            (0o100_640, 8, 7, true),
        ] {
            assert_eq!(is_too_open(mode, owner, ourselves), too_open, "{mode:o} of {owner} for {ourselves}");
        }
    }

    #[test]
    fn keys_are_never_overwritten() {
        let dir = Dir::new();
        create(&dir.0).unwrap();
        let before = fs::read(dir.file(MASTER)).unwrap();
        fs::remove_file(dir.file(DEPLOYMENT)).unwrap();
        assert!(matches!(create(&dir.0), Err(KeyError::Exists { .. })));
        assert_eq!(fs::read(dir.file(MASTER)).unwrap(), before);
        assert!(!dir.file(DEPLOYMENT).exists(), "nothing is written beside keys that are kept");
    }

    #[test]
    fn a_spoilt_key_file_is_named_and_its_text_is_not_shown() {
        let dir = Dir::new();
        create(&dir.0).unwrap();
        for name in [MASTER, SIGNING, VERIFYING, DEPLOYMENT] {
            let before = fs::read(dir.file(name)).unwrap();
            fs::write(dir.file(name), "canary").unwrap();
            let error = ControlKeys::load(&dir.0).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
            assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
            fs::write(dir.file(name), before).unwrap();
        }
    }

    #[test]
    fn loaded_keys_show_no_key() {
        let dir = Dir::new();
        let keys = create(&dir.0).unwrap();
        let shown = format!("{keys:?}");
        for name in [MASTER, SIGNING] {
            let text = fs::read_to_string(dir.file(name)).unwrap();
            assert!(!shown.contains(text.trim()), "{shown}");
        }
    }
}
