//! Ends a change of configuration: its audit record and the wish to publish it stand in the change's own transaction.

use chrono::{DateTime, Utc};
use domain::{Clock, TokenId, UserId};
use store::{TenantTx, outbox};

use crate::ingest::change::{self, Change};

/// Who changes something, and when.
#[derive(Debug, Clone)]
pub struct Author {
    /// The person; of what Sluice does by itself, the person it does it for.
    pub user: UserId,
    /// The actor as the record names it.
    pub actor: change::Actor,
    /// Tells the time, and makes ids.
    pub clock: Clock,
}

impl Author {
    /// The present time.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Records a change of what nodes serve, and asks for its publication.
    ///
    /// # Errors
    /// [`store::Error`] when the database failed; the transaction is then to be dropped.
    pub async fn changed(&self, tx: &mut TenantTx, change: Change) -> Result<(), store::Error> {
        self.noted(tx, change).await?;
        outbox::changed(tx).await?;
        Ok(())
    }

    /// Records a change of a gateway token, and asks for its publication.
    ///
    /// # Errors
    /// [`store::Error`] when the database failed; the transaction is then to be dropped.
    pub async fn token_changed(&self, tx: &mut TenantTx, token: TokenId, change: Change) -> Result<(), store::Error> {
        self.noted(tx, change).await?;
        outbox::token_changed(tx, token).await
    }

    /// Records a change that no node need know of.
    ///
    /// # Errors
    /// [`store::Error`] when the database failed; the transaction is then to be dropped.
    pub async fn noted(&self, tx: &mut TenantTx, change: Change) -> Result<(), store::Error> {
        change::record(tx, &self.clock, &self.actor, change).await
    }
}
