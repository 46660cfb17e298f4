//! What was done to an account, said in the log of every workspace its person is a member of. Addresses, of people as of
//! machines, stand in none.

use domain::{SessionId, UserId};
use store::{Error, PlatformTx, accounts};

use super::{Needs, throttle};
use crate::ingest::change::{self, Actor, By, Change};
use crate::problem::causes;

/// Something a person did to their account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// A browser was signed in.
    SignedIn,
    /// A browser was signed out: this one, or another of the person's.
    Ended(SessionId),
    /// All other browsers were.
    EndedOthers,
    /// The password is another one.
    Password,
    /// The e-mail address is another one.
    Email,
}

/// Notes what a person did, in the transaction that does it; `session` is the one in which they did.
pub(super) async fn note(
    needs: &Needs,
    tx: &mut PlatformTx,
    (user, session): (UserId, SessionId),
    deed: Deed,
) -> Result<(), Error> {
    let change = match deed {
        Deed::SignedIn => Change::new("session.begin", "session", session),
        Deed::Ended(ended) => Change::new("session.end", "session", ended),
        Deed::EndedOthers => Change::new("session.end_others", "user", user),
        Deed::Password => Change::new("account.password", "user", user),
        Deed::Email => Change::new("account.email", "user", user),
    };
    record(needs, tx, user, (&Actor::User { user, by: By::Session(session) }, &change)).await
}

async fn record(
    needs: &Needs,
    tx: &mut PlatformTx,
    user: UserId,
    (actor, change): (&Actor, &Change),
) -> Result<(), Error> {
    let workspaces = accounts::list_workspaces(tx, user).await?;
    let tenants: Vec<_> = workspaces.into_iter().map(|workspace| workspace.tenant).collect();
    change::record_account(tx, &tenants, &needs.access.clock, actor, change).await
}

/// Notes that an account is locked, once its last try is spent: one record for all the wrong passwords before. Whoever
/// tried does not wait for it, for that would tell them that there is such an account.
pub(super) async fn failed(needs: &Needs, user: UserId, email: String) {
    let noting = needs.clone();
    let work = async move {
        if let Err(error) = locked(&noting, user, &email).await {
            tracing::error!(error = %causes(&error), "that an account is locked could not be recorded");
        }
    };
    needs.mail.run(work).await;
}

async fn locked(needs: &Needs, user: UserId, email: &str) -> Result<(), Error> {
    let mut tx = PlatformTx::begin(&needs.access.pool).await?;
    if !throttle::is_spent(&needs.access, &mut tx, email).await? {
        return Ok(());
    }
    record(needs, &mut tx, user, (&Actor::System, &Change::new("account.lock", "user", user))).await?;
    tx.commit().await
}
