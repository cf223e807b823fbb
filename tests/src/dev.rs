//! A whole `fermata dev` of its own: real processes, real Postgres, real browser, real demo site.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::eventually;

/// Names the program; `make test` builds it and sets this.
const PROGRAM: &str = "FERMATA_BIN";

/// What `dev` writes when everything answers (contract, section 2).
#[derive(Debug, Clone, Deserialize)]
pub struct Ready {
    /// Where the API is.
    pub control: String,
    /// Where the stream is.
    pub telemetry: String,
    /// Where the demo site is.
    pub demo_site: String,
    /// The private Postgres.
    pub database_url: String,
    /// The file that holds a token with every scope.
    pub token_file: PathBuf,
    /// The processes that hold leases or serve.
    pub nodes: Vec<NodeEntry>,
}

/// One process of the group.
#[derive(Debug, Clone, Deserialize)]
pub struct NodeEntry {
    /// What a command that it carries shows as `node`; a name for a process that carries none.
    pub node: String,
    /// `api`, `worker`, `browser`, ...
    pub role: String,
    /// Its process.
    pub pid: i32,
}

/// A running `fermata dev`; stopped and forgotten when dropped.
#[derive(Debug)]
pub struct Dev {
    process: Child,
    folder: PathBuf,
    /// What it said when it was ready.
    pub ready: Ready,
    token: String,
    http: reqwest::Client,
}

#[expect(clippy::expect_used, reason = "a harness fails its test by panicking")]
impl Dev {
    /// Starts everything on free ports in a folder of its own.
    ///
    /// # Panics
    /// When it does not get ready.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with settings of its own.
    ///
    /// # Panics
    /// When it does not get ready.
    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        // Another test of this process may have installed it; either way there is one.
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().expect("a client can be made");
        let program = std::env::var(PROGRAM).expect("FERMATA_BIN names the program: run `make test`");
        let name = format!("fermata-dev-{}-{:x}", std::process::id(), rand_part());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
        let ready_file = folder.join("ready.json");
        let log = std::fs::File::create(folder.join("dev.log")).expect("the log can be made");
        let mut process = Command::new(program)
            .args(["dev", "--control", "127.0.0.1:0", "--telemetry", "127.0.0.1:0", "--demo-site", "127.0.0.1:0"])
            .arg("--data-dir")
            .arg(folder.join("data"))
            .arg("--ready-file")
            .arg(&ready_file)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a handle can be cloned"))
            .stderr(log)
            .env_remove("DATABASE_URL")
            .envs(settings.iter().copied())
            .spawn()
            .expect("the program starts");
        let ready: Ready = eventually("dev is ready", || {
            let ended = process.try_wait().expect("the process can be asked");
            assert!(ended.is_none(), "dev ended with {ended:?}; see {}", folder.join("dev.log").display());
            let text = std::fs::read_to_string(&ready_file).ok();
            async move { text.and_then(|text| serde_json::from_str(&text).ok()) }
        })
        .await;
        let token = std::fs::read_to_string(&ready.token_file).expect("the token can be read").trim().to_owned();
        Self { process, folder, ready, token, http }
    }

    /// Where it keeps what is on disk.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Asks the API.
    ///
    /// # Panics
    /// When it does not answer with JSON.
    pub async fn get(&self, path: &str) -> Value {
        let url = format!("{}{path}", self.ready.control);
        let answer = self.http.get(url).bearer_auth(&self.token).send().await.expect("the API answers");
        answer.json().await.expect("the API speaks JSON")
    }

    /// Puts something into the API; answers status and body.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn put(&self, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}{path}", self.ready.control);
        let answer = self.http.put(url).bearer_auth(&self.token).json(body).send().await.expect("the API answers");
        (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
    }

    /// Tells the API; answers status and body.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.post_with(path, body, &[]).await
    }

    /// The same with headers.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn post_with(&self, path: &str, body: &Value, headers: &[(&str, &str)]) -> (u16, Value) {
        let url = format!("{}{path}", self.ready.control);
        let mut request = self.http.post(url).bearer_auth(&self.token).json(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.expect("the API answers");
        (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
    }

    /// Asks the API for content that is not JSON: its type and its bytes.
    ///
    /// # Panics
    /// When it is not there.
    pub async fn content(&self, path: &str) -> (String, Vec<u8>) {
        let url = format!("{}{path}", self.ready.control);
        let answer = self.http.get(url).bearer_auth(&self.token).send().await.expect("the API answers");
        content(answer).await
    }

    /// Asks the demo site for a file, as the browser of that account would.
    ///
    /// # Panics
    /// When it is not there.
    pub async fn site_file(&self, handle: &str, path: &str) -> (String, Vec<u8>) {
        let (_, token) = self.logins(handle).await;
        let url = format!("{}{path}", self.ready.demo_site);
        let request = self.http.get(url).header("cookie", format!("pico_session={token}"));
        content(request.send().await.expect("the demo site answers")).await
    }

    /// The folder of artifacts, which the paths of files in results are relative to.
    pub fn artifacts(&self) -> PathBuf {
        self.folder.join("data").join("artifacts")
    }

    /// Submits a flow that is installed; answers the command's id.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn flow(&self, name: &str, inputs: Value) -> String {
        self.submit("flow.run", json!({"workflow_name": name, "inputs": inputs})).await
    }

    /// Submits a command of a type; answers its id.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn submit(&self, kind: &str, payload: Value) -> String {
        let body = json!({"type": kind, "payload": payload});
        let (status, accepted) = self.post("/v1/commands", &body).await;
        assert_eq!(status, 202, "{accepted}");
        accepted["command_id"].as_str().expect("a command has an id").to_owned()
    }

    /// How the demo site misbehaves from now on.
    ///
    /// # Panics
    /// When it does not take the mode.
    pub async fn mode(&self, mode: Value) {
        let url = format!("{}/_mode", self.ready.demo_site);
        let answer = self.http.put(url).json(&mode).send().await.expect("the demo site answers");
        assert!(answer.status().is_success(), "the demo site refuses {mode}");
    }

    /// How many effects of this kind have this reference, at the platform.
    ///
    /// # Panics
    /// When the demo site does not answer.
    pub async fn applied(&self, reference: &str) -> usize {
        let url = format!("{}/_ledger", self.ready.demo_site);
        let ledger: Vec<Value> =
            self.http.get(url).send().await.expect("the demo site answers").json().await.expect("the ledger is a list");
        ledger.iter().filter(|entry| entry["reference"] == reference || entry["key"] == reference).count()
    }

    /// How often an account has logged in at the demo site, and the token that it was given.
    ///
    /// # Panics
    /// When the demo site does not answer.
    pub async fn logins(&self, handle: &str) -> (u64, String) {
        let url = format!("{}/_logins?handle={handle}", self.ready.demo_site);
        let seen: Value =
            self.http.get(url).send().await.expect("the demo site answers").json().await.expect("it speaks JSON");
        (seen["count"].as_u64().unwrap_or_default(), seen["token"].as_str().unwrap_or_default().to_owned())
    }

    /// Who an account is at the demo site, as it says itself of whoever is signed in.
    ///
    /// # Panics
    /// When the account has not logged in, or the demo site does not answer.
    pub async fn me(&self, handle: &str) -> Value {
        let (_, token) = self.logins(handle).await;
        let url = format!("{}/api/me", self.ready.demo_site);
        let answer = self.http.get(url).bearer_auth(token).send().await.expect("the demo site answers");
        answer.json().await.expect("it speaks JSON")
    }

    /// All that was written to files: logs of each process, artifacts, what `dev` keeps. Not the
    /// files of Postgres.
    ///
    /// # Panics
    /// When they cannot be read.
    pub fn files(&self) -> Vec<u8> {
        let (mut all, mut folders) = (Vec::new(), vec![self.folder.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder can be read") {
                let path = entry.expect("an entry can be read").path();
                if path.is_dir() && !path.ends_with("postgres") {
                    folders.push(path);
                } else if path.is_file() {
                    all.extend(std::fs::read(path).expect("a file can be read"));
                }
            }
        }
        all
    }

    /// The command, once it has one of these statuses.
    pub async fn reaches(&self, command: &str, statuses: &[&str]) -> Value {
        eventually(&format!("command {command} becomes one of {statuses:?}"), || async {
            let view = self.get(&format!("/v1/commands/{command}")).await;
            statuses.iter().any(|status| view["status"] == **status).then_some(view)
        })
        .await
    }

    /// The command's newest action, once it is in this state.
    pub async fn action(&self, command: &str, state: &str) -> Value {
        eventually(&format!("an action of {command} is {state}"), || async {
            let actions = self.get(&format!("/v1/commands/{command}/actions")).await;
            actions["items"].as_array()?.iter().find(|action| action["state"] == state).cloned()
        })
        .await
    }

    /// The process that carries a run now.
    ///
    /// # Panics
    /// When no worker of this group does.
    pub async fn holder(&self, command: &str) -> i32 {
        eventually("the ready file names the holder", || async {
            let view = self.get(&format!("/v1/commands/{command}")).await;
            let text = std::fs::read_to_string(self.folder.join("ready.json")).ok()?;
            let ready: Ready = serde_json::from_str(&text).ok()?;
            ready.nodes.iter().find(|entry| view["node"] == *entry.node).map(|entry| entry.pid)
        })
        .await
    }

    /// The processes that carry runs now.
    ///
    /// # Panics
    /// When the database does not answer.
    pub async fn workers(&self) -> Vec<i32> {
        let mut database = sqlx::PgConnection::connect(&self.ready.database_url).await.expect("the database answers");
        sqlx::query_scalar("select pid from fermata.node").fetch_all(&mut database).await.expect("nodes can be listed")
    }

    /// Sends a signal to a process, as the operating system would.
    ///
    /// # Panics
    /// When there is no such process.
    pub fn signal(pid: i32, signal: &str) {
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string()).status();
        assert!(sent.is_ok_and(|status| status.success()), "process {pid} takes {signal}");
    }

    /// Ends the group in good order; answers its exit code.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn stop(&mut self) -> Option<i32> {
        Self::signal(i32::try_from(self.process.id()).expect("a pid is small"), "TERM");
        let process = &mut self.process;
        eventually("dev ends", || {
            let ended = process.try_wait().expect("the process can be asked");
            async move { ended.map(|status| status.code()) }
        })
        .await
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            // In good order even when the test failed, so that nothing of it survives.
            Self::signal(i32::try_from(self.process.id()).unwrap_or_default(), "TERM");
            drop(self.process.wait());
        }
        if !std::thread::panicking() {
            drop(std::fs::remove_dir_all(&self.folder));
        }
    }
}

#[expect(clippy::expect_used, reason = "a harness fails its test by panicking")]
async fn content(answer: reqwest::Response) -> (String, Vec<u8>) {
    assert!(answer.status().is_success(), "{}: {}", answer.url(), answer.status());
    let kind = answer.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
    (kind, answer.bytes().await.expect("the content can be read").to_vec())
}

fn rand_part() -> u64 {
    let name = format!("{:?}", std::thread::current().id());
    name.bytes().fold(14_695_981_039_346_656_037, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(1_099_511_628_211))
}
