//! How often something may be tried: counted in Postgres, so that it holds over all replicas.

use std::net::IpAddr;

use chrono::Duration;
use domain::UserId;
use store::attempts::{self, Attempt};
use store::{Error, PlatformTx};

use crate::access::Access;

/// How long an attempt counts.
const WINDOW: Duration = Duration::minutes(15);
/// Wrong passwords of one account.
const ACCOUNT_MAX: u32 = 10;
/// Wrong passwords from one address.
const ADDRESS_MAX: u32 = 100;
/// Mails to one address.
const MAILS_MAX: u32 = 5;
/// Mails asked for from one address.
const MAILS_FROM_MAX: u32 = 30;

/// What is tried, by a digest: an address is no secret of the database's.
fn subject(kind: &str, of: &str) -> [u8; 32] {
    secrets::sha256(format!("{kind}\n{of}").as_bytes())
}

/// An address as a limit sees it: of IPv6 the network, for whoever has one address there has 2^64.
fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("{:x?}/64", &address.segments()[..4]),
    }
}

/// An attempt to sign in, counted before the password is looked at: those made at once count too.
#[derive(Debug)]
pub(super) struct Guess {
    account: [u8; 32],
    from: Attempt,
}

/// Counts an attempt to sign in; none when there were too many.
pub(super) async fn guess(access: &Access, email: &str, address: IpAddr) -> Result<Option<Guess>, Error> {
    count(access, subject("account", email), address).await
}

/// Counts an attempt of somebody signed in to prove who they are; none when there were too many.
pub(super) async fn proof(access: &Access, user: UserId, address: IpAddr) -> Result<Option<Guess>, Error> {
    count(access, subject("proof", &user.to_string()), address).await
}

async fn count(access: &Access, account: [u8; 32], address: IpAddr) -> Result<Option<Guess>, Error> {
    let from = subject("address", &network(address));
    let now = access.clock.now();
    let mut tx = PlatformTx::begin(&access.pool).await?;
    if attempts::take(&mut tx, account, (now - WINDOW, now), ACCOUNT_MAX).await?.is_none() {
        return Ok(None);
    }
    let Some(from) = attempts::take(&mut tx, from, (now - WINDOW, now), ADDRESS_MAX).await? else { return Ok(None) };
    tx.commit().await?;
    Ok(Some(Guess { account, from }))
}

impl Guess {
    /// It was right: the account starts anew, and the address has one attempt back.
    pub(super) async fn was_right(self, tx: &mut PlatformTx) -> Result<(), Error> {
        attempts::forgive(tx, self.account).await?;
        attempts::forget(tx, self.from).await
    }
}

/// Whether an account has no try left.
pub(super) async fn is_spent(access: &Access, tx: &mut PlatformTx, email: &str) -> Result<bool, Error> {
    let since = access.clock.now() - WINDOW;
    Ok(attempts::count(tx, subject("account", email), since).await? >= ACCOUNT_MAX)
}

/// An account starts anew: its password was chosen through a mail.
pub(super) async fn forgive(tx: &mut PlatformTx, email: &str) -> Result<(), Error> {
    attempts::forgive(tx, subject("account", email)).await
}

/// Whether another mail may be sent to this address, asked for from there.
pub(super) async fn mail(access: &Access, email: &str, address: IpAddr) -> Result<bool, Error> {
    let now = access.clock.now();
    let mut tx = PlatformTx::begin(&access.pool).await?;
    for (subject, max) in
        [(subject("mail", email), MAILS_MAX), (subject("mails from", &network(address)), MAILS_FROM_MAX)]
    {
        if attempts::take(&mut tx, subject, (now - WINDOW, now), max).await?.is_none() {
            return Ok(false);
        }
    }
    tx.commit().await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_its_network_where_it_is_ipv6() {
        let network = |text: &str| network(text.parse().unwrap());
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::9"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    }
}
