//! Acts in a page.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::is_false;
use crate::browser::{Condition, Read, Target};
use crate::flow::late::{Late, Seconds, Text};

/// Acts in a page, in order, short of changing anything that counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BrowserStep {
    /// What is done.
    #[serde(rename = "do")]
    pub acts: Vec<BrowserAct>,
    /// What holds once it is done. Looked at first: where it holds already, only what reads
    /// (`read`, `screenshot`, `download`, `assert`) is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success: Option<Late<Condition>>,
    /// Waits for something that takes long before `do` is done, without holding a page meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll: Option<Poll>,
}

/// Looks again and again until a condition holds. Each look is durable, and between two of them the
/// run is put away: it holds neither a page nor a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Poll {
    /// The way to the page; it only goes, waits and asserts.
    #[serde(rename = "do")]
    pub acts: Vec<BrowserAct>,
    /// What the page shows once it is time; then the step goes on with its own `do`.
    pub until: Late<Condition>,
    /// How long the run waits between two looks, in seconds.
    pub interval_s: Late<Seconds>,
    /// How long after the first look began the last one is taken, in seconds; then the step fails.
    pub timeout_s: Late<Seconds>,
}

/// One act in a page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BrowserAct {
    /// Goes to an address.
    Goto(Late<Text>),
    /// Clicks a control. Not for what counts: that is an effect's call.
    Click(Late<Target>),
    /// Types into a field.
    Fill(Fill),
    /// Puts a file into a file field.
    Upload(Upload),
    /// Waits until a condition holds.
    Wait(Waiting),
    /// Keeps something that the page shows, as `steps.<id>.<name>`.
    Read(SavedReading),
    /// Fails unless a condition holds.
    Assert(Late<Condition>),
    /// Keeps a picture of the page as an artifact, as `steps.<id>.<name>`.
    Screenshot(String),
    /// Keeps the file behind a link as an artifact, as `steps.<id>.<name>`: `id`, `checksum`,
    /// `bytes`, `content_type`, and `path`, which is relative to the folder of artifacts.
    Download(SavedDownload),
}

impl BrowserAct {
    /// Whether it leaves the page as it is.
    pub fn is_read(&self) -> bool {
        matches!(self, Self::Read(_) | Self::Assert(_) | Self::Screenshot(_) | Self::Download(_))
    }

    /// The name under which it keeps something.
    pub fn saves(&self) -> Option<&str> {
        match self {
            Self::Read(reading) => Some(&reading.name),
            Self::Screenshot(name) => Some(name),
            Self::Download(download) => Some(&download.name),
            _ => None,
        }
    }
}

/// Types into a field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fill {
    /// The field.
    pub target: Late<Target>,
    /// What is typed; what was there is replaced.
    pub text: Late<Text>,
}

/// Puts a file into a file field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upload {
    /// The field.
    pub target: Late<Target>,
    /// The name that the page sees.
    pub file_name: Late<Text>,
    /// The file's bytes in base64.
    pub base64: Late<Text>,
    /// Left out when `base64` stands for nothing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
}

/// Waits until a condition holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Waiting {
    /// The condition.
    #[serde(rename = "for")]
    pub until: Late<Condition>,
    /// How long at most, in seconds; 10 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<Seconds>,
}

/// Something to read of a page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    /// The control.
    pub target: Late<Target>,
    /// What of it; its text when left out.
    #[serde(default = "text_of", skip_serializing_if = "is_text")]
    pub what: Read,
}

/// Something to read of a page, with the name to keep it under.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SavedReading {
    /// The name to keep it under.
    pub name: String,
    /// The control.
    pub target: Late<Target>,
    /// What of it; its text when left out.
    #[serde(default = "text_of", skip_serializing_if = "is_text")]
    pub what: Read,
}

/// A file to keep, with the name to keep it under.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SavedDownload {
    /// The name to keep it under.
    pub name: String,
    /// The link. Its host must be one that flows may reach; the page fetches it, so the session's
    /// cookies go along, and the page's own policy must allow that.
    pub target: Late<Target>,
    /// How long at most, in seconds; 60 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<Seconds>,
}

/// Names and what is read for them.
pub type Readings = BTreeMap<String, Reading>;

fn text_of() -> Read {
    Read::Text
}

fn is_text(read: &Read) -> bool {
    *read == Read::Text
}
