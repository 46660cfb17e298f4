//! From a snapshot to a tenant that can be served.

use domain::TenantSnapshot;

/// A tenant in memory.
#[derive(Debug)]
pub struct Tenant {
    /// What was published.
    pub snapshot: TenantSnapshot,
}

/// What compiling needs beside the snapshot.
#[derive(Debug, Clone, Default)]
pub struct CompileParts {}

/// Why a snapshot can't be served.
#[derive(Debug, thiserror::Error)]
#[error("the snapshot can't be served")]
pub struct CompileError;

impl Tenant {
    /// Compiles a snapshot.
    ///
    /// # Errors
    /// [`CompileError`] when it can't be served.
    pub fn compile(snapshot: TenantSnapshot, _parts: &CompileParts) -> Result<Self, CompileError> {
        Ok(Self { snapshot })
    }
}
