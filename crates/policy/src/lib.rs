//! Cedar: our schema, validation of a policy text, decide, explain, obligations.
//!
//! Pure: no clock, randomness, environment or I/O. A tenant's policies and reviewed tools are compiled once per revision to a
//! [`World`]; a [`CallerView`] is what one principal meets in it; [`CallerView::decide`] answers for one call.
//! The schema every policy is checked against is `sluice.cedarschema` and an action for each tool, made from its `inputSchema`.

mod annotation;
mod caller;
mod check;
mod decide;
mod decision;
mod finding;
mod listing;
mod nesting;
mod number;
mod outline;
pub mod packs;
mod reads;
mod rule;
mod schema;
mod shape;
mod suggest;
mod vocabulary;
mod world;

pub use caller::CallerView;
pub use check::{Checker, validate};
pub use decision::{
    Approval, CallContext, Decision, Determining, Effect, Obligation, ObligationKind, RuleEffect, code,
};
pub use finding::{Finding, Severity};
pub use listing::{Explanation, Outcome, Visibility};
pub use outline::{Does, Outlined, outline, reason};
pub use schema::BASE as SCHEMA;
pub use shape::{Argument, LeftOut};
pub use vocabulary::{ServerWords, ToolWords, Vocabulary};
pub use world::{CompileError, PolicyFinding, World};
