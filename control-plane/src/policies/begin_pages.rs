//! Beginning with a pack: its rules are added and in force at one press of a button, and the way leads on to Connect.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::{Clock, Permission};
use policy::packs::Pack;
use serde::Deserialize;
use store::TenantTx;
use store::policies::{self, Policy};

use super::actions::{self, PolicyError};
use super::api;
use crate::access::{Can, may};
use crate::console::{Done, Shell};
use crate::input::Form;
use crate::problem::Problem;
use crate::recorded::Author;

#[derive(Debug, Deserialize)]
pub(super) struct Chosen {
    #[serde(default)]
    pack: String,
}

/// What became of the pack.
enum Begun {
    /// It is in force.
    InForce,
    /// A policy of its name says something else; it was left alone.
    Other(Box<Policy>),
}

/// `POST …/policies/begin`.
pub(super) async fn begin(
    State(clock): State<Clock>,
    shell: Shell,
    can: Can<may::Publish>,
    Form(chosen): Form<Chosen>,
) -> Result<Response, Problem> {
    can.also(Permission::WritePolicies)?;
    let pack = Pack::find(&chosen.pack).ok_or_else(|| Problem::invalid("pack", "There is no such pack."))?;
    api::checked(&can, pack.text()).await?;
    let author = can.author(&clock);
    let mut tx = can.begin().await?;
    let mut begun = take_up(&mut tx, &author, pack).await;
    if matches!(begun, Err(PolicyError::NameTaken)) {
        // Pressed twice, the second time finds what the first one added.
        tx = can.begin().await?;
        begun = take_up(&mut tx, &author, pack).await;
    }
    let begun = begun?;
    tx.commit().await?;
    Ok(match begun {
        Begun::InForce => Done::to(shell.to("connect")).saying(format!("{} is published.", pack.title())),
        Begun::Other(policy) => Done::to(shell.to(&format!("policies/{}", policy.id))).saying(format!(
            "A policy is called {} already, and has other rules. Nothing was published.",
            pack.title()
        )),
    }
    .into_response())
}

/// Adds the pack where no policy has its name, and puts it in force.
async fn take_up(tx: &mut TenantTx, author: &Author, pack: Pack) -> Result<Begun, PolicyError> {
    let (policy, version) = match policies::list(tx).await?.into_iter().find(|policy| policy.name == pack.title()) {
        Some(policy) if !is_of(tx, &policy, pack).await? => return Ok(Begun::Other(Box::new(policy))),
        Some(policy) => (policy.clone(), policy.latest_version),
        None => {
            let (policy, version) = actions::add(tx, author, pack.title().to_owned(), pack.text().to_owned()).await?;
            (policy, version.version)
        }
    };
    actions::activate(tx, author, (policy.id, policy.revision), Some(version)).await?;
    Ok(Begun::InForce)
}

/// Whether a policy's newest text is the pack's.
async fn is_of(tx: &mut TenantTx, policy: &Policy, pack: Pack) -> Result<bool, store::Error> {
    let newest = policies::find_version(tx, policy.id, policy.latest_version).await?;
    Ok(newest.is_some_and(|newest| newest.text == pack.text()))
}
