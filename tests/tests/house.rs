//! Laws of the house: who may depend on whom, what has only one address (design, section 3), how
//! migrations grow, and that no secret is in the repository.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod migrations;
mod secrets;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The longest source file that is read in one sitting.
const MAX_LINES: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is inside of the workspace").to_owned()
}

/// Dependencies of each crate of the workspace, without those of its tests.
fn edges() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo metadata runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let packages = metadata["packages"].as_array().expect("packages are a list");
    packages
        .iter()
        .map(|package| {
            let all = package["dependencies"].as_array().expect("dependencies are a list");
            let names = all.iter().filter(|one| one["kind"].is_null()).filter_map(|one| one["name"].as_str());
            (package["name"].as_str().unwrap_or_default().to_owned(), names.map(str::to_owned).collect())
        })
        .collect()
}

/// Every Rust file under a folder, as paths from the root, with its text.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap_or(&path).to_string_lossy().into_owned();
                found.push((name, std::fs::read_to_string(&path).unwrap_or_default()));
            }
        }
    }
    assert!(!found.is_empty(), "{folder} has sources");
    found
}

#[test]
fn no_crate_depends_on_what_its_room_never_uses() {
    let forbidden: [(&str, &[&str]); 4] = [
        (
            "fermata-engine",
            &[
                "axum",
                "async-graphql",
                "thirtyfour",
                "reqwest",
                "hyper",
                "fermata-workflows",
                "fermata-graphql",
                "fermata-api",
            ],
        ),
        (
            "fermata-workflows",
            &["axum", "async-graphql", "apalis", "apalis-core", "sqlx", "fermata-graphql", "fermata-api"],
        ),
        ("fermata-graphql", &["axum", "apalis", "apalis-core", "sqlx", "fermata-workflows", "fermata-api"]),
        ("fermata-api", &["apalis", "apalis-core", "thirtyfour", "fermata-tests"]),
    ];
    let edges = edges();
    for (package, never) in forbidden {
        let has = edges.get(package).unwrap_or_else(|| panic!("{package} is in the workspace"));
        let broken: Vec<_> = never.iter().filter(|name| has.iter().any(|one| one == *name)).collect();
        assert!(broken.is_empty(), "{package} must not depend on {broken:?}");
    }
    for (package, has) in &edges {
        let tests = package == "fermata-tests" || !has.iter().any(|name| name == "fermata-tests");
        assert!(tests, "{package} must not depend on the tests");
    }
}

/// Who judges the engine knows nothing of it but what it wrote down.
#[test]
fn the_checker_shares_no_code_with_what_it_judges() {
    let edges = edges();
    let ours = |package: &str, allowed: &[&str]| {
        let has = edges.get(package).unwrap_or_else(|| panic!("{package} is in the workspace"));
        let ours: Vec<_> = has.iter().filter(|name| name.starts_with("fermata")).collect();
        assert!(ours.iter().all(|name| allowed.contains(&name.as_str())), "{package} depends on {ours:?}");
    };
    ours("fermata-checker", &[]);
    ours("fermata-fault-proxy", &[]);
    ours("fermata-demo-site", &[]);
    ours("fermata-torture", &["fermata-checker"]);
}

/// Every name in a list of the rigged build's source.
fn rigged_names(file: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join("engine/src/rigged").join(file)).expect("the list is there");
    let list = text.split_once("pub const ALL: &[&str] = &[").and_then(|(_, rest)| rest.split_once("];"));
    let (list, _) = list.expect("the file has a list");
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn nobody_can_tell_a_release_to_fall_or_to_break_a_rule() {
    let program = |name: &str| {
        let path = std::env::var(name).unwrap_or_else(|_| panic!("{name} names a program: run `make test`"));
        std::fs::read(path).expect("the program can be read")
    };
    let (release, rigged) = (program("FERMATA_BIN"), program("FERMATA_RIGGED_BIN"));
    let has = |program: &[u8], word: &str| program.windows(word.len()).any(|window| window == word.as_bytes());
    let mut words = ["points.rs", "rules.rs"].map(rigged_names).concat();
    assert!(words.len() > 30, "{words:?}");
    words.extend(["RIGGED_POINT", "RIGGED_MUTANT", "RIGGED_LOG", "mutant_take"].map(str::to_owned));
    for word in words {
        assert!(has(&rigged, &word), "the rigged program knows `{word}`, or this law could not fail");
        assert!(!has(&release, &word), "the release knows `{word}`");
    }
}

/// `word` occurs only in files under one of `rooms`.
fn only_in(folders: &[&str], word: &str, rooms: &[&str]) {
    for (name, text) in folders.iter().flat_map(|folder| sources(folder)) {
        let inside = rooms.iter().any(|room| name.starts_with(room));
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            assert!(inside || !line.contains(word), "`{word}` belongs in {rooms:?}, but {name} says: {}", line.trim());
        }
    }
}

const PRODUCT: [&str; 4] = ["engine/src", "workflows/src", "graphql/src", "api/src"];

#[test]
fn sql_has_one_address() {
    // The private server's bootstrapping is no statement about our tables.
    only_in(&PRODUCT, "sqlx::", &["engine/src/store/", "api/src/postgres/"]);
    only_in(&PRODUCT, "fermata.live", &["engine/src/store/"]);
}

#[test]
fn apalis_has_one_room() {
    only_in(&PRODUCT, "apalis", &["engine/src/queue/"]);
}

#[test]
fn thirtyfour_has_one_room() {
    only_in(&PRODUCT, "thirtyfour", &["workflows/src/browser/"]);
}

#[test]
fn permits_come_only_from_the_guard() {
    only_in(&["engine/src"], "EffectPermit {", &["engine/src/effect/"]);
    only_in(&["workflows/src", "api/src", "graphql/src"], "EffectPermit {", &["nowhere/"]);
}

#[test]
fn every_file_can_be_read_in_one_sitting() {
    for folder in PRODUCT.iter().chain(&["tests"]) {
        for (name, text) in sources(folder) {
            let lines = text.lines().count();
            assert!(lines <= MAX_LINES, "{name} has {lines} lines, more than {MAX_LINES}");
        }
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for folder in PRODUCT {
        for (name, text) in sources(folder) {
            assert!(text.starts_with("//!"), "{name} does not open with `//!`");
        }
    }
}

#[test]
fn the_top_level_is_the_one_on_the_card() {
    for name in [
        "Cargo.toml",
        "engine",
        "api",
        "workflows",
        "migrations",
        "graphql",
        "dashboards",
        "tests",
        "README.md",
        "ARCHITECTURE.md",
        "LICENSE",
        "rust-toolchain.toml",
        ".env.example",
    ] {
        assert!(root().join(name).exists(), "{name} is at the top");
    }
}
