//! What a flow would do outside, told without doing anything: each effect with what is known of it before the run.
//!
//! Templates are filled by the same [`Scope`] as in a run. What only a run can know (results of steps that touch the
//! outside, decisions, the run's own id) is left as it is written, and named.

use fermata_engine::document;
use fermata_engine::workflow::{Failure, Foreseen, Foresight, Reached};
use serde_json::{Map, Value};

use super::Flow;
use super::document::{Action, EffectStep, HumanStep, OnReject, SetStep, Step};
use super::finding::{Finding, refusal};
use super::flow_run::scope_of;
use super::interpreter::effect::lane;
use super::late::Text;
use super::limits::MAX_FORESEEN_BYTES;
use super::scope::{FillError, Scope};
use super::template::{Place, Template, escaped};

/// Walks through a flow as a run would, and does nothing.
pub(super) fn foresee(flow: &Flow, given: &Map<String, Value>, client: &str) -> Result<Foresight, Failure> {
    let scope = scope_of(client);
    let inputs = flow.inputs(given, &scope).map_err(|findings| refusal("input_invalid", findings, "/inputs"))?;
    let mut unknown = vec![path(&["run", "id"])];
    unknown.extend(late_defaults(flow, given).map(|name| path(&["inputs", name])));
    let mut walk = Walk {
        flow,
        scope: scope.with("inputs", inputs),
        unknown,
        conditions: Vec::new(),
        ended: None,
        left: MAX_FORESEEN_BYTES,
        found: Foresight::default(),
    };
    for step in &flow.document().steps {
        walk.step(step).map_err(|TooMuch| {
            let message = format!("what the flow would do comes to more than {MAX_FORESEEN_BYTES} bytes");
            refusal("foresight_too_large", vec![Finding::error("/inputs", message, "give it smaller inputs")], "")
        })?;
    }
    Ok(walk.found)
}

/// The inputs that were left out and whose default is made of the run's id.
fn late_defaults<'f>(flow: &'f Flow, given: &'f Map<String, Value>) -> impl Iterator<Item = &'f str> {
    let properties = flow.document().inputs.get("properties").and_then(Value::as_object).into_iter().flatten();
    properties.filter_map(|(name, property)| {
        let default = property.get("default").filter(|_| !given.contains_key(name))?;
        let mut names = Vec::new();
        halves(default, &mut |place| place.path == ["run", "id"], &mut names);
        (!names.is_empty()).then_some(name.as_str())
    })
}

fn path(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// More than is worth telling.
struct TooMuch;

/// What is known of a value before the run.
struct Known {
    /// All of it; what is not known stands as it was written.
    shown: Value,
    /// Only what is known; `None` when that is nothing at all.
    certain: Option<Value>,
    /// What is not known.
    missing: Vec<String>,
}

impl Known {
    /// The whole value, if it is.
    fn whole(self) -> Result<Value, Vec<String>> {
        if self.missing.is_empty() { Ok(self.shown) } else { Err(self.missing) }
    }
}

/// Whether a step is done.
enum Due {
    Yes,
    No,
    Perhaps(String),
}

struct Walk<'f> {
    flow: &'f Flow,
    scope: Scope,
    /// The beginnings of paths that only the run will know.
    unknown: Vec<Vec<String>>,
    /// What has to come true for the run to get this far.
    conditions: Vec<String>,
    /// Why the run ends before the next step, if that is certain.
    ended: Option<String>,
    /// How many bytes may still be filled.
    left: usize,
    found: Foresight,
}

impl Walk<'_> {
    fn step(&mut self, step: &Step) -> Result<(), TooMuch> {
        let due = match self.due(step)? {
            Ok(due) => due,
            Err(error) => {
                self.ends(&step.id, &error);
                Due::Yes
            }
        };
        if let Action::Effect(effect) = &step.action {
            self.effect(step, effect, &due)?;
        }
        if matches!(due, Due::No) {
            // A step that is not done has the result `null`, as in a run.
            self.scope.set_step(&step.id, Value::Null);
            return Ok(());
        }
        match &step.action {
            Action::Set(set) if matches!(due, Due::Yes) => return self.set(step, set),
            Action::Sleep(_) => {
                self.scope.set_step(&step.id, Value::Null);
                return Ok(());
            }
            Action::Human(HumanStep { on_reject: OnReject::Fail, .. }) => {
                self.conditions.push(format!("a person agrees at `{}`", step.id));
            }
            Action::Child(_) => self.found.unseen.push(step.id.clone()),
            _ => {}
        }
        self.unknown.push(path(&["steps", &step.id]));
        Ok(())
    }

    fn due(&mut self, step: &Step) -> Result<Result<Due, FillError>, TooMuch> {
        let Some(when) = &step.when else { return Ok(Ok(Due::Yes)) };
        let known = match self.known(&when.value)? {
            Ok(known) => known,
            Err(error) => return Ok(Err(error)),
        };
        Ok(Ok(match known.whole() {
            Ok(value) if when.is.holds(&value) => Due::Yes,
            Ok(_) => Due::No,
            Err(missing) => Due::Perhaps(format!("`when` holds, which depends on {}", missing.join(", "))),
        }))
    }

    fn set(&mut self, step: &Step, set: &SetStep) -> Result<(), TooMuch> {
        let mut values = Map::new();
        for (name, value) in &set.values {
            match self.known(value)?.map(Known::whole) {
                Ok(Ok(value)) => drop(values.insert(name.clone(), value)),
                Ok(Err(_)) => self.unknown.push(path(&["steps", &step.id, name])),
                Err(error) => {
                    self.ends(&step.id, &error);
                    self.unknown.push(path(&["steps", &step.id, name]));
                }
            }
        }
        self.scope.set_step(&step.id, Value::Object(values));
        Ok(())
    }

    fn effect(&mut self, step: &Step, effect: &EffectStep, due: &Due) -> Result<(), TooMuch> {
        let mut failure = None;
        let payload = self.part(&effect.payload, &mut failure)?;
        let mut not_known = payload.missing;
        let account_id =
            self.late(effect.account.written(), &mut not_known).then(|| effect.account.fill(&self.scope, "account"));
        let dedupe = match &effect.dedupe {
            None => Some(Ok(None)),
            Some(dedupe) => self
                .late(dedupe.written(), &mut not_known)
                .then(|| dedupe.fill_optional(&self.scope, "dedupe").map(|text| text.map(|Text(text)| text))),
        };
        let mut wrong = |error: FillError| {
            failure.get_or_insert(error.to_string());
        };
        let account_id = account_id.and_then(|account| account.map_err(&mut wrong).ok()).map(|Text(account)| account);
        let dedupe = dedupe.and_then(|dedupe| dedupe.map_err(&mut wrong).ok());
        let mut conditions = self.conditions.clone();
        let reached = match (&self.ended, due) {
            (Some(ended), _) => {
                conditions.push(ended.clone());
                Reached::Never
            }
            (None, Due::No) => {
                conditions.push("`when` does not hold".to_owned());
                Reached::Never
            }
            (None, Due::Perhaps(why)) => {
                conditions.push(why.clone());
                Reached::Perhaps
            }
            (None, Due::Yes) if conditions.is_empty() => Reached::Always,
            (None, Due::Yes) => Reached::Perhaps,
        };
        if let (Some(failure), Reached::Always) = (&failure, reached) {
            self.ended = Some(format!("`{}` fails before: {failure}", step.id));
        }
        let mut seen = std::collections::BTreeSet::new();
        not_known.retain(|name| seen.insert(name.clone()));
        self.found.actions.push(Foreseen {
            step: step.id.clone(),
            action_type: effect.action_type.clone(),
            platform: self.flow.document().platform.clone(),
            account_id,
            lane: lane(effect),
            payload: payload.shown,
            known_payload: payload.certain.unwrap_or_default(),
            dedupe,
            not_known,
            reached,
            conditions,
            failure,
        });
        Ok(())
    }

    /// Whether a part of an effect is known before the run; what it lacks is named.
    fn late(&self, written: &Value, not_known: &mut Vec<String>) -> bool {
        let before = not_known.len();
        halves(written, &mut |place| self.is_unknown(place), not_known);
        before == not_known.len()
    }

    /// A part of an effect; what cannot be filled fails it, and stands as it is written.
    fn part(&mut self, value: &Value, failure: &mut Option<String>) -> Result<Known, TooMuch> {
        Ok(match self.known(value)? {
            Ok(known) => known,
            Err(error) => {
                failure.get_or_insert(error.to_string());
                Known { shown: value.clone(), certain: None, missing: Vec::new() }
            }
        })
    }

    /// The run cannot get past that step.
    fn ends(&mut self, id: &str, error: &FillError) {
        if self.conditions.is_empty() {
            self.ended.get_or_insert(format!("`{id}` fails before: {error}"));
        } else {
            self.conditions.push(format!("`{id}` does not fail: {error}"));
        }
    }

    /// Fills what can be filled.
    fn known(&mut self, value: &Value) -> Result<Result<Known, FillError>, TooMuch> {
        let mut missing = Vec::new();
        let (shown, certain) = halves(value, &mut |place| self.is_unknown(place), &mut missing);
        let whole = missing.is_empty();
        let shown = match self.scope.fill(&shown) {
            Ok(shown) => shown,
            Err(error) => return Ok(Err(error)),
        };
        self.left = self.left.checked_sub(document::size(&shown)).ok_or(TooMuch)?;
        let certain =
            if whole { Some(shown.clone()) } else { certain.and_then(|certain| self.scope.fill(&certain).ok()) };
        Ok(Ok(Known { shown, certain, missing }))
    }

    fn is_unknown(&self, place: &Place) -> bool {
        self.unknown.iter().any(|path| path.iter().zip(&place.path).all(|(one, other)| one == other))
    }
}

/// A value twice: with what is not known left as it is written, and without it. Neither is filled yet.
fn halves(
    value: &Value,
    is_unknown: &mut impl FnMut(&Place) -> bool,
    missing: &mut Vec<String>,
) -> (Value, Option<Value>) {
    match value {
        Value::String(text) if Template::is_in(text) => {
            // What is no template is found out when it is filled.
            let unknown: Vec<String> = Template::parse(text).map_or_else(
                |_| Vec::new(),
                |template| template.places().filter(|place| is_unknown(place)).map(Place::dotted).collect(),
            );
            if unknown.is_empty() {
                return (value.clone(), Some(value.clone()));
            }
            missing.extend(unknown);
            (Value::String(escaped(text)), None)
        }
        Value::Array(items) => {
            let (shown, certain): (Vec<Value>, Vec<Option<Value>>) =
                items.iter().map(|item| halves(item, is_unknown, missing)).unzip();
            (Value::Array(shown), Some(certain.into_iter().flatten().collect()))
        }
        Value::Object(fields) => {
            let (mut shown, mut certain) = (Map::new(), Map::new());
            for (name, item) in fields {
                let (whole, known) = halves(item, is_unknown, missing);
                shown.insert(name.clone(), whole);
                if let Some(known) = known {
                    certain.insert(name.clone(), known);
                }
            }
            (Value::Object(shown), Some(Value::Object(certain)))
        }
        other => (other.clone(), Some(other.clone())),
    }
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "`json!` reads better at the call")]
mod tests {
    use super::*;
    use serde_json::json;

    fn effect(id: &str, payload: Value, more: Value) -> Value {
        let mut step = json!({"id": id, "effect": {
            "action_type": "publish", "account": "ada", "payload": payload,
            "call": {"http": {"method": "POST", "url": "${env.site}/posts", "save": {"id": "/id"}}}}});
        step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        step
    }

    fn foreseen(steps: Value, inputs: Value) -> Foresight {
        let document = json!({
            "name": "test.flow", "version": "1", "platform": "demo", "lane": "api", "steps": steps,
            "inputs": {"type": "object", "additionalProperties": false, "properties": {
                "text": {"type": "string"}, "twice": {"type": "boolean", "default": false},
                "key": {"type": "string", "default": "post ${run.id}"}}},
        });
        let flow = Flow::of(&document).unwrap();
        foresee(&flow, inputs.as_object().unwrap(), "acme").unwrap()
    }

    #[test]
    fn what_is_known_is_filled_and_what_only_the_run_knows_is_named_and_left_as_it_is_written() {
        let look = json!({"id": "look", "http": {"method": "GET", "url": "${env.site}/x", "save": {"n": "/n"}}});
        let set = json!({"id": "words", "set": {"values": {"known": "${inputs.text}!", "late": "${steps.look.n}"}}});
        let payload = json!({"text": "${steps.words.known}", "for": "${run.client}",
            "n": ["${steps.look.n}", 1], "also": "${inputs.text} ${steps.words.late} $${x}", "key": "${inputs.key}"});
        let told = foreseen(json!([look, set, effect("post", payload, json!({}))]), json!({"text": "hello"}));
        let action = &told.actions[0];
        assert_eq!(
            action.payload,
            json!({"text": "hello!", "for": "acme", "n": ["${steps.look.n}", 1],
                   "also": "${inputs.text} ${steps.words.late} $${x}", "key": "${inputs.key}"})
        );
        assert_eq!(action.known_payload, json!({"text": "hello!", "for": "acme", "n": [1]}));
        let mut named = action.not_known.clone();
        named.sort();
        assert_eq!(named, ["inputs.key", "steps.look.n", "steps.words.late"]);
        assert_eq!((action.reached, action.account_id.as_deref()), (Reached::Always, Some("ada")));
    }

    #[test]
    fn an_action_says_whether_and_on_what_condition_the_run_gets_to_it() {
        let when = |value: &str, is: Value| json!({"when": {"value": value, "is": is}});
        let steps = json!([
            effect("no", json!({}), when("${inputs.twice}", json!({"equals": true}))),
            effect("yes", json!({}), when("${inputs.twice}", json!({"equals": false}))),
            {"id": "look", "http": {"method": "GET", "url": "${env.site}/x", "save": {"n": "/n"}}},
            effect("perhaps", json!({}), when("${steps.look.n}", json!("present"))),
            {"id": "agree", "human": {"kind": "approval", "reason": "may it?"}},
            effect("after", json!({"was": "${steps.no}"}), json!({})),
            {"id": "other", "child": {"flow": "demo.publish"}},
        ]);
        let told = foreseen(steps, json!({}));
        let reached: Vec<_> = told.actions.iter().map(|action| (action.step.as_str(), action.reached)).collect();
        let wanted = [
            ("no", Reached::Never),
            ("yes", Reached::Always),
            ("perhaps", Reached::Perhaps),
            ("after", Reached::Perhaps),
        ];
        assert_eq!(reached, wanted);
        assert!(told.actions[2].conditions[0].contains("steps.look.n"), "{:?}", told.actions[2].conditions);
        assert_eq!(told.actions[3].conditions, ["a person agrees at `agree`"]);
        assert_eq!(told.actions[3].payload, json!({"was": null}), "a step that is not done has no result");
        assert_eq!(told.unseen, ["other"]);
    }

    #[test]
    fn what_would_certainly_fail_is_said_and_nothing_is_reached_behind_it() {
        let steps = json!([
            effect("post", json!({"text": "to ${inputs.text}"}), json!({})),
            effect("next", json!({}), json!({}))
        ]);
        let told = foreseen(steps, json!({}));
        assert!(told.actions[0].failure.as_ref().unwrap().contains("inputs.text"), "{:?}", told.actions[0]);
        assert_eq!(told.actions[1].reached, Reached::Never);
    }

    #[test]
    fn however_often_a_large_input_is_named_the_telling_is_bounded() {
        let steps: Vec<_> =
            (0..20).map(|n| effect(&format!("s{n}"), json!({"text": "${inputs.text}"}), json!({}))).collect();
        let document = json!({"name": "test.flow", "version": "1", "platform": "demo", "lane": "api", "steps": steps,
            "inputs": {"type": "object", "properties": {"text": {"type": "string"}}}});
        let flow = Flow::of(&document).unwrap();
        let inputs = json!({"text": "x".repeat(1 << 20)});
        let refused = foresee(&flow, inputs.as_object().unwrap(), "acme").unwrap_err();
        assert_eq!(refused.code, "foresight_too_large");
    }
}
