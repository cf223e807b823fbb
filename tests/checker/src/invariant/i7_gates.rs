//! I7: no effect without an approval valid at that moment.
//!
//! - Gates: where an effect was meant to be gated, each line of its reference arrived after a gate
//!   `approval…` of such a run was approved (and tolerance). A gate that is open, rejected or
//!   expired lets none through.
//! - Kill switches: after the answer to a trip, and before its lift is sent, nothing within its
//!   scope is attempted, and what arrives at the platform is of an action that the trip listed as
//!   under way. Sending the same call again (`resend`) is recorded without asking the switch, which
//!   is asked before the call itself; so a resend alone breaks nothing. A lift that was not
//!   answered counts from when it was sent. A line is judged by the attempts that can have made
//!   it; one that none can have made is I6's.

use chrono::{DateTime, Utc};

use crate::dossier::Dossier;
use crate::history::{Answered, Op, Request, Tripped, Turn, UnderWay};
use crate::ledger::Line;
use crate::verdict::Judge;

/// Judges gates and kill switches.
pub(super) fn judge(dossier: &Dossier<'_>, judge: &mut Judge<'_>) {
    for line in &dossier.trial.ledger {
        gated(dossier, line, judge);
    }
    for request in dossier.requests(Op::Trip).filter(|request| request.result == Answered::Ok) {
        if let Some(trip) = Trip::of(dossier, request) {
            attempted(dossier, &trip, judge);
            applied(dossier, &trip, judge);
        }
    }
}

fn gated(dossier: &Dossier<'_>, line: &Line, judge: &mut Judge<'_>) {
    let Some(reference) = line.reference.as_deref() else { return };
    let mut runs = dossier.runs_of(reference);
    if let Some(fence) = line.fence() {
        runs.retain(|run| *run == fence.run);
    }
    let wants = |run: &&str| dossier.publish(run).is_some_and(|publish| publish.gated);
    if runs.is_empty() || !runs.iter().all(wants) {
        return;
    }
    let of_these = |run: &str| runs.contains(&run);
    let gates: Vec<_> = dossier
        .trial
        .dump
        .gate
        .iter()
        .filter(|gate| {
            let name = gate.key.rsplit('/').next().unwrap_or(&gate.key);
            name.starts_with("approval") && of_these(&gate.run_id)
        })
        .collect();
    let by = line.arrived() + dossier.trial.facts.tolerance();
    let open = gates.iter().any(|gate| gate.state == "approved" && gate.decided_at.is_some_and(|at| at <= by));
    judge.require(open, || {
        let says =
            format!("the platform applied {reference} (line {}) without an approval by {}", line.seq, line.arrived());
        let gates = gates.iter().map(|gate| {
            format!("gate {} of run {} is {}, decided {:?}", gate.id, gate.run_id, gate.state, gate.decided_at)
        });
        (reference.to_owned(), says, [line.name()].into_iter().chain(gates).collect())
    });
}

/// A kill switch that was on, and that everybody knew of.
struct Trip<'a> {
    request: &'a Request,
    scope: Scope,
    /// When it had been answered.
    from: DateTime<Utc>,
    /// When its lift was sent.
    until: Option<DateTime<Utc>>,
    under_way: Vec<UnderWay>,
}

/// What a switch stops.
#[derive(Debug, PartialEq, Eq)]
enum Scope {
    Global,
    Client(String),
    Account(String, String),
}

impl Scope {
    /// `global`, `client:<client>` or `account:<client>/<account>`, the client there escaped.
    fn read(text: &str) -> Option<Self> {
        if text == "global" {
            return Some(Self::Global);
        }
        if let Some(client) = text.strip_prefix("client:") {
            return Some(Self::Client(client.to_owned()));
        }
        let (client, account) = text.strip_prefix("account:")?.split_once('/')?;
        Some(Self::Account(client.replace("%2F", "/").replace("%25", "%"), account.to_owned()))
    }

    fn stops(&self, client: &str, account: &str) -> bool {
        match self {
            Self::Global => true,
            Self::Client(stopped) => stopped == client,
            Self::Account(stopped, of) => (stopped == client || stopped == "*") && of == account,
        }
    }
}

impl<'a> Trip<'a> {
    fn of(dossier: &Dossier<'a>, request: &'a Request) -> Option<Self> {
        let turn: Turn = request.asked()?;
        let from = request.answered_at?;
        let lifts =
            dossier.requests(Op::Lift).filter(|lift| lift.result != Answered::Fail && lift.sent_at >= request.sent_at);
        let mine = lifts.filter(|lift| lift.asked::<Turn>().is_some_and(|other| other.scope == turn.scope));
        let until = mine.map(|lift| lift.sent_at).min();
        let under_way = request.told::<Tripped>()?.under_way.unwrap_or_default();
        Some(Self { request, scope: Scope::read(&turn.scope)?, from, until, under_way })
    }

    /// Whether it was on at that moment, whatever the clocks.
    fn is_on(&self, dossier: &Dossier<'_>, at: DateTime<Utc>) -> bool {
        let tolerance = dossier.trial.facts.tolerance();
        at > self.from + tolerance && self.until.is_none_or(|until| at < until - tolerance)
    }

    fn stops(&self, dossier: &Dossier<'_>, run: &str, account: &str) -> bool {
        dossier.runs.get(run).is_some_and(|run| self.scope.stops(&run.client_id, account))
    }
}

fn attempted(dossier: &Dossier<'_>, trip: &Trip<'_>, judge: &mut Judge<'_>) {
    judge.look();
    for moved in dossier.moves.values().flatten().filter(|moved| moved.is_attempt() && !moved.is_resend()) {
        if trip.stops(dossier, moved.run, moved.account) && trip.is_on(dossier, moved.at) {
            let says = format!(
                "action {} was attempted at {}; its kill switch was on from {}",
                moved.action, moved.at, trip.from
            );
            judge.object(moved.action, says, vec![trip.request.name(), moved.name()]);
        }
    }
}

fn applied(dossier: &Dossier<'_>, trip: &Trip<'_>, judge: &mut Judge<'_>) {
    for line in dossier.trial.ledger.iter().filter(|line| trip.is_on(dossier, line.arrived())) {
        let causes = dossier.causes(line);
        let stopped = |account: &str, run: &str| trip.stops(dossier, run, account);
        if causes.is_empty() || !causes.iter().all(|cause| stopped(cause.account, cause.run)) {
            continue;
        }
        let listed = causes.iter().any(|cause| trip.under_way.iter().any(|known| known.action_id == cause.action));
        judge.require(listed, || {
            let says = format!(
                "ledger line {} arrived at {}; the kill switch was on from {} and did not list its action among {}",
                line.seq,
                line.arrived(),
                trip.from,
                trip.under_way.len()
            );
            let subject = line.reference.clone().unwrap_or_default();
            let made = causes.iter().map(|cause| cause.name());
            (subject, says, [trip.request.name(), line.name()].into_iter().chain(made).collect())
        });
    }
}
