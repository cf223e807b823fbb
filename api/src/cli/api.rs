//! The API as the command line calls it: finds it, speaks to it, and turns its refusals into exit
//! codes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use fermata_engine::clock::Clock;
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde_json::Value;

use crate::error::ProblemBody;
use crate::process::{Exit, READY_FILE, Ready, Trouble};

/// How long an answer may take; longer than any limit of the API.
const ANSWER_LIMIT: Duration = Duration::from_mins(1);

/// How long one read waits in all, when it is told to come again.
const MAX_PATIENCE: Duration = Duration::from_mins(2);

/// Where the API is and who asks.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Where the API is")]
pub(crate) struct ApiArgs {
    /// Address of the API; that of the running `dev` when left out
    #[arg(long, value_name = "URL", env = "FERMATA_URL")]
    url: Option<String>,
    /// File that holds the token; FERMATA_TOKEN may hold the token itself
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Data folder of the `dev` to speak to
    #[arg(long, value_name = "DIR", env = "FERMATA_DATA_DIR", default_value = ".fermata")]
    data_dir: PathBuf,
}

impl ApiArgs {
    /// Whether an API or a token is named by a flag or the environment.
    pub(super) fn is_meant(&self) -> bool {
        self.url().is_some() || self.token_file.is_some() || inherited_token().is_some()
    }

    /// The named address; an empty one counts as not set, as in every configuration of ours.
    fn url(&self) -> Option<&String> {
        self.url.as_ref().filter(|url| !url.is_empty())
    }
}

/// The API, ready to be asked.
#[derive(Debug, Clone)]
pub(super) struct Api {
    base: String,
    token: String,
    client: Client,
}

impl Api {
    /// Finds address and token.
    pub(super) fn find(args: &ApiArgs) -> Result<Self, Trouble> {
        let ready_file = args.data_dir.join(READY_FILE);
        let ready = Ready::read(&ready_file).map_err(|error| Trouble::file("cannot read", &ready_file, &error))?;
        let of_dev = ready.clone().and_then(|ready| ready.control);
        // The token of `dev` goes to `dev` only.
        let same = args.url().is_none() || args.url() == of_dev.as_ref();
        let Some(base) = args.url().cloned().or(of_dev) else {
            return Err(Trouble::new(Exit::Unreachable, "no API to speak to")
                .why(format!(
                    "neither --url nor FERMATA_URL is set, and no `fermata dev` runs on {}",
                    args.data_dir.display()
                ))
                .remedy("start `fermata dev` in another terminal, or name the API with --url"));
        };
        let token = match (&args.token_file, inherited_token()) {
            (Some(path), _) => read_token(path)?,
            (None, Some(token)) => token,
            (None, None) => match ready.and_then(|ready| ready.token_file).filter(|_| same) {
                Some(path) => read_token(&path)?,
                None => {
                    return Err(Trouble::new(Exit::Auth, "no token to speak with")
                        .remedy("give --token-file FILE, or set FERMATA_TOKEN; `fermata token create` makes one"));
                }
            },
        };
        Self::at(&base, token)
    }

    /// The API at this address, with this token.
    pub(super) fn at(base: &str, token: String) -> Result<Self, Trouble> {
        let base = base.trim_end_matches('/').to_owned();
        Ok(Self { client: client(&base)?, base, token })
    }

    /// Where it is.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// What it is asked with.
    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// Reads something. Told that it asks too much (429), it waits as long as it is told to, and
    /// asks again: reading twice does no harm.
    pub(super) async fn get(&self, path: &str) -> Result<Value, Trouble> {
        let mut patience = MAX_PATIENCE;
        loop {
            let request = self.request(Method::GET, path);
            let answer = request.send().await.map_err(|error| unreachable(&self.base, &error))?;
            match come_again(&answer).filter(|wait| *wait <= patience) {
                Some(wait) => {
                    patience -= wait;
                    Clock::system().wait(wait).await;
                }
                None => return self.read(answer).await,
            }
        }
    }

    /// Asks for something to be done.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, Trouble> {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// Asks for something to stand like this.
    pub(super) async fn put(&self, path: &str, body: &Value) -> Result<Value, Trouble> {
        self.send(self.request(Method::PUT, path).json(body)).await
    }

    /// Asks for something to go.
    pub(super) async fn delete(&self, path: &str) -> Result<Value, Trouble> {
        self.send(self.request(Method::DELETE, path)).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Value, Trouble> {
        let answer = request.send().await.map_err(|error| unreachable(&self.base, &error))?;
        self.read(answer).await
    }

    async fn read(&self, answer: Response) -> Result<Value, Trouble> {
        let status = answer.status();
        let body = answer.bytes().await.map_err(|error| unreachable(&self.base, &error))?;
        if status.is_success() {
            return if body.is_empty() {
                Ok(Value::Null)
            } else {
                serde_json::from_slice(&body).map_err(|error| {
                    Trouble::failed(format!("{} does not answer as an API of Fermata does", self.base))
                        .why(error.to_string())
                })
            };
        }
        Err(refused(status, &body))
    }
}

/// How long to wait before asking again, when that is what the API says.
fn come_again(answer: &Response) -> Option<Duration> {
    let secs = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    (answer.status() == StatusCode::TOO_MANY_REQUESTS).then(|| Duration::from_secs(secs))
}

fn inherited_token() -> Option<String> {
    std::env::var("FERMATA_TOKEN").ok().filter(|token| !token.is_empty())
}

/// A client for an address; a proxy of the environment is meant for the outside, not for this machine.
pub(super) fn client(base: &str) -> Result<Client, Trouble> {
    let url = Url::parse(base)
        .map_err(|error| Trouble::new(Exit::Usage, format!("`{base}` is no URL")).why(error.to_string()))?;
    let here = matches!(url.host_str(), Some("localhost" | "[::1]"))
        || url.host_str().is_some_and(|host| host.starts_with("127."));
    let builder = Client::builder().timeout(ANSWER_LIMIT);
    let builder = if here { builder.no_proxy() } else { builder };
    builder.build().map_err(|error| Trouble::failed("no HTTP client").why(error.to_string()))
}

fn read_token(path: &Path) -> Result<String, Trouble> {
    let text = fs::read_to_string(path).map_err(|error| {
        Trouble::new(Exit::Auth, format!("the token file {} cannot be read", path.display())).why(error.to_string())
    })?;
    Ok(text.trim().to_owned())
}

/// The trouble of an address that does not answer.
pub(super) fn unreachable(base: &str, error: &reqwest::Error) -> Trouble {
    let mut why = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        why = format!("{why}: {inner}");
        cause = inner.source();
    }
    Trouble::new(Exit::Unreachable, format!("{base} does not answer"))
        .why(why)
        .remedy("check that it runs: `fermata dev`, or `fermata serve --role api`")
        .code("unreachable")
}

/// A problem document as what, why, and what to try.
fn refused(status: StatusCode, body: &[u8]) -> Trouble {
    let Ok(problem) = serde_json::from_slice::<ProblemBody>(body) else {
        let text: String = String::from_utf8_lossy(body).chars().take(300).collect();
        return Trouble::new(exit_of(status, ""), format!("the API answered {status}")).why(text);
    };
    let mut why = problem.detail.clone();
    for error in &problem.errors {
        let line = format!("{}: {}", error.pointer, error.message);
        if !why.contains(&error.message) {
            why = format!("{why}\n{line}");
        }
    }
    let again = problem.retry_after_s.map(|secs| format!("again in {secs} s; ")).unwrap_or_default();
    Trouble::new(exit_of(status, &problem.code), problem.title)
        .why(why)
        .remedy(format!("{again}fermata explain {}", problem.code))
        .code(problem.code)
}

/// Whether a code says that a policy, a budget or a kill switch stood in the way.
pub(super) fn is_blocked(code: &str) -> bool {
    ["policy", "budget", "kill_switch", "effect_denied"].iter().any(|word| code.starts_with(word))
}

fn exit_of(status: StatusCode, code: &str) -> Exit {
    if is_blocked(code) {
        return Exit::Blocked;
    }
    match status.as_u16() {
        401 | 403 => Exit::Auth,
        404 | 410 => Exit::NotFound,
        409 => Exit::Conflict,
        408 | 429 | 502..=504 => Exit::Unreachable,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_problem_becomes_what_why_and_what_to_try() {
        let body = json!({"type": "/problems/not-found", "title": "There is no such thing", "status": 404,
            "detail": "no such command", "instance": "/v1/commands/x", "code": "not_found", "requestId": "r"});
        let trouble = refused(StatusCode::NOT_FOUND, body.to_string().as_bytes());
        assert_eq!(trouble.exit(), Exit::NotFound);
        assert!(trouble.to_string().contains("try: fermata explain not_found"), "{trouble}");
    }

    #[test]
    fn each_refusal_has_its_exit_code() {
        for (status, code, exit) in [
            (400, "validation", Exit::Failed),
            (401, "token_unknown", Exit::Auth),
            (403, "kill_switch_on", Exit::Blocked),
            (409, "conflict", Exit::Conflict),
            (410, "cursor_expired", Exit::NotFound),
            (503, "busy", Exit::Unreachable),
        ] {
            assert_eq!(exit_of(StatusCode::from_u16(status).unwrap(), code), exit, "{status} {code}");
        }
    }
}
