//! Acting: click, fill, upload. Finding and checking may be repeated; a confirming click is sent once.

use serde_json::{Value, json};
use thirtyfour::WebElement;

use super::error::BrowserError;
use super::locate::{Match, Sight, locate};
use super::page::Page;
use super::script;
use super::target::{Target, Tier};
use super::upload;

/// What is about to be done; typing needs more than a click.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Click,
    Type,
}

impl Page {
    /// Clicks the one control that matches, as soon as it can be clicked. May be tried again by
    /// itself while the page settles, so it is only for clicks that change nothing outside.
    pub async fn click(&self, target: &Target) -> Result<(), BrowserError> {
        let patience = self.patience();
        loop {
            let tried = self.try_click(target).await;
            if let Some(done) = patience.weigh(tried).await {
                return done;
            }
        }
    }

    /// Clicks once, to confirm an effect. Refuses a control that was found by CSS alone. Once the
    /// click is sent it is never repeated: an answer that does not prove its absence is
    /// [`BrowserError::AnswerLost`].
    pub async fn click_confirm(&self, target: &Target) -> Result<(), BrowserError> {
        let patience = self.patience();
        let found = loop {
            let tried = self.ready(target, Act::Click).await;
            if let Some(done) = patience.weigh(tried).await {
                break done?;
            }
        };
        if found.tier == Tier::Css {
            return Err(BrowserError::CssOnly { target: target.to_string() });
        }
        let sent = found.element.click().await;
        sent.map_err(BrowserError::after_confirming_click)
    }

    /// Empties a field and types into it.
    pub async fn fill(&self, target: &Target, text: &str) -> Result<(), BrowserError> {
        let patience = self.patience();
        loop {
            let tried = self.try_fill(target, text).await;
            if let Some(done) = patience.weigh(tried).await {
                return done;
            }
        }
    }

    /// Puts a file into a file input, which may be hidden behind a button of the page's own.
    pub async fn upload(&self, target: &Target, file_name: &str, bytes: &[u8]) -> Result<(), BrowserError> {
        let parcel = upload::parcel(file_name, bytes)?;
        let path = script::send_file(&self.driver, parcel).await?;
        let patience = self.patience();
        loop {
            let tried = self.try_attach(target, &path).await;
            if let Some(done) = patience.weigh(tried).await {
                return done;
            }
        }
    }

    /// How the one control that matches is found right now. For drift reports and dry runs.
    pub async fn tier(&self, target: &Target) -> Result<Tier, BrowserError> {
        Ok(locate(&self.driver, target, Sight::Visible).await?.tier)
    }

    async fn try_click(&self, target: &Target) -> Result<(), BrowserError> {
        let found = self.ready(target, Act::Click).await?;
        Ok(found.element.click().await?)
    }

    async fn try_fill(&self, target: &Target, text: &str) -> Result<(), BrowserError> {
        let found = self.ready(target, Act::Type).await?;
        found.element.clear().await?;
        self.type_into(target, &found.element, text).await
    }

    async fn try_attach(&self, target: &Target, path: &str) -> Result<(), BrowserError> {
        let input = self.file_input(target).await?;
        // The path is chromedriver's own, and our part of it holds no control characters.
        Ok(input.send_keys(path).await?)
    }

    async fn ready(&self, target: &Target, act: Act) -> Result<Match, BrowserError> {
        let found = locate(&self.driver, target, Sight::Visible).await?;
        let arguments = vec![found.element.to_json()?, json!(act == Act::Type)];
        match script::run(&self.driver, script::ACTIONABLE, arguments).await? {
            Value::Null => Ok(found),
            why => Err(not_actionable(target, why.as_str().unwrap_or("it is not ready"))),
        }
    }

    async fn type_into(&self, target: &Target, element: &WebElement, text: &str) -> Result<(), BrowserError> {
        if text.is_empty() {
            return Ok(());
        }
        if text.chars().all(is_key) {
            return Ok(element.send_keys(text).await?);
        }
        let arguments = vec![element.to_json()?, json!(text)];
        match script::run(&self.driver, script::INSERT_TEXT, arguments).await? {
            Value::Bool(true) => Ok(()),
            _ => Err(not_actionable(target, "it takes no text")),
        }
    }

    async fn file_input(&self, target: &Target) -> Result<WebElement, BrowserError> {
        let found = match locate(&self.driver, target, Sight::Visible).await {
            Err(BrowserError::NotFound { .. }) => locate(&self.driver, target, Sight::Any).await?,
            other => other?,
        };
        let is_input = found.element.tag_name().await? == "input";
        let is_file = is_input && found.element.prop("type").await?.as_deref() == Some("file");
        if is_file {
            return Ok(found.element);
        }
        Err(not_actionable(target, "it is not a file input"))
    }
}

/// Whether a key press can carry it. chromedriver has no keys beyond the basic plane, the private
/// use area stands for special keys, and a line break or tab would submit the form or leave it.
fn is_key(c: char) -> bool {
    !c.is_control() && !('\u{e000}'..='\u{f8ff}').contains(&c) && u32::from(c) <= 0xffff
}

fn not_actionable(target: &Target, why: &str) -> BrowserError {
    BrowserError::NotActionable { target: target.to_string(), why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::is_key;

    #[test]
    fn what_would_submit_a_form_or_press_a_special_key_is_not_typed() {
        for c in ['\n', '\t', '\u{e007}', '\u{1f600}'] {
            assert!(!is_key(c), "{c:?}");
        }
        assert!("Grüße aus Köln".chars().all(is_key));
    }
}
