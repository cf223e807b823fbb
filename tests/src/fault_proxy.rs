//! The fault proxy between an engine and its database, for tests that lose answers.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::eventually;

/// Names the program; `make test` builds it and sets this.
const PROGRAM: &str = "FERMATA_FAULT_PROXY_BIN";

/// A running proxy with one link to a database; ends when dropped.
#[derive(Debug)]
pub struct FaultProxy {
    process: Child,
    line: BufReader<UnixStream>,
    folder: std::path::PathBuf,
    /// The database's URL by way of the proxy.
    pub url: String,
}

#[expect(clippy::expect_used, reason = "a harness fails its test by panicking")]
impl FaultProxy {
    /// Stands between whoever uses [`FaultProxy::url`] and the database at `url`.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn before(url: &str) -> Self {
        let program = std::env::var(PROGRAM).expect("FERMATA_FAULT_PROXY_BIN names the program: run `make test`");
        let (_, database) = url.rsplit_once('/').expect("a database URL names a database");
        let folder = std::env::temp_dir().join(format!("fermata-proxy-{database}"));
        std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
        let (socket, ready) = (folder.join("control.sock"), folder.join("ready.json"));
        let mut command = Command::new(program);
        command.arg("--control").arg(&socket).arg("--ready-file").arg(&ready);
        let process = command.stdin(Stdio::null()).spawn().expect("the proxy starts");
        eventually("the proxy is ready", || {
            let there = ready.exists();
            async move { there.then_some(()) }
        })
        .await;
        let line = BufReader::new(UnixStream::connect(&socket).expect("the proxy can be told"));
        let mut proxy = Self { process, line, folder, url: String::new() };
        let (_, rest) = url.rsplit_once('@').expect("a database URL names a host");
        let address = rest.split_once('/').map_or(rest, |(address, _)| address);
        let opened = proxy.tell(&json!({
            "op": "open", "name": "database", "listen": "127.0.0.1:0", "upstream": address, "protocol": "postgres",
        }));
        proxy.url = url.replace(address, opened["address"].as_str().expect("a link has an address"));
        proxy
    }

    /// The answer to the next statement that contains `word` never arrives, though it is carried out.
    ///
    /// # Panics
    /// When the proxy refuses.
    pub fn cut_answer(&mut self, word: &str, after: u32) {
        let fault = json!({"kind": "cut_answer", "match": word, "after": after});
        self.tell(&json!({"op": "fault", "name": "database", "id": word, "fault": fault}));
    }

    /// Waits until the answer was cut.
    ///
    /// # Panics
    /// When it never is.
    pub fn wait(&mut self, word: &str) {
        self.tell(&json!({"op": "wait", "id": word, "timeout_ms": 30_000}));
    }

    fn tell(&mut self, request: &Value) -> Value {
        writeln!(self.line.get_mut(), "{request}").expect("the proxy listens");
        let mut answer = String::new();
        self.line.read_line(&mut answer).expect("the proxy answers");
        let answer: Value = serde_json::from_str(&answer).expect("the proxy speaks JSON");
        assert_eq!(answer["ok"], true, "{request}: {answer}");
        answer
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone then.
        drop(self.process.kill());
        drop(self.process.wait());
        drop(std::fs::remove_dir_all(&self.folder));
    }
}
