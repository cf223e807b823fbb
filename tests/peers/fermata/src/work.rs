//! What every peer does: steps that do nothing, a wait for a signal, a step that is never left.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use fermata_engine::workflow::{Context, Failure, Workflow};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::words::say;

/// Runs that have ended, and after how many of them the driver is told.
static ENDED: AtomicI64 = AtomicI64::new(0);
static TARGET: AtomicI64 = AtomicI64::new(-1);

/// A step that hangs does so until it is killed.
const FOR_EVER: Duration = Duration::from_hours(1);

/// Counts from the beginning, and tells the driver once `target` runs have ended.
pub(crate) fn count_to(target: i64) {
    ENDED.store(0, Ordering::SeqCst);
    TARGET.store(target, Ordering::SeqCst);
}

fn ended() {
    let count = ENDED.fetch_add(1, Ordering::SeqCst) + 1;
    if count == TARGET.load(Ordering::SeqCst) {
        say("done", json!({"n": count}));
    }
}

/// About 200 bytes, as every peer takes them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Input {
    /// Which run of the measurement.
    pub(crate) k: i64,
    /// `w` for work, `lat` for work whose beginning is told, `sig` and `hang`.
    pub(crate) mode: String,
    /// How many steps.
    #[serde(default)]
    pub(crate) steps: u16,
    pub(crate) pad: String,
}

/// About 100 bytes, as every peer's step returns them.
fn outcome() -> Value {
    json!({"ok": true, "pad": "r".repeat(70)})
}

/// The workflow of all measurements.
pub(crate) struct Work;

impl Workflow for Work {
    type Input = Input;
    type Output = Value;
    const NAME: &'static str = "peer.work";
    const VERSION: &'static str = "1";

    async fn run(&self, context: Context, input: Input) -> Result<Value, Failure> {
        match input.mode.as_str() {
            "sig" => {
                say("waiting", json!({"k": input.k}));
                context.wait_signal::<Value>("go").await?;
                context
                    .step("after")
                    .run(async |_| {
                        say("start", json!({"k": input.k}));
                        Ok(outcome())
                    })
                    .await?;
            }
            "hang" => {
                context.step("first").run(async |_| Ok(outcome())).await?;
                let clock = context.clock();
                context
                    .step("second")
                    .run(async |_| {
                        say("hang", json!({"step": 2}));
                        if std::env::var_os("HANG").is_some() {
                            clock.wait(FOR_EVER).await;
                        }
                        Ok(outcome())
                    })
                    .await?;
            }
            mode => {
                if mode == "lat" && input.steps == 0 {
                    say("start", json!({"k": input.k}));
                }
                for n in 0..input.steps {
                    context.step("step").key(n.to_string()).run(async |_| Ok(outcome())).await?;
                }
            }
        }
        ended();
        Ok(outcome())
    }
}
