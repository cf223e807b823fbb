//! Laws of commands that are handed to a worker of the same machine: they begin in the commit that accepts them, and whatever
//! a neighbour does, each is accepted once (I1).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fermata_engine::id::RunId;
use fermata_engine::workflow::{Context, Failure, Registry, Workflow};
use fermata_engine::{Engine, NodeOptions};
use fermata_tests::{TestDb, eventually};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

/// How long a command may take to be accepted, whatever a neighbour does.
const PATIENCE: Duration = Duration::from_secs(30);

/// Ends at once with what it was given.
struct Echo;

impl Workflow for Echo {
    type Input = Value;
    type Output = Value;
    const NAME: &'static str = "test.echo";
    const VERSION: &'static str = "1";

    async fn run(&self, _: Context, input: Value) -> Result<Value, Failure> {
        Ok(input)
    }
}

/// Whether a run began in the commit that accepted it.
const BEGAN_AT_ONCE: &str = "select count(distinct at) from fermata.event where type = 'status.changed'
    and data ->> 'to' in ('QUEUED', 'RUNNING') and run_id = $1";

/// A database, a folder for doors, and engines beside each other as processes would be.
struct Street {
    db: TestDb,
    folder: PathBuf,
}

impl Street {
    async fn new() -> Self {
        let db = TestDb::new().await;
        let folder = std::env::temp_dir().join(format!("doors-{}", db.url.rsplit('/').next().unwrap()));
        Self { db, folder }
    }

    async fn engine(&self) -> Engine {
        let mut options = self.db.options(Registry::new().with(Echo));
        options.neighbours = Some(self.folder.clone());
        Engine::open(options).await.unwrap()
    }

    async fn worker(&self) -> Engine {
        let engine = self.engine().await;
        let options = NodeOptions { slots: 8, lease: Duration::from_secs(30), role: "test".into() };
        engine.work(options).await.unwrap();
        engine
    }

    fn doors(&self) -> Vec<PathBuf> {
        std::fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    async fn door(&self) -> PathBuf {
        eventually("there is a door", || async { self.doors().pop() }).await
    }

    /// Submits commands until one begins in the commit that accepts it.
    async fn is_handed_over(&self, engine: &Engine) {
        eventually("a command is handed over", || async {
            let run = self.db.submit(engine, "test.echo", json!({})).await;
            self.db.ended(engine, run).await;
            (self.instants(run).await == 1).then_some(())
        })
        .await;
    }

    async fn instants(&self, run: RunId) -> i64 {
        sqlx::query_scalar(BEGAN_AT_ONCE).bind(run.0).fetch_one(&self.db.pool).await.unwrap()
    }
}

impl Drop for Street {
    fn drop(&mut self) {
        // A folder that stays is swept with the others of the system.
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_begins_at_the_worker_next_door_in_the_commit_that_accepts_it() {
    let street = Street::new().await;
    let worker = street.worker().await;
    let door = street.door().await;
    let api = street.engine().await;
    street.is_handed_over(&api).await;
    // One that has gone is not asked, and one that comes is found.
    worker.close(Duration::from_secs(5)).await;
    assert_eq!(street.doors(), Vec::<PathBuf>::new(), "a door goes with its worker");
    // One that was killed leaves a door that nobody is behind, and so does one of a database that is no more.
    let of_another = door.with_file_name("0123456789abcdef-0.sock");
    for left in [&door, &of_another] {
        drop(UnixListener::bind(left).unwrap());
    }
    let run = street.db.submit(&api, "test.echo", json!({"n": 1})).await;
    let _other = street.worker().await;
    assert_eq!(street.db.ended(&api, run).await.result, Some(json!({"n": 1})));
    street.is_handed_over(&api).await;
    assert!(!door.exists() && !of_another.exists(), "the next worker takes them away");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_means_the_same_through_either_door() {
    let street = Street::new().await;
    let _worker = street.worker().await;
    street.door().await;
    let (api, alone) = (street.engine().await, street.db.engine(Registry::new().with(Echo)).await);
    street.is_handed_over(&api).await;
    let submit = async |engine: &Engine, input: Value| {
        let by = fermata_engine::access::Principal::operator();
        let key = Some("once".to_owned());
        let wanted =
            fermata_engine::run::Submission { idempotency_key: key, ..fermata_tests::submission("test.echo", input) };
        engine.submit(&by, wanted).await.map(|receipt| receipt.command_id)
    };
    let first = submit(&api, json!({"n": 1})).await.unwrap();
    assert_eq!(submit(&alone, json!({"n": 1})).await.unwrap(), first);
    assert_eq!(submit(&api, json!({"n": 1})).await.unwrap(), first);
    submit(&api, json!({"n": 2})).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_others_may_enter_is_not_used() {
    let street = Street::new().await;
    std::fs::create_dir(&street.folder).unwrap();
    std::fs::set_permissions(&street.folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    let worker = street.worker().await;
    let run = street.db.submit(&worker, "test.echo", json!({})).await;
    assert_eq!(street.db.ended(&worker, run).await.status, "SUCCEEDED");
    assert_eq!(street.doors(), Vec::<PathBuf>::new());
}

/// What a neighbour does wrong.
#[derive(Debug, Clone, Copy)]
enum Wrong {
    /// Says nothing.
    Silent,
    /// Hangs up when it is asked.
    HangsUp,
    /// Answers what nobody understands.
    Babbles,
    /// Says that it cannot.
    Declines,
    /// Passes everything on, and hangs up when the answer comes.
    LosesTheAnswer,
}

async fn read(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let length = stream.read_u32().await.ok()?;
    let mut frame = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut frame).await.ok()?;
    Some(frame)
}

async fn write(stream: &mut UnixStream, frame: &[u8]) {
    stream.write_u32(u32::try_from(frame.len()).unwrap()).await.unwrap();
    stream.write_all(frame).await.unwrap();
}

/// A neighbour in place of the one at `door`, which does something wrong; answers how often it is asked.
fn misbehave(door: &Path, wrong: Wrong, asked: tokio::sync::mpsc::UnboundedSender<()>) {
    let hidden = door.with_file_name("hidden");
    std::fs::rename(door, &hidden).unwrap();
    let listener = UnixListener::bind(door).unwrap();
    tokio::spawn(async move {
        loop {
            let (mut guest, _) = listener.accept().await.unwrap();
            let mut behind = UnixStream::connect(&hidden).await.unwrap();
            let hello = read(&mut behind).await.unwrap();
            write(&mut guest, &hello).await;
            let Some(frame) = read(&mut guest).await else { continue };
            asked.send(()).unwrap();
            match wrong {
                Wrong::Silent => std::future::pending().await,
                Wrong::HangsUp => {}
                Wrong::Babbles => write(&mut guest, b"what?").await,
                Wrong::Declines => write(&mut guest, br#"{"accepted": null}"#).await,
                Wrong::LosesTheAnswer => {
                    write(&mut behind, &frame).await;
                    read(&mut behind).await.unwrap();
                }
            }
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_neighbour_does_a_command_is_accepted_once() {
    for wrong in [Wrong::Silent, Wrong::HangsUp, Wrong::Babbles, Wrong::Declines, Wrong::LosesTheAnswer] {
        let street = Street::new().await;
        let _worker = street.worker().await;
        let (tell, mut asked) = tokio::sync::mpsc::unbounded_channel();
        misbehave(&street.door().await, wrong, tell);
        let api = street.engine().await;
        // The first command only makes it look who is there.
        let mut runs = Vec::new();
        while asked.try_recv().is_err() {
            let submitted = street.db.submit(&api, "test.echo", json!({"n": runs.len()}));
            let run = tokio::time::timeout(PATIENCE, submitted).await;
            runs.push(run.expect("nobody waits for a neighbour for long"));
        }
        for (n, run) in runs.iter().enumerate() {
            assert_eq!(street.db.ended(&api, *run).await.result, Some(json!({"n": n})), "{wrong:?}");
        }
        let accepted = street.db.count("select count(*) from fermata.run").await;
        assert_eq!(accepted, i64::try_from(runs.len()).unwrap(), "{wrong:?}");
    }
}
