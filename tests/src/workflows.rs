//! Workflows that do as little as a test needs.

use fermata_engine::workflow::{Context, Failure, Workflow};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

/// `test.idle`: ends with what it was given.
#[derive(Debug)]
pub struct Idle;

impl Workflow for Idle {
    type Input = Value;
    type Output = Value;
    const NAME: &'static str = "test.idle";
    const VERSION: &'static str = "1";

    async fn run(&self, _: Context, input: Value) -> Result<Value, Failure> {
        Ok(input)
    }
}

/// `test.steps`: so many steps, one after the other.
#[derive(Debug)]
pub struct Steps;

/// What `test.steps` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepCount {
    /// How many steps.
    #[serde(default)]
    pub steps: u32,
}

impl Workflow for Steps {
    type Input = StepCount;
    type Output = Value;
    const NAME: &'static str = "test.steps";
    const VERSION: &'static str = "1";

    async fn run(&self, context: Context, input: StepCount) -> Result<Value, Failure> {
        for _ in 0..input.steps {
            context.step("step").run(|_| async { Ok(json!({"ok": true})) }).await?;
        }
        Ok(Value::Null)
    }
}
