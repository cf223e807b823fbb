//! What the rig submits: commands, and what each should come to, for the checker.

use serde_json::{Value, json};

use crate::fault::{Blow, Fault};
use crate::plan::{LONGEST_DELAY_MS, Plan, Promise, Rations, Work};

/// How long a call may take.
const CALL_TIMEOUT_S: f64 = 0.8;
/// How long it may take on a slow platform, and how long that holds its answers back.
const SLOW_CALL_TIMEOUT_S: f64 = 2.6;
const SLOW_ANSWERS_MS: [u64; 2] = [500, 2_000];
/// After this an effect can be found, by the platform's promise: its longest delay, and more.
const VISIBLE_WITHIN_S: f64 = 0.6;
/// The account that posts.
pub(crate) const ACCOUNT: &str = "ada";

/// A command: its type, its payload, and what it is about.
pub(crate) struct Order {
    pub(crate) command: (&'static str, Value),
    pub(crate) about: Value,
}

/// What begins the references of a trial's posts of one promise.
pub(crate) fn prefix(client: &str, promise: Promise) -> String {
    let letter = match promise {
        Promise::Keys => "k",
        Promise::Conclusive => "c",
        Promise::Inconclusive => "i",
    };
    format!("{client}-{letter}-")
}

/// How the site behaves towards posts of one promise. It keeps the promise, and breaks all else.
pub(crate) fn conduct(plan: &Plan, promise: Promise) -> Value {
    let (keys, hide) = match promise {
        Promise::Keys => ("honour", 0.1),
        Promise::Conclusive => ("ignore", 0.0),
        Promise::Inconclusive => ("ignore", 0.3),
    };
    // Where a point behind a lost answer is aimed at, most answers are lost; behind a lost call, most calls.
    let (drop_answer, fail_before) = match plan.fault {
        Fault::CrashPoint if plan.blows.iter().any(Blow::needs_lost_calls) => (0.1, 0.6),
        Fault::CrashPoint => (0.7, 0.06),
        _ => (0.12, 0.06),
    };
    let hold_answer_ms = if plan.slow { SLOW_ANSWERS_MS } else { [0, LONGEST_DELAY_MS] };
    json!({
        "seed": plan.seed, "keys": keys,
        "chances": {"drop_answer": drop_answer, "fail_before": fail_before, "fail_after": 0.08, "hide": hide},
        "delay_ms": [0, LONGEST_DELAY_MS / 2], "hold_answer_ms": hold_answer_ms, "hide_ms": [600_000, 900_000],
        "status": [500, 502, 503],
    })
}

/// The command of a piece of work, the `number`-th of the trial.
pub(crate) fn order(client: &str, number: usize, work: &Work, slow: bool) -> Order {
    match work {
        Work::Steps { steps, signal } => Order {
            command: (
                "bench.steps",
                json!({"steps": steps, "wait_signal": signal, "pad": format!("{client}-{number}")}),
            ),
            about: json!({"kind": "steps", "steps": steps, "signal": signal}),
        },
        Work::Publish { promise, gated, after, .. } => {
            let reference = format!("{}{number}", prefix(client, *promise));
            let absence = if *promise == Promise::Conclusive { "conclusive" } else { "inconclusive" };
            let honours_keys = *promise == Promise::Keys;
            let about = json!({
                "kind": "publish", "reference": reference, "honours_keys": honours_keys, "absence": absence,
                "gated": gated, "after": after,
            });
            let call_timeout_s = if slow { SLOW_CALL_TIMEOUT_S } else { CALL_TIMEOUT_S };
            let flow = publishing((honours_keys, absence), call_timeout_s, *gated, *after);
            let inputs = json!({"caption": format!("post {number} of {client}"), "reference": reference});
            Order { command: ("flow.run", json!({"flow": flow, "inputs": inputs})), about }
        }
    }
}

/// The policy that rations posts.
pub(crate) fn policy(rations: &Rations) -> Value {
    let Rations { concurrency, max, window_s, min_s } = rations;
    let mut policy = json!({
        "concurrency": concurrency,
        "budgets": {"rate": [{"name": "rig", "actions": ["publish"], "max": max, "window_s": window_s}]},
    });
    if let Some(min_s) = min_s {
        policy["spacing"] = json!({"publish": {"min_s": min_s, "max_s": min_s}});
    }
    policy
}

/// Another command, for the key of the `number`-th.
pub(crate) fn clashing(client: &str, number: usize) -> Order {
    Order {
        command: ("bench.steps", json!({"steps": 1, "pad": format!("{client}-{number}-clashes")})),
        about: json!({"kind": "steps", "steps": 1, "signal": false}),
    }
}

fn publishing((honours_keys, absence): (bool, &str), call_timeout_s: f64, gated: bool, after: bool) -> Value {
    let mut steps = Vec::new();
    if gated {
        steps.push(json!({
            "id": "approval", "human": {"reason": "publish", "shown": {"caption": "${inputs.caption}"}},
        }));
    }
    steps.push(json!({
        "id": "login",
        "http": {
            "method": "POST", "url": "${env.demo_site}/api/login", "safe": true, "record": false,
            "json": {"handle": ACCOUNT, "password": "demo-password"},
            "expect": {"body": [{"at": "/token", "is": "present"}]}, "save": {"token": "/token"},
        },
    }));
    steps.push(json!({
        "id": "publish",
        "effect": {
            "action_type": "publish", "account": ACCOUNT,
            "payload": {"caption": "${inputs.caption}", "reference": "${inputs.reference}"},
            "honours_keys": honours_keys, "absence": absence,
            "call_timeout_s": call_timeout_s, "visible_within_s": VISIBLE_WITHIN_S,
            "look": {"http": {
                "request": {
                    "method": "GET", "url": "${env.demo_site}/api/posts",
                    "query": {"author": ACCOUNT, "reference": "${inputs.reference}"},
                    "expect": {"body": [{"at": "/posts", "is": "present"}]}, "save": {"id": "/posts/0/id"},
                },
                "present": [{"at": "/posts/0/id", "is": "present"}],
            }},
            "call": {"http": {
                "method": "POST", "url": "${env.demo_site}/api/posts",
                "headers": {"Authorization": "Bearer ${steps.login.token}", "Idempotency-Key": "${effect.key}"},
                "json": {"caption": "${inputs.caption}", "reference": "${inputs.reference}"},
                "expect": {"body": [{"at": "/id", "is": "present"}]}, "save": {"id": "/id"},
            }},
        },
    }));
    if after {
        steps.push(json!({"id": "after", "set": {"values": {"posted": "${steps.publish.id}"}}}));
    }
    json!({
        "name": "rig.publish", "version": "1", "title": "Publish, as the rig has it", "platform": "demo", "lane": "api",
        "inputs": {
            "type": "object", "additionalProperties": false, "required": ["caption", "reference"],
            "properties": {"caption": {"type": "string"}, "reference": {"type": "string"}},
        },
        "steps": steps, "outputs": {"id": "${steps.publish.id}"},
    })
}
