//! Policies: what may be done for an account, when, how often, and whether a person is asked first (Q-23; design, section 5).
//!
//! Owns the document ([`PolicyDocument`]), how the documents of several scopes become one ([`Policy`]), and the verdict
//! on one action ([`Verdict`]). All of it is pure: rations are counted in Postgres (`migrations/0024_policy.sql`), and
//! [`crate::effect`] asks. To add a rule, add its field to the document, its line to the merge, and its question to `judge`.

mod administer;
mod check;
mod document;
mod judge;
mod merge;
mod quiet;
mod ration;
mod scope;

pub use administer::{Evaluation, PolicyError, PolicyView, Proposal};
pub use check::Misfit;
pub use document::{
    Autonomy, Budgets, Compliance, CostBudget, CostUnit, Demand, IdentityDemand, Per, PolicyDocument, QuietHours,
    RateBudget, Spacing, Weekday,
};
pub use judge::{Decision, Verdict};
pub(crate) use judge::{Question, judge};
pub use merge::{Part, Policy};
pub(crate) use ration::rations;
pub use scope::{PolicyScope, ScopeError};

#[cfg(test)]
mod laws;
