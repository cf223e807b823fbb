//! `fermata migrate`: a schema that is there already is backed up before it is changed (M-042).

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fermata_engine::store::MIGRATOR;
use fermata_tests::TestDb;
use serde_json::Value;
use sqlx::migrate::Migrator;
use sqlx::{Connection as _, Executor as _, PgConnection};

/// A database with the schema of the version before, and something in it.
struct Old {
    url: String,
    folder: PathBuf,
}

/// Makes a sibling of a database, empty.
async fn sibling(db: &TestDb, suffix: &str) -> String {
    let url = format!("{}_{suffix}", db.url);
    let (_, name) = url.rsplit_once('/').unwrap();
    let mut connection = PgConnection::connect(&db.url).await.unwrap();
    connection.execute(sqlx::AssertSqlSafe(format!("create database {name}"))).await.unwrap();
    url
}

impl Old {
    async fn new() -> Self {
        // Its migrations have made the cluster's roles.
        let db = TestDb::new().await;
        let url = sibling(&db, "old").await;
        let newest = MIGRATOR.iter().map(|migration| migration.version).max().unwrap();
        let before = MIGRATOR.iter().filter(|migration| migration.version < newest).cloned().collect::<Vec<_>>();
        let mut connection = PgConnection::connect(&url).await.unwrap();
        Migrator { migrations: before.into(), ..Migrator::DEFAULT }.run(&mut connection).await.unwrap();
        connection.execute("set role fermata_writer").await.unwrap();
        connection
            .execute(
                "insert into fermata.audit values (1, now(), 'c', null, null, 'me', 'test', '{}');
                 insert into fermata.event values (1, now(), 'c', null, 'test', 1, '{}')",
            )
            .await
            .unwrap();
        let folder = std::env::temp_dir().join(format!("fermata-backup-{}", url.rsplit_once('/').unwrap().1));
        std::fs::create_dir_all(&folder).unwrap();
        Self { url, folder }
    }

    fn migrate(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fermata"));
        command.args(["migrate", "--json"]).args(words).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command.env("DATABASE_URL", &self.url).current_dir(&self.folder).output().unwrap()
    }

    async fn version(&self) -> i64 {
        count(&self.url, "select max(version) from public._sqlx_migrations").await
    }
}

impl Drop for Old {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

async fn count(url: &str, statement: &'static str) -> i64 {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::query_scalar(statement).fetch_one(&mut connection).await.unwrap()
}

fn said(output: &Output) -> Value {
    let text = if output.status.success() { &output.stdout } else { &output.stderr };
    serde_json::from_slice(text).unwrap_or_else(|_| panic!("{output:?}"))
}

/// The restoring program beside the dumping one.
fn pg_restore(url: &str, file: &Path) -> Output {
    let find = "ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1";
    let folder = Command::new("sh").args(["-c", find]).output().unwrap().stdout;
    let folder = PathBuf::from(String::from_utf8(folder).unwrap().trim());
    Command::new(folder.join("pg_restore"))
        .args(["--no-owner", "--exit-on-error", "-d", url])
        .arg(file)
        .output()
        .unwrap()
}

#[tokio::test]
async fn before_a_schema_is_changed_all_of_it_is_in_a_file_that_only_its_owner_reads() {
    let old = Old::new().await;
    let before = old.version().await;
    let first = old.migrate(&[]);
    let answer = said(&first);
    assert!(first.status.success(), "{answer}");
    let file = old.folder.join(answer["backup"].as_str().unwrap());
    assert!(answer["version"].as_i64().unwrap() > before);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let db = TestDb::new().await;
    let restored = sibling(&db, "restored").await;
    let output = pg_restore(&restored, &file);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(count(&restored, "select max(version) from public._sqlx_migrations").await, before);
    for statement in ["select count(*) from fermata.audit", "select count(*) from fermata.event"] {
        assert_eq!(count(&restored, statement).await, 1, "{statement}");
    }
    assert_eq!(said(&old.migrate(&[]))["backup"], Value::Null, "there is nothing to change any more");
}

#[tokio::test]
async fn without_a_backup_nothing_is_changed_unless_there_is_one_already() {
    let old = Old::new().await;
    let before = old.version().await;
    let taken = old.folder.join("taken.dump");
    std::fs::write(&taken, "somebody's").unwrap();
    let refused = old.migrate(&["--backup", "taken.dump"]);
    assert_eq!((refused.status.code(), said(&refused)["error"]["code"].as_str()), (Some(1), Some("backup_failed")));
    assert_eq!(std::fs::read_to_string(&taken).unwrap(), "somebody's");
    assert_eq!(old.version().await, before);

    let trusted = old.migrate(&["--no-backup"]);
    assert_eq!((said(&trusted)["backup"].clone(), trusted.status.success()), (Value::Null, true));
    assert!(old.version().await > before);
    assert_eq!(std::fs::read_dir(&old.folder).unwrap().count(), 1, "only what was there");
}
