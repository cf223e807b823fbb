//! Roles of one program start alone, on one database and one schema of settings (O-010).

use fermata_engine::access::Scope;
use fermata_tests::TestDb;

use super::harness::{INTERNAL_KEY, Process, bearer, fresh_folder, program, settings};

const ROLES: [&str; 6] = ["api", "worker", "browser", "logging", "renderctl", "echo"];
/// Those that serve more than probes.
const SERVING: [&str; 4] = ["api", "logging", "renderctl", "echo"];
/// What a role cannot do without.
const REQUIRED: [(&str, &[&str]); 6] = [
    ("api", &["DATABASE_URL"]),
    ("worker", &["DATABASE_URL"]),
    ("browser", &["DATABASE_URL"]),
    ("logging", &["DATABASE_URL", "INTERNAL_KEY"]),
    ("renderctl", &["DATABASE_URL", "RENDER_API_TOKEN"]),
    ("echo", &["DATABASE_URL", "INTERNAL_KEY"]),
];
/// The exit code of a configuration that is not valid.
const CONFIG: i32 = 10;

#[tokio::test]
async fn each_role_starts_alone_and_says_that_it_lives_and_is_ready() {
    let db = TestDb::new().await;
    for role in ROLES {
        let process = Process::start(role, &db, &[]).await;
        assert_eq!(process.ready.nodes.iter().map(|node| node.role.as_str()).collect::<Vec<_>>(), [role]);
        assert!(process.ready.services.keys().all(|served| served == role), "{role} serves nothing else");

        for probe in ["/health", "/ready"] {
            let answer = process.get(probe, &[]).await;
            assert_eq!(answer.status, 200, "{role} {probe}: {:?}", answer.bytes);
        }
        assert_eq!(process.get("/health", &[]).await.json()["status"], "ok");
    }
}

#[tokio::test]
async fn a_role_tells_of_its_configuration_to_whoever_is_known_and_shows_no_value() {
    let db = TestDb::new().await;
    let token = bearer(&db, &[Scope::CommandsRead]).await;
    for role in SERVING {
        let process = Process::start(role, &db, &[]).await;
        let asked = async |headers: &[(&str, &str)]| process.get("/config/validate", headers).await;

        for known in [("authorization", token.as_str()), ("x-internal-key", INTERNAL_KEY)] {
            let answer = asked(&[known]).await;
            assert_eq!((answer.status, answer.json()["ok"].as_bool()), (200, Some(true)), "{role}");
            assert_eq!(answer.json()["service"], role);
            assert!(!String::from_utf8_lossy(&answer.bytes).contains(INTERNAL_KEY), "{role}");
        }
        asked(&[]).await.problem(401, "unauthorized", "token_missing");
        asked(&[("x-internal-key", "sesam")]).await.problem(401, "unauthorized", "internal_key_unknown");
    }
}

#[tokio::test]
async fn where_probes_need_a_token_they_need_one_in_every_role() {
    let db = TestDb::new().await;
    let token = bearer(&db, &[Scope::MetricsRead]).await;
    for role in ["api", "worker", "echo"] {
        let process = Process::start(role, &db, &[("PROBES_REQUIRE_AUTH", "true")]).await;
        for probe in ["/health", "/ready", "/metrics"] {
            process.get(probe, &[]).await.problem(401, "unauthorized", "token_missing");
            assert_eq!(process.get(probe, &[("authorization", &token)]).await.status, 200, "{role} {probe}");
        }
    }
}

#[tokio::test]
async fn a_role_without_a_key_that_it_needs_ends_and_names_the_key() {
    let db = TestDb::new().await;
    for (role, keys) in REQUIRED {
        for key in keys {
            let left: Vec<_> = settings(&db, &[]).into_iter().filter(|(name, _)| name != key).collect();
            let folder = fresh_folder(role);
            let ended = program(role, &folder, &left).output().unwrap();
            assert_eq!(ended.status.code(), Some(CONFIG), "{role} without {key}");
            assert!(String::from_utf8_lossy(&ended.stderr).contains(key), "{role} names {key}");
            std::fs::remove_dir_all(folder).unwrap();
        }
    }
}
