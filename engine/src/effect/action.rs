//! The action state machine (S-028, A.3). Postgres holds the same table and refuses the rest.

use serde::{Deserialize, Serialize};

/// Where an action stands. Each variant says who leaves it and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActionState {
    /// Planned; the guard moves it on or blocks it.
    Queued,
    /// The guard let it pass; the identity look moves it on.
    PreflightPassed,
    /// The account is the right one; recording the attempt moves it on.
    IdentityVerified,
    /// The call may have happened; only an outcome, a look or a person moves it on.
    Attempted,
    /// The platform has it; the postcheck closes it.
    ConfirmedSuccess,
    /// The platform has not got it; the postcheck closes it.
    ConfirmedFailed,
    /// Nobody can tell; a read-only look or a person moves it on (I3).
    Unknown,
    /// Closed.
    PostcheckComplete,
    /// Refused by policy, kill switch or identity before any attempt. Closed.
    Blocked,
    /// Withdrawn before any attempt. Closed.
    Cancelled,
}

/// A move that the machine does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an action cannot go from {from:?} to {to:?}")]
pub struct IllegalMove {
    /// Where it stands.
    pub from: ActionState,
    /// Where it was to go.
    pub to: ActionState,
}

impl ActionState {
    /// Every state, in the order of the document.
    pub const ALL: [Self; 10] = [
        Self::Queued,
        Self::PreflightPassed,
        Self::IdentityVerified,
        Self::Attempted,
        Self::ConfirmedSuccess,
        Self::ConfirmedFailed,
        Self::Unknown,
        Self::PostcheckComplete,
        Self::Blocked,
        Self::Cancelled,
    ];

    /// The states that this one may go to.
    pub fn next(self) -> &'static [Self] {
        match self {
            Self::Queued => &[Self::PreflightPassed, Self::Blocked, Self::Cancelled],
            Self::PreflightPassed => &[Self::IdentityVerified, Self::Blocked, Self::Cancelled],
            Self::IdentityVerified => &[Self::Attempted, Self::Blocked, Self::Cancelled],
            Self::Attempted => &[Self::ConfirmedSuccess, Self::ConfirmedFailed, Self::Unknown],
            Self::Unknown => &[Self::ConfirmedSuccess, Self::ConfirmedFailed, Self::PostcheckComplete],
            Self::ConfirmedSuccess | Self::ConfirmedFailed => &[Self::PostcheckComplete],
            Self::PostcheckComplete | Self::Blocked | Self::Cancelled => &[],
        }
    }

    /// The state itself when the machine has that move.
    pub fn to(self, to: Self) -> Result<Self, IllegalMove> {
        if self.next().contains(&to) { Ok(to) } else { Err(IllegalMove { from: self, to }) }
    }

    /// The word in the database, in events and on every surface.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::PreflightPassed => "preflight_passed",
            Self::IdentityVerified => "identity_verified",
            Self::Attempted => "attempted",
            Self::ConfirmedSuccess => "confirmed_success",
            Self::ConfirmedFailed => "confirmed_failed",
            Self::Unknown => "unknown",
            Self::PostcheckComplete => "postcheck_complete",
            Self::Blocked => "blocked",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_bypasses_the_mandated_path() {
        use ActionState::*;
        let path = [Queued, PreflightPassed, IdentityVerified, Attempted];
        for (n, from) in path.iter().enumerate() {
            for (m, to) in path.iter().enumerate() {
                assert_eq!(from.to(*to).is_ok(), m == n + 1, "{from:?} -> {to:?}");
            }
        }
        for state in [Queued, PreflightPassed, IdentityVerified] {
            for end in [ConfirmedSuccess, ConfirmedFailed, Unknown, PostcheckComplete] {
                assert!(state.to(end).is_err(), "{state:?} -> {end:?}");
            }
        }
    }

    #[test]
    fn unknown_is_never_left_for_another_attempt() {
        for to in [ActionState::Queued, ActionState::Attempted, ActionState::Cancelled] {
            assert!(ActionState::Unknown.to(to).is_err());
        }
    }

    #[test]
    fn every_word_reads_back() {
        for state in ActionState::ALL {
            assert_eq!(ActionState::parse(state.as_str()), Some(state));
        }
    }
}
