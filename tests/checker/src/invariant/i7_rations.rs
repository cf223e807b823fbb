//! I7: a policy that rations effects holds at each attempt, whatever nodes there are.
//!
//! By the positions of the events, which are the order of commits, for each account:
//!
//! - no more actions are `attempted` at once than `concurrency`; one that moves on has ended its call;
//! - the attempts of a window, less those whose action had ended without an effect by then, are no
//!   more than `max`;
//! - two attempts are `min_s` apart.
//!
//! An action that found its effect done is attempted and confirmed in one record, without a call: it takes
//! nothing. So does the same call sent again.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;

use crate::dossier::{Dossier, Move};
use crate::trial::Rations;
use crate::verdict::Judge;

/// Judges what was rationed.
pub(super) fn judge(dossier: &Dossier<'_>, judge: &mut Judge<'_>) {
    let Some(rations) = dossier.trial.facts.rations else { return };
    let mut accounts: BTreeMap<(&str, &str), Vec<&Move<'_>>> = BTreeMap::new();
    for moved in dossier.moves.values().flatten() {
        let client = dossier.runs.get(moved.run).map_or("", |run| run.client_id.as_str());
        accounts.entry((client, moved.account)).or_default().push(moved);
    }
    for moves in accounts.values_mut() {
        moves.sort_by_key(|moved| moved.position);
        let calls = calls(moves);
        let mut account = Account::default();
        for moved in moves {
            account.sees(moved, calls.contains(&moved.position), rations, judge);
        }
    }
}

/// The positions of the attempts that a call follows.
fn calls(moves: &[&Move<'_>]) -> BTreeSet<i64> {
    let confirmed = |attempt: &Move<'_>| {
        moves
            .iter()
            .any(|other| other.action == attempt.action && other.at == attempt.at && other.state == "confirmed_success")
    };
    let attempts = moves.iter().filter(|moved| moved.is_attempt() && !moved.is_resend());
    attempts.filter(|moved| !confirmed(moved)).map(|moved| moved.position).collect()
}

/// What is under way, and what was spent.
#[derive(Default)]
struct Account<'a> {
    under_way: BTreeSet<&'a str>,
    /// By window, the actions that count in it.
    spent: BTreeMap<i64, BTreeSet<&'a str>>,
    last: Option<Move<'a>>,
}

impl<'a> Account<'a> {
    fn sees(&mut self, moved: &Move<'a>, calls: bool, rations: Rations, judge: &mut Judge<'_>) {
        if !moved.is_attempt() {
            self.under_way.remove(moved.action);
            if moved.effect() == Some(false) {
                for actions in self.spent.values_mut() {
                    actions.remove(moved.action);
                }
            }
            return;
        }
        if !calls {
            return;
        }
        self.under_way.insert(moved.action);
        let says = |says: String| (moved.action.to_owned(), says, vec![moved.name()]);
        let at_once = self.under_way.len();
        judge.require(at_once <= rations.concurrency, || {
            says(format!("{at_once} calls are under way at once, where {} may be", rations.concurrency))
        });
        let window = moved.at.timestamp().div_euclid(rations.window_s.into());
        let spent = self.spent.entry(window).or_default();
        spent.insert(moved.action);
        let spent = spent.len();
        judge.require(spent <= rations.max, || {
            says(format!(
                "{spent} effects were attempted in one window of {} s, where {} may be",
                rations.window_s, rations.max
            ))
        });
        if let (Some(min_s), Some(last)) = (rations.min_s, &self.last) {
            judge.require(moved.at - last.at >= TimeDelta::seconds(min_s.into()), || {
                says(format!("the attempt before it was at {}, less than {min_s} s earlier", last.at))
            });
        }
        self.last = Some(*moved);
    }
}
