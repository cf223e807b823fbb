//! `fermata dev` from start to end: it is ready, works, mends itself, and leaves nothing behind.

#![cfg(test)]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fermata_engine::clock::Clock;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// No awaited fact takes longer than this on a slow machine.
const DEADLINE: Duration = Duration::from_mins(2);

/// A `dev` on free ports and a folder of its own.
struct Dev {
    child: Child,
    folder: PathBuf,
}

impl Dev {
    fn start(name: &str) -> Self {
        let folder = PathBuf::from(format!("/tmp/fermata-cli-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_fermata"))
            .args(["dev", "--control", "127.0.0.1:0", "--telemetry", "127.0.0.1:0", "--demo-site", "127.0.0.1:0"])
            .arg("--data-dir")
            .arg(folder.join("data"))
            .arg("--ready-file")
            .arg(folder.join("ready.json"))
            .env_remove("DATABASE_URL")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    fn ready(&mut self) -> Value {
        let path = self.folder.join("ready.json");
        eventually("dev is ready", || {
            assert!(self.child.try_wait().unwrap().is_none(), "dev ended before it was ready");
            serde_json::from_slice(&fs::read(&path).ok()?).ok()
        })
    }

    fn fermata(&self, words: &[&str], input: &str) -> (i32, String) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_fermata"))
            .args(words)
            .arg("--data-dir")
            .arg(self.folder.join("data"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let cluster = fs::read_to_string(self.folder.join("data/postgres.location"));
        let cluster = cluster.map_or_else(|_| self.folder.join("data/postgres"), |text| PathBuf::from(text.trim()));
        let pid = fs::read_to_string(cluster.join("postmaster.pid")).unwrap_or_default();
        if let Some(pid) = pid.lines().next().and_then(|line| line.parse().ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGQUIT);
        }
        if cluster.starts_with("/var/lib/fermata") {
            let _ = fs::remove_dir_all(&cluster);
            let _ = fs::remove_file(cluster.with_extension("lock"));
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let clock = Clock::system();
    let began = clock.monotonic();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(clock.monotonic().duration_since(began) < DEADLINE, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Processes whose command line names the folder.
fn processes_of(folder: &Path) -> Vec<String> {
    let folder = folder.to_string_lossy().into_owned();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| {
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    lines.filter(|line| line.contains(&folder)).collect()
}

fn pid_of(ready: &Value, node: &str) -> Option<i32> {
    let nodes = ready["nodes"].as_array()?;
    let found = nodes.iter().find(|it| it["name"] == node)?;
    i32::try_from(found["pid"].as_i64()?).ok()
}

#[test]
fn dev_works_mends_itself_and_leaves_nothing_behind() {
    let mut dev = Dev::start("whole");
    let ready = dev.ready();
    for field in ["control", "telemetry", "demo_site", "token_file", "database_url", "pid"] {
        assert!(!ready[field].is_null(), "{field} is in {ready}");
    }
    let workers = ready["nodes"].as_array().unwrap().iter().filter(|node| node["role"] == "worker").count();
    assert!(workers >= 2, "{ready}");

    let command = json!({"type": "flow.run", "payload": {
        "workflow_name": "demo.http_publish", "inputs": {"caption": "hello"}}});
    let (code, answer) = dev.fermata(&["submit", "-", "--watch", "--json"], &command.to_string());
    assert_eq!(code, 0, "{answer}");
    let (code, listed) = dev.fermata(&["runs", "list", "--json"], "");
    assert_eq!((code, serde_json::from_str::<Value>(&listed).unwrap()["items"].as_array().unwrap().len()), (0, 1));
    assert_eq!(dev.fermata(&["runs", "show", "00000000-0000-7000-8000-000000000000"], "").0, 3);

    let worker = pid_of(&ready, "worker-1").unwrap();
    kill(Pid::from_raw(worker), Signal::SIGKILL).unwrap();
    eventually("the killed worker is started again", || pid_of(&dev.ready(), "worker-1").filter(|pid| *pid != worker));

    kill(Pid::from_raw(i32::try_from(dev.child.id()).unwrap()), Signal::SIGTERM).unwrap();
    let status = eventually("dev ends", || dev.child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
    assert_eq!(processes_of(&dev.folder), Vec::<String>::new());
    assert!(!dev.folder.join("ready.json").exists());
}

#[test]
fn a_killed_dev_takes_its_children_along() {
    let mut dev = Dev::start("killed");
    dev.ready();
    dev.child.kill().unwrap();
    dev.child.wait().unwrap();
    eventually("no child is left", || {
        processes_of(&dev.folder).iter().all(|line| line.contains("postgres")).then_some(())
    });
}
