//! As whom a call would be made (S-007, S-021, S-032): how an account stands, and what the platform says when it is asked.
//!
//! The platform is asked after policy and approval, and before anything is planned: nothing is looked for, made ready or
//! attempted as somebody else. Postgres compares once more with the record of the attempt (`fermata.apply_attempts`).

use serde::Serialize;
use serde_json::json;

use super::perform::{Performance, Stage};
use super::preflight::{Judged, refusal};
use super::record::move_parts;
use super::{AccountMode, AccountTrouble, ActionRow, ActionState};
use crate::id::ActionId;
use crate::policy::{Decision, Policy, Verdict};
use crate::trace::Part;
use crate::workflow::{Failure, Parts, StepError};

/// The rule of the policy document that asks for it.
const RULE: &str = "identity";

/// How an account stands, as far as something is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) mode: AccountMode,
    /// Why it is in that mode.
    pub(crate) reason: Option<String>,
    /// The id that it was connected with.
    pub(crate) known: Option<String>,
}

impl Default for Standing {
    /// Of one that nothing is known of.
    fn default() -> Self {
        Self { mode: AccountMode::Normal, reason: None, known: None }
    }
}

impl Standing {
    /// What it forbids before anybody is asked.
    pub(crate) fn forbids(&self, policy: &Policy) -> Option<Verdict> {
        if self.mode != AccountMode::Normal {
            return Some(Verdict::of_mode(policy, self.mode.as_str(), self.reason.as_deref()));
        }
        let unknown = self.known.is_none() && policy.wants_identity();
        unknown.then(|| unverifiable(policy, "the account was never connected, so nobody knows who it is to be"))
    }
}

/// What the platform said, beside what was known when it was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Identified {
    known: Option<String>,
    seen: Option<String>,
}

impl Identified {
    /// Whether it is the account's; `None` where nobody can say.
    pub(super) fn ok(&self) -> Option<bool> {
        Some(self.known.as_ref()? == self.seen.as_ref()?)
    }

    /// Why nothing may be done, if it is another's.
    pub(super) fn mismatch(&self) -> Option<Failure> {
        let (known, seen) = (self.known.as_ref()?, self.seen.as_ref()?);
        (known != seen).then(|| {
            let message =
                format!("the platform says that this would be done as {seen:?}, and the account is {known:?}");
            Failure::new(AccountTrouble::Identity.code(), message)
        })
    }
}

impl Performance<'_> {
    /// The id that the platform gives when it is asked as whom it would act; `None` where there is no way to ask.
    async fn asked_who(&self) -> Result<Option<String>, StepError> {
        let began = self.context.clock().now();
        let told = self.effect.identity(&self.look(None)).await;
        let error = told.as_ref().err().map(|error| error.failure().code.as_str());
        self.context.session.trace.part_ended(self.traced().trace, Part::Identity, began, error);
        Ok(told?.map(|fingerprint| fingerprint.id))
    }

    /// Whether a call may be sent again: the platform honours keys, nothing forbids it by now, and the account may act, and as
    /// itself. Much may have changed since the call; whether that was made is then found out by looking, or by a person. What
    /// would have to wait, or be approved, has begun: that is not asked again.
    pub(super) async fn resendable(&self, action: &ActionRow) -> Result<bool, StepError> {
        if !self.spec().honours_keys || action.answer.is_some() {
            return Ok(false);
        }
        let judged = self.judge().await.map_err(|error| StepError::retry("policy_unread", error.to_string()))?;
        let Standing { mode: AccountMode::Normal, known, .. } = judged.standing else { return Ok(false) };
        if judged.verdict.decision == Decision::Block {
            return Ok(false);
        }
        let seen = if known.is_some() { self.asked_who().await? } else { None };
        Identified { known, seen }.mismatch().map_or(Ok(true), |failure| Err(StepError::Fail(failure)))
    }

    /// Asks the platform as whom it would act, if the account was connected; what cannot be verified and must be, is blocked.
    pub(super) async fn identified(&self, judged: Judged) -> Result<Judged, StepError> {
        let Some(known) = judged.standing.known.clone() else {
            let verdict = judged.standing.forbids(&judged.policy).unwrap_or(judged.verdict);
            return Ok(Judged { verdict, ..judged });
        };
        let seen = self.asked_who().await?;
        let unseen = seen.is_none() && judged.policy.wants_identity();
        let why = "this type of action has no way to ask the platform who it is";
        let verdict = if unseen { unverifiable(&judged.policy, why) } else { judged.verdict };
        Ok(Judged { verdict, identified: Identified { known: Some(known), seen }, ..judged })
    }

    /// The same for an action that was planned in another delivery: what is not right ends it.
    pub(super) async fn identified_again(&mut self, action: &ActionRow, judged: Judged) -> Result<Judged, Stage> {
        let judged = match self.identified(judged).await {
            Ok(judged) => judged,
            Err(error) => return Err(self.withdraw(action, error)),
        };
        self.identity.fingerprint_ok = judged.identified.ok();
        if judged.verdict.rule == RULE {
            return Err(self.blocked(action, refusal(&judged.verdict)));
        }
        match judged.identified.mismatch() {
            Some(failure) => Err(self.blocked(action, failure)),
            None => Ok(judged),
        }
    }

    /// The parts that block a plan because it would be done as somebody else; its account does nothing any more.
    pub(super) fn as_somebody_else(&self, id: ActionId, failure: &Failure) -> Parts {
        let detail = json!({"effect": false, "error": failure});
        let mut parts = move_parts(self.context, &self.identity, id, ActionState::Blocked, &detail);
        parts.extend(self.troubled(failure));
        parts
    }
}

fn unverifiable(policy: &Policy, why: &str) -> Verdict {
    Verdict::by(
        policy,
        Decision::Block,
        RULE,
        format!("the policy wants the identity of the account verified, and {why}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_id_that_the_account_was_connected_with_is_right_and_silence_is_no_answer() {
        let said = |known: Option<&str>, seen: Option<&str>| Identified {
            known: known.map(Into::into),
            seen: seen.map(Into::into),
        };
        for (known, seen, ok) in [
            (Some("1"), Some("1"), Some(true)),
            (Some("1"), Some("2"), Some(false)),
            (Some("1"), Some("1 "), Some(false)),
            (Some("1"), None, None),
            (None, Some("1"), None),
            (None, None, None),
        ] {
            let identified = said(known, seen);
            assert_eq!((identified.ok(), identified.mismatch().is_some()), (ok, ok == Some(false)), "{identified:?}");
        }
    }
}
