//! One open page: navigation, looking, and the end of the session.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use fermata_engine::clock::Clock;
use thirtyfour::WebDriver;
use thirtyfour::common::command::Command;
use thirtyfour::error::WebDriverErrorInner;

use super::carrier::Carrier;
use super::error::BrowserError;

/// A page in a browser of its own. Dropping it closes the browser in the background; where that
/// fails, the supervisor closes it when it has been idle.
pub struct Page {
    pub(super) driver: WebDriver,
    pub(super) clock: Clock,
    carrier: Carrier,
    closed: bool,
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").field("session", self.driver.session_id()).finish_non_exhaustive()
    }
}

impl Page {
    pub(super) fn new(driver: WebDriver, carrier: Carrier, clock: Clock) -> Self {
        // thirtyfour would otherwise close a dropped session by blocking the executor.
        if let Err(error) = driver.clone().leak() {
            tracing::debug!("the session was marked as left to us before: {error}");
        }
        Self { driver, clock, carrier, closed: false }
    }

    /// From now on each command says that it must not be carried out after this moment. Whoever
    /// carries it (the supervisor) refuses it then.
    pub fn set_deadline(&self, deadline: Option<DateTime<Utc>>) {
        self.carrier.set_deadline(deadline);
    }

    /// Goes to an address and waits until it has loaded. Only http, https and `about:blank`: a flow
    /// has no business with the files of the machine.
    pub async fn goto(&self, url: &str) -> Result<(), BrowserError> {
        let refused = |why: &str| BrowserError::Unusable { what: "the address".to_owned(), why: why.to_owned() };
        let parsed = reqwest::Url::parse(url).map_err(|error| refused(&error.to_string()))?;
        if !matches!(parsed.scheme(), "http" | "https") && parsed.as_str() != "about:blank" {
            return Err(refused("only http and https are visited"));
        }
        Ok(self.driver.goto(parsed.as_str()).await?)
    }

    /// A picture of what is in view, as PNG.
    pub async fn screenshot(&self) -> Result<Vec<u8>, BrowserError> {
        Ok(self.driver.screenshot_as_png().await?)
    }

    /// The page's address.
    pub async fn url(&self) -> Result<String, BrowserError> {
        Ok(self.driver.current_url().await?.to_string())
    }

    /// The page's title.
    pub async fn title(&self) -> Result<String, BrowserError> {
        Ok(self.driver.title().await?)
    }

    /// Closes the browser and its profile. That it is closed already is as good.
    pub async fn close(mut self) -> Result<(), BrowserError> {
        self.closed = true;
        self.carrier.set_deadline(None);
        match self.driver.cmd(Command::DeleteSession).await {
            Ok(_) => Ok(()),
            Err(error) if matches!(*error, WebDriverErrorInner::InvalidSessionId(_)) => Ok(()),
            Err(error) => match error.into() {
                BrowserError::SessionLost => Ok(()),
                other => Err(other),
            },
        }
    }

    pub(super) async fn set_load_timeout(&self, limit: Duration) -> Result<(), BrowserError> {
        Ok(self.driver.set_page_load_timeout(limit).await?)
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if self.closed {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        self.carrier.set_deadline(None);
        let handle = self.driver.handle().clone();
        runtime.spawn(async move {
            if let Err(error) = handle.cmd(Command::DeleteSession).await {
                tracing::debug!("a dropped page was not closed, the supervisor will: {error}");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BrowserError, BrowserLane, Condition, Fence, Target};
    use super::*;

    fn sendable<T: Send>(it: T) -> T {
        it
    }

    async fn drive(lane: BrowserLane, fence: Fence, target: Target) -> Result<(), BrowserError> {
        let page = lane.open(fence).await?;
        page.click(&target).await?;
        page.click_confirm(&target).await?;
        page.fill(&target, "text").await?;
        page.upload(&target, "name", b"bytes").await?;
        page.download("http://127.0.0.1:9/film", 1, Duration::ZERO).await?;
        page.wait(&Condition::Visible(target), Duration::ZERO).await?;
        page.close().await
    }

    /// The interpreter of flows boxes it as `dyn Future + Send`; that this compiles is the test.
    #[test]
    fn a_page_can_be_driven_from_any_thread() {
        let lane = BrowserLane::new("http://127.0.0.1:9".to_owned(), super::super::BrowserOptions::default());
        let fence = Fence { run: "r".to_owned(), epoch: 1 };
        let boxed: std::pin::Pin<Box<dyn Future<Output = _> + Send>> =
            Box::pin(sendable(drive(lane, fence, Target::default())));
        drop(boxed);
    }
}
