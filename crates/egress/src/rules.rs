//! Which addresses may be dialled at all.

use ipnet::IpNet;

/// What the operator allows beside the public internet over https. The default allows nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Whether this machine may be dialled, also over http: for development.
    pub allow_loopback: bool,
    /// Networks of the operator's that may be dialled although they are not public. A metadata address in them may not.
    pub allowed: Vec<IpNet>,
    /// Whether [`Rules::allowed`] networks are dialled over https only. The public internet always is.
    pub https_only: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self { allow_loopback: false, allowed: Vec::new(), https_only: true }
    }
}

impl Rules {
    /// For development on one machine: the public internet, and this machine over http too.
    #[must_use]
    pub fn development() -> Self {
        Self { allow_loopback: true, ..Self::default() }
    }
}
