//! Policies: what may be done for an account, when, how often, and whether a person is asked first (Q-23; design, section 5).
//!
//! Owns the document ([`PolicyDocument`]), how the documents of several scopes become one ([`Policy`]), and the verdict
//! on one action ([`Verdict`]). All of it is pure: rations are counted in Postgres (`migrations/0024_policy.sql`), and
//! [`crate::effect`] asks. To add a rule, add its field to the document, its line to the merge, and its question to `judge`.

mod administer;
mod check;
mod classifier;
mod document;
mod evaluate;
mod judge;
mod merge;
mod quiet;
mod ration;
mod repeat;
mod scope;

pub use administer::{PolicyError, PolicyView};
pub use check::Misfit;
pub use classifier::{CLASSIFY_TIME, Classifier, Classifiers, Content, MAX_FLAGS, Unanswered};
pub use document::{
    Autonomy, Budgets, Ceilings, Compliance, CostBudget, CostUnit, Demand, IdentityDemand, OnRepeat, Per,
    PolicyDocument, QuietHours, RateBudget, RepeatedText, Spacing, Verification, Weekday,
};
pub use evaluate::{ActionEvaluation, Evaluation, Proposal, RunProposal};
pub use judge::{Decision, Verdict};
pub(crate) use judge::{Question, judge};
pub use merge::{Part, Policy};
pub(crate) use ration::{Rations, rations};
pub(crate) use repeat::{Posted, fingerprints, unless_repeated};
pub use scope::{PolicyScope, ScopeError};

#[cfg(test)]
mod laws;
