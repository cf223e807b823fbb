//! The private Postgres against the real server programs of this machine.
//!
//! Where a law is about processes, this test binary runs itself again with [`OWNER_FOLDER`] set: that process
//! owns the folder and tells what it has in a file.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its harness too")]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use fermata_api::postgres::{PostgresError, PostgresOptions, PrivatePostgres};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::{Connection as _, PgConnection};

use self::harness::{
    Folder, OWNER_FOLDER, OWNER_REPORT, Owner, Stranger, connect, is_alive, ordinary_user, remember, remember_at,
    remembered, text, until,
};

pub(crate) mod harness;

#[tokio::test]
async fn a_role_without_superuser_owns_its_database_and_the_superuser_has_no_way_over_tcp() {
    let folder = Folder::new();
    let postgres = folder.start().await;

    let row: (bool, bool, bool, String, String) = sqlx::query_as(
        "SELECT rolsuper, rolcreaterole, rolcreatedb, pg_get_userbyid(datdba)::text, inet_server_addr()::text
         FROM pg_roles, pg_database WHERE rolname = current_user AND datname = current_database()",
    )
    .fetch_one(&mut connect(&postgres.database_url()).await)
    .await
    .unwrap();
    let over_tcp = format!("postgres://postgres@127.0.0.1:{}/postgres", postgres.port());
    let refused = PgConnection::connect(&over_tcp).await.is_err();
    let superuser: String = text(&postgres.superuser_url(), "SELECT current_user::text").await;

    assert_eq!(row, (false, true, true, "fermata".into(), "127.0.0.1/32".into()));
    assert!(refused);
    assert_eq!(superuser, "postgres");
    let password = fs::metadata(folder.path().join("postgres.password")).unwrap();
    assert_eq!(password.permissions().mode() & 0o777, 0o600);
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn the_server_is_set_for_durability() {
    let folder = Folder::new();
    let postgres = folder.start().await;

    let settings = [
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("synchronous_commit", "on"),
        ("data_checksums", "on"),
        ("wal_level", "replica"),
        ("max_connections", "200"),
        ("shared_buffers", "256MB"),
        ("autovacuum_naptime", "10s"),
        ("jit", "off"),
        ("server_encoding", "UTF8"),
        ("lc_collate", "C"),
    ];
    for (name, expected) in settings {
        let query = format!("SELECT current_setting('{name}', true)");
        let query = if name == "lc_collate" {
            "SELECT datcollate::text FROM pg_database WHERE datname = current_database()".to_owned()
        } else {
            query
        };
        assert_eq!(text(&postgres.database_url(), &query).await, expected, "{name}");
    }
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn data_and_password_survive_a_stop_and_a_crash_of_the_server() {
    let folder = Folder::new();
    let first = folder.start().await;
    remember(&first, "before the stop").await;
    first.stop().await.unwrap();
    let second = folder.start().await;
    assert_eq!(remembered(&second).await, "before the stop");

    kill(Pid::from_raw(second.pid()), Signal::SIGKILL).unwrap();
    until("the killed server to be gone", || (!second.is_running()).then_some(())).await;
    second.detach();
    let third = folder.start().await;

    assert!(!third.adopted());
    assert_eq!(remembered(&third).await, "before the stop");
    third.stop().await.unwrap();
}

#[tokio::test]
async fn a_stale_pid_file_with_the_number_of_a_living_process_does_not_hinder() {
    let folder = Folder::new();
    let first = folder.start().await;
    let pid_file = first.cluster_dir().join("postmaster.pid");
    let content = fs::read_to_string(&pid_file).unwrap();
    let pid = first.pid().to_string();
    first.stop().await.unwrap();
    let stranger = Stranger::of_the_server_user(folder.cluster().as_path());
    fs::write(&pid_file, content.replacen(&pid, &stranger.pid(), 1)).unwrap();

    let second = folder.start().await;

    assert!(!second.adopted());
    second.stop().await.unwrap();
}

#[tokio::test]
async fn a_second_start_on_a_folder_names_its_owner() {
    let folder = Folder::new();
    let first = folder.start().await;

    let refused = PrivatePostgres::start(PostgresOptions::new(folder.path())).await.unwrap_err();

    assert!(matches!(refused, PostgresError::Owned { .. }), "{refused}");
    assert!(refused.to_string().contains(&format!("pid {}", std::process::id())), "{refused}");
    assert!(refused.to_string().contains("--data-dir"), "{refused}");
    assert!(first.is_running());
    first.stop().await.unwrap();
}

#[tokio::test]
async fn another_process_is_refused_while_the_owner_lives_and_adopts_its_server_after_sigkill() {
    let folder = Folder::new();
    let mut owner = Owner::spawn(&folder, None);
    let first = owner.ready().await;
    let refused = PrivatePostgres::start(PostgresOptions::new(folder.path())).await.unwrap_err();
    assert!(refused.to_string().contains(&format!("pid {}", owner.pid())), "{refused}");
    remember_at(&first.url, "the owner was killed").await;

    owner.kill();
    let adopted = folder.start().await;

    assert!(adopted.adopted());
    assert_eq!((adopted.pid(), adopted.database_url()), (first.pid, first.url));
    assert_eq!(remembered(&adopted).await, "the owner was killed");
    adopted.stop().await.unwrap();
    until("the adopted server to end", || (!is_alive(first.pid)).then_some(())).await;
}

#[tokio::test]
async fn a_data_path_longer_than_a_socket_path_may_be_works_for_every_user() {
    let folder = Folder::at(&format!("{}/with space/{}", "d".repeat(90), "e".repeat(90)));
    assert!(folder.path().as_os_str().len() > 150);

    let postgres = folder.start().await;
    assert_eq!(text(&postgres.superuser_url(), "SELECT 'in'").await, "in");
    postgres.stop().await.unwrap();

    let folder = Folder::at(&format!("{}/with space/{}", "d".repeat(90), "e".repeat(90)));
    let mut owner = Owner::spawn(&folder, ordinary_user().as_ref());
    let served = owner.ready().await;
    assert_eq!(text(&served.url, "SELECT 'in'").await, "in");
    owner.stop().await;
}

#[tokio::test]
async fn a_port_in_use_is_a_clear_error() {
    let folder = Folder::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();

    let refused = PrivatePostgres::start(PostgresOptions::new(folder.path()).port(port)).await.unwrap_err();

    assert!(matches!(refused, PostgresError::PortInUse { port: named } if named == port), "{refused}");
    drop(taken);
    let postgres = PrivatePostgres::start(PostgresOptions::new(folder.path()).port(port)).await.unwrap();
    assert_eq!(postgres.port(), port);
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_cluster_of_another_major_version_is_refused_and_left_alone() {
    let folder = Folder::new();
    folder.start().await.stop().await.unwrap();
    let version = folder.cluster().join("PG_VERSION");
    fs::write(&version, "14\n").unwrap();

    let refused = PrivatePostgres::start(PostgresOptions::new(folder.path())).await.unwrap_err();

    assert!(matches!(refused, PostgresError::OtherMajor { found: 14, .. }), "{refused}");
    assert!(refused.to_string().contains("pg_upgrade"), "{refused}");
    assert_eq!(fs::read_to_string(&version).unwrap(), "14\n");
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why_and_where_its_log_is() {
    let folder = Folder::new();
    folder.start().await.stop().await.unwrap();
    fs::remove_file(folder.cluster().join("global/pg_control")).unwrap();

    let failed = PrivatePostgres::start(PostgresOptions::new(folder.path())).await.unwrap_err();

    assert!(matches!(failed, PostgresError::StartFailed { .. }), "{failed}");
    assert!(failed.to_string().contains("pg_control") && failed.to_string().contains("log is /"), "{failed}");
}

#[tokio::test]
async fn missing_binaries_name_the_package() {
    let folder = Folder::new();
    let mut options = PostgresOptions::new(folder.path());
    options.bin_dir = Some(PathBuf::from("/nowhere/bin"));

    let refused = PrivatePostgres::start(options).await.unwrap_err().to_string();

    assert!(refused.contains("apt-get install postgresql") && refused.contains("/nowhere/bin"), "{refused}");
}

#[tokio::test]
async fn a_removed_data_folder_begins_empty_again() {
    let folder = Folder::new();
    let first = folder.start().await;
    remember(&first, "gone with its folder").await;
    first.stop().await.unwrap();
    let old_cluster = folder.cluster();
    fs::remove_dir_all(folder.path()).unwrap();

    let second = folder.start().await;

    let tables = "SELECT count(*)::text FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(text(&second.database_url(), tables).await, "0");
    second.stop().await.unwrap();
    let _ = fs::remove_dir_all(&old_cluster);
    let _ = fs::remove_file(old_cluster.with_extension("lock"));
}

#[tokio::test]
async fn an_ordinary_user_has_the_cluster_in_the_data_folder() {
    let folder = Folder::new();
    let mut owner = Owner::spawn(&folder, ordinary_user().as_ref());

    let served = owner.ready().await;

    assert_eq!(text(&served.url, "SELECT current_user::text").await, "fermata");
    assert!(folder.path().join("postgres/PG_VERSION").exists());
    assert!(!folder.path().join("postgres.location").exists());
    owner.stop().await;
    assert!(!is_alive(served.pid));
}

#[tokio::test]
async fn a_folder_closed_to_the_user_is_a_clear_error() {
    let folder = Folder::new();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
    let mut owner = Owner::spawn(&folder, ordinary_user().as_ref());

    let said = owner.failed().await;

    assert!(said.contains("cannot lock") && said.contains("start as its owner"), "{said}");
}

/// Not a law of its own: the process that owns a folder for the laws above. Ends when its input does.
#[tokio::test]
async fn owner_process() {
    let Some(data_dir) = std::env::var_os(OWNER_FOLDER).map(PathBuf::from) else {
        return;
    };
    let report = PathBuf::from(std::env::var_os(OWNER_REPORT).unwrap());
    let tell = |text: String| {
        fs::write(report.with_extension("part"), text).unwrap();
        fs::rename(report.with_extension("part"), &report).unwrap();
    };
    match PrivatePostgres::start(PostgresOptions::new(data_dir)).await {
        Err(error) => tell(format!("failed\n{error}")),
        Ok(postgres) => {
            tell(format!("ready\n{}\n{}", postgres.pid(), postgres.database_url()));
            tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await.unwrap();
            postgres.stop().await.unwrap();
        }
    }
}
