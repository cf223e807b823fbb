//! One process with one role, on a database of the test's own.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use axum::body::Bytes;
use axum::http::HeaderMap;
use fermata_api::process::Ready;
use fermata_engine::access::{NewToken, Principal, Scope};
use fermata_engine::workflow::Registry;
use fermata_tests::{TestDb, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// The key that these processes share.
pub(crate) const INTERNAL_KEY: &str = "sesame";
/// What every role gets besides: free ports, and the keys that it may need.
const SETTINGS: [(&str, &str); 7] = [
    ("LISTEN_CONTROL", "127.0.0.1:0"),
    ("LISTEN_TELEMETRY", "127.0.0.1:0"),
    ("LISTEN_LOGGING", "127.0.0.1:0"),
    ("LISTEN_RENDERCTL", "127.0.0.1:0"),
    ("LISTEN_ECHO", "127.0.0.1:0"),
    ("INTERNAL_KEY", INTERNAL_KEY),
    ("RENDER_API_TOKEN", "a-token-that-is-not-used"),
];

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A running `fermata serve` with one role; ended in good order when dropped.
pub(crate) struct Process {
    child: Child,
    folder: PathBuf,
    /// What it wrote when it was ready.
    pub(crate) ready: Ready,
    /// Where it answers its probes, and serves, if it does.
    pub(crate) base: String,
    client: reqwest::Client,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("JSON, not {:?}", self.bytes))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The body of a refusal, checked to be one.
    pub(crate) fn problem(&self, status: u16, slug: &str, code: &str) -> Value {
        let body = self.json();
        assert_eq!((self.status, body["code"].as_str()), (status, Some(code)), "{body}");
        assert_eq!(body["type"], format!("/problems/{slug}"));
        assert_eq!(self.header("content-type"), "application/problem+json");
        body
    }
}

/// The program with exactly these settings, and nothing of the test's own environment.
pub(crate) fn program(role: &str, folder: &PathBuf, settings: &[(&str, &str)]) -> Command {
    std::fs::create_dir_all(folder).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_fermata"));
    command
        .args(["serve", "--role", role])
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", folder)
        .envs(settings.iter().copied())
        .stdin(Stdio::null());
    command
}

/// A folder that no other test has.
pub(crate) fn fresh_folder(role: &str) -> PathBuf {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("fermata-service-{role}-{}-{number}", std::process::id()))
}

/// All settings of a role on this database; the later of two with one name holds.
pub(crate) fn settings<'a>(db: &'a TestDb, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [("DATABASE_URL", db.url.as_str())].into_iter().chain(SETTINGS).chain(more.iter().copied()).collect()
}

impl Process {
    /// Starts a role and waits until it is ready.
    pub(crate) async fn start(role: &str, db: &TestDb, more: &[(&str, &str)]) -> Self {
        // Another test of this process may have installed it; either way there is one.
        drop(rustls::crypto::ring::default_provider().install_default());
        let folder = fresh_folder(role);
        let mut command = program(role, &folder, &settings(db, more));
        if matches!(role, "worker" | "browser") {
            command.args(["--probes", "127.0.0.1:0"]);
        }
        let log = File::create(folder.join("log")).unwrap();
        let mut child =
            command.args(["--ready-file", "ready.json"]).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let ready = eventually(&format!("the role {role} is ready"), || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "{role} ended with {ended:?}; see {}", folder.display());
            let ready = Ready::read(&folder.join("ready.json")).unwrap();
            async move { ready }
        })
        .await;
        let served = ready.control.clone().or_else(|| ready.services.get(role).cloned());
        let base = served.or_else(|| ready.nodes[0].probes.clone()).unwrap();
        Self { child, folder, ready, base, client: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    /// Asks with these headers, and reads the answer whole.
    pub(crate) async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: String) -> Answer {
        let url = format!("{}{path}", self.base);
        let mut request = self.client.request(method.parse().unwrap(), url).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Answer { status, headers, bytes: answer.bytes().await.unwrap() }
    }

    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask("GET", path, headers, String::new()).await
    }

    /// Ends it as a crash would.
    pub(crate) fn crash(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// All that it has written so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // In good order even when the test failed, so that nothing of it survives.
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        // Of one that has crashed the number may be somebody else's by now.
        let lives = matches!(self.child.try_wait(), Ok(None));
        if lives && kill(pid, Signal::SIGTERM).is_ok() {
            drop(self.child.wait());
        }
        if !std::thread::panicking() {
            drop(std::fs::remove_dir_all(&self.folder));
        }
    }
}

/// The header of a fresh token with these scopes, for a client.
pub(crate) async fn bearer(db: &TestDb, scopes: &[Scope]) -> String {
    bearer_for("acme", db, scopes).await
}

/// The same for another client.
pub(crate) async fn bearer_for(client: &str, db: &TestDb, scopes: &[Scope]) -> String {
    let engine = db.engine(Registry::new()).await;
    let new = NewToken {
        client_id: client.into(),
        name: "test".into(),
        scopes: scopes.to_vec(),
        command_types: None,
        ttl: None,
    };
    format!("Bearer {}", engine.create_token(&Principal::operator(), new).await.unwrap().token)
}
