//! The one page of a run in this process: opened when it is first needed, brought back to where
//! it should stand after a crash, given up when it is broken.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fermata_engine::workflow::{Failure, StepError};
use serde_json::{Map, json};

use super::Interpreter;
use crate::browser::{BrowserError, Fence, Page};
use crate::flow::document::Action;
use crate::flow::scope::Scope;

/// The page of a run, and which browser steps it has behind it.
#[derive(Debug, Default)]
pub(super) struct Pages {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    page: Option<Arc<Page>>,
    /// Browser steps that the run has done, here or before a crash.
    passed: BTreeSet<usize>,
    /// Browser steps whose success this page has shown.
    standing: BTreeSet<usize>,
}

impl Pages {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The run has done this browser step.
    pub(super) fn passed(&self, n: usize) {
        self.state().passed.insert(n);
    }

    /// The open page has this step behind it.
    pub(super) fn stands(&self, n: usize) {
        self.state().standing.insert(n);
    }

    fn current(&self) -> Option<Arc<Page>> {
        self.state().page.clone()
    }

    fn opened(&self, page: Arc<Page>) {
        let mut state = self.state();
        state.standing.clear();
        state.page = Some(page);
    }

    /// Steps before `n` that the run has done and the open page has not.
    fn missing(&self, n: usize) -> Vec<usize> {
        let state = self.state();
        state.passed.difference(&state.standing).copied().filter(|step| *step < n).collect()
    }

    /// Gives up a page whose browser is gone or in doubt, so that the next attempt gets a new one.
    pub(super) fn give_up(&self, page: &Arc<Page>) {
        let mut state = self.state();
        if state.page.as_ref().is_some_and(|current| Arc::ptr_eq(current, page)) {
            state.page = None;
            state.standing.clear();
        }
    }

    /// Takes the page out of everybody's hands; answers the steps that it has behind it.
    pub(super) fn take(&self, page: &Arc<Page>) -> BTreeSet<usize> {
        let standing = self.state().standing.clone();
        self.give_up(page);
        standing
    }

    /// Puts a page back that was taken.
    pub(super) fn put_back(&self, page: &Arc<Page>, standing: BTreeSet<usize>) {
        page.set_deadline(None);
        let mut state = self.state();
        state.page = Some(Arc::clone(page));
        state.standing = standing;
    }

    /// Passes a result on; a page that an error leaves in doubt is given up.
    pub(super) fn judge<T>(&self, page: &Arc<Page>, result: Result<T, Trouble>) -> Result<T, StepError> {
        result.map_err(|trouble| {
            if let Trouble::Browser(error) = &trouble
                && leaves_doubt(error)
            {
                self.give_up(page);
            }
            trouble.into()
        })
    }

    /// Closes the page at the end of a run.
    pub(super) async fn close(&self) {
        let page = self.state().page.take();
        // Whoever else still holds it closes it by dropping it.
        if let Some(page) = page.and_then(Arc::into_inner)
            && let Err(error) = page.close().await
        {
            tracing::debug!(error = %error, "a page was not closed in order, its supervisor will");
        }
    }
}

/// Why an act did not work out.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The page or its browser.
    Browser(BrowserError),
    /// Everything else.
    Step(StepError),
}

impl From<BrowserError> for Trouble {
    fn from(error: BrowserError) -> Self {
        Self::Browser(error)
    }
}

impl From<StepError> for Trouble {
    fn from(error: StepError) -> Self {
        Self::Step(error)
    }
}

impl From<Trouble> for StepError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Step(error) => error,
            Trouble::Browser(error) if error.is_transient() => Self::Retry { failure: failure_of(&error), after: None },
            Trouble::Browser(error) => Self::Fail(failure_of(&error)),
        }
    }
}

/// A browser error as a failure: the class of B-052 for programs, the reason for people.
pub(super) fn failure_of(error: &BrowserError) -> Failure {
    let class = serde_json::to_value(error.class()).unwrap_or_default();
    let code = class.as_str().unwrap_or("UNKNOWN").to_ascii_lowercase();
    Failure::new(format!("browser_{code}"), error.to_string()).with_details(json!({ "class": class }))
}

fn leaves_doubt(error: &BrowserError) -> bool {
    matches!(
        error,
        BrowserError::SessionLost
            | BrowserError::Unreachable { .. }
            | BrowserError::Driver(_)
            | BrowserError::AnswerLost { .. }
            | BrowserError::Fenced
            | BrowserError::LoadFailed { .. }
    )
}

impl Interpreter {
    /// The page, standing where step `n` begins: earlier browser steps that the run has done and
    /// a fresh page has not are looked at, and done again where they do not hold.
    pub(super) async fn page_for(&self, n: usize, scope: &Scope) -> Result<Arc<Page>, StepError> {
        let page = match self.pages.current() {
            Some(page) => page,
            None => self.open().await?,
        };
        page.set_deadline(None);
        for earlier in self.pages.missing(n) {
            let Some(step) = self.flow.document().steps.get(earlier) else {
                continue;
            };
            if let Action::Browser(browser) = &step.action
                && browser.success.is_some()
            {
                tracing::info!(run.id = %self.context.run_id(), step.name = %step.id,
                    "step `{}` is brought back in a fresh page", step.id);
                let again = self.reestablish(&page, browser, scope, &mut Map::new()).await;
                self.pages.judge(&page, again)?;
            }
            self.pages.stands(earlier);
        }
        Ok(page)
    }

    async fn open(&self) -> Result<Arc<Page>, StepError> {
        let Some(lane) = &self.tools.browser else {
            let remedy = "this installation has no browser lane; start a node with the role `browser`";
            return Err(StepError::fail("browser_unavailable", remedy));
        };
        let fence = Fence { run: self.context.run_id().to_string(), epoch: self.context.look().epoch };
        // Opening is free to be repeated, whatever was in the way.
        let opened = Box::pin(lane.open(fence)).await;
        let page = Arc::new(opened.map_err(|error| StepError::Retry { failure: failure_of(&error), after: None })?);
        self.pages.opened(Arc::clone(&page));
        Ok(page)
    }
}
