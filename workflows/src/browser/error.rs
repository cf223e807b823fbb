//! What can go wrong in a page, what it means for the run, and how driver errors are read.

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thirtyfour::error::{WebDriverError, WebDriverErrorInner};

use super::script;

/// Why a run failed, in the words of the requirements (B-052).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureClass {
    /// The session at the platform ended; a person has to log in.
    #[serde(rename = "AUTH_EXPIRED")]
    AuthExpired,
    /// The platform asks for a second factor.
    #[serde(rename = "2FA_CHALLENGE")]
    TwoFaChallenge,
    /// The page no longer looks as the pack says.
    #[serde(rename = "UI_SELECTOR_CHANGED")]
    UiSelectorChanged,
    /// A file could not be handed over.
    #[serde(rename = "UPLOAD_FAILED")]
    UploadFailed,
    /// The platform asks us to slow down.
    #[serde(rename = "RATE_LIMIT")]
    RateLimit,
    /// The way to the platform or to the browser broke.
    #[serde(rename = "NETWORK_FLAP")]
    NetworkFlap,
    /// None of the above.
    #[serde(rename = "UNKNOWN")]
    Unknown,
}

/// Why a page did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum BrowserError {
    /// No visible control matches.
    #[error("nothing visible matches {target}")]
    NotFound {
        /// What was looked for.
        target: String,
    },
    /// More than one visible control matches.
    #[error("{count} visible controls match {target}; exactly one must")]
    Ambiguous {
        /// What was looked for.
        target: String,
        /// How many there are.
        count: usize,
    },
    /// The control is there and cannot be acted on.
    #[error("{target} cannot be acted on: {why}")]
    NotActionable {
        /// The control.
        target: String,
        /// What is in the way.
        why: String,
    },
    /// A click that confirms an effect would rest on a CSS selector alone.
    #[error("{target} was found by css alone; a click that confirms an effect needs a better name")]
    CssOnly {
        /// The control.
        target: String,
    },
    /// The control has no such attribute or address.
    #[error("{target} has no {what}")]
    NothingToRead {
        /// The control.
        target: String,
        /// What was asked for.
        what: String,
    },
    /// The target or address could never work, whatever the page shows.
    #[error("{what} cannot be used: {why}")]
    Unusable {
        /// The target or address.
        what: String,
        /// Why.
        why: String,
    },
    /// A condition that must hold does not.
    #[error("it does not hold that {condition}")]
    AssertionFailed {
        /// The condition.
        condition: String,
    },
    /// A condition did not come true in time.
    #[error("waited {} ms in vain until {condition}", limit.as_millis())]
    Timeout {
        /// The condition.
        condition: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// A page did not load.
    #[error("the page did not load: {why}")]
    LoadFailed {
        /// The browser's reason, such as `net::ERR_NAME_NOT_RESOLVED`.
        why: String,
    },
    /// A file could not be handed to the page.
    #[error("the file could not be handed to the page: {why}")]
    UploadFailed {
        /// Why.
        why: String,
    },
    /// A file could not be fetched in the page.
    #[error("the file could not be fetched: {why}")]
    DownloadFailed {
        /// The browser's reason, or what took too long.
        why: String,
    },
    /// The platform answered, and not with the file.
    #[error("the platform answered {status} instead of the file")]
    DownloadRefused {
        /// The HTTP status.
        status: u16,
    },
    /// The file is larger than it may be.
    #[error("the file has more than {most} bytes")]
    DownloadTooLarge {
        /// The most that is taken.
        most: usize,
    },
    /// A newer epoch of this run has the browser; this holder may do nothing more.
    #[error("a newer epoch of this run has taken over the browser")]
    Fenced,
    /// The call's deadline had passed before the command was carried out.
    #[error("the call's deadline passed before the command was carried out")]
    DeadlinePassed,
    /// The browser behind this page is gone; what was typed is lost.
    #[error("the browser session is gone")]
    SessionLost,
    /// All browsers are taken.
    #[error("all browser sessions are taken; try again later")]
    Busy,
    /// The click was sent and its answer is not known: it may have happened. Never repeat it.
    #[error("the click was sent and its answer was lost: {why}")]
    AnswerLost {
        /// What came instead of an answer.
        why: String,
    },
    /// The browser endpoint cannot be reached.
    #[error("the browser endpoint does not answer: {why}")]
    Unreachable {
        /// Why.
        why: String,
    },
    /// Any other answer of the driver.
    #[error("the browser driver refused: {}", first_line(.0))]
    Driver(#[source] WebDriverError),
}

impl BrowserError {
    /// The class that is stored with a failed run.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::NotFound { .. }
            | Self::Ambiguous { .. }
            | Self::NotActionable { .. }
            | Self::CssOnly { .. }
            | Self::NothingToRead { .. }
            | Self::AssertionFailed { .. }
            | Self::Timeout { .. } => FailureClass::UiSelectorChanged,
            Self::UploadFailed { .. } => FailureClass::UploadFailed,
            Self::LoadFailed { .. } | Self::DownloadFailed { .. } | Self::SessionLost | Self::Unreachable { .. } => {
                FailureClass::NetworkFlap
            }
            Self::Unusable { .. }
            | Self::DownloadRefused { .. }
            | Self::DownloadTooLarge { .. }
            | Self::Fenced
            | Self::DeadlinePassed
            | Self::Busy
            | Self::AnswerLost { .. }
            | Self::Driver(_) => FailureClass::Unknown,
        }
    }

    /// Whether the same may succeed later without anybody changing anything. Never true for
    /// [`BrowserError::AnswerLost`]: what may have happened is not tried again.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::LoadFailed { .. }
            | Self::DownloadFailed { .. }
            | Self::SessionLost
            | Self::Busy
            | Self::Unreachable { .. }
            | Self::Timeout { .. } => true,
            Self::DownloadRefused { status } => matches!(status, 408 | 429 | 500..),
            _ => false,
        }
    }

    /// Whether a page that is still being drawn may explain it, so that another look is worth it.
    pub(super) fn may_settle(&self) -> bool {
        match self {
            Self::NotFound { .. } | Self::Ambiguous { .. } | Self::NotActionable { .. } => true,
            Self::Driver(error) => matches!(
                **error,
                WebDriverErrorInner::StaleElementReference(_)
                    | WebDriverErrorInner::NoSuchElement(_)
                    | WebDriverErrorInner::ElementClickIntercepted(_)
                    | WebDriverErrorInner::ElementNotInteractable(_)
                    | WebDriverErrorInner::JavascriptError(_)
            ),
            _ => false,
        }
    }

    /// Reads the driver's answer to a click that confirms an effect: anything that does not prove
    /// that the click was never carried out leaves it open whether it was.
    pub(super) fn after_confirming_click(error: WebDriverError) -> Self {
        let never_clicked = match &*error {
            WebDriverErrorInner::StaleElementReference(_)
            | WebDriverErrorInner::NoSuchElement(_)
            | WebDriverErrorInner::ElementClickIntercepted(_)
            | WebDriverErrorInner::ElementNotInteractable(_) => true,
            WebDriverErrorInner::IoError(source) => source.kind() == io::ErrorKind::ConnectionRefused,
            _ => refused_beforehand(&error),
        };
        if never_clicked {
            return error.into();
        }
        Self::AnswerLost { why: first_line(&error) }
    }
}

impl From<WebDriverError> for BrowserError {
    fn from(error: WebDriverError) -> Self {
        match code(&error) {
            Some("fenced") => return Self::Fenced,
            Some("deadline passed") => return Self::DeadlinePassed,
            Some("driver unavailable" | "answer lost") => {
                return Self::Unreachable { why: first_line(&error) };
            }
            _ => {}
        }
        match &*error {
            WebDriverErrorInner::SessionNotCreated(info) if info.status == BUSY_STATUS => Self::Busy,
            WebDriverErrorInner::InvalidSessionId(_) => Self::SessionLost,
            WebDriverErrorInner::IoError(source) => Self::Unreachable { why: source.to_string() },
            WebDriverErrorInner::WebDriverTimeout(_) => Self::LoadFailed { why: "it took too long".to_owned() },
            WebDriverErrorInner::UnknownError(info) if info.value.message.contains("net::ERR_") => {
                Self::LoadFailed { why: network_error(&info.value.message).to_owned() }
            }
            _ => Self::Driver(error),
        }
    }
}

/// HTTP 503: the endpoint has no room for another session.
const BUSY_STATUS: u16 = 503;

/// The longest piece of a driver's message that is passed on.
const MESSAGE_MAX_CHARS: usize = 200;

/// The error code of our own supervisor, which thirtyfour does not know.
fn code(error: &WebDriverError) -> Option<&str> {
    match &**error {
        WebDriverErrorInner::NotInSpec(info) => info.value.error.as_deref(),
        _ => None,
    }
}

/// Whether our supervisor says that it refused the command before the driver saw it.
fn refused_beforehand(error: &WebDriverError) -> bool {
    let data = match &**error {
        WebDriverErrorInner::NotInSpec(info)
        | WebDriverErrorInner::InvalidSessionId(info)
        | WebDriverErrorInner::InvalidArgument(info) => info.value.data.as_ref(),
        _ => None,
    };
    data.and_then(|data| data.get("carried_out")) == Some(&serde_json::Value::Bool(false))
}

fn network_error(message: &str) -> &str {
    let from = message.find("net::ERR_").unwrap_or(0);
    let rest = &message[from..];
    let end = rest.find(|c: char| c.is_whitespace()).unwrap_or(rest.len());
    &rest[..end]
}

/// The driver's message without its stack trace; our supervisor's own words as they are.
fn first_line(error: &WebDriverError) -> String {
    let text = match &**error {
        WebDriverErrorInner::NotInSpec(info) => info.value.message.clone(),
        _ => error.to_string(),
    };
    let told = text.split("Stacktrace:").next().unwrap_or_default();
    script::normalised(told).chars().take(MESSAGE_MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, error: &str) -> WebDriverError {
        let body = serde_json::json!({"value": {"error": error, "message": "m", "stacktrace": ""}});
        WebDriverError::parse(status, body.to_string())
    }

    fn refusal(status: u16, error: &str) -> WebDriverError {
        let data = serde_json::json!({"carried_out": false});
        let body = serde_json::json!({"value": {"error": error, "message": "m", "stacktrace": "", "data": data}});
        WebDriverError::parse(status, body.to_string())
    }

    #[test]
    fn a_refusal_before_the_click_is_not_a_lost_answer() {
        for code in ["fenced", "deadline passed", "driver unavailable", "invalid session id"] {
            let read = BrowserError::after_confirming_click(refusal(409, code));
            assert!(!matches!(read, BrowserError::AnswerLost { .. }), "{code}: {read}");
        }
        let covered = BrowserError::after_confirming_click(answer(400, "element click intercepted"));
        assert!(!matches!(covered, BrowserError::AnswerLost { .. }));
    }

    #[test]
    fn whatever_does_not_prove_the_click_absent_is_a_lost_answer() {
        for code in ["timeout", "answer lost", "unknown error", "invalid session id", "no such window"] {
            let read = BrowserError::after_confirming_click(answer(500, code));
            assert!(matches!(read, BrowserError::AnswerLost { .. }), "{code}: {read}");
            assert!(!read.is_transient());
        }
        let cut = WebDriverError::from(io::Error::new(io::ErrorKind::TimedOut, "cut"));
        assert!(matches!(BrowserError::after_confirming_click(cut), BrowserError::AnswerLost { .. }));
    }

    #[test]
    fn a_full_endpoint_is_busy_and_worth_another_try() {
        let read = BrowserError::from(answer(503, "session not created"));
        assert!(matches!(read, BrowserError::Busy) && read.is_transient());
    }
}
