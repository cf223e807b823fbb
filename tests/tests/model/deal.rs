//! Random sequences of what the writer sends, each made from its number alone.
//!
//! Most of what is dealt is what the engine would send next, so that sequences get far; the rest is out of turn.

use fermata_tests::Lot;
use serde_json::{Value, json};

use super::reference::{Asks, Detail, Intent, Op, Part, Reach, STATES, World};

/// A sequence and what the reference says to each of its operations.
#[derive(Debug)]
pub(super) struct Sequence {
    pub(super) number: u64,
    /// The intents, before anything happened.
    pub(super) intents: Vec<Intent>,
    /// Nothing in it permits a repeat, or says of an action what the engine never says there.
    pub(super) honest: bool,
    pub(super) ops: Vec<Op>,
    pub(super) expected: Vec<String>,
}

struct Deal {
    lot: Lot,
    world: World,
    honest: bool,
    /// The number of the next action.
    fresh: usize,
}

pub(super) fn deal(number: u64) -> Sequence {
    let mut lot = Lot::new(number);
    let client = |letter: char| format!("{number}{letter}");
    let intent = |client, account, key| Intent { client, account, key, ..Intent::default() };
    let mut intents = vec![intent(client('a'), "x", "k")];
    match lot.below(4) {
        0 => intents.push(intent(client('a'), "x", "other")),
        1 => intents.push(intent(client('a'), "y", "other")),
        // Another client's intent of the same key is another intent.
        2 => intents.push(intent(client('b'), "x", "k")),
        _ => {}
    }
    let honest = lot.one_in(3);
    let (length, world) = (3 + lot.below(6), World { intents: intents.clone(), ..World::default() });
    let mut deal = Deal { lot, world, honest, fresh: 0 };
    let (mut ops, mut expected) = (Vec::new(), Vec::new());
    for _ in 0..length {
        let op = deal.op();
        let said = deal.world.play(&op);
        expected.push(format!("{said} | {}", deal.world.shown()));
        ops.push(op);
    }
    Sequence { number, intents, honest, ops, expected }
}

impl Deal {
    fn op(&mut self) -> Op {
        let intent = self.lot.below(self.world.intents.len());
        match self.lot.below(100) {
            0..60 => Op::Batch(vec![self.next(intent)]),
            60..66 => Op::Batch(vec![self.plan(intent)]),
            66..74 => {
                let other = self.lot.below(self.world.intents.len());
                let both = if intent == other {
                    vec![self.plan(intent), self.plan(intent)]
                } else {
                    vec![self.next(intent), self.next(other)]
                };
                Op::Batch(both)
            }
            74..78 => Op::Switch(self.reach(false), self.lot.below(3) < 2),
            78..80 => {
                let reach = self.reach(true);
                let version = self.world.heads.get(&reach).copied().unwrap_or(0);
                Op::Policy(reach, self.lot.of(&[None, Some(version), Some(version + 1)]))
            }
            _ => {
                let part = if self.honest { self.early(intent) } else { self.wild(intent) };
                Op::Batch(vec![vec![part]])
            }
        }
    }

    fn reach(&mut self, policy: bool) -> Reach {
        let client = self.lot.of(&self.world.intents).client;
        match self.lot.below(if policy { 4 } else { 3 }) {
            0 => Reach { client: "*".into(), platform: "*", account: "*" },
            1 => Reach { client, platform: "*", account: "*" },
            2 => Reach { client, platform: "*", account: self.lot.of(&["x", "y"]) },
            _ => Reach { client: "*".into(), platform: "p", account: "*" },
        }
    }

    /// What the engine would send next about an intent.
    fn next(&mut self, intent: usize) -> Vec<Part> {
        let Some(action) = self.world.intents[intent].current else { return self.plan(intent) };
        let happened = || Detail { effect: Some(true), receipt: Some(json!({"id": 1})), ..Detail::default() };
        let nothing = || Detail { effect: Some(false), ..Detail::default() };
        let moves = |to, detail| Part::Move { action, to, detail };
        let proof = |kind| Part::Prove { action, kind, permalink: false };
        let closed = || moves("postcheck_complete", Detail::default());
        match (self.world.actions[&action].state, self.lot.below(9)) {
            ("preflight_passed", 0) => vec![moves(self.lot.of(&["cancelled", "blocked"]), nothing())],
            ("preflight_passed", _) => vec![self.attempt(action, intent)],
            ("attempted" | "unknown", 0 | 1) => self.confirmed(action, happened()),
            ("attempted", 2) => vec![moves("confirmed_failed", nothing()), closed()],
            ("attempted", 3 | 4) => vec![moves("unknown", Detail::default())],
            ("attempted", 5) => vec![Part::Resend(action)],
            ("attempted", 6) => vec![proof("answer"), Part::Answered(action)],
            ("attempted" | "unknown", 7) => vec![Part::Look(action)],
            ("attempted", _) => {
                vec![moves(self.lot.of(&["confirmed_success", "confirmed_failed"]), Detail::default())]
            }
            ("unknown", 2 | 3) => vec![proof("person"), moves("postcheck_complete", happened())],
            ("unknown", 4) if !self.honest => {
                vec![proof("person"), moves("postcheck_complete", nothing()), Part::AllowRepeat(action)]
            }
            ("unknown", 4 | 5) => vec![proof("person"), moves("postcheck_complete", nothing())],
            ("unknown", _) => vec![moves("confirmed_failed", nothing()), closed()],
            ("confirmed_success" | "confirmed_failed", _) => vec![closed()],
            _ => self.plan(intent),
        }
    }

    fn confirmed(&mut self, action: usize, happened: Detail) -> Vec<Part> {
        let proofs = [("answer", true), ("look", false), ("surface", false)];
        let shown = self.lot.below(4);
        let level = Some(u64::try_from(shown.max(1)).unwrap());
        let mut parts: Vec<_> =
            proofs[..shown].iter().map(|&(kind, permalink)| Part::Prove { action, kind, permalink }).collect();
        parts.push(Part::Move { action, to: "confirmed_success", detail: Detail { level, looks: 1, ..happened } });
        parts.push(Part::Move { action, to: "postcheck_complete", detail: Detail::default() });
        parts
    }

    fn plan(&mut self, intent: usize) -> Vec<Part> {
        let action = self.fresh;
        self.fresh += 1;
        let allowed = !self.lot.one_in(10);
        let mut parts = vec![Part::Plan { action, intent, allowed }];
        if allowed && self.lot.one_in(8) {
            // A look has found the effect done.
            parts.push(Part::Attempt { action, intent, asks: None });
            parts.push(Part::Prove { action, kind: "look", permalink: false });
            let found = Detail { effect: Some(false), receipt: Some(Value::Null), level: Some(2), looks: 0 };
            parts.push(Part::Move { action, to: "confirmed_success", detail: found });
            parts.push(Part::Move { action, to: "postcheck_complete", detail: Detail::default() });
        }
        parts
    }

    fn attempt(&mut self, action: usize, intent: usize) -> Part {
        let mut heads = self.world.heads_of(intent);
        match self.lot.below(12) {
            0 => heads.clear(),
            1 => _ = heads.insert("global".into(), 7),
            2 => heads.values_mut().for_each(|version| *version -= 1),
            3 => return Part::Attempt { action, intent, asks: None },
            _ => {}
        }
        let asks = Some(Asks { heads, tokens: self.lot.one_in(2), alone: self.lot.one_in(3) });
        Part::Attempt { action, intent, asks }
    }

    /// Something that the engine sends, too early or too late.
    fn early(&mut self, intent: usize) -> Part {
        let action = self.lot.below(self.fresh.max(1));
        let detail = |effect| Detail { effect, ..Detail::default() };
        match self.lot.below(8) {
            0 | 1 => self.attempt_of(action, intent),
            2 => Part::Resend(action),
            3 => Part::Answered(action),
            4 => Part::Move { action, to: "confirmed_success", detail: detail(Some(true)) },
            5 => Part::Move { action, to: "confirmed_failed", detail: detail(Some(false)) },
            6 => Part::Move { action, to: "unknown", detail: detail(None) },
            _ => Part::Move { action, to: "postcheck_complete", detail: detail(None) },
        }
    }

    /// Anything about any action, be there one or not.
    fn wild(&mut self, intent: usize) -> Part {
        let action = self.lot.below(self.fresh + 1);
        match self.lot.below(16) {
            0 => Part::Plan { action, intent, allowed: true },
            1 | 2 => self.attempt_of(action, intent),
            3 => Part::Resend(action),
            4 => Part::Answered(action),
            5 => Part::AllowRepeat(action),
            6 => {
                let kind = self.lot.of(&["request", "answer", "look", "surface", "person"]);
                Part::Prove { action, kind, permalink: self.lot.one_in(2) }
            }
            _ => {
                let detail = Detail {
                    effect: self.lot.of(&[None, Some(true), Some(false)]),
                    receipt: self.lot.of(&[None, None, Some(Value::Null), Some(json!({"id": 2}))]),
                    level: self.lot.of(&[None, None, Some(0), Some(1), Some(2), Some(3), Some(4)]),
                    looks: self.lot.of(&[0, 1]),
                };
                Part::Move { action, to: self.lot.of(&STATES), detail }
            }
        }
    }

    /// An attempt of an action names whose it is; of one that is not there, any.
    fn attempt_of(&mut self, action: usize, intent: usize) -> Part {
        let intent = self.world.actions.get(&action).map_or(intent, |action| action.intent);
        self.attempt(action, intent)
    }
}
