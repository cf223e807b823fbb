//! Looking: whether a condition holds, waiting until it does, and reading.

use std::pin::Pin;
use std::time::{Duration, Instant};

use fermata_engine::clock::Clock;
use serde_json::{Value, json};
use thirtyfour::WebElement;

use super::error::BrowserError;
use super::locate::{Sight, locate};
use super::page::Page;
use super::script;
use super::target::{Condition, Read, Target};

/// Between two looks at a page that is still being drawn.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// How long a control may take to appear and to become usable before acting on it fails.
const PATIENCE: Duration = Duration::from_secs(5);

type Looking<'a> = Pin<Box<dyn Future<Output = Result<bool, BrowserError>> + Send + 'a>>;

impl Page {
    /// Waits until the condition holds.
    pub async fn wait(&self, condition: &Condition, timeout: Duration) -> Result<(), BrowserError> {
        let until = self.clock.monotonic() + timeout;
        loop {
            let unsettled = match self.holds(condition).await {
                Ok(true) => return Ok(()),
                Ok(false) => None,
                Err(error) if error.may_settle() => Some(error),
                Err(error) => return Err(error),
            };
            if self.clock.monotonic() >= until {
                return Err(unsettled
                    .unwrap_or_else(|| BrowserError::Timeout { condition: condition.to_string(), limit: timeout }));
            }
            self.clock.wait(LOOK_INTERVAL).await;
        }
    }

    /// Looks once; fails unless the condition holds.
    pub async fn assert(&self, condition: &Condition) -> Result<(), BrowserError> {
        if self.holds(condition).await? {
            return Ok(());
        }
        Err(BrowserError::AssertionFailed { condition: condition.to_string() })
    }

    /// Looks once. That two controls match where one is meant is an error, not an answer.
    pub async fn holds(&self, condition: &Condition) -> Result<bool, BrowserError> {
        self.look(condition).await
    }

    fn look<'a>(&'a self, condition: &'a Condition) -> Looking<'a> {
        Box::pin(async move {
            match condition {
                Condition::Visible(target) => match locate(&self.driver, target, Sight::Visible).await {
                    Ok(_) => Ok(true),
                    Err(BrowserError::NotFound { .. }) => Ok(false),
                    Err(error) => Err(error),
                },
                Condition::Absent(target) => match locate(&self.driver, target, Sight::Visible).await {
                    Ok(_) | Err(BrowserError::Ambiguous { .. }) => Ok(false),
                    Err(BrowserError::NotFound { .. }) => Ok(true),
                    Err(error) => Err(error),
                },
                Condition::UrlContains(part) => Ok(self.url().await?.contains(part.as_str())),
                Condition::Text(text) => {
                    let shown = script::run(&self.driver, script::SHOWS_TEXT, vec![json!(text)]).await?;
                    Ok(shown == Value::Bool(true))
                }
                Condition::All(all) => self.look_at_all(all).await,
                Condition::Any(any) => self.look_at_any(any).await,
            }
        })
    }

    async fn look_at_all(&self, all: &[Condition]) -> Result<bool, BrowserError> {
        for condition in all {
            if !self.look(condition).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn look_at_any(&self, any: &[Condition]) -> Result<bool, BrowserError> {
        for condition in any {
            if self.look(condition).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads something of a control, after giving it time to appear.
    pub async fn read(&self, target: &Target, what: &Read) -> Result<String, BrowserError> {
        let patience = self.patience();
        loop {
            let tried = self.try_read(target, what).await;
            if let Some(done) = patience.weigh(tried).await {
                return done;
            }
        }
    }

    async fn try_read(&self, target: &Target, what: &Read) -> Result<String, BrowserError> {
        let found = locate(&self.driver, target, Sight::Visible).await?;
        self.read_of(target, &found.element, what).await
    }

    async fn read_of(&self, target: &Target, element: &WebElement, what: &Read) -> Result<String, BrowserError> {
        let (read, asked) = match what {
            Read::Text => (Some(element.text().await?), "text"),
            Read::Value => (element.prop("value").await?, "value"),
            Read::Attribute(name) => (element.attr(name.as_str()).await?, name.as_str()),
            Read::Url => {
                let linked = element.prop("href").await?.filter(|link| !link.is_empty());
                let shown = match linked {
                    Some(link) => Some(link),
                    None => element.prop("src").await?.filter(|link| !link.is_empty()),
                };
                (shown, "address")
            }
        };
        read.ok_or_else(|| BrowserError::NothingToRead { target: target.to_string(), what: asked.to_owned() })
    }

    /// For one act: how long it may be tried again.
    pub(super) fn patience(&self) -> Patience<'_> {
        Patience { clock: &self.clock, until: self.clock.monotonic() + PATIENCE }
    }
}

/// Time for a page to settle.
pub(super) struct Patience<'a> {
    clock: &'a Clock,
    until: Instant,
}

impl Patience<'_> {
    /// The result, if it is final: it worked, something else than an unsettled page is in the way,
    /// or the time is over. Else waits a little; another attempt is due.
    pub(super) async fn weigh<T>(&self, tried: Result<T, BrowserError>) -> Option<Result<T, BrowserError>> {
        let unsettled = tried.as_ref().is_err_and(BrowserError::may_settle);
        if !unsettled || self.clock.monotonic() >= self.until {
            return Some(tried);
        }
        self.clock.wait(LOOK_INTERVAL).await;
        None
    }
}
