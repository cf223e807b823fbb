//! An effect: what it is, how it is looked for, how it is made ready, and the one call.

use fermata_engine::effect::Absence;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Assertion, BrowserAct, HttpCall, Readings};
use crate::browser::{Condition, Target};
use crate::flow::late::{Late, Seconds, Text};

/// Changes the outside world at most once, or says that it cannot tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EffectStep {
    /// `publish`, `dm_send`, `comment_reply`, `like`, ...
    pub action_type: String,
    /// The account acted for.
    pub account: Late<Text>,
    /// What makes this effect this effect: equal ones happen once. Not what differs between two
    /// tries of the same, such as a token or an address of the installation.
    pub payload: Value,
    /// A key or time bucket where the same thing may be meant twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedupe: Option<Late<Text>>,
    /// The platform's promise that the same `Idempotency-Key` never applies twice. That header goes with each call by http;
    /// where the platform wants the key elsewhere, it is `${effect.key}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub honours_keys: Option<Late<bool>>,
    /// How long the call may take, in seconds; 30 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_timeout_s: Option<Late<Seconds>>,
    /// How long the platform may take to show what was done, in seconds; 0 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visible_within_s: Option<Late<Seconds>>,
    /// What it proves when the look finds nothing; `inconclusive` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absence: Option<Late<Absence>>,
    /// Look before the first attempt too; true when left out and there is a look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub look_first: Option<Late<bool>>,
    /// How to ask the platform, without changing anything, as whom the call would act. What it saves as `id` is compared with
    /// what is stored of the account before anything is done; `handle` and `display_name` are names. Only for a call by http:
    /// an API does not know who is signed in in a browser.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Box<HttpCall>>,
    /// How to see, without changing anything, whether it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub look: Option<LookFor>,
    /// How to see, without changing anything, that people see it where it is: a request of `${effect.permalink}`, which the
    /// receipt's `permalink` fills in. What it shows makes the proof durable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surface: Option<Box<HttpLook>>,
    /// Acts that get a page ready for the click; free to be repeated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prepare: Vec<BrowserAct>,
    /// The call itself.
    pub call: Call,
}

/// How to see whether an effect is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LookFor {
    /// By a reading request.
    Http(Box<HttpLook>),
    /// On a page.
    Browser(Box<BrowserLook>),
}

/// Looks by a request. What the request saves is the receipt; `id` and `permalink` in it count as proof.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpLook {
    /// The request.
    pub request: HttpCall,
    /// What holds of the answer's body exactly when the effect is there; all of it must.
    pub present: Vec<Assertion>,
    /// Statuses that say that it is not there, such as 404.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub absent_status: Vec<u16>,
}

/// Looks on a page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BrowserLook {
    /// The way to the page.
    #[serde(rename = "do")]
    pub acts: Vec<BrowserAct>,
    /// What the right page shows whether or not the effect is there. Without it an error page
    /// would look like absence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<Late<Condition>>,
    /// What the page shows exactly when the effect is there.
    pub present: Late<Condition>,
    /// What identifies it.
    #[serde(default, skip_serializing_if = "Readings::is_empty")]
    pub receipt: Readings,
}

/// The one call that changes the outside world.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// A request. What it saves is the receipt; `id` and `permalink` in it count as proof.
    Http(Box<HttpCall>),
    /// A click.
    Browser(Box<BrowserCall>),
}

/// A click that counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BrowserCall {
    /// The control that is clicked, once.
    pub click: Late<Target>,
    /// What the page shows once it is done. Not seen in the call's time: nobody knows, and the
    /// look decides.
    pub confirm: Late<Condition>,
    /// What identifies it.
    #[serde(default, skip_serializing_if = "Readings::is_empty")]
    pub receipt: Readings,
}
