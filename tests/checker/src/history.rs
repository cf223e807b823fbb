//! What the rig's clients asked and were told: `history.jsonl`.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// One request and its answer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Request {
    /// Its number in the history.
    pub n: u64,
    /// Which of the rig's clients asked.
    pub who: String,
    /// What was asked for.
    pub op: Op,
    /// When it was sent.
    pub sent_at: DateTime<Utc>,
    /// When its answer was read; `None` when none was.
    pub answered_at: Option<DateTime<Utc>>,
    /// What the answer means.
    pub result: Answered,
    /// The HTTP status, where there was one.
    pub status: Option<u16>,
    /// The request, by `op`: see [`Submit`], [`Read`], [`SendSignal`], [`Decide`], [`Cancel`],
    /// [`Turn`] and [`Tamper`].
    pub ask: Value,
    /// The answer, by `op`.
    pub answer: Option<Value>,
}

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// A command.
    Submit,
    /// How a command stands.
    Read,
    /// A signal to a run.
    Signal,
    /// A person's word on a gate.
    Decide,
    /// The end of a run.
    Cancel,
    /// A kill switch is turned on.
    Trip,
    /// A kill switch is turned off.
    Lift,
    /// A change of history, tried as the program's own database role.
    Tamper,
    /// Something that no invariant looks at.
    #[serde(other)]
    Other,
}

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answered {
    /// It was done.
    Ok,
    /// It was refused for good and not done.
    Fail,
    /// Nobody can tell: no answer, a 5xx or a timeout.
    Unknown,
}

/// What a submit asks.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Submit {
    /// For which client.
    pub client_id: String,
    /// The key that makes a second submit the same command.
    pub idempotency_key: Option<String>,
    /// The command type.
    pub r#type: String,
    /// The workflow's input.
    pub payload: Value,
    /// What the run is to do, as the rig meant it.
    pub about: About,
}

/// What a run is to do.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum About {
    /// So many steps, perhaps a wait for a signal among them (which is not counted).
    Steps {
        /// How many.
        steps: usize,
        /// Whether it waits for a signal.
        #[serde(default)]
        signal: bool,
    },
    /// One effect on the platform.
    Publish(Publish),
}

/// One effect on the platform: the step `publish`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Publish {
    /// What the platform knows the effect by.
    pub reference: String,
    /// Whether the platform honours idempotency keys.
    #[serde(default)]
    pub honours_keys: bool,
    /// What not finding the effect proves.
    #[serde(default)]
    pub absence: Absence,
    /// Whether the step `approval` asks a person before it.
    #[serde(default)]
    pub gated: bool,
    /// Whether the step `after` follows it.
    #[serde(default)]
    pub after: bool,
}

/// What not finding an effect proves, once it may be judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Absence {
    /// It is not there.
    Conclusive,
    /// Nothing.
    #[default]
    Inconclusive,
}

/// What a read asks.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Read {
    /// The command.
    pub command_id: String,
}

/// What a signal asks.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct SendSignal {
    /// The command.
    pub command_id: String,
    /// What the run waits for.
    pub name: String,
    /// The signal's own id, when the client chose one.
    pub signal_id: Option<String>,
}

/// What a decision asks.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Decide {
    /// The gate.
    pub gate_id: String,
    /// The command whose gate it is.
    pub command_id: Option<String>,
    /// Yes or no.
    pub approve: bool,
    /// No, and do it again.
    #[serde(default)]
    pub repeat: bool,
}

/// What a cancellation asks.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Cancel {
    /// The command.
    pub command_id: String,
}

/// What turning a kill switch asks.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Turn {
    /// What it stops: `global`, `client:<client>` or `account:<client>/<account>`.
    pub scope: String,
}

/// What is tried on the database.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Tamper {
    /// The statement.
    pub statement: String,
    /// `I4` when success breaks that invariant; otherwise it breaks I8.
    pub breaks: Option<String>,
}

/// A submit's answer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Receipt {
    /// The command.
    pub command_id: String,
}

/// A read's or a decision's answer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Standing {
    /// The status of the command.
    pub status: Option<String>,
    /// The state of the gate.
    pub state: Option<String>,
}

/// A trip's answer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Tripped {
    /// What had begun and has not ended.
    pub under_way: Option<Vec<UnderWay>>,
}

/// An action whose call may be under way.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct UnderWay {
    /// The action.
    pub action_id: String,
}

impl Request {
    /// The request as what its `op` says that it is; `None` when it has another shape.
    pub fn asked<T: DeserializeOwned>(&self) -> Option<T> {
        T::deserialize(&self.ask).ok()
    }

    /// The answer as what its `op` says that it is.
    pub fn told<T: DeserializeOwned>(&self) -> Option<T> {
        self.answer.as_ref().and_then(|answer| T::deserialize(answer).ok())
    }

    /// Whether the request has the shape of its `op`; whoever reads a history asks this first.
    pub fn check(&self) -> Result<(), serde_json::Error> {
        match self.op {
            Op::Submit => Submit::deserialize(&self.ask).map(drop),
            Op::Read => Read::deserialize(&self.ask).map(drop),
            Op::Signal => SendSignal::deserialize(&self.ask).map(drop),
            Op::Decide => Decide::deserialize(&self.ask).map(drop),
            Op::Cancel => Cancel::deserialize(&self.ask).map(drop),
            Op::Trip | Op::Lift => Turn::deserialize(&self.ask).map(drop),
            Op::Tamper => Tamper::deserialize(&self.ask).map(drop),
            Op::Other => Ok(()),
        }
    }

    /// How it is pointed at in evidence.
    pub fn name(&self) -> String {
        format!("history line {} ({} {:?} {:?})", self.n, self.who, self.op, self.result)
    }
}

impl About {
    /// The effect, for a run that has one.
    pub fn publish(&self) -> Option<&Publish> {
        match self {
            Self::Publish(publish) => Some(publish),
            Self::Steps { .. } => None,
        }
    }
}
