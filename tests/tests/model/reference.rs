//! The reference: what there is, who may do what, and what follows. Written from the design (section 5), not from the SQL.
//!
//! Two things are named where they are: what Postgres leaves open, because nothing that the engine sends gets there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::Value;

/// How much a client may do; each attempt that asks for the budget takes one.
pub(super) const BUDGET: u64 = 2;

pub(super) const STATES: [&str; 10] = [
    "queued",
    "preflight_passed",
    "identity_verified",
    "attempted",
    "confirmed_success",
    "confirmed_failed",
    "unknown",
    "postcheck_complete",
    "blocked",
    "cancelled",
];

/// The document's machine: `a -> b | c`.
const MACHINE: [(&str, &[&str]); 7] = [
    ("queued", &["preflight_passed", "blocked", "cancelled"]),
    ("preflight_passed", &["identity_verified", "blocked", "cancelled"]),
    ("identity_verified", &["attempted", "blocked", "cancelled"]),
    ("attempted", &["confirmed_success", "confirmed_failed", "unknown"]),
    ("unknown", &["confirmed_success", "confirmed_failed", "postcheck_complete"]),
    ("confirmed_success", &["postcheck_complete"]),
    ("confirmed_failed", &["postcheck_complete"]),
];

/// Where no bare move leads.
const BY_ATTEMPT_ONLY: [&str; 2] = ["identity_verified", "attempted"];

/// Whatever words it is refused with.
const REFUSED: &str = "23514";

/// Staying is no move.
pub(super) fn may_go(from: &str, to: &str) -> bool {
    from == to || MACHINE.iter().any(|(state, next)| *state == from && next.contains(&to))
}

/// What the writer sends: parts of records; `intent` and `action` are numbers within the sequence.
#[derive(Debug, Clone)]
pub(super) enum Part {
    Plan { action: usize, intent: usize, allowed: bool },
    Attempt { action: usize, intent: usize, asks: Option<Asks> },
    Resend(usize),
    Move { action: usize, to: &'static str, detail: Detail },
    Prove { action: usize, kind: &'static str, permalink: bool },
    Answered(usize),
    Look(usize),
    AllowRepeat(usize),
}

/// Which policy an attempt follows, and what it takes of what is rationed.
#[derive(Debug, Clone)]
pub(super) struct Asks {
    pub(super) heads: BTreeMap<String, u64>,
    pub(super) tokens: bool,
    pub(super) alone: bool,
}

/// What is known about a move.
#[derive(Debug, Clone, Default)]
pub(super) struct Detail {
    pub(super) effect: Option<bool>,
    pub(super) receipt: Option<Value>,
    pub(super) level: Option<u64>,
    pub(super) looks: u64,
}

#[derive(Debug, Clone)]
pub(super) enum Op {
    /// Records of one batch, at most one per run.
    Batch(Vec<Vec<Part>>),
    Switch(Reach, bool),
    /// With the version that the caller goes by.
    Policy(Reach, Option<u64>),
}

/// What a switch or a policy is about: everything, a platform (of policies only), a client, an account of a client.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Reach {
    pub(super) client: String,
    pub(super) platform: &'static str,
    pub(super) account: &'static str,
}

impl Reach {
    pub(super) fn name(&self) -> String {
        match (self.client.as_str(), self.platform, self.account) {
            ("*", "*", _) => "global".into(),
            ("*", platform, _) => format!("platform:{platform}"),
            (client, _, "*") => format!("client:{client}"),
            (client, _, account) => format!("account:{client}/{account}"),
        }
    }

    fn covers(&self, intent: &Intent) -> bool {
        [&*self.client, self.account, self.platform]
            .into_iter()
            .zip([&*intent.client, intent.account, "p"])
            .all(|(mine, its)| mine == "*" || mine == its)
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Intent {
    pub(super) client: String,
    pub(super) account: &'static str,
    pub(super) key: &'static str,
    pub(super) known: bool,
    pub(super) current: Option<usize>,
    pub(super) repeat: bool,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Action {
    pub(super) intent: usize,
    pub(super) number: usize,
    pub(super) state: &'static str,
    pub(super) effect: Option<bool>,
    pub(super) receipt: bool,
    pub(super) level: u64,
    pub(super) looks: u64,
    pub(super) resends: u64,
    pub(super) answered: bool,
    pub(super) tokens: bool,
    pub(super) proofs: Vec<(&'static str, bool)>,
}

impl Action {
    /// The machine, then the range of levels, then what a level must be proven by (S-050 to S-053).
    fn moved(&mut self, to: &'static str, level: u64) -> Result<(), String> {
        if !may_go(self.state, to) {
            return Err(format!("23514 an action cannot go from {} to {to}", self.state));
        }
        if level > 3 {
            return Err("23514 new row for relation \"action\" violates check constraint \"action_level_check\"".into());
        }
        let shows = |kind: &str| self.proofs.iter().any(|proof| proof.0 == kind);
        let proven = match level {
            0 | 1 => !self.proofs.is_empty(),
            2 => shows("look"),
            _ => shows("look") && shows("surface") && self.proofs.iter().any(|proof| proof.1),
        };
        if level > self.level && !proven {
            return Err(format!("23514 level {level} of an action is not proven by"));
        }
        (self.state, self.level) = (to, level);
        Ok(())
    }

    fn is(&self, states: &[&str]) -> bool {
        states.contains(&self.state)
    }
}

/// The reference: what there is, who may do what, and what follows.
#[derive(Debug, Clone, Default)]
pub(super) struct World {
    pub(super) intents: Vec<Intent>,
    pub(super) actions: BTreeMap<usize, Action>,
    pub(super) switches: BTreeSet<Reach>,
    pub(super) heads: BTreeMap<Reach, u64>,
    pub(super) used: BTreeMap<String, u64>,
}

impl World {
    /// What Postgres is to answer. One part that is refused undoes its whole batch.
    pub(super) fn play(&mut self, op: &Op) -> String {
        match op {
            Op::Switch(reach, on) => {
                if *on {
                    self.switches.insert(reach.clone())
                } else {
                    self.switches.remove(reach)
                };
                "done".into()
            }
            Op::Policy(reach, known) => {
                let version = self.heads.get(reach).copied().unwrap_or(0);
                if known.is_some_and(|known| known != version) {
                    return "stale".into();
                }
                self.heads.insert(reach.clone(), version + 1);
                "done".into()
            }
            Op::Batch(records) => {
                let mut next = self.clone();
                let verdicts = next.judge(records);
                for part in records.iter().zip(&verdicts).filter(|(_, against)| against.is_none()).flat_map(|it| it.0) {
                    if let Err(error) = next.apply(part) {
                        return format!("error {error}");
                    }
                }
                *self = next;
                let said = verdicts.into_iter().map(|against| against.unwrap_or_else(|| "done".into()));
                said.collect::<Vec<_>>().join("; ")
            }
        }
    }

    /// What stands against each record, before any of them is applied.
    fn judge(&mut self, records: &[Vec<Part>]) -> Vec<Option<String>> {
        let (mut planned, mut begun) = (BTreeSet::new(), Vec::new());
        let mut verdicts = Vec::new();
        for record in records {
            let mut against = None;
            for part in record {
                match part {
                    Part::Plan { action, intent, .. } => {
                        self.intents[*intent].known = true;
                        // Another record of the batch may have the intent: then there is no action yet that could be seen.
                        if self.is_held(*intent, *action) || !planned.insert(*intent) {
                            against = Some("held".to_owned());
                        }
                    }
                    Part::Attempt { action, intent, asks } if against.is_none() => {
                        against = self.admit(*action, *intent, asks.as_ref(), &begun);
                        begun.extend(against.is_none().then_some(*intent));
                    }
                    _ => {}
                }
            }
            verdicts.push(against);
        }
        verdicts
    }

    /// A successor only where nothing was done, or by permission.
    fn is_held(&self, intent: usize, action: usize) -> bool {
        let Intent { current: Some(current), repeat: false, .. } = self.intents[intent] else { return false };
        let holder = &self.actions[&current];
        let nothing_done = holder.effect == Some(false) && !holder.receipt;
        let over = holder.is(&["blocked", "cancelled"])
            || holder.is(&["confirmed_failed", "postcheck_complete"]) && nothing_done;
        current != action && !over
    }

    fn admit(&mut self, action: usize, intent: usize, asks: Option<&Asks>, begun: &[usize]) -> Option<String> {
        // One that is past it is not judged again; the machine refuses it.
        if self.actions.get(&action).is_some_and(|action| action.state != "preflight_passed") {
            return None;
        }
        let about = &self.intents[intent];
        let mut engaged: Vec<_> = self.switches.iter().filter(|switch| switch.covers(about)).collect();
        engaged.sort_by_key(|switch| (switch.account != "*", switch.client != "*"));
        if let Some(switch) = engaged.first() {
            return Some(format!("kill_switch {}", switch.name()));
        }
        let asks = asks?;
        if asks.heads != self.heads_of(intent) {
            return Some("policy_changed".into());
        }
        let beside = |intent: usize| {
            let other = &self.intents[intent];
            (&other.client, other.account) == (&about.client, about.account)
        };
        let under_way = self.actions.values().filter(|action| action.is(&["attempted"])).map(|action| action.intent);
        if asks.alone && under_way.chain(begun.iter().copied()).any(beside) {
            return Some("wait concurrency".into());
        }
        let used = self.used.entry(about.client.clone()).or_default();
        if asks.tokens && *used == BUDGET {
            return Some("wait budgets/posts".into());
        }
        *used += u64::from(asks.tokens);
        None
    }

    pub(super) fn heads_of(&self, intent: usize) -> BTreeMap<String, u64> {
        let about = &self.intents[intent];
        let heads = self.heads.iter().filter(|(reach, _)| reach.covers(about));
        heads.map(|(reach, version)| (reach.name(), *version)).collect()
    }

    /// Left open by Postgres: a proof, a look or an answer about an action that does not exist is accepted, and nothing follows.
    fn apply(&mut self, part: &Part) -> Result<(), String> {
        match part {
            Part::Plan { action, intent, allowed } => {
                if self.actions.contains_key(action) {
                    return Err("23505 duplicate key value violates unique constraint \"action_pkey\"".into());
                }
                let number = 1 + self.actions.values().filter(|action| action.intent == *intent).count();
                let (state, effect) = if *allowed { ("preflight_passed", None) } else { ("blocked", Some(false)) };
                self.actions.insert(*action, Action { intent: *intent, number, state, effect, ..Action::default() });
                (self.intents[*intent].current, self.intents[*intent].repeat) = (Some(*action), false);
            }
            Part::Attempt { action, asks, .. } => {
                let action = self.actions.get_mut(action).ok_or(REFUSED)?;
                action.moved("identity_verified", action.level)?;
                action.moved("attempted", action.level)?;
                action.tokens = asks.as_ref().is_some_and(|asks| asks.tokens);
                action.proofs.push(("request", false));
                action.level = 1;
            }
            Part::Resend(action) => {
                let Some(action) = self.actions.get_mut(action).filter(|action| action.state == "attempted") else {
                    return Err("23514 only an attempted action is sent again".into());
                };
                action.resends += 1;
                action.proofs.push(("request", false));
            }
            Part::Move { action, to, detail } => return self.moves(*action, to, detail),
            Part::Prove { action, kind, permalink } => {
                self.actions.entry(*action).and_modify(|action| action.proofs.push((kind, *permalink)));
            }
            Part::Answered(action) => {
                if let Some(action) = self.actions.get_mut(action).filter(|action| action.state == "attempted") {
                    (action.answered, action.looks) = (true, action.looks + 1);
                }
            }
            Part::Look(action) => {
                self.actions.entry(*action).and_modify(|action| action.looks += 1);
            }
            Part::AllowRepeat(action) => {
                let intent = self.repeatable(*action).ok_or(REFUSED)?;
                self.intents[intent].repeat = true;
            }
        }
        Ok(())
    }

    /// The intent that a permission to repeat an action is about: what is over, or what nobody can tell; never a call that may
    /// be under way.
    pub(super) fn repeatable(&self, action: usize) -> Option<usize> {
        let over = ["confirmed_failed", "unknown", "postcheck_complete"];
        let of = self.actions.get(&action).filter(|it| it.is(&over)).map(|it| it.intent)?;
        (self.intents[of].current == Some(action)).then_some(of)
    }

    fn moves(&mut self, action: usize, to: &'static str, detail: &Detail) -> Result<(), String> {
        let action = self.actions.get_mut(&action).ok_or(REFUSED)?;
        // Only an attempt, which is judged, begins a call.
        if BY_ATTEMPT_ONLY.contains(&to) {
            return Err(REFUSED.into());
        }
        let was = action.clone();
        action.moved(to, was.level.max(detail.level.unwrap_or(0)))?;
        action.effect = detail.effect.or(was.effect);
        action.receipt |= detail.receipt.is_some();
        action.looks += detail.looks;
        // What was taken for nothing goes back, once, when that is known.
        let known_now = was.effect != Some(false) && action.effect == Some(false);
        let left = ["confirmed_success", "confirmed_failed", "unknown", "postcheck_complete"];
        if was.is(&["attempted", "unknown"]) && action.is(&left) && known_now && action.tokens {
            let used = self.used.entry(self.intents[action.intent].client.clone()).or_default();
            *used = used.saturating_sub(1);
        }
        Ok(())
    }

    /// As `pg_temp.shown` says it.
    pub(super) fn shown(&self) -> String {
        let mut shown = String::new();
        for (slot, a) in &self.actions {
            let mut proofs: Vec<_> =
                a.proofs.iter().map(|(kind, link)| format!("{kind}{}", if *link { "+" } else { "" })).collect();
            proofs.sort();
            let effect = a.effect.map_or("?", |effect| if effect { "t" } else { "f" });
            let [receipt, answered, tokens] = [a.receipt, a.answered, a.tokens].map(|it| if it { "t" } else { "f" });
            let (number, state, level, looks, resends) = (a.number, a.state, a.level, a.looks, a.resends);
            let proofs = proofs.join(",");
            write!(
                shown,
                "{slot}: {number} {state} {effect} {receipt} {level} {looks} {resends} {answered} {tokens} {proofs}; "
            )
            .unwrap();
        }
        let mut intents: Vec<_> = self.intents.iter().filter(|intent| intent.known).collect();
        intents.sort_by_key(|intent| (&intent.client, intent.key));
        for intent in intents {
            let current = intent.current.map_or("?".to_owned(), |slot| slot.to_string());
            let repeat = if intent.repeat { "t" } else { "f" };
            let used = self.used.get(&intent.client).unwrap_or(&0);
            write!(shown, "{}/{} {current} {repeat} {used}; ", intent.client, intent.key).unwrap();
        }
        shown
    }
}
