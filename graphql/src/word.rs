//! Words of the engine as enums of the schema.

use async_graphql::{Enum, Error};
use fermata_engine::event::Severity as EngineSeverity;
use fermata_engine::read::StepState as EngineStepState;

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Enum)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The engine's word for it.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The one that the engine means by a word.
            pub(crate) fn of(word: &str) -> Result<Self, Error> {
                let found = Self::ALL.iter().copied().find(|one| one.word() == word);
                found.ok_or_else(|| Error::new(concat!(
                    "a newer program wrote a ", stringify!($name), " that this one does not know; ask a newer node"
                )))
            }
        }
    )+};
}

/// The engine's words for a list that may be left out.
pub(crate) fn words<T>(list: Option<Vec<T>>, word: impl Fn(T) -> &'static str) -> Vec<String> {
    list.unwrap_or_default().into_iter().map(|one| word(one).to_owned()).collect()
}

words! {
    /// Where a command stands.
    CommandStatus {
        /// It will be taken up.
        Queued = "QUEUED",
        /// A node carries it.
        Running = "RUNNING",
        /// It waits for a time, a signal or a child.
        Waiting = "WAITING",
        /// It looks at something outside from time to time.
        Polling = "POLLING",
        /// It waits for a person.
        HumanRequired = "HUMAN_REQUIRED",
        /// It ends at its next checkpoint.
        Cancelling = "CANCELLING",
        /// It ended well.
        Succeeded = "SUCCEEDED",
        /// It ended badly.
        Failed = "FAILED",
        /// It was withdrawn.
        Cancelled = "CANCELLED",
    }

    /// Where an action stands in the action machine.
    ActionState {
        /// Planned.
        Queued = "queued",
        /// The guard let it pass.
        PreflightPassed = "preflight_passed",
        /// The account is the right one.
        IdentityVerified = "identity_verified",
        /// The call may have happened.
        Attempted = "attempted",
        /// The platform has it.
        ConfirmedSuccess = "confirmed_success",
        /// The platform has not got it.
        ConfirmedFailed = "confirmed_failed",
        /// Nobody can tell.
        Unknown = "unknown",
        /// Closed.
        PostcheckComplete = "postcheck_complete",
        /// Refused before any attempt.
        Blocked = "blocked",
        /// Withdrawn before any attempt.
        Cancelled = "cancelled",
    }

    /// Where a gate stands.
    GateState {
        /// It waits for a person.
        Open = "open",
        /// A person said yes.
        Approved = "approved",
        /// A person said no.
        Rejected = "rejected",
        /// A takeover has ended.
        Completed = "completed",
        /// Nobody decided in time.
        Expired = "expired",
        /// Its command ended before.
        Cancelled = "cancelled",
    }

    /// What a person is asked for.
    GateKind {
        /// A yes or a no.
        Approval = "approval",
        /// To drive the browser for a while.
        Takeover = "takeover",
    }

    /// What a step is.
    StepKind {
        /// A body that ran.
        Step = "step",
        /// A value that was only computed.
        Pure = "pure",
        /// A wait for a time.
        Sleep = "sleep",
        /// A wait for a signal.
        Signal = "signal",
        /// A wait for a person.
        Gate = "gate",
        /// A side effect.
        Effect = "effect",
        /// The start of another command.
        Child = "child",
        /// The wait for its end.
        ChildResult = "child_result",
        /// Which of several was first.
        Race = "race",
        /// What this program does not know.
        Other = "other",
    }

    /// What may be done with an account.
    AccountMode {
        /// Everything that its policy allows.
        Normal = "normal",
        /// Looking only: a person has to see to it.
        ReadOnly = "read_only",
        /// Nothing.
        Disabled = "disabled",
    }

    /// How an action reaches its platform.
    Lane {
        /// The platform's API.
        Api = "api",
        /// A real browser.
        Browser = "browser",
        /// Both.
        Hybrid = "hybrid",
    }
}

/// How an attempt of a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "EngineStepState")]
pub enum StepState {
    /// Its result is the checkpoint.
    Succeeded,
    /// Another attempt may follow.
    Failed,
}

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Enum)]
#[graphql(remote = "EngineSeverity")]
pub enum Severity {
    /// For those who look closely.
    Debug,
    /// Something went on as it should.
    Info,
    /// Something needs an eye.
    Warn,
    /// Something failed.
    Error,
}

/// A person's word on a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub enum Decision {
    /// Go on.
    Approve,
    /// Do not.
    Reject,
}

#[cfg(test)]
mod tests {
    use fermata_engine::effect::{AccountMode as EngineAccountMode, ActionState as EngineActionState};
    use fermata_engine::read::STATUSES;

    use super::*;

    #[test]
    fn every_word_of_the_engine_has_its_name_here() {
        let ours: Vec<_> = CommandStatus::ALL.iter().map(|one| one.word()).collect();
        assert_eq!(ours, STATUSES);
        let ours: Vec<_> = ActionState::ALL.iter().map(|one| one.word()).collect();
        assert_eq!(ours, EngineActionState::ALL.map(EngineActionState::as_str));
        assert!(AccountMode::ALL.iter().all(|mode| EngineAccountMode::parse(mode.word()).is_some()));
        assert!(CommandStatus::of("SHELVED").is_err());
    }
}
