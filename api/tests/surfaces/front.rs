//! An API process that can be killed at any moment and comes back at the same addresses.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use fermata_tests::eventually;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Where a process answers.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    /// REST and GraphQL, as `host:port`.
    pub(crate) control: String,
    /// The stream.
    pub(crate) telemetry: String,
}

pub(crate) struct Front {
    process: Option<Child>,
    address: Address,
    folder: PathBuf,
    database: String,
    pooler: Option<String>,
}

impl Front {
    /// A process on that database, which reads by way of the pooler when there is one.
    pub(crate) async fn new(database: &str, pooler: Option<&str>) -> Self {
        // Both are held until both are known: two processes of this test must not get the same.
        let free = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (control, telemetry) = (free(), free());
        let text = |listener: &TcpListener| listener.local_addr().unwrap().to_string();
        let address = Address { control: text(&control), telemetry: text(&telemetry) };
        drop((control, telemetry));
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("fermata-front-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut front =
            Self { process: None, address, folder, database: database.to_owned(), pooler: pooler.map(str::to_owned) };
        front.start().await;
        front
    }

    pub(crate) fn address(&self) -> Address {
        self.address.clone()
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // `kill` is SIGKILL.
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Starts it and waits until everything answers.
    pub(crate) async fn start(&mut self) {
        let ready = self.folder.join("ready.json");
        drop(std::fs::remove_file(&ready));
        let mut command = Command::new(env!("CARGO_BIN_EXE_fermata"));
        command.args(["serve", "--role", "api", "--ready-file"]).arg(&ready).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("DATABASE_URL", &self.database);
        if let Some(pooler) = &self.pooler {
            command.env("DATABASE_POOLER_URL", pooler);
        }
        command.env("LISTEN_CONTROL", &self.address.control).env("LISTEN_TELEMETRY", &self.address.telemetry);
        command.env("FERMATA_DATA_DIR", &self.folder).current_dir(&self.folder);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let child = self.process.insert(child);
        eventually("an API process is ready", || {
            assert!(child.try_wait().unwrap().is_none(), "it ended while starting");
            let there = ready.exists();
            async move { there.then_some(()) }
        })
        .await;
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.kill();
        drop(std::fs::remove_dir_all(&self.folder));
    }
}
