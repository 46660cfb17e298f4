//! Which port is whose, counted from one base, and a clear word when one is taken.

use std::net::TcpListener;

use anyhow::Context;

/// The ports of one local deployment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    base: u16,
}

/// Most nodes that one machine runs: their ports stand in two rows of twenty.
pub(crate) const MAX_NODES: u16 = 20;

impl Ports {
    /// Ports from `base` on.
    pub(crate) fn from(base: u16) -> anyhow::Result<Self> {
        base.checked_add(60).context("SLUICE_PORT is too high: 60 ports from it on must exist")?;
        Ok(Self { base })
    }

    /// Where clients connect; connections are dealt to the nodes in turn.
    pub(crate) fn tenants(self) -> u16 {
        self.base
    }
    /// The control plane's API.
    pub(crate) fn control_plane(self) -> u16 {
        self.base + 1
    }
    /// The private Postgres.
    pub(crate) fn postgres(self) -> u16 {
        self.base + 2
    }
    /// The private Redis.
    pub(crate) fn redis(self) -> u16 {
        self.base + 3
    }
    /// The demo upstream server.
    pub(crate) fn demo(self) -> u16 {
        self.base + 4
    }
    /// The control plane's internal listener: metrics, health.
    pub(crate) fn control_plane_internal(self) -> u16 {
        self.base + 5
    }
    /// A node's public listener; nodes count from 1.
    pub(crate) fn node(self, number: u16) -> u16 {
        self.base + 10 + number
    }
    /// A node's internal listener: metrics, health, relay.
    pub(crate) fn node_internal(self, number: u16) -> u16 {
        self.base + 10 + MAX_NODES + number
    }

    /// Whether all ports that will be used are free.
    pub(crate) fn check(self, nodes: u16) -> anyhow::Result<()> {
        let fixed = [
            (self.tenants(), "clients"),
            (self.control_plane(), "the control plane"),
            (self.postgres(), "Postgres"),
            (self.redis(), "Redis"),
            (self.demo(), "the demo server"),
            (self.control_plane_internal(), "the control plane's metrics"),
        ];
        let of_nodes = (1..=nodes)
            .flat_map(|number| [(self.node(number), "a node"), (self.node_internal(number), "a node's metrics")]);
        for (port, whose) in fixed.into_iter().chain(of_nodes) {
            TcpListener::bind(("127.0.0.1", port)).with_context(|| {
                format!(
                    "port {port} (for {whose}) is in use: end what uses it, or set SLUICE_PORT to another first port"
                )
            })?;
        }
        Ok(())
    }
}
