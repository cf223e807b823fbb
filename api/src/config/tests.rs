//! The laws of configuration. No test reads the process's environment, except to be told to write files.

use std::path::Path;

use serde_json::{Map, Value};

use super::*;

const CANARY: &str = "hunter2canary";

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn environment(set: &[(&str, &str)]) -> Sources {
    Sources::new(pairs(set), [])
}

fn database() -> (&'static str, &'static str) {
    ("DATABASE_URL", "postgres://app:hunter2canary@db.example.com/fermata")
}

#[test]
fn all_problems_are_told_at_once_each_with_origin_and_remedy() {
    let sources = Sources::new(
        pairs(&[("LISTEN_CONTROL", "nowhere"), ("PROBES_REQUIRE_AUTH", "perhaps"), ("FERMATA_DRAIN_SEC", "3")]),
        pairs(&[("MAX_SESSIONS", "65")]),
    )
    .with_file("app.env", "# first\nWORKER_SLOTS = many\nno pair\nLEASE_SECS=\"10\nFERMATA_LOG='a=b=c'\n");

    let report = build_config_report(&[Role::Api], &sources);

    assert!(!report.ok);
    assert_eq!(report.missing, ["DATABASE_URL"]);
    assert_eq!(report.unknown, ["FERMATA_DRAIN_SEC"]);
    let told: Vec<(&str, &str)> = report.invalid.iter().map(|i| (i.key.as_str(), i.origin.as_str())).collect();
    assert_eq!(
        told,
        [
            ("(line)", "app.env:3"),
            ("(line)", "app.env:4"),
            ("LISTEN_CONTROL", "environment variable LISTEN_CONTROL"),
            ("PROBES_REQUIRE_AUTH", "environment variable PROBES_REQUIRE_AUTH"),
            ("WORKER_SLOTS", "app.env:2"),
            ("MAX_SESSIONS", "command line"),
            ("FERMATA_LOG", "app.env:5"),
        ]
    );
    assert!(report.invalid.iter().all(|i| !i.reason.is_empty() && !i.remedy.is_empty()));
    assert!(report.notes.iter().all(|note| !note.origin.is_empty() && !note.remedy.is_empty()));
    let text = report.to_string();
    for part in ["8 problems", "missing  DATABASE_URL", "app.env:2", "did you mean FERMATA_DRAIN_SECS?"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn each_role_lists_what_it_misses_and_the_others_start() {
    for role in Role::ALL {
        let needed: Vec<&str> = keys().filter(|key| key.required_for.contains(&role)).map(|key| key.name).collect();
        let report = build_config_report(&[role], &environment(&[]));
        assert_eq!(
            (report.missing, report.service.as_str()),
            (needed.iter().map(|&n| n.to_owned()).collect(), role.name())
        );
        let given: Vec<(&str, &str)> = keys()
            .filter(|key| key.required_for.contains(&role))
            .map(|key| (key.name, if key.name == "DATABASE_URL" { database().1 } else { "a-secret" }))
            .collect();
        assert!(Config::load(&[role], &environment(&given)).is_ok());
    }
    for role in [Role::Dev, Role::Tool] {
        assert!(Config::load(&[role], &environment(&[])).is_ok());
    }
}

#[test]
fn a_later_source_wins_and_an_empty_value_is_not_set() {
    let file = "WORKER_SLOTS=1\nMAX_SESSIONS=2 # two\nexport LEASE_SECS='20'\nCALL_SKEW_SECS=\n";
    let sources = Sources::new(
        pairs(&[
            database(),
            ("WORKER_SLOTS", "2"),
            ("LEASE_SECS", " "),
            ("BROWSER_SESSIONS", "3"),
            ("RUST_LOG", "warn"),
        ]),
        pairs(&[("WORKER_SLOTS", "3")]),
    )
    .with_file("a.env", file);

    let config = Config::load(&[Role::Worker], &sources).unwrap();

    assert_eq!((config.worker_slots, config.max_sessions, config.log_filter.as_str()), (3, 3, "warn"));
    assert_eq!((config.lease.as_secs(), config.call_skew.as_secs()), (20, 5));
    assert_eq!(config.artifacts_dir, Path::new(".fermata/artifacts"));
}

#[test]
fn roles_come_from_the_argument_and_otherwise_from_the_key() {
    let sources = environment(&[database(), ("FERMATA_ROLES", "worker, api")]);
    assert_eq!(Config::load(&[], &sources).unwrap().roles, [Role::Worker, Role::Api]);
    assert_eq!(Config::load(&[Role::Browser], &sources).unwrap().roles, [Role::Browser]);
    let all = Config::load(&[], &environment(&[database()])).unwrap();
    assert_eq!(all.report.service, "api,worker,browser");
    assert!(!build_config_report(&[], &environment(&[database(), ("FERMATA_ROLES", "api,cook")])).ok);
}

#[test]
fn a_secret_is_never_printed() {
    let bad = format!("mysql://u:{CANARY}@h/d");
    for url in [bad.as_str(), database().1] {
        let sources = environment(&[("DATABASE_URL", url), ("FERMATA_WEBDRIVER_URL", CANARY), ("LOG_FORMAT", CANARY)]);
        let report = build_config_report(&[Role::Worker], &sources);
        assert!(!report.ok);
        let shown = format!("{report} {report:?} {}", serde_json::to_string(&report).unwrap());
        assert!(!shown.contains(CANARY), "{shown}");
    }
    let config = Config::load(&[Role::Worker], &environment(&[database()])).unwrap();
    assert!(!format!("{config:?}").contains(CANARY));
    assert!(config.database_url.unwrap().expose().contains(CANARY));
}

#[test]
fn the_hash_tells_settings_apart_and_secrets_not() {
    let hash = |set: &[(&str, &str)]| build_config_report(&[Role::Worker], &environment(set)).hash;
    let plain = hash(&[database()]);
    assert_eq!(plain, hash(&[("DB_URL", "postgres://other/db")]));
    assert_eq!(plain, hash(&[database(), ("WORKER_SLOTS", "1024")]));
    assert_ne!(plain, hash(&[database(), ("WORKER_SLOTS", "1023")]));
}

#[test]
fn a_child_process_sees_the_same_settings() {
    let sources = Sources::new([], pairs(&[database(), ("WORKER_SLOTS", "7")])).with_file("a.env", "LEASE_SECS=30\n");
    let parent = Config::load(&[Role::Dev], &sources).unwrap();
    let handed: Vec<(String, String)> =
        parent.child_environment().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();

    let child = Config::load(&[Role::Worker], &Sources::new(handed, [])).unwrap();

    assert_eq!((child.worker_slots, child.lease, child.log_format), (7, parent.lease, LogFormat::Pretty));
    assert_eq!(child.allow_private_hosts, parent.allow_private_hosts);
    assert!(child.allow_private_hosts.iter().any(|host| host.matches_name("localhost")));
}

#[test]
fn a_slip_in_a_name_is_noticed_and_other_programs_are_left_alone() {
    let sources = environment(&[("DATABASE_URI", "x"), ("HOME", "/root"), ("PATH", "/bin"), ("LANG", "C")]);
    let report = build_config_report(&[Role::Dev], &sources);
    assert!(report.ok);
    assert_eq!(report.unknown, ["DATABASE_URI"]);
    assert_eq!(report.notes[0].remedy, "did you mean DATABASE_URL?");
    let file = environment(&[]).with_file("a.env", "COLOUR=red\nFERMATA_CONFIG=b.env\nLEASE_SECS=3\nLEASE_SECS=4\n");
    let report = build_config_report(&[Role::Dev], &file);
    assert_eq!(report.unknown, ["COLOUR"]);
    let told: Vec<&str> = report.invalid.iter().map(|invalid| invalid.key.as_str()).collect();
    assert_eq!(told, ["LEASE_SECS", "FERMATA_CONFIG"]);
}

#[test]
fn variables_of_ours_that_configure_nothing_are_known_and_slips_in_them_are_not() {
    let set: Vec<(&str, &str)> = super::keys::OTHER_VARIABLES.iter().map(|name| (*name, "x")).collect();
    assert_eq!(build_config_report(&[Role::Dev], &environment(&set)).unknown, [""; 0]);
    let report = build_config_report(&[Role::Dev], &environment(&[("FERMATA_TOKN", "x"), ("FERMATA_URI", "x")]));
    assert_eq!(report.unknown, ["FERMATA_TOKN", "FERMATA_URI"]);
    assert_eq!(report.notes[0].remedy, "did you mean FERMATA_TOKEN?");
    let in_file = environment(&[]).with_file("a.env", "FERMATA_TOKEN=x\n");
    assert_eq!(build_config_report(&[Role::Dev], &in_file).unknown, ["FERMATA_TOKEN"], "nobody reads it there");
}

#[test]
fn every_variable_of_ours_that_the_sources_name_is_a_key_or_known() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders: Vec<_> =
        ["api/src", "engine", "graphql", "workflows", "tests/src", "tests/demo-site/src", "scripts"]
            .map(|name| root.join(name))
            .into();
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
                continue;
            }
            let text = std::fs::read_to_string(&entry).unwrap_or_default();
            let is_name = |c: char| c.is_ascii_uppercase() || c == '_';
            for name in text.split(|c: char| !is_name(c)).filter(|word| word.starts_with("FERMATA_")) {
                let known = key_named(name).is_some() || super::keys::OTHER_VARIABLES.contains(&name);
                assert!(known || entry.ends_with("config/tests.rs") || name.ends_with('_'), "{name} in {entry:?}");
                seen += 1;
            }
        }
    }
    assert!(seen > 50, "the sources were read");
}

#[test]
fn sites_are_read_by_name_and_what_is_wrong_with_them_is_told_without_repeating_it() {
    let config =
        Config::load(&[Role::Worker], &environment(&[database(), ("SITES", "a=http://b, c=https://d/x")])).unwrap();
    let sites: Vec<String> = config.sites.iter().map(ToString::to_string).collect();
    assert_eq!(sites, ["a=http://b", "c=https://d/x"]);
    let wrong = format!("a=http://u:{CANARY}@b");
    let report = build_config_report(&[Role::Worker], &environment(&[database(), ("SITES", &wrong)]));
    assert_eq!(
        (report.invalid[0].key.as_str(), report.invalid[0].origin.as_str()),
        ("SITES", "environment variable SITES")
    );
    assert!(report.invalid[0].remedy.contains("demo_site=http://") && !report.to_string().contains(CANARY));
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem() {
    let missing = pairs(&[("FERMATA_CONFIG", "/nonexistent/fermata.env")]);
    let report = build_config_report(&[Role::Dev], &Sources::of_process(missing));
    let told = report.invalid.iter().find(|invalid| invalid.key == "FERMATA_CONFIG").unwrap();
    assert_eq!(told.origin, "command line");
}

/// Raw values for a kind, with bars between: sound ones and broken ones.
const URLS: &str = "postgres://h/d | postgresql:///d?host=/tmp/s | postgres://u@%2Ftmp%2Fs/d | http://h | https://h:1/p?q#f \
    | http:// | http:/h | HTTP://h | http://h:99999 | http://[::1]:4444 | http://[::1 | http://a b | h | http://é.example \
    | ftp://h | postgres:// | http://h/{x} | http://h\\x | http://%zz";
const SOCKETS: &str = "127.0.0.1:0 | [::1]:80 | 0.0.0.0:65535 | 0.0.0.0:65536 | localhost:80 | :80 | 127.0.0.1 | 1.2.3:4 \
    | ::1:80 | [fe80::1%1]:80 | 127.0.0.1:080";
const LISTS: &str = "api | api,worker | api,,worker, | api api | api,api | x | , | Api | dev";
const HOSTS: &str = "localhost | *.a.b,10.0.0.0/8 | * | a,,b | 10.0.0.0/40 | http://h | , | [::1] | é";
const ORIGINS: &str = "https://a.b | http://127.0.0.1:5173,https://b | https://a/ | https://A | ftp://a | https:// | https://a:x | https://a:123456 \
    | https://a:1:2 | * | , | null | https://a b";
const SITES: &str = "a=http://b | a=http://b,c_1=https://d:1/x | a = http://b , | a | =http://b | A=http://b | a-b=http://c \
    | 1a=http://b | a=ftp://b | a=http:// | a=http://u:p@b | a=http://u@b | a=http://b?c | a=http://b#c | a=HTTP://b \
    | a=http://b,a=http://c | a=http://b,a=http://b | a=http://b,c | , | a=http://h/{x} | a=http://b=c";
const HEADERS: &str = "a=b | a=b,c=d%20e | a = b , | a | =b | a=b,c | a b=c | a=%0a | a=%ff | a=b=c | , | é=b";
const FILTERS: &str = "info | a=debug,b | a=b=c | a[b | nonsense | a=loud | warn,sqlx=off";
const NUMBERS: &str = "x | 1.5 | 1e3 | -1 | +7 | 0x10 | 1 0 | 99999999999999999999";

fn samples(key: &Key) -> Vec<String> {
    let fixed = match key.kind {
        Kind::Url { .. } => URLS,
        Kind::Bool => "true | false | 1 | 0 | yes | True | 2",
        Kind::Choice(_) => "json | pretty | JSON | x",
        Kind::Choices(_) => LISTS,
        Kind::SocketAddress => SOCKETS,
        Kind::Path | Kind::Text => "a | /a b | ./é",
        Kind::Headers => HEADERS,
        Kind::LogFilter => FILTERS,
        Kind::HostPatterns => HOSTS,
        Kind::Origins => ORIGINS,
        Kind::Sites => SITES,
        Kind::Integer { .. } | Kind::Seconds { .. } => NUMBERS,
    };
    let mut samples: Vec<String> = fixed.split('|').map(|text| text.trim().to_owned()).collect();
    if let Kind::Integer { min, max } | Kind::Seconds { min, max } = key.kind {
        let (min, max) = (i64::from(min), i64::from(max));
        samples.extend([min - 1, min, min + 1, max - 1, max, max + 1, 1 << 32].map(|number| number.to_string()));
    }
    samples
}

#[test]
fn what_the_schema_refuses_load_refuses_and_the_reverse() {
    let validator = validator().unwrap();
    for key in keys().filter(|key| key.name != "FERMATA_CONFIG") {
        for sample in &samples(key) {
            let mut set = Map::from_iter([(database().0.to_owned(), Value::from(database().1))]);
            set.insert(key.name.to_owned(), key.json(sample));
            let schema_says = validator.is_valid(&Value::Object(set));
            let report = build_config_report(&[], &environment(&[database(), (key.name, sample)]));
            assert_eq!(schema_says, report.ok, "{}={sample:?}\n{report}", key.name);
        }
    }
}

#[test]
fn the_schema_is_not_needed_to_refuse_a_value() {
    for key in keys() {
        for sample in &samples(key) {
            let report = build_config_report(&[Role::Dev], &environment(&[(key.name, sample)]));
            let by_schema = report.invalid.iter().find(|invalid| invalid.origin.ends_with("schema.json"));
            assert_eq!(by_schema, None, "{}={sample:?}", key.name);
        }
    }
}

#[test]
fn the_schema_asks_each_role_for_what_it_requires() {
    let validator = validator().unwrap();
    let refuses = |document: Value| !validator.is_valid(&document);
    assert!(refuses(serde_json::json!({})));
    assert!(refuses(serde_json::json!({ "FERMATA_ROLES": ["worker"] })));
    assert!(refuses(serde_json::json!({ "DATABASE_URL": database().1, "FERMATA_NONSENSE": "1" })));
    assert!(!refuses(serde_json::json!({ "DATABASE_URL": database().1, "FERMATA_ROLES": ["worker"] })));
    jsonschema::meta::validate(&json_schema()).unwrap();
}

#[test]
fn defaults_and_examples_are_valid_and_every_key_has_a_field() {
    for key in keys() {
        for value in [key.default, key.dev_default, key.example].into_iter().flatten() {
            assert!(key.parse(value).is_ok(), "{}={value}", key.name);
        }
        assert!(key.doc.ends_with('.'), "{}", key.name);
        assert!(!key.secret || key.default.is_none(), "{} ships a secret", key.name);
    }
    let mut names: Vec<&str> = keys().flat_map(|key| key.aliases.iter().copied().chain([key.name])).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "a name is taken twice: {names:?}");

    let mut values = Values::default();
    let report = build_config_report(&[Role::Dev], &environment(&[]));
    for key in keys() {
        let raw = key.default.or(key.dev_default).or(key.example).unwrap();
        values.settings.insert(key.name, key.parse(raw).ok().unwrap());
    }
    assert!(Config::read(&values, vec![Role::Dev], report).is_ok());
    let asked = values.asked.into_inner();
    let unread: Vec<&str> = keys().map(|key| key.name).filter(|name| *name != ROLES && !asked.contains(name)).collect();
    assert_eq!(unread, [""; 0], "keys that no field reads");
}

/// The stored file, which `FERMATA_UPDATE=1` writes anew.
fn stored(path: &str, generated: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    if std::env::var_os("FERMATA_UPDATE").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, generated).unwrap();
    }
    std::fs::read_to_string(&file).unwrap_or_default()
}

#[test]
fn the_generated_files_are_in_step() {
    let schema = json_schema();
    let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    // As values: the order of members depends on which crates are built together.
    let in_step = serde_json::from_str::<Value>(&stored("infra/config.schema.json", &text)).ok() == Some(schema);
    assert!(in_step, "infra/config.schema.json is out of step: run this test with FERMATA_UPDATE=1");
    let in_step = stored(".env.example", &env_example()) == env_example();
    assert!(in_step, ".env.example is out of step: run this test with FERMATA_UPDATE=1");
}

#[test]
fn the_example_has_every_key_and_is_itself_a_sound_configuration() {
    let text = env_example();
    let named: Vec<&str> =
        text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| Some(line.split_once('=')?.0)).collect();
    let schema = json_schema();
    let mut properties: Vec<&str> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    properties.sort_unstable();
    let mut sorted = named.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, properties);
    assert_eq!(named, keys().map(|key| key.name).collect::<Vec<_>>());
    assert!(!text.contains(":secret@") && !text.to_lowercase().contains("password"));

    let report = build_config_report(&[], &environment(&[]).with_file(".env", &text));
    assert!(report.ok && report.unknown.is_empty(), "{report}");
}
