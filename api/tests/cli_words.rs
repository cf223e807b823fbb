//! What can be typed: help for everything, exit codes as the contract has them, all problems at once.

#![cfg(test)]

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// The program with a clean environment and these words.
fn fermata(words: &[&str], environment: &[(&str, &str)]) -> Output {
    command(words, environment).output().unwrap()
}

fn command(words: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fermata"));
    command.args(words).env_clear().env("PATH", std::env::var_os("PATH").unwrap()).envs(environment.iter().copied());
    command.current_dir(std::env::temp_dir());
    command
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn every_command_has_help_with_examples() {
    let commands = [
        "dev",
        "serve",
        "demo",
        "migrate",
        "doctor",
        "config check",
        "explain",
        "token create",
        "token list",
        "token rotate",
        "token revoke",
        "submit",
        "watch",
        "workflows list",
        "workflows show",
        "runs list",
        "runs show",
        "runs cancel",
        "runs resume",
        "runs export",
        "audit verify",
        "audit list",
        "audit key",
        "gates list",
        "gates approve",
        "gates reject",
        "bench",
    ];
    for name in commands {
        let words: Vec<&str> = name.split(' ').chain(["--help"]).collect();
        let output = fermata(&words, &[]);
        assert_eq!(code(&output), 0, "{name}");
        assert!(text(&output.stdout).contains("Example"), "{name} shows an example");
    }
}

#[test]
fn the_version_is_told() {
    let output = fermata(&["--version"], &[]);
    assert_eq!((code(&output), text(&output.stdout)), (0, concat!("fermata ", env!("CARGO_PKG_VERSION"), "\n")));
}

#[test]
fn each_way_to_fail_has_its_exit_code() {
    let nobody = "postgres://x:secret-word@127.0.0.1:1/x";
    let api = ["--url", "http://127.0.0.1:1"];
    for (words, environment, wanted) in [
        (vec!["nonsense"], vec![], 2),
        (vec!["runs", "list", "--limit", "0"], vec![], 2),
        (vec!["explain", "no-such-code"], vec![], 3),
        (vec!["runs", "list", api[0], api[1]], vec![], 4),
        (vec!["runs", "list", api[0], api[1]], vec![("FERMATA_TOKEN", "t")], 6),
        (vec!["runs", "list"], vec![], 6),
        (vec!["demo", "--ready-file", "/nowhere/ready.json"], vec![], 6),
        (vec!["migrate"], vec![("DATABASE_URL", nobody)], 6),
        (vec!["migrate"], vec![], 10),
        (vec!["serve", "--role", "worker"], vec![], 10),
        (vec!["dev"], vec![("LEASE_SECS", "never")], 10),
    ] {
        let output = fermata(&words, &environment);
        assert_eq!(code(&output), wanted, "{words:?}: {}", text(&output.stderr));
        assert!(!text(&output.stderr).contains("secret-word"), "{words:?} tells a secret");
        assert!(text(&output.stderr).contains("error"), "{words:?} says what is wrong");
    }
}

#[test]
fn a_trouble_is_json_where_json_was_asked_for() {
    let output = fermata(&["migrate", "--json"], &[]);
    let trouble: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(trouble["error"]["exit_code"], 10);
    assert_eq!(trouble["error"]["code"], "config_invalid");
}

#[test]
fn the_configuration_is_checked_whole() {
    let wrong = [("LEASE_SECS", "never"), ("MAX_SESSIONS", "0"), ("LOG_FORMAT", "xml"), ("FERMATA_WHAT", "1")];
    let output = fermata(&["config", "check", "--json"], &wrong);
    assert_eq!(code(&output), 10);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["missing"], serde_json::json!(["DATABASE_URL"]));
    let invalid: Vec<&str> = report["invalid"].as_array().unwrap().iter().filter_map(|it| it["key"].as_str()).collect();
    for (key, _) in &wrong[..3] {
        assert!(invalid.contains(key), "{key} is among {invalid:?}");
    }
    assert_eq!(report["unknown"], serde_json::json!(["FERMATA_WHAT"]));

    let right = [("DATABASE_URL", "postgres://a@b/c")];
    assert_eq!(code(&fermata(&["config", "check"], &right)), 0);
}

#[test]
fn a_command_that_is_no_json_is_refused_before_anybody_is_asked() {
    let mut child = command(&["submit", "-"], &[]);
    let mut child = child.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"{\"type\":").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 1);
    assert!(text(&output.stderr).contains("neither JSON nor YAML"));
}
