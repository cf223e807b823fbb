//! Who decides what is to happen to a request: the longest plan that concerns it, else the mode.

use tokio::sync::watch;

use crate::conduct::Conduct;
use crate::effect::Kind;
use crate::mode::Mode;
use crate::plan::book::Plans;
use crate::problem::Problem;
use crate::site::Request;

/// Holds the mode and the plans in force, and wakes frozen requests when theirs changes.
#[derive(Debug, Default)]
pub(crate) struct Switchboard {
    mode: watch::Sender<Mode>,
    /// The plans in force.
    pub(crate) plans: Plans,
}

impl Switchboard {
    /// The mode in force, with what is left of `times`.
    pub(crate) fn mode(&self) -> Mode {
        self.mode.borrow().clone()
    }

    /// Replaces the whole mode.
    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Back to good behaviour, without any plans.
    pub(crate) fn start_over(&self) {
        self.set(Mode::default());
        self.plans.clear();
    }

    /// Decides about one mutating request, after holding it for as long as it is frozen; one that
    /// was is [`Problem::Cut`].
    pub(crate) async fn meet(&self, request: &Request) -> Result<Conduct, Problem> {
        let Some(met) = self.plans.meet(request)? else {
            return self.meet_mode(request.draft.effect.kind()).await;
        };
        if met.conduct.freeze {
            self.plans.end_of(&met).await;
            return Err(Problem::Cut);
        }
        Ok(met.conduct)
    }

    async fn meet_mode(&self, kind: Kind) -> Result<Conduct, Problem> {
        // Deciding and counting are one step under the lock, so that `times` is exact.
        let mut decided = Conduct::good();
        self.mode.send_if_modified(|mode| {
            decided = mode.meet(kind);
            false
        });
        if decided.freeze {
            // The sender lives as long as `self`, so the wait ends only with a change of mode.
            let _ = self.mode.subscribe().wait_for(|mode| !mode.freezes(kind)).await;
            return Err(Problem::Cut);
        }
        Ok(decided)
    }
}
