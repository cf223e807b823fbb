//! What the platform really applied, `ledger.jsonl`, and what it was asked for, `calls.jsonl`: written by a witness that knows
//! nothing of us.

use chrono::{DateTime, Utc};
use serde::Deserialize;

/// One applied effect.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Line {
    /// Its place in the ledger.
    pub seq: u64,
    /// When it was applied.
    pub time: DateTime<Utc>,
    /// When the request for it arrived; a platform may apply late by itself. Where this is
    /// missing, `time` stands for it, which is then taken for the time of the call.
    #[serde(default)]
    pub received: Option<DateTime<Utc>>,
    /// For whom.
    pub account: String,
    /// What the rig called the effect.
    pub reference: Option<String>,
    /// The key that came with the call.
    pub idempotency_key: Option<String>,
    /// Who held the run when the call was made: `<run>:<epoch>`, as it came with the call.
    #[serde(default)]
    pub fence: Option<String>,
}

/// One request for an effect that reached the platform, whatever became of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Call {
    /// What the rig called the effect.
    pub reference: String,
    /// When it arrived.
    pub received: DateTime<Utc>,
}

/// Who made a call: a run in an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence<'a> {
    /// The run.
    pub run: &'a str,
    /// The epoch of its holder.
    pub epoch: i32,
}

impl Line {
    /// When the request arrived, as far as the witness says.
    pub fn arrived(&self) -> DateTime<Utc> {
        self.received.unwrap_or(self.time)
    }

    /// The fence, when one came with the call and can be read.
    pub fn fence(&self) -> Option<Fence<'_>> {
        let (run, epoch) = self.fence.as_deref()?.rsplit_once(':')?;
        Some(Fence { run, epoch: epoch.parse().ok()? })
    }

    /// How it is pointed at in evidence.
    pub fn name(&self) -> String {
        let fence = self.fence.as_deref().unwrap_or("none");
        format!("ledger line {} arrived {} with fence {fence}", self.seq, self.arrived())
    }
}
