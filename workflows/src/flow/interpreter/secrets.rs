//! Values of unrecorded steps: in the memory of one delivery, and in the parts of requests and
//! the typed text that name them. Nothing else is ever filled from them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use fermata_engine::workflow::{Attempt, Failure, StepError, Unrecorded};
use serde_json::{Value, json};

use super::Interpreter;
use crate::flow::document::{HttpCall, Step};
use crate::flow::http::Found;
use crate::flow::scope::Scope;
use crate::flow::template::Template;

/// The unrecorded steps that the run has behind it, by their ids.
pub(super) type Secrets = BTreeMap<String, Unrecorded<Found>>;

impl Interpreter {
    /// A step whose answer is used and never stored.
    pub(super) async fn unrecorded(
        &self,
        step: &Step,
        call: &HttpCall,
        scope: &Scope,
    ) -> Result<Unrecorded<Found>, Failure> {
        let builder = self.attempts_of(step, call)?;
        let names: Vec<&String> = call.save.keys().collect();
        // What the body holds came before this step, so nothing holds itself in memory.
        let (run, step, call, scope) = (self.clone(), step.clone(), call.clone(), scope.clone());
        let body = move |attempt: Attempt| {
            let (run, step, call, scope) = (run.clone(), step.clone(), call.clone(), scope.clone());
            async move {
                // Whoever needs the value again has asked for the time already.
                if attempt.number > 0 {
                    run.limits.check(run.context.clock().now())?;
                }
                run.exchange(&step, &call, &scope, attempt).await
            }
        };
        builder.unrecorded(&json!({ "unrecorded": names }), body).await
    }

    /// The scope with the values of the unrecorded steps that a request names.
    pub(super) async fn opened_for<'s>(&self, call: &HttpCall, scope: &'s Scope) -> Result<Cow<'s, Scope>, StepError> {
        if self.secrets.is_empty() {
            return Ok(Cow::Borrowed(scope));
        }
        // A request writes back what it was read from; where it could not, nothing is opened.
        let written = serde_json::to_value(call).unwrap_or_default();
        self.opened(&written, scope).await
    }

    /// The scope with the values of the unrecorded steps that `written` names.
    pub(super) async fn opened<'s>(&self, written: &Value, scope: &'s Scope) -> Result<Cow<'s, Scope>, StepError> {
        let mut opened = Cow::Borrowed(scope);
        for (id, secret) in &self.secrets {
            if names(written, id) {
                let value = secret.value().await?.clone();
                opened.to_mut().set_step(id, Value::Object(value));
            }
        }
        Ok(opened)
    }
}

/// Whether a template of the value names that step.
fn names(written: &Value, id: &str) -> bool {
    match written {
        Value::String(text) if Template::is_in(text) => Template::parse(text).is_ok_and(|template| {
            let mut places = template.places();
            places.any(|place| matches!(place.path.as_slice(), [root, step, ..] if root == "steps" && step == id))
        }),
        Value::Array(items) => items.iter().any(|item| names(item, id)),
        Value::Object(fields) => fields.values().any(|item| names(item, id)),
        _ => false,
    }
}
