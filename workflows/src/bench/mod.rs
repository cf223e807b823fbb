//! The workflow that the bench and the crash rig run: K steps that do nothing, as real ones would
//! be recorded. Never `pure`, so that every step pays for its durability.

use fermata_engine::workflow::{Context, Failure, Workflow};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The most steps of one run.
pub const MAX_STEPS: u16 = 1_000;
/// The signal that a waiting run waits for.
pub const GO: &str = "go";

/// Brings a step's result to about 100 bytes of JSON.
const FILLER: &str = "a no-op, and yet as durable as any other step of any other run of this";

/// What `bench.steps` takes.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BenchInput {
    /// How many steps.
    #[serde(default)]
    #[schemars(range(max = MAX_STEPS))]
    pub steps: u16,
    /// Brings the input to a wanted size; ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pad: Option<String>,
    /// Waits for the signal `go` before the first step.
    #[serde(default)]
    pub wait_signal: bool,
}

/// What `bench.steps` ends with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BenchOutput {
    /// How many steps were done.
    pub steps: u16,
}

/// The result of one step.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct StepResult {
    step: u16,
    ok: bool,
    note: String,
}

/// A number of steps that do nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct BenchSteps;

impl Workflow for BenchSteps {
    type Input = BenchInput;
    type Output = BenchOutput;

    const NAME: &'static str = "bench.steps";
    const VERSION: &'static str = "1";
    const TITLE: &'static str = "Steps that do nothing";
    const DESCRIPTION: &'static str = "What the bench and the crash rig run: each step is as durable as a real one.";

    fn check(&self, input: &BenchInput) -> Result<(), Failure> {
        if input.steps <= MAX_STEPS {
            return Ok(());
        }
        let message = format!("a run has at most {MAX_STEPS} steps, not {}; start several runs", input.steps);
        Err(Failure::new("input_invalid", message))
    }

    async fn run(&self, context: Context, input: BenchInput) -> Result<BenchOutput, Failure> {
        if input.wait_signal {
            context.wait_signal::<Value>(GO).await?;
        }
        for n in 1..=input.steps {
            let done = async |_| Ok(StepResult { step: n, ok: true, note: FILLER.to_owned() });
            context.step("step").key(n.to_string()).run(done).await?;
        }
        Ok(BenchOutput { steps: input.steps })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steps_result_has_about_a_hundred_bytes() {
        let result = StepResult { step: 10, ok: true, note: FILLER.to_owned() };
        let bytes = serde_json::to_string(&result).unwrap().len();
        assert!((90..=110).contains(&bytes), "{bytes}");
    }

    #[test]
    fn a_run_with_too_many_steps_is_refused() {
        let input = |steps| BenchInput { steps, ..BenchInput::default() };
        assert!(BenchSteps.check(&input(MAX_STEPS)).is_ok());
        assert!(BenchSteps.check(&input(MAX_STEPS + 1)).is_err());
    }
}
