//! What every handler shares, and the one road an effect takes through misbehaviour into the site.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::clock;
use crate::conduct::{Conduct, Fail};
use crate::connection::Cord;
use crate::problem::Problem;
use crate::site::{Outcome, Request, Site, Terms};
use crate::switchboard::Switchboard;
use crate::traffic::Traffic;
use crate::webhook::courier::Courier;

/// The site and its misbehaviour; the router's state.
#[derive(Debug)]
pub(crate) struct App {
    /// The social network.
    pub(crate) site: Mutex<Site>,
    /// The mode and the plans in force.
    pub(crate) switchboard: Switchboard,
    /// How much was asked of it.
    pub(crate) traffic: Traffic,
    /// Tells the accounts' endpoints what was applied.
    pub(crate) courier: Arc<Courier>,
}

impl App {
    /// Does what the mode or a plan wants with a request and, unless it says otherwise, applies it.
    ///
    /// From [`Problem::Cut`] on the connection is dead and the handler's answer goes nowhere.
    pub(crate) async fn perform(self: &Arc<Self>, cord: &Cord, request: Request) -> Result<Outcome, Problem> {
        let lane = request.lane;
        let conduct = self.switchboard.meet(&request).await.inspect_err(|problem| {
            if matches!(problem, Problem::Cut) {
                cord.cut(lane);
            }
        })?;
        // A task of its own: a client that hangs up during the delay has still asked, and a real
        // site would still do it.
        let applying = tokio::spawn(Arc::clone(self).carry_out(request, conduct));
        let outcome = applying.await.map_err(|_| Problem::Broken)?;
        clock::pause(conduct.hold_answer).await;
        if conduct.drop_answer {
            cord.cut(lane);
            return Err(Problem::Cut);
        }
        if conduct.fail == Fail::After {
            return Err(Problem::Fault(conduct.status));
        }
        outcome
    }

    async fn carry_out(self: Arc<Self>, request: Request, conduct: Conduct) -> Result<Outcome, Problem> {
        clock::pause(conduct.delay).await;
        if conduct.fail == Fail::Before {
            return Err(Problem::Fault(conduct.status));
        }
        let Conduct { honour_keys, hide_ms, render_ms, .. } = conduct;
        let terms = Terms { honour_keys, hide_ms, render_ms, now: clock::now() };
        let app = Arc::clone(&self);
        let apply = move || app.site.blocking_lock().apply(request, terms);
        let outcome = tokio::task::spawn_blocking(apply).await.map_err(|_| Problem::Broken)??;
        if let Outcome::Applied(line) = &outcome {
            self.courier.announce(line).await;
        }
        Ok(outcome)
    }
}
