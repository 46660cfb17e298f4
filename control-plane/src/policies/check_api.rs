//! Trying texts, and the packs to begin with, over HTTP.

use axum::Json;
use policy::packs::Pack;
use policy::{Finding, Severity};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::actions::{self, PolicyError, TEXT_MAX_BYTES};
use super::worlds;
use crate::access::{Can, may};
use crate::input::Body;
use crate::problem::Problem;
use crate::tenants::TenantPath;

/// One thing found in a text.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Remark {
    /// From 1.
    line: u32,
    /// The character in the line, from 1.
    column: u32,
    /// `error`: the text is not accepted; `warning`: it may not be meant so.
    #[schema(value_type = String)]
    severity: &'static str,
    message: String,
}

pub(super) fn remarks(findings: Vec<Finding>) -> Vec<Remark> {
    let remark = |finding: Finding| Remark {
        line: finding.line,
        column: finding.column,
        severity: match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        message: finding.message,
    };
    findings.into_iter().map(remark).collect()
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CheckPolicy {
    /// One or more Cedar policies, at most 256 KiB.
    text: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CheckedPolicy {
    /// Whether the text would be accepted.
    accepted: bool,
    remarks: Vec<Remark>,
}

/// Checks a text against the tenant's own tools; nothing is saved.
#[utoipa::path(post, path = "/tenants/{tenant}/policy-checks", tag = "policies", params(TenantPath),
    request_body = CheckPolicy, responses((status = 200, body = CheckedPolicy), (status = "4XX", body = Problem)))]
pub(super) async fn check(
    can: Can<may::WritePolicies>,
    Body(wanted): Body<CheckPolicy>,
) -> Result<Json<CheckedPolicy>, Problem> {
    if wanted.text.len() > TEXT_MAX_BYTES {
        return Err(Problem::invalid("text", format!("at most {TEXT_MAX_BYTES} bytes")));
    }
    let present = worlds::present(&mut can.begin().await?).await?;
    let (accepted, findings) = match actions::check(wanted.text, present).await {
        Ok(warnings) => (true, warnings),
        Err(PolicyError::Wrong(findings)) => (false, findings),
        Err(error) => return Err(error.into()),
    };
    Ok(Json(CheckedPolicy { accepted, remarks: remarks(findings) }))
}

/// A pack to begin with.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StartingPack {
    /// `read_only`, `ask_before_writes` or `observe_everything`.
    #[schema(value_type = String)]
    pack: &'static str,
    #[schema(value_type = String)]
    title: &'static str,
    /// Its policies, to be added as they are or changed.
    #[schema(value_type = String)]
    text: &'static str,
    /// How many of the tenant's tools it allows a member.
    allowed: usize,
    /// How many wait for a person.
    approval: usize,
    /// How many it denies.
    denied: usize,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StartingPacks {
    packs: Vec<StartingPack>,
}

/// Lists the packs to begin with, strictest first, and what each would do to the tenant's tools.
#[utoipa::path(get, path = "/tenants/{tenant}/policy-packs", tag = "policies", params(TenantPath),
    responses((status = 200, body = StartingPacks), (status = "4XX", body = Problem)))]
pub(super) async fn list_packs(can: Can<may::ViewPolicies>) -> Result<Json<StartingPacks>, Problem> {
    let present = worlds::present(&mut can.begin().await?).await?;
    let counted = actions::aside(move || {
        Ok::<_, PolicyError>(present.packs()?.iter().map(|(pack, count)| shown(*pack, *count)).collect())
    });
    let packs = counted.await.ok_or(PolicyError::NotChecked)??;
    Ok(Json(StartingPacks { packs }))
}

fn shown(pack: Pack, count: policy::packs::Count) -> StartingPack {
    StartingPack {
        pack: pack.as_str(),
        title: pack.title(),
        text: pack.text(),
        allowed: count.allowed,
        approval: count.approval,
        denied: count.denied,
    }
}
