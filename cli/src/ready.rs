//! `sluice ready`: whether the plane beside us is ready, for whoever asks by a command and has no HTTP client at hand, as in
//! a container of ours.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;

/// Longest wait for the answer.
const WITHIN: Duration = Duration::from_secs(3);

/// Asks the internal listener that `SLUICE_INTERNAL_LISTEN` names; an error says what the plane lacks.
pub(crate) async fn run() -> anyhow::Result<()> {
    let listen = crate::environment("SLUICE_INTERNAL_LISTEN")
        .context("SLUICE_INTERNAL_LISTEN is not set: it must be the internal listener's address and port")?;
    let address = reached_at(listen.parse().context("SLUICE_INTERNAL_LISTEN is wrong")?);
    let client = reqwest::Client::builder().timeout(WITHIN).no_proxy().build()?;
    let answer = client.get(format!("http://{address}/readyz")).send().await?;
    let is_ready = answer.status().is_success();
    let report = answer.text().await?;
    anyhow::ensure!(is_ready, "not ready: {report}");
    crate::say(&report);
    Ok(())
}

/// Where a listener is reached from this machine.
fn reached_at(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_every_address_is_reached_on_this_machine() {
        let at = |listen: &str| reached_at(listen.parse().unwrap()).to_string();
        assert_eq!(at("0.0.0.0:7305"), "127.0.0.1:7305");
        assert_eq!(at("[::]:7305"), "[::1]:7305");
        assert_eq!(at("10.0.0.7:7305"), "10.0.0.7:7305");
    }
}
