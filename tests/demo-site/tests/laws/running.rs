//! One running site and the calls that the laws make of it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response, StatusCode, redirect};
use serde_json::{Value, json};

static FOLDERS: AtomicU32 = AtomicU32::new(0);
const START_TRIES: u32 = 1000;

/// A process of the site with a ledger of its own.
pub(crate) struct Running {
    folder: PathBuf,
    child: Child,
    pub(crate) url: String,
    pub(crate) http: Client,
}

impl Running {
    /// A new site with nothing in it.
    pub(crate) fn start() -> Self {
        // The workspace builds reqwest without a provider of its own; none is used for http://.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("demo-site-{}-{number}", std::process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).unwrap();
        let (child, url) = spawn(&folder);
        let http = Client::builder().redirect(redirect::Policy::none()).build().unwrap();
        Self { folder, child, url, http }
    }

    /// Kills the process without warning and starts another on the same ledger.
    pub(crate) fn restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        (self.child, self.url) = spawn(&self.folder);
    }

    /// Asks the process to end, and says how it did.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        Command::new("kill").arg(pid).status().unwrap();
        self.child.wait().unwrap().code()
    }

    pub(crate) fn ledger_file(&self) -> PathBuf {
        self.folder.join("ledger.jsonl")
    }

    pub(crate) fn address(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    pub(crate) async fn mode(&self, mode: Value) -> StatusCode {
        self.put("/_mode", mode).await
    }

    /// Sets the plan of a prefix.
    pub(crate) async fn plan(&self, prefix: &str, plan: Value) -> StatusCode {
        self.put(&format!("/_plans/{prefix}"), plan).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> StatusCode {
        let put = self.http.put(self.address(path)).json(&body);
        put.send().await.unwrap().status()
    }

    /// A DELETE as @ada, which the side door takes as well.
    pub(crate) async fn delete(&self, path: &str) -> StatusCode {
        let delete = self.http.delete(self.address(path)).bearer_auth(self.token("ada").await);
        delete.send().await.unwrap().status()
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let response = self.http.get(self.address(path)).send().await.unwrap();
        response.json().await.unwrap()
    }

    pub(crate) async fn ledger(&self) -> Vec<Value> {
        self.get("/_ledger").await.as_array().unwrap().clone()
    }

    pub(crate) async fn token(&self, handle: &str) -> String {
        let login = json!({ "handle": handle, "password": "demo-password" });
        let sent = self.http.post(self.address("/api/login")).json(&login);
        let body: Value = sent.send().await.unwrap().json().await.unwrap();
        body["token"].as_str().unwrap().to_owned()
    }

    /// A POST to the JSON API as @ada.
    pub(crate) async fn api(&self, path: &str, body: &Value) -> RequestBuilder {
        let token = self.token("ada").await;
        self.http.post(self.address(path)).bearer_auth(token).json(body)
    }

    /// Posts a caption under an idempotency key as @ada.
    pub(crate) async fn post(&self, key: &str, caption: &str) -> Response {
        let request = self.api("/api/posts", &json!({ "caption": caption })).await;
        let request = request.header("Idempotency-Key", key);
        request.send().await.unwrap()
    }

    /// Posts a caption under a reference as @ada; an error is an answer that never came.
    pub(crate) async fn refer(&self, reference: &str) -> reqwest::Result<Response> {
        let post = json!({ "caption": "hello", "reference": reference });
        self.api("/api/posts", &post).await.send().await
    }

    /// The cookie of a browser that is signed in as @ada.
    pub(crate) async fn cookie(&self) -> String {
        let form = self
            .http
            .post(self.address("/login"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body("handle=ada&password=demo-password&next=%2Fcompose");
        let response = form.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
        let cookie = response.headers()["set-cookie"].to_str().unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }

    /// A page as @ada sees it.
    pub(crate) async fn page(&self, path: &str) -> (StatusCode, String) {
        let get = self.http.get(self.address(path));
        let response = get.header("cookie", self.cookie().await).send().await.unwrap();
        (response.status(), response.text().await.unwrap())
    }

    /// A URL-encoded form as @ada submits it.
    pub(crate) async fn submit(&self, path: &str, form: &str) -> Response {
        let post = self
            .http
            .post(self.address(path))
            .header("cookie", self.cookie().await)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.to_owned());
        post.send().await.unwrap()
    }

    /// Writes a post as @ada to a bare connection, whose answer can be read byte by byte.
    pub(crate) async fn bare_post(&self, caption: &str) -> TcpStream {
        let signed_in = format!("Authorization: Bearer {}", self.token("ada").await);
        let body = json!({ "caption": caption }).to_string();
        self.bare("/api/posts", &signed_in, &body)
    }

    /// Writes a form as @ada to a bare connection.
    pub(crate) async fn bare_form(&self, path: &str, form: &str) -> TcpStream {
        let cookie = self.cookie().await;
        let headers = format!("Cookie: {cookie}\r\nContent-Type: application/x-www-form-urlencoded");
        self.bare(path, &headers, form)
    }

    fn bare(&self, path: &str, headers: &str, body: &str) -> TcpStream {
        let host = self.url.strip_prefix("http://").unwrap();
        let length = body.len();
        let mut stream = TcpStream::connect(host).unwrap();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        stream
    }
}

/// Everything the site sends until it closes the connection.
pub(crate) fn rest_of(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset is a close as good as any.
    let _ = stream.read_to_end(&mut bytes);
    bytes
}

fn spawn(folder: &Path) -> (Child, String) {
    let ready_file = folder.join("ready.json");
    let _ = fs::remove_file(&ready_file);
    let mut child = Command::new(env!("CARGO_BIN_EXE_fermata-demo-site"))
        .args(["--listen", "127.0.0.1:0", "--ledger"])
        .arg(folder.join("ledger.jsonl"))
        .arg("--ready-file")
        .arg(&ready_file)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    for _ in 0..START_TRIES {
        if let Ok(text) = fs::read_to_string(&ready_file) {
            let ready: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(ready["pid"], child.id());
            return (child, ready["url"].as_str().unwrap().to_owned());
        }
        thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    panic!("the site did not start");
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
