//! Reading a trial folder, and the program that does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fermata_checker::{ReadError, read};

use crate::good;

/// A folder that goes away with its owner.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("fermata-checker-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        good::world().write(&path);
        Self(path)
    }

    fn without(&self, file: &str) -> &Self {
        fs::remove_file(self.0.join(file)).unwrap();
        self
    }

    fn with(&self, file: &str, text: &str) -> &Self {
        fs::write(self.0.join(file), text).unwrap();
        self
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn run(folders: &[&Path], flags: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fermata-check")).args(folders).args(flags).output().unwrap()
}

#[test]
fn a_folder_is_read_as_it_was_written() {
    let folder = Folder::new("round");
    assert_eq!(read(&folder.0).unwrap(), good::trial());
}

#[test]
fn a_missing_file_is_named() {
    let files = ["history.jsonl", "ledger.jsonl", "calls.jsonl", "dump/gate.jsonl", "trial.json"];
    for (n, file) in files.iter().enumerate() {
        let folder = Folder::new(&format!("missing-{n}"));
        let error = read(&folder.without(file).0).unwrap_err();
        assert!(matches!(&error, ReadError::File { path, .. } if path.ends_with(file)), "{error}");
        assert!(error.to_string().contains(file), "{error}");
    }
}

#[test]
fn streams_and_the_earlier_audit_may_be_missing() {
    let folder = Folder::new("fewer");
    fs::remove_dir_all(folder.0.join("streams")).unwrap();
    let trial = read(&folder.without("earlier/audit.jsonl").0).unwrap();
    assert!(trial.readers.is_empty() && trial.earlier.is_empty());
}

#[test]
fn a_line_that_does_not_fit_is_named() {
    let folder = Folder::new("line");
    let error = read(&folder.with("ledger.jsonl", "\n{\"seq\": \"one\"}\n").0).unwrap_err();
    assert!(matches!(error, ReadError::Line { line: 2, .. }), "{error}");
}

#[test]
fn a_request_that_does_not_ask_what_it_says_does_not_fit() {
    let folder = Folder::new("ask");
    let line = serde_json::json!({
        "n": 1, "who": "c", "op": "read", "sent_at": "2024-01-01T00:00:00Z", "answered_at": null,
        "result": "ok", "status": null, "ask": {}, "answer": null,
    });
    let error = read(&folder.with("history.jsonl", &line.to_string()).0).unwrap_err();
    assert!(error.to_string().contains("command_id"), "{error}");
}

#[test]
fn the_program_ends_with_0_when_all_holds() {
    let folder = Folder::new("holds");
    let output = run(&[&folder.0], &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("I11 liveness") && !text.contains("BROKEN"), "{text}");
}

#[test]
fn the_program_ends_with_1_and_the_evidence_when_something_is_broken() {
    let (good, bad) = (Folder::new("good"), Folder::new("bad"));
    bad.with("dump/signal.jsonl", "");
    let output = run(&[&bad.0, &good.0], &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("BROKEN, 1 violation") && text.contains("is not in `signal`"), "{text}");
}

#[test]
fn the_program_ends_with_2_when_a_folder_cannot_be_read() {
    let folder = Folder::new("unreadable");
    folder.without("ledger.jsonl");
    assert_eq!(run(&[&folder.0], &[]).status.code(), Some(2));
    assert_eq!(run(&[], &[]).status.code(), Some(2));
}

#[test]
fn the_program_answers_in_json_too() {
    let folder = Folder::new("json");
    let output = run(&[&folder.0], &["--json"]);
    let verdict: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(verdict["holds"], true);
    assert_eq!(verdict["verdict"]["violations"], serde_json::json!([]));
    assert!(verdict["verdict"]["checked"]["I1"].as_u64().unwrap() > 0);
}
