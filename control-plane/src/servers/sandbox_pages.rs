//! The server to try Sluice with: looked at, added and accepted at one press of a button, which says so.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::ServerKey;
use store::servers::{self, Server};
use store::{TenantTx, policies};
use url::Url;

use super::Needs;
use super::actions::{self, Imported, Rejected, ServerError, Which};
use super::api::usual;
use super::probe_api;
use crate::access::{Can, may};
use crate::console::{Done, Shell};
use crate::problem::Problem;

/// What people call it.
const TITLE: &str = "Sandbox";
/// Most keys that are tried: none is used again, so each time it is removed takes one.
const KEYS_MAX: u32 = 50;

/// `POST …/servers/sandbox`: its tools are accepted by the person who asks, and only where none of them was reviewed yet.
pub(super) async fn add(
    State(needs): State<Needs>,
    shell: Shell,
    can: Can<may::ManageServers>,
) -> Result<Response, Problem> {
    let endpoint = needs.sandbox.0.clone().ok_or_else(Problem::not_found)?;
    let server = present(&needs, &can, &endpoint).await?;
    let at = shell.to(&format!("servers/{}", server.id));
    if server.version.is_none() {
        match probe_api::look(&needs.relay, &needs.clock, &can, (server.id, Rejected::AskAgain)).await {
            Ok(Imported::Held(version, _)) => {
                let (author, named) = (can.author(&needs.clock), (server.id, version.id));
                let mut tx = can.begin().await?;
                match actions::accept_first(&mut tx, &author, named, Which::All).await {
                    // Pressed twice, it is accepted once.
                    Ok(()) | Err(ServerError::Decided) => tx.commit().await?,
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(Imported::Unchanged) => {}
            // What is wrong stands on its page; pressed again, the button goes on from here.
            Err(problem) => {
                let said = format!("The sandbox server is added, but could not be looked at: {}", problem.said());
                return Ok(Done::to(at).saying(said).into_response());
            }
        }
    }
    let mut tx = can.begin().await?;
    let is_ruled = policies::list(&mut tx).await?.iter().any(|policy| policy.active_version.is_some());
    Ok(if is_ruled {
        Done::to(shell.to("connect")).saying("The sandbox server’s tools are accepted.")
    } else {
        // There they are counted, and a policy is chosen.
        Done::to(shell.to(&format!("policies?added={}", server.id)))
    }
    .into_response())
}

/// The tenant's sandbox server, added where it has none.
async fn present(needs: &Needs, can: &Can<may::ManageServers>, endpoint: &Url) -> Result<Server, Problem> {
    for number in 1..=KEYS_MAX {
        let mut tx = can.begin().await?;
        if let Some(server) = find(&mut tx, endpoint).await? {
            return Ok(server);
        }
        let key = if number == 1 { "sandbox".to_owned() } else { format!("sandbox-{number}") };
        let key: ServerKey = key.parse().map_err(|_| Problem::internal())?;
        let settings = usual(&key, None, TITLE.to_owned(), endpoint.clone())?;
        match actions::add(&mut tx, &can.author(&needs.clock), key, settings).await {
            Ok(server) => {
                tx.commit().await?;
                return Ok(server);
            }
            Err(ServerError::KeyTaken | ServerError::AliasTaken) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(ServerError::KeyTaken.into())
}

async fn find(tx: &mut TenantTx, endpoint: &Url) -> Result<Option<Server>, store::Error> {
    Ok(servers::list(tx).await?.into_iter().find(|server| server.settings.endpoint == *endpoint))
}
