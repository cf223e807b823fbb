//! Acts in a page.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fermata_engine::workflow::StepError;
use reqwest::Url;
use serde_json::{Map, Value, json};

use super::Interpreter;
use super::page::Trouble;
use crate::browser::{Page, Read, Target};
use crate::flow::document::{BrowserAct, BrowserStep, Upload};
use crate::flow::late::{Late, Text};
use crate::flow::limits::{MAX_TIMEOUT_S, WAIT_TIMEOUT};
use crate::flow::scope::{FillError, Scope};

type Saved = Map<String, Value>;

impl From<FillError> for Trouble {
    fn from(error: FillError) -> Self {
        Self::Step(error.into())
    }
}

impl Interpreter {
    /// A browser step: its success is looked at first; where it holds, only what reads is done.
    pub(super) async fn carry_out(
        &self,
        page: &Page,
        browser: &BrowserStep,
        scope: &Scope,
        saved: &mut Saved,
    ) -> Result<(), Trouble> {
        let Some(success) = &browser.success else {
            return self.all_acts(page, &browser.acts, scope, saved).await;
        };
        let success = success.fill(scope, "success")?;
        if page.holds(&success).await? {
            let reads = browser.acts.iter().filter(|act| act.is_read());
            for act in reads {
                self.act(page, act, scope, saved).await?;
            }
            return Ok(());
        }
        self.all_acts(page, &browser.acts, scope, saved).await?;
        Ok(page.wait(&success, WAIT_TIMEOUT).await?)
    }

    /// The same for a step that was done before: nothing is read again.
    pub(super) async fn reestablish(
        &self,
        page: &Page,
        browser: &BrowserStep,
        scope: &Scope,
        saved: &mut Saved,
    ) -> Result<(), Trouble> {
        let acts = browser.acts.iter().filter(|act| act.saves().is_none()).cloned().collect();
        let step = BrowserStep { acts, ..browser.clone() };
        self.carry_out(page, &step, scope, saved).await
    }

    pub(super) async fn all_acts(
        &self,
        page: &Page,
        acts: &[BrowserAct],
        scope: &Scope,
        saved: &mut Saved,
    ) -> Result<(), Trouble> {
        for act in acts {
            self.act(page, act, scope, saved).await?;
        }
        Ok(())
    }

    async fn act(&self, page: &Page, act: &BrowserAct, scope: &Scope, saved: &mut Saved) -> Result<(), Trouble> {
        match act {
            BrowserAct::Goto(url) => self.goto(page, url, scope).await?,
            BrowserAct::Click(target) => page.click(&target.fill(scope, "click")?).await?,
            BrowserAct::Fill(fill) => {
                let Text(text) = fill.text.fill(&*self.opened(fill.text.written(), scope).await?, "text")?;
                page.fill(&fill.target.fill(scope, "target")?, &text).await?;
            }
            BrowserAct::Upload(upload) => Box::pin(self.upload(page, upload, scope)).await?,
            BrowserAct::Wait(wait) => {
                let asked = wait.timeout_s.map(|time| time.within(MAX_TIMEOUT_S, "timeout_s")).transpose()?;
                page.wait(&wait.until.fill(scope, "for")?, asked.unwrap_or(WAIT_TIMEOUT)).await?;
            }
            BrowserAct::Read(reading) => {
                let text = self.read(page, &reading.target, &reading.what, scope).await?;
                saved.insert(reading.name.clone(), Value::String(text));
            }
            BrowserAct::Assert(condition) => page.assert(&condition.fill(scope, "assert")?).await?,
            BrowserAct::Screenshot(name) => {
                let picture = page.screenshot().await?;
                let kept = self.context.artifact("screenshot", "image/png", picture).await;
                saved.insert(name.clone(), json!(kept.map_err(StepError::Fail)?));
            }
            BrowserAct::Download(download) => {
                let kept = Box::pin(self.download(page, download, scope)).await?;
                saved.insert(download.name.clone(), json!(kept));
            }
        }
        Ok(())
    }

    async fn goto(&self, page: &Page, url: &Late<Text>, scope: &Scope) -> Result<(), Trouble> {
        let Text(address) = url.fill(scope, "goto")?;
        Ok(page.goto(self.reachable(&address)?.as_str()).await?)
    }

    /// An address that flows may reach.
    pub(super) fn reachable(&self, address: &str) -> Result<Url, StepError> {
        let parsed = Url::parse(address)
            .map_err(|error| StepError::fail("request_invalid", format!("the address cannot be used: {error}")))?;
        if self.tools.http.allowed().allows(&parsed) {
            return Ok(parsed);
        }
        let host = parsed.host_str().unwrap_or_default();
        let remedy = format!("flows may not reach `{host}`; add it to the allowed hosts of the installation");
        Err(StepError::fail("host_not_allowed", remedy))
    }

    async fn upload(&self, page: &Page, upload: &Upload, scope: &Scope) -> Result<(), Trouble> {
        let encoded = upload.base64.fill_optional(scope, "base64")?;
        let Some(Text(encoded)) = encoded else {
            if upload.optional {
                return Ok(());
            }
            let why = "there is nothing to upload".to_owned();
            return Err(FillError::Shape { field: "base64".to_owned(), why }.into());
        };
        let bytes = STANDARD
            .decode(encoded.as_bytes())
            .map_err(|error| FillError::Shape { field: "base64".to_owned(), why: error.to_string() })?;
        let Text(file_name) = upload.file_name.fill(scope, "file_name")?;
        Ok(page.upload(&upload.target.fill(scope, "target")?, &file_name, &bytes).await?)
    }

    pub(super) async fn read(
        &self,
        page: &Page,
        target: &Late<Target>,
        what: &Read,
        scope: &Scope,
    ) -> Result<String, Trouble> {
        // A page's text may hold what cannot be stored.
        Ok(page.read(&target.fill(scope, "target")?, what).await?.replace('\0', ""))
    }
}
