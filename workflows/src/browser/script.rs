//! Asks the page and the driver what thirtyfour has no call for.

use std::sync::Arc;

use http::Method;
use serde_json::Value;
use thirtyfour::common::command::{Command, ExtensionCommand};
use thirtyfour::error::{WebDriverError, WebDriverErrorInner};
use thirtyfour::{WebDriver, WebElement};

use super::error::BrowserError;

/// Finds candidates for a target; see its first lines for arguments and answer.
pub(super) const LOCATE: &str = include_str!("locate.js");
/// Brings an element into view and says what is in the way of acting on it.
pub(super) const ACTIONABLE: &str = include_str!("actionable.js");
/// Types text that keys cannot carry into the focused field.
pub(super) const INSERT_TEXT: &str = include_str!("insert_text.js");
/// Fetches a file in the page and hands it over in pieces; see its first lines.
pub(super) const DOWNLOAD: &str = include_str!("download.js");
/// Whether the page shows a text.
pub(super) const SHOWS_TEXT: &str = "\
    const norm = text => text.replace(/\\s+/g, ' ').trim();\
    return document.body ? norm(document.body.innerText).includes(norm(arguments[0])) : false;";

/// A WebDriver command of the specification (or of chromedriver) that thirtyfour lacks.
#[derive(Debug)]
struct Plain {
    method: Method,
    endpoint: String,
    body: Option<Value>,
}

impl ExtensionCommand for Plain {
    fn parameters_json(&self) -> Option<Value> {
        self.body.clone()
    }

    fn method(&self) -> Method {
        self.method.clone()
    }

    fn endpoint(&self) -> Arc<str> {
        Arc::from(self.endpoint.as_str())
    }
}

async fn plain(
    driver: &WebDriver,
    method: Method,
    endpoint: String,
    body: Option<Value>,
) -> Result<String, WebDriverError> {
    let command = Command::ExtensionCommand(Box::new(Plain { method, endpoint, body }));
    driver.cmd(command).await?.value()
}

/// The name that the browser computes for assistive technology, whitespace normalised.
pub(super) async fn computed_label(driver: &WebDriver, element: &WebElement) -> Result<String, BrowserError> {
    let endpoint = format!("/element/{}/computedlabel", element.element_id());
    let label = plain(driver, Method::GET, endpoint, None).await?;
    Ok(normalised(&label))
}

/// The role that the browser computes for assistive technology.
pub(super) async fn computed_role(driver: &WebDriver, element: &WebElement) -> Result<String, BrowserError> {
    let endpoint = format!("/element/{}/computedrole", element.element_id());
    let role = plain(driver, Method::GET, endpoint, None).await?;
    // Two spellings of the same role; engines differ.
    Ok(if role == "image" { "img".to_owned() } else { role })
}

/// Puts a zipped file beside the browser; answers its path there.
pub(super) async fn send_file(driver: &WebDriver, zip_base64: String) -> Result<String, WebDriverError> {
    let body = serde_json::json!({ "file": zip_base64 });
    match plain(driver, Method::POST, "/file".to_owned(), Some(body.clone())).await {
        // Selenium Grid knows the same command under its own prefix.
        Err(error) if matches!(*error, WebDriverErrorInner::UnknownCommand(_)) => {
            plain(driver, Method::POST, "/se/file".to_owned(), Some(body)).await
        }
        other => other,
    }
}

/// Runs a script and decodes what it returns.
pub(super) async fn run(driver: &WebDriver, script: &str, arguments: Vec<Value>) -> Result<Value, BrowserError> {
    let answer = driver.execute(script, arguments).await?;
    Ok(answer.json().clone())
}

/// One space for each run of whitespace, none at the ends.
pub(super) fn normalised(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
