//! What a command says when it cannot go on: what, why, and what to try.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;

use fermata_engine::access::TokenAdminError;
use fermata_engine::effect::SwitchError;
use fermata_engine::read::ReadError;
use fermata_engine::store::StoreError;
use serde_json::{Value, json};

use super::Exit;
use crate::config::ConfigReport;
use crate::postgres::PostgresError;
use crate::supervisor::SupervisorError;

/// Why a command ended without doing what it was asked. Small to hand on: it is rare.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Trouble(Box<Facts>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Facts {
    exit: Exit,
    what: String,
    why: Option<String>,
    remedy: Option<String>,
    code: Option<String>,
}

impl Trouble {
    /// A trouble that ends the program this way.
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self(Box::new(Facts { exit, what: what.into(), why: None, remedy: None, code: None }))
    }

    /// The ordinary failure.
    pub fn failed(what: impl Into<String>) -> Self {
        Self::new(Exit::Failed, what)
    }

    /// A file or folder that cannot be used.
    pub fn file(what: &str, path: &Path, error: &io::Error) -> Self {
        Self::failed(format!("{what} {}", path.display())).why(error.to_string())
    }

    /// With the reason.
    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.0.why = Some(why.into());
        self
    }

    /// With what to try.
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.0.remedy = Some(remedy.into());
        self
    }

    /// With a word that `fermata explain` knows.
    pub fn code(mut self, code: impl Into<String>) -> Self {
        self.0.code = Some(code.into());
        self
    }

    /// How the program ends.
    pub fn exit(&self) -> Exit {
        self.0.exit
    }

    /// The trouble for a program.
    pub fn to_json(&self) -> Value {
        let Facts { exit, what, why, remedy, code } = &*self.0;
        json!({ "error": { "exit_code": exit.code(), "code": code, "what": what, "why": why, "try": remedy } })
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.0.what)?;
        if let Some(why) = &self.0.why {
            write!(f, "\n  why: {}", why.replace('\n', "\n       "))?;
        }
        if let Some(remedy) = &self.0.remedy {
            write!(f, "\n  try: {}", remedy.replace('\n', "\n       "))?;
        }
        Ok(())
    }
}

/// An error with all its causes, as one sentence.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        let why = crate::telemetry::redact(&chain(&error)).into_owned();
        match error {
            StoreError::Unreachable(_) | StoreError::Lost(_) => {
                Self::new(Exit::Unreachable, "the database cannot be reached")
                    .why(why)
                    .remedy("check that Postgres runs and that DATABASE_URL names it; `fermata doctor` looks closer")
                    .code("database_unreachable")
            }
            StoreError::Pooler(_) => Self::new(Exit::Unreachable, "the pooler for reads cannot be used")
                .why(why)
                .remedy("check that DATABASE_POOLER_URL names it; PgBouncer needs ignore_startup_parameters = extra_float_digits")
                .code("database_unreachable"),
            StoreError::Schema(_) => Self::failed("the schema of the database does not fit this program")
                .why(why)
                .remedy("run: fermata migrate (a database of an unreleased build needs a fresh folder instead)")
                .code("schema_outdated"),
            StoreError::Unsafe { .. } => {
                Self::new(Exit::Config, "the database may lose acknowledged work").why(why).code("unsafe_durability")
            }
            StoreError::Busy | StoreError::Stopped => Self::new(Exit::Unreachable, why),
            StoreError::Refused(_) => Self::failed("the database refused a statement").why(why),
        }
    }
}

impl From<PostgresError> for Trouble {
    fn from(error: PostgresError) -> Self {
        Self::failed("the private Postgres did not start").why(chain(&error))
    }
}

impl From<SupervisorError> for Trouble {
    fn from(error: SupervisorError) -> Self {
        Self::failed("the browser supervisor did not start").why(chain(&error)).code("browser_missing")
    }
}

impl From<Box<ConfigReport>> for Trouble {
    fn from(report: Box<ConfigReport>) -> Self {
        Self::new(Exit::Config, "the configuration is not valid")
            .why(report.to_string())
            .remedy("fermata config check; every key is explained in .env.example")
            .code("config_invalid")
    }
}

impl From<SwitchError> for Trouble {
    fn from(error: SwitchError) -> Self {
        match error {
            SwitchError::Store(error) => error.into(),
            SwitchError::Denied(_) => Self::new(Exit::Auth, error.to_string()),
            SwitchError::Invalid { .. } => Self::new(Exit::Usage, error.to_string()),
        }
    }
}

impl From<ReadError> for Trouble {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Store(error) => error.into(),
            ReadError::Denied(_) => Self::new(Exit::Auth, error.to_string()),
            ReadError::NotFound(_) => Self::new(Exit::NotFound, error.to_string()),
            _ => Self::failed(error.to_string()),
        }
    }
}

impl From<TokenAdminError> for Trouble {
    fn from(error: TokenAdminError) -> Self {
        match error {
            TokenAdminError::Store(error) => error.into(),
            TokenAdminError::NotFound => Self::new(Exit::NotFound, error.to_string()),
            TokenAdminError::Denied(_) => Self::new(Exit::Auth, error.to_string()),
            TokenAdminError::Invalid { .. } | TokenAdminError::Random(_) => Self::failed(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_says_what_why_and_what_to_try() {
        let trouble = Trouble::failed("it broke").why("two\nlines").remedy("mend it");
        assert_eq!(trouble.to_string(), "error: it broke\n  why: two\n       lines\n  try: mend it");
        assert_eq!(trouble.to_json()["error"]["exit_code"], 1);
    }
}
