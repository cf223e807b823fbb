//! Workflows that make every event happen.

use std::time::Duration;

use async_trait::async_trait;
use fermata_engine::effect::{CallOutcome, Effect, EffectPermit, EffectSpec, Look, Prepared, Sighting};
use fermata_engine::wait::{GateKind, GateRequest};
use fermata_engine::workflow::{Attempt, Context, Failure, Registry, RetryPolicy, StepError, Workflow};
use fermata_tests::{Ledger, Post, Promises};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    program: String,
    #[serde(default)]
    promises: Promises,
}

/// Programs of a few lines each. Every run has a ledger of its own.
#[derive(Clone, Default)]
pub(crate) struct Program {
    ledgers: std::sync::Arc<std::sync::Mutex<std::collections::BTreeMap<String, Ledger>>>,
}

/// A post for which nobody can get ready.
struct Unready(Post);

#[async_trait]
impl Effect for Unready {
    fn spec(&self) -> EffectSpec {
        EffectSpec { account_id: "unready".into(), ..self.0.spec() }
    }

    async fn look(&self, look: &Look) -> Result<Sighting, StepError> {
        self.0.look(look).await
    }

    async fn prepare(&self, _: &Look) -> Result<Prepared, StepError> {
        Err(StepError::fail("no_form", "the form is not there"))
    }

    async fn call(&self, permit: EffectPermit, prepared: Prepared) -> CallOutcome {
        self.0.call(permit, prepared).await
    }
}

/// A post for an account whose kill switch is on.
struct Stopped(Post);

#[async_trait]
impl Effect for Stopped {
    fn spec(&self) -> EffectSpec {
        EffectSpec { account_id: "stopped".into(), ..self.0.spec() }
    }

    async fn look(&self, look: &Look) -> Result<Sighting, StepError> {
        self.0.look(look).await
    }

    async fn call(&self, permit: EffectPermit, prepared: Prepared) -> CallOutcome {
        self.0.call(permit, prepared).await
    }
}

fn question(kind: GateKind, expires_in: Option<Duration>) -> GateRequest {
    GateRequest { kind, reason: "dm_send".into(), shown: json!({"to": "bob"}), expires_in }
}

impl Program {
    pub(crate) fn registry() -> Registry {
        Registry::new().with(Self::default())
    }

    fn post(&self, context: &Context, promises: &Promises) -> Post {
        let key = context.run_id().to_string();
        let mut ledgers = self.ledgers.lock().unwrap();
        let ledger = ledgers.entry(key.clone()).or_default().clone();
        Post { ledger, key, promises: promises.clone() }
    }

    async fn publish(&self, context: &Context, input: &Input) -> Result<Value, Failure> {
        let post = self.post(context, &input.promises);
        match input.program.as_str() {
            "unready" => context.effect("publish", &Unready(post)).await,
            "stopped" => context.effect("publish", &Stopped(post)).await,
            _ => context.effect("publish", &post).await,
        }
    }
}

impl Workflow for Program {
    type Input = Input;
    type Output = Value;
    const NAME: &'static str = "test.contract";
    const VERSION: &'static str = "1";

    async fn run(&self, context: Context, input: Input) -> Result<Value, Failure> {
        let policy = RetryPolicy { max_attempts: 2, initial_ms: 10, factor: 1.0, longest_ms: 10 };
        match input.program.as_str() {
            "steps" => {
                let kept = context.artifact("screenshot", "text/plain", b"a picture".to_vec()).await?;
                context.step("first").run(|_| async { Ok(json!(1)) }).await?;
                context.sleep("nap", Duration::from_millis(20)).await?;
                Ok(json!(kept.checksum))
            }
            "fails" => {
                let failing = context.step("flaky").retry(policy);
                failing.run(|_| async { Err::<Value, _>(StepError::retry("flaky", "not yet")) }).await
            }
            "pauses" => {
                let fix = async |attempt: Attempt| {
                    if attempt.number == 1 {
                        Err(StepError::Pause(Failure::new("two_fa", "enter the code")))
                    } else {
                        Ok(json!(1))
                    }
                };
                context.step("login").run(fix).await
            }
            "signal" => context.wait_signal("go").await,
            "gate" => Ok(json!(context.gate("ask", question(GateKind::Approval, None)).await?.approved)),
            "late" => {
                let soon = Some(Duration::from_millis(50));
                Ok(json!(context.gate("ask", question(GateKind::Takeover, soon)).await?.approved))
            }
            "parent" => {
                context.start_child("child", Self::NAME, json!({"program": "steps"})).await?.wait(&context).await
            }
            "renew" => match context.continue_as_new(json!({"program": "steps"})).await {},
            "panic" => panic!("poison"),
            _ => self.publish(&context, &input).await,
        }
    }
}
