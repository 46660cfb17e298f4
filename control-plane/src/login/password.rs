//! Passwords: argon2id, a bounded number of derivations at once, and what makes one too easy to guess.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Argon2, Params};
use domain::Secret;
use tokio::sync::Semaphore;

/// Shortest password, characters.
pub(crate) const MIN: usize = 10;
/// Longest password, characters: a passphrase fits, and nobody makes us work on a megabyte.
pub(crate) const MAX: usize = 128;

/// Derivations at once: each takes 19 MiB and a core for some 20 ms.
const AT_ONCE: usize = 4;
/// Derivations that may wait; whoever comes then is asked to come again.
const WAITING: usize = 64;

/// Judgements of new passwords at once: one that was made for it takes a second. Sign-ins do not wait for them.
const JUDGED_AT_ONCE: usize = 1;
/// Judgements that may wait.
const JUDGED_WAITING: usize = 16;

/// Keeps and checks passwords. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Passwords {
    params: Params,
    deriving: Lane,
    judging: Lane,
    worked: Arc<AtomicU64>,
}

/// Work of one kind: some at once, some that waits.
#[derive(Debug, Clone)]
struct Lane {
    working: Arc<Semaphore>,
    queued: Arc<Semaphore>,
}

impl Lane {
    fn new(at_once: usize, waiting: usize) -> Self {
        Self { working: Arc::new(Semaphore::new(at_once)), queued: Arc::new(Semaphore::new(at_once + waiting)) }
    }

    async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        let _place = self.queued.try_acquire().map_err(|_| Busy)?;
        let working = Arc::clone(&self.working).acquire_owned().await.map_err(|_| Busy)?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            // Only now: a caller who has gone leaves the work going on.
            drop(working);
            done
        });
        done.await.map_err(|_| Busy)
    }
}

/// Too many people sign in at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many people sign in at this moment")]
pub(crate) struct Busy;

impl Default for Passwords {
    /// As OWASP recommends for argon2id: 19 MiB, two passes.
    fn default() -> Self {
        Self::with(Params::DEFAULT)
    }
}

impl Passwords {
    /// The cheapest argon2id there is, for tests that are about something else.
    #[must_use]
    pub fn cheap() -> Self {
        Self::with(Params::new(Params::MIN_M_COST, 1, 1, None).unwrap_or(Params::DEFAULT))
    }

    fn with(params: Params) -> Self {
        let (deriving, judging) = (Lane::new(AT_ONCE, WAITING), Lane::new(JUDGED_AT_ONCE, JUDGED_WAITING));
        Self { params, deriving, judging, worked: Arc::default() }
    }

    /// How often a password was derived, for whatever reason: who asks from outside must not be able to tell.
    #[must_use]
    pub fn worked(&self) -> u64 {
        self.worked.load(Ordering::Relaxed)
    }

    /// A password as it is kept: a PHC string.
    pub(crate) async fn keep(&self, password: Secret<String>) -> Result<String, Busy> {
        let salt: [u8; 16] = secrets::random();
        let argon = Argon2::from(&self.params);
        let kept = self.derive(move || argon.hash_password_with_salt(password.expose().as_bytes(), &salt)).await?;
        kept.map(|phc| phc.to_string()).map_err(|error| {
            tracing::error!(%error, "argon2 refused its parameters");
            Busy
        })
    }

    /// What is wrong with a password; nothing where it is fine. `known` is what others know of the person. Judging a
    /// hostile one takes time, so it is work like the rest.
    pub(crate) async fn weakness(&self, password: Secret<String>, known: Vec<String>) -> Result<Option<String>, Busy> {
        self.judging
            .work(move || {
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                weakness(password.expose(), &known)
            })
            .await
    }

    /// Whether a password is the kept one. Takes as long when there is none to compare with.
    pub(crate) async fn matches(&self, password: Secret<String>, kept: Option<String>) -> Result<bool, Busy> {
        let argon = Argon2::from(&self.params);
        self.derive(move || {
            if let Some(kept) = kept {
                return argon.verify_password(password.expose().as_bytes(), kept.as_str()).is_ok();
            }
            let mut out = [0; 32];
            let worked = argon.hash_password_into(password.expose().as_bytes(), &[0; 16], &mut out);
            // Looked at, so that the work is not left out; never the right one.
            worked.is_err() && out[0] == 1
        })
        .await
    }

    /// A derivation.
    async fn derive<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        let worked = Arc::clone(&self.worked);
        let counted = move || {
            worked.fetch_add(1, Ordering::Relaxed);
            work()
        };
        self.deriving.work(counted).await
    }
}

fn weakness(password: &str, known: &[&str]) -> Option<String> {
    let length = password.chars().count();
    if length < MIN {
        return Some(format!("Use at least {MIN} characters."));
    }
    if length > MAX {
        return Some(format!("Use at most {MAX} characters."));
    }
    let judged = zxcvbn::zxcvbn(password, known);
    if judged.score() >= zxcvbn::Score::Three {
        return None;
    }
    let why = judged.feedback().and_then(zxcvbn::feedback::Feedback::warning);
    let why = why.map_or_else(|| "It is easy to guess.".to_owned(), |why| why.to_string());
    Some(format!("{why} A few unrelated words make a good password."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    #[tokio::test]
    async fn a_password_is_kept_as_argon2id_and_only_it_matches() {
        let passwords = Passwords::cheap();
        let kept = passwords.keep(secret("correct horse")).await.unwrap();
        assert!(kept.starts_with("$argon2id$v=19$") && !kept.contains("horse"), "{kept}");
        assert!(passwords.matches(secret("correct horse"), Some(kept.clone())).await.unwrap());
        assert!(!passwords.matches(secret("correct horsf"), Some(kept.clone())).await.unwrap());
        assert!(!passwords.matches(secret("correct horse"), None).await.unwrap());
        assert_ne!(kept, passwords.keep(secret("correct horse")).await.unwrap());
    }

    #[tokio::test]
    async fn what_is_kept_in_earnest_costs_what_owasp_asks() {
        let kept = Passwords::default().keep(secret("x")).await.unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
    }

    #[tokio::test]
    async fn whoever_comes_when_many_wait_already_is_sent_away_at_once() {
        let passwords = Passwords::cheap();
        let all = passwords.deriving.queued.clone().acquire_many_owned(68).await.unwrap();
        assert_eq!(passwords.matches(secret("x"), None).await, Err(Busy));
        assert_eq!((passwords.keep(secret("x")).await, passwords.worked()), (Err(Busy), 0));
        drop(all);
        // New passwords that take long to judge are in nobody's way who signs in.
        let _judging = passwords.judging.queued.clone().acquire_many_owned(17).await.unwrap();
        assert_eq!(passwords.weakness(secret("x"), Vec::new()).await, Err(Busy));
        assert_eq!((passwords.matches(secret("x"), None).await, passwords.worked()), (Ok(false), 1));
    }

    #[test]
    fn a_password_that_is_easy_to_guess_is_refused_with_a_reason() {
        for easy in ["password123", "qwertyuiop", "Password1234!", "short", "ana@kestrel.example", "aaaaaaaaaaaaaaaa"] {
            assert!(weakness(easy, &["ana@kestrel.example", "Kestrel"]).is_some(), "{easy}");
        }
        assert!(weakness(&"x".repeat(MAX + 1), &[]).is_some());
        assert_eq!(weakness("otter plinth velvet 42", &["ana@kestrel.example"]), None);
    }
}
