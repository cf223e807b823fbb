//! The fault proxy, as the rig drives it over its socket.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::Mutex;

use crate::program::{Program, Recipe};
use crate::trouble::Trouble;

/// A running proxy.
pub(crate) struct Proxy {
    /// Held, not read: it ends with the stage.
    _program: Program,
    line: Mutex<BufReader<UnixStream>>,
}

impl Proxy {
    pub(crate) async fn start(program: &Path, folder: &Path) -> Result<Self, Trouble> {
        let socket: PathBuf = folder.join("proxy.sock");
        drop(std::fs::remove_file(&socket));
        let mut program = Program::new(Recipe {
            name: "proxy".into(),
            program: program.to_owned(),
            args: vec!["--control".into(), socket.display().to_string()],
            env: Vec::new(),
            folder: folder.to_owned(),
        });
        program.start(Vec::new())?;
        program.ready().await?;
        let line = Mutex::new(BufReader::new(UnixStream::connect(&socket).await?));
        Ok(Self { _program: program, line })
    }

    /// One request, one answer.
    pub(crate) async fn tell(&self, request: &Value) -> Result<Value, Trouble> {
        let mut line = self.line.lock().await;
        line.get_mut().write_all(format!("{request}\n").as_bytes()).await?;
        let mut answer = String::new();
        line.read_line(&mut answer).await?;
        let answer: Value = serde_json::from_str(&answer)?;
        if answer["ok"] == true {
            Ok(answer)
        } else {
            Err(Trouble::Answer(format!("the proxy refuses {request}: {answer}")))
        }
    }

    /// A link; answers the address that stands before `upstream`.
    pub(crate) async fn open(&self, name: &str, upstream: &str, protocol: &str) -> Result<String, Trouble> {
        let request =
            json!({"op": "open", "name": name, "listen": "127.0.0.1:0", "upstream": upstream, "protocol": protocol});
        let answer = self.tell(&request).await?;
        answer["address"].as_str().map(str::to_owned).ok_or_else(|| Trouble::Answer(format!("no address in {answer}")))
    }

    /// Disarms everything on a link.
    pub(crate) async fn clear(&self, name: &str) -> Result<(), Trouble> {
        self.tell(&json!({"op": "clear", "name": name})).await.map(drop)
    }
}
