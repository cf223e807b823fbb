//! The workflow that the bench and the crash rig run: K steps that do nothing, as real ones would
//! be recorded. Never `pure`, so that every step pays for its durability.

mod effect;

use std::time::Duration;

use fermata_engine::workflow::{Context, Failure, Subject, Workflow};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::effect::Nothing;

/// The most steps of one run.
pub const MAX_STEPS: u16 = 1_000;
/// The longest that a step takes, in milliseconds.
pub const MAX_STEP_MS: u32 = 60_000;
/// The longest sleep, in milliseconds.
pub const MAX_SLEEP_MS: u32 = 3_600_000;
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
    /// Sleeps durably before the first step, for so many milliseconds.
    #[serde(default)]
    #[schemars(range(max = MAX_SLEEP_MS))]
    pub sleep_ms: u32,
    /// How long each step takes, in milliseconds; the run stays in its worker's hands meanwhile.
    #[serde(default)]
    #[schemars(range(max = MAX_STEP_MS))]
    pub step_ms: u32,
    /// Each step is an effect, on a platform that does nothing and answers at once.
    #[serde(default)]
    pub effects: bool,
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

    fn check(&self, input: &BenchInput, _subject: Subject<'_>) -> Result<(), Failure> {
        let message = if input.steps > MAX_STEPS {
            format!("a run has at most {MAX_STEPS} steps, not {}; start several runs", input.steps)
        } else if input.step_ms > MAX_STEP_MS {
            format!("a step takes at most {MAX_STEP_MS} ms, not {}; use more steps", input.step_ms)
        } else if input.sleep_ms > MAX_SLEEP_MS {
            format!("a run sleeps for at most {MAX_SLEEP_MS} ms, not {}", input.sleep_ms)
        } else {
            return Ok(());
        };
        Err(Failure::new("input_invalid", message))
    }

    async fn run(&self, context: Context, input: BenchInput) -> Result<BenchOutput, Failure> {
        if input.wait_signal {
            context.wait_signal::<Value>(GO).await?;
        }
        if input.sleep_ms > 0 {
            context.sleep("sleep", Duration::from_millis(input.sleep_ms.into())).await?;
        }
        let (clock, takes) = (context.clock().clone(), Duration::from_millis(input.step_ms.into()));
        for n in 1..=input.steps {
            if input.effects {
                context.effect(&format!("step-{n}"), &Nothing::of(&context, n)).await?;
                continue;
            }
            let done = async |_| {
                if !takes.is_zero() {
                    clock.wait(takes).await;
                }
                Ok(StepResult { step: n, ok: true, note: FILLER.to_owned() })
            };
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
    fn a_run_of_too_many_steps_or_that_takes_too_long_is_refused() {
        let check = |input: BenchInput| BenchSteps.check(&input, Subject::default());
        let input = |steps, step_ms, sleep_ms| BenchInput { steps, sleep_ms, step_ms, ..BenchInput::default() };
        assert!(check(input(MAX_STEPS, MAX_STEP_MS, MAX_SLEEP_MS)).is_ok());
        assert!(check(input(MAX_STEPS + 1, 0, 0)).is_err());
        assert!(check(input(1, MAX_STEP_MS + 1, 0)).is_err());
        assert!(check(input(1, 0, MAX_SLEEP_MS + 1)).is_err());
    }
}
