//! The surfaces as others meet them: clients and validators that others wrote, in the versions that `tests/clients`
//! pins, drive a whole `fermata dev`. Each driver is a process that says what it asserts, line by line.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fermata_tests::Dev;
use sha2::{Digest as _, Sha256};

const NODE_MISSING: &str = "it needs Node 20 or newer with npm, and the npm registry once: run scripts/bootstrap.sh, \
                            or install nodejs and npm";
const PYTHON_MISSING: &str = "it needs Python 3 with venv, and the Python package index once: run \
                              scripts/bootstrap.sh, or install python3 and python3-venv";

/// Where the drivers are.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// Runs a program to its end. What it said is the reason when it ends badly.
fn run(command: &mut Command, otherwise: &str) {
    let name = command.get_program().to_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{} cannot be run: {error}; {otherwise}", name.display()));
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = format!("{}{}", said(&output.stdout), said(&output.stderr));
    assert!(output.status.success(), "{} ended with {}: {otherwise}\n{said}", name.display(), output.status);
    println!("{said}");
}

/// Makes a folder out of files, unless it was made out of the same ones. Each test is a process of its own: the
/// first one makes it, and the others wait for that.
fn made(place: &Path, of: &[PathBuf], make: impl FnOnce()) {
    let shared = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(shared).expect("the target folder can be written");
    let lock = File::create(shared.join("clients.lock")).expect("the lock file can be made");
    lock.lock().expect("the lock can be taken");
    let mut hash = Sha256::new();
    for file in of {
        hash.update(fs::read(file).unwrap_or_else(|error| panic!("{} is read: {error}", file.display())));
    }
    let (stamp, wanted) = (place.join(".made-of"), hex::encode(hash.finalize()));
    if fs::read_to_string(&stamp).is_ok_and(|made_of| made_of == wanted) {
        return;
    }
    make();
    fs::write(stamp, wanted).expect("what was made can be marked");
}

/// A driver in TypeScript, with its packages installed and its types checked.
fn node(driver: &str) -> Command {
    let clients = folder();
    let npm = |words: &[&str]| run(Command::new("npm").args(words).current_dir(&clients), NODE_MISSING);
    let packages = ["package.json", "package-lock.json"].map(|name| clients.join(name));
    made(&clients.join("node_modules"), &packages, || {
        npm(&["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]);
    });
    let sources = fs::read_dir(clients.join("node")).expect("there are drivers");
    let mut inputs: Vec<_> = sources.map(|entry| entry.expect("a driver can be listed").path()).collect();
    inputs.sort();
    inputs.extend(packages);
    inputs.extend([clients.join("tsconfig.json"), clients.join("../../api/openapi.json")]);
    made(&clients.join("built"), &inputs, || npm(&["run", "--silent", "build"]));
    let mut command = Command::new("node");
    command.arg(clients.join("built/node").join(driver));
    command
}

/// A driver in Python, with its packages installed in an environment of their own.
fn python(driver: &str) -> Command {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients-python");
    let (requirements, interpreter) = (folder().join("python/requirements.txt"), place.join("bin/python"));
    made(&place, std::slice::from_ref(&requirements), || {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&place), PYTHON_MISSING);
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
        run(Command::new(&interpreter).args(install).arg(&requirements), PYTHON_MISSING);
    });
    let mut command = Command::new(interpreter);
    // Nothing is left beside the sources.
    command.arg("-B").arg(folder().join("python").join(driver));
    command
}

/// Starts everything, and runs a driver against it.
async fn drive(mut driver: Command) {
    let mut dev = Dev::start().await;
    let token = fs::read_to_string(&dev.ready.token_file).expect("the token can be read");
    driver.env("FERMATA_CONTROL", &dev.ready.control).env("FERMATA_TELEMETRY", &dev.ready.telemetry);
    run(driver.env("FERMATA_TOKEN", token.trim()), "an assertion of the driver does not hold");
    assert_eq!(dev.stop().await, Some(0));
}

#[test]
fn validators_of_others_accept_the_published_documents() {
    run(&mut node("documents.js"), "a document is not valid");
    run(&mut python("documents.py"), "a document is not valid");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_generated_from_the_openapi_document_takes_a_command_to_its_end() {
    drive(node("openapi.js")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graphql_client_hears_each_event_once_however_often_its_line_is_cut() {
    drive(node("graphql.js")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_client_hears_each_event_once_however_often_its_line_is_cut() {
    drive(python("stream.py")).await;
}
