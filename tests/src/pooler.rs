//! PgBouncer in transaction mode before a database: after each transaction the server's end of a
//! connection goes to whoever asks next.

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;

use crate::eventually;

/// Connections to the server: fewer than any client has, so that they must be shared.
const SERVER_CONNECTIONS: u32 = 3;

/// A running PgBouncer; stopped and forgotten when dropped.
#[derive(Debug)]
pub struct Pooler {
    process: Child,
    folder: PathBuf,
    /// Where the database is, by way of it.
    pub url: String,
}

#[expect(clippy::expect_used, reason = "a harness fails its test by panicking")]
impl Pooler {
    /// Starts one before the database of `url`.
    ///
    /// # Panics
    /// When PgBouncer is not there (`scripts/bootstrap.sh tests` fetches it) or does not listen.
    pub async fn before(url: &str) -> Self {
        let server = PgConnectOptions::from_str(url).expect("a test's database has a URL");
        let password = reqwest::Url::parse(url).ok().and_then(|url| url.password().map(str::to_owned));
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port is free").port();
        let folder = std::env::temp_dir().join(format!("fermata-pooler-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
        let settings = format!(
            "[databases]\n{name} = host={host} port={server_port} dbname={name} user={user} password='{password}'\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = transaction\ndefault_pool_size = {SERVER_CONNECTIONS}\nmax_client_conn = 1000\n\
             ignore_startup_parameters = extra_float_digits\nserver_reset_query_always = 0\n{as_whom}",
            name = server.get_database().expect("a test's database has a name"),
            host = server.get_host(),
            server_port = server.get_port(),
            user = server.get_username(),
            password = password.unwrap_or_default(),
            // It refuses to run as root.
            as_whom = if is_root(&folder) { "user = nobody\n" } else { "" },
        );
        let file = folder.join("pgbouncer.ini");
        std::fs::write(&file, settings).expect("the temporary folder can be written");
        let log = std::fs::File::create(folder.join("log")).expect("the temporary folder can be written");
        let mut process = Command::new("pgbouncer")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("PgBouncer is installed: `scripts/bootstrap.sh tests` fetches it");
        eventually("the pooler listens", || {
            let ended = process.try_wait().expect("a process can be asked");
            assert!(ended.is_none(), "it ended: {}", std::fs::read_to_string(folder.join("log")).unwrap_or_default());
            let open = TcpStream::connect(("127.0.0.1", port)).is_ok();
            async move { open.then_some(()) }
        })
        .await;
        let mut through = reqwest::Url::parse(url).expect("a test's database has a URL");
        through.set_host(Some("127.0.0.1")).expect("an address is a host");
        through.set_port(Some(port)).expect("a URL of Postgres has a port");
        through.set_query(None);
        Self { process, folder, url: through.to_string() }
    }
}

/// Whether what this process makes is root's.
fn is_root(made: &Path) -> bool {
    std::fs::metadata(made).is_ok_and(|made| made.uid() == 0)
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
        drop(std::fs::remove_dir_all(&self.folder));
    }
}
