//! One running proxy and what the laws ask of it.

use std::fs;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

static FOLDERS: AtomicU32 = AtomicU32::new(0);

/// How long a fact may take on a busy machine before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for something that must happen.
pub(crate) async fn soon<T>(what: &str, happens: impl Future<Output = T>) -> T {
    timeout(PATIENCE, happens).await.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"))
}

/// Asks until there is an answer.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    soon(what, async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            a_while(Duration::from_millis(5)).await;
        }
    })
    .await
}

/// That something does not happen can only be seen by waiting; it is never waited for a fact.
#[expect(clippy::disallowed_methods, reason = "the test's one clock: between two looks, and to see nothing happen")]
pub(crate) async fn a_while(length: Duration) {
    tokio::time::sleep(length).await;
}

/// Whether something is still pending after a while.
pub(crate) async fn is_stuck<T>(happens: impl Future<Output = T>) -> bool {
    tokio::select! {
        _ = happens => false,
        () = a_while(Duration::from_millis(300)) => true,
    }
}

/// A process of the proxy.
pub(crate) struct Proxy {
    folder: PathBuf,
    child: Child,
}

impl Proxy {
    pub(crate) async fn start() -> Self {
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        // A unix socket's path must be short.
        let folder = std::env::temp_dir().join(format!("fault-proxy-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let ready = folder.join("ready");
        let child = Command::new(env!("CARGO_BIN_EXE_fermata-fault-proxy"))
            .args(["--control".as_ref(), folder.join("control.sock").as_os_str()])
            .args(["--ready-file".as_ref(), ready.as_os_str()])
            .args(["--seed", "1"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let proxy = Self { folder, child };
        eventually("the proxy is ready", || async { ready.exists().then_some(()) }).await;
        proxy
    }

    pub(crate) fn control(&self) -> PathBuf {
        self.folder.join("control.sock")
    }

    /// One request on a control connection of its own; the answer.
    pub(crate) async fn ask(&self, request: Value) -> Value {
        line(&self.control(), &request.to_string()).await
    }

    /// A request that must be agreed to.
    pub(crate) async fn agree(&self, request: Value) -> Value {
        let answer = self.ask(request.clone()).await;
        assert_eq!(answer["ok"], true, "{request}: {answer}");
        answer
    }

    /// Opens the link `link`.
    pub(crate) async fn open(&self, upstream: &str, protocol: &str) -> SocketAddr {
        let open = json!({ "op": "open", "name": "link", "listen": "127.0.0.1:0", "upstream": upstream, "protocol": protocol });
        self.agree(open).await["address"].as_str().unwrap().parse().unwrap()
    }

    /// Arms a fault on the link `link`, with the id `f`.
    pub(crate) async fn arm(&self, fault: Value) {
        self.agree(json!({ "op": "fault", "name": "link", "fault": fault, "id": "f" })).await;
    }

    /// Arms another fault in place of `f`.
    pub(crate) async fn arm_anew(&self, fault: Value) {
        self.agree(json!({ "op": "clear", "name": "link", "id": "f" })).await;
        self.arm(fault).await;
    }

    /// Waits until the fault `f` has fired; what it did.
    pub(crate) async fn fired(&self) -> String {
        let answer = self.agree(json!({ "op": "wait", "id": "f", "timeout_ms": 30_000 })).await;
        answer["what"].as_str().unwrap().to_owned()
    }

    /// How often the fault `f` has fired so far.
    pub(crate) async fn times(&self) -> u64 {
        self.ask(json!({ "op": "wait", "id": "f", "timeout_ms": 0, "fired": 1_000_000 })).await["fired"]
            .as_u64()
            .unwrap()
    }

    pub(crate) async fn clear(&self) {
        self.agree(json!({ "op": "clear", "name": "link" })).await;
    }

    pub(crate) async fn stats(&self) -> Value {
        self.agree(json!({ "op": "stats", "name": "link" })).await["stats"].clone()
    }

    /// Asks the process to end, and says how it did.
    pub(crate) async fn terminate(&mut self) -> Option<i32> {
        Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        let child = &mut self.child;
        let mut ended = || child.try_wait().unwrap();
        eventually("the proxy ends", || std::future::ready(ended())).await.code()
    }
}

/// One line to a control socket, and its answer.
pub(crate) async fn line(control: &Path, request: &str) -> Value {
    let mut stream = BufReader::new(UnixStream::connect(control).await.unwrap());
    stream.write_all(format!("{request}\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon("the control socket answers", stream.read_line(&mut answer)).await.unwrap();
    serde_json::from_str(&answer).unwrap()
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        drop(fs::remove_dir_all(&self.folder));
    }
}
