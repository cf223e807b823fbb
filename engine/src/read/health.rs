//! What this process needs to be of use, and whether it is there (G-077).

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::engine::Engine;

/// How long a dependency may take to answer before it counts as failing.
const PATIENCE: Duration = Duration::from_secs(2);

/// Something that the process needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Dependency {
    /// What it is called.
    pub name: String,
    /// Whether it answers.
    pub ok: bool,
    /// What is wrong, when it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Dependency {
    /// One that answers, or does not and why.
    pub fn judged(name: &str, judgement: Result<(), String>) -> Self {
        Self { name: name.to_owned(), ok: judgement.is_ok(), detail: judgement.err() }
    }
}

impl Engine {
    /// Asks the database.
    pub async fn dependencies(&self) -> Vec<Dependency> {
        let database = match tokio::time::timeout(PATIENCE, self.store().ping()).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        };
        vec![Dependency::judged("database", database)]
    }
}
