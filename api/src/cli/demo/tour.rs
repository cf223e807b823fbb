//! What every part of the tour uses: the API, the demo site, the processes, and the ticks.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use fermata_engine::clock::Clock;
use reqwest::Client;
use serde_json::{Value, json};

use super::super::Output;
use super::super::api::{Api, client, unreachable};
use crate::process::{Exit, Ready, ReadyNode, Trouble, say};

/// How long any single fact may take to come true.
const PATIENCE: Duration = Duration::from_mins(1);

/// A tour under way.
pub(super) struct Tour {
    /// Time.
    pub(super) clock: Clock,
    /// Fermata, as any client sees it.
    pub(super) api: Api,
    site: String,
    http: Client,
    ready_file: PathBuf,
    out: Output,
    held: Vec<Value>,
}

impl Tour {
    /// A tour of what the ready file names.
    pub(super) fn new(ready: Ready, ready_file: PathBuf, out: Output) -> Result<Self, Trouble> {
        let (Some(control), Some(site), Some(token_file)) = (ready.control, ready.demo_site, ready.token_file) else {
            return Err(Trouble::failed(format!("{} is not the ready file of a `fermata dev`", ready_file.display()))
                .remedy("name that of `fermata dev`; `fermata serve` has no demo site"));
        };
        let token = std::fs::read_to_string(&token_file)
            .map_err(|error| Trouble::file("cannot read the token file", &token_file, &error))?;
        let api = Api::at(&control, token.trim().to_owned())?;
        Ok(Self { clock: Clock::system(), api, http: client(&site)?, site, ready_file, out, held: Vec::new() })
    }

    /// Where the demo site is.
    pub(super) fn site(&self) -> &str {
        &self.site
    }

    /// Prints a heading.
    pub(super) fn heading(&self, text: &str) {
        if !self.out.json {
            say(format_args!("\n{text}\n"));
        }
    }

    /// Prints a line that held; it is only called once the assertion was checked.
    pub(super) fn tick(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.out.json {
            say(format_args!("  \u{2713} {text}"));
        }
        self.held.push(Value::from(text));
    }

    /// Ticks the line when the assertion holds, and ends the tour when it does not.
    pub(super) fn check(&mut self, holds: bool, text: impl Into<String>, otherwise: &Value) -> Result<(), Trouble> {
        let text = text.into();
        if holds {
            self.tick(text);
            return Ok(());
        }
        Err(Trouble::failed(format!("the tour does not hold: {text}")).why(format!("found {otherwise:#}")))
    }

    /// Ends the tour: every line held, or it would not have come to this.
    pub(super) fn end(&self) -> Exit {
        if self.out.json {
            say(json!({ "held": self.held }));
        } else {
            say(format_args!("\nall {} lines held\n", self.held.len()));
        }
        Exit::Done
    }

    /// Asks until there is an answer, every `pause`; a fact that does not come true ends the tour.
    pub(super) async fn until<T>(
        &self,
        what: &str,
        pause: Duration,
        mut ask: impl AsyncFnMut() -> Result<Option<T>, Trouble>,
    ) -> Result<T, Trouble> {
        let began = self.clock.monotonic();
        loop {
            if let Some(answer) = ask().await? {
                return Ok(answer);
            }
            if self.since(began) > PATIENCE {
                return Err(Trouble::new(
                    Exit::Unreachable,
                    format!("the tour waited {} s for: {what}", PATIENCE.as_secs()),
                )
                .remedy("look into the logs of `dev`: logs/ in its data folder"));
            }
            self.clock.wait(pause).await;
        }
    }

    /// The time since then.
    pub(super) fn since(&self, began: Instant) -> Duration {
        self.clock.monotonic().duration_since(began)
    }

    /// The command as it stands.
    pub(super) async fn command(&self, id: &str) -> Result<Value, Trouble> {
        self.api.get(&format!("/v1/commands/{id}")).await
    }

    /// A list that belongs to the command, such as `actions`.
    pub(super) async fn list(&self, id: &str, what: &str) -> Result<Vec<Value>, Trouble> {
        let page = self.api.get(&format!("/v1/commands/{id}/{what}?limit=200")).await?;
        Ok(page["items"].as_array().cloned().unwrap_or_default())
    }

    /// What the demo site applied under this key.
    pub(super) async fn ledger(&self, key: &str) -> Result<Vec<Value>, Trouble> {
        let request = self.http.get(format!("{}/_ledger?key={key}", self.site));
        let answer = request.send().await.map_err(|error| unreachable(&self.site, &error))?;
        answer.json().await.map_err(|error| unreachable(&self.site, &error))
    }

    /// How the demo site behaves from now on.
    pub(super) async fn site_mode(&self, mode: &Value) -> Result<(), Trouble> {
        let request = self.http.put(format!("{}/_mode", self.site)).json(mode);
        let answer = request.send().await.map_err(|error| unreachable(&self.site, &error))?;
        answer.error_for_status().map(drop).map_err(|error| unreachable(&self.site, &error))
    }

    /// The workers that run now.
    pub(super) fn workers(&self) -> Result<Vec<ReadyNode>, Trouble> {
        let ready = Ready::read(&self.ready_file);
        let ready = ready.map_err(|error| Trouble::file("cannot read", &self.ready_file, &error))?.unwrap_or_default();
        Ok(ready.nodes.into_iter().filter(|node| node.role == "worker").collect())
    }

    /// The worker that carries the command; `None` while none does.
    pub(super) async fn holder(&self, id: &str) -> Result<Option<ReadyNode>, Trouble> {
        let command = self.command(id).await?;
        Ok(self.workers()?.into_iter().find(|worker| command["node"] == *worker.node))
    }
}
