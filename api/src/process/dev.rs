//! Everything on one machine: `fermata dev`.
//!
//! One parent that owns the database and keeps the children alive: API, workers, browser keeper,
//! demo site. It runs on one thread, because the kernel ties the life of a child to the thread that
//! started it.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fermata_engine::clock::Clock;
use nix::fcntl::{Flock, FlockArg};
use reqwest::Client;
use serde_json::Value;

use super::child::Plan;
use super::plans::Place;
use super::signals::Signals;
use super::stage::Stage;
use super::token::token_file;
use super::{Backup, Exit, Ready, Trouble, raise_schema, say};
use crate::config::Config;
use crate::postgres::{PostgresOptions, PrivatePostgres};
use crate::telemetry::{LogOrigin, init_logs};

/// How many workers there are: two, so that one can take over from the other.
const WORKERS: usize = 2;
/// How long the last look may take that everything answers.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// How often the database's process is looked at.
const WATCH: Duration = Duration::from_secs(1);
/// Ready files of a data folder have this name.
pub(crate) const READY_FILE: &str = "ready.json";

/// What is not configuration.
#[derive(Debug, Clone)]
pub struct DevOptions {
    /// Where the demo site listens.
    pub demo_site: SocketAddr,
    /// Written once everything answers, beside the one in the data folder.
    pub ready_file: Option<PathBuf>,
}

/// Starts everything, keeps it alive until a signal, and ends it in order.
pub async fn dev(config: Config, options: DevOptions) -> Result<Exit, Trouble> {
    let mut signals = Signals::take(false)?;
    // The progress lines say what goes on; the log adds only what is wrong, unless more is asked for.
    let asked = config.child_environment().any(|(name, _)| name == "FERMATA_LOG");
    let filter = if asked { config.log_filter.as_str() } else { "warn" };
    let origin = LogOrigin { service: "fermata".to_owned(), role: "dev".to_owned() };
    init_logs(config.log_format, filter, origin).map_err(|error| Trouble::failed(error.to_string()))?;

    let drain = children_drain(config.drain);
    let _lock = lock(&config.data_dir)?;
    let place = Place::prepare(&config, drain)?;
    let mut stage = Stage::new(Clock::system(), drain + Duration::from_secs(1), place.data_dir.clone());
    stage.ready_files = std::iter::once(place.data_dir.join(READY_FILE)).chain(options.ready_file.clone()).collect();
    for path in &stage.ready_files {
        // What an earlier one left there is not true any more.
        drop(std::fs::remove_file(path));
    }
    let began = stage.clock.monotonic();
    say(format_args!("fermata dev {}: data in {}", env!("CARGO_PKG_VERSION"), place.data_dir.display()));
    let lived = tokio::select! {
        lived = Box::pin(live(&mut stage, &config, &options, place, began)) => lived,
        () = signals.next() => Ok(()),
    };
    if lived.is_ok() {
        say(format_args!("draining for at most {} s; once more to end at once", config.drain.as_secs()));
    }
    let stopped = tokio::select! {
        stopped = Box::pin(stage.stop()) => stopped,
        () = signals.next() => return Ok(Exit::Interrupted),
    };
    lived?;
    stopped?;
    say("ended; nothing is lost, `fermata dev` goes on from here");
    Ok(Exit::Done)
}

/// One `dev` per data folder: a second one would take the ground from under the first.
fn lock(data_dir: &Path) -> Result<Flock<File>, Trouble> {
    let path = data_dir.join("dev.lock");
    let unusable = |error: std::io::Error| Trouble::file("cannot use", &path, &error);
    std::fs::create_dir_all(data_dir).map_err(unusable)?;
    let file = File::create(&path).map_err(unusable)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| {
        Trouble::new(Exit::Conflict, format!("another `fermata dev` runs on {}", data_dir.display()))
            .remedy("stop that one, or give this one another folder with --data-dir")
    })
}

/// What of the deadline the children get; the rest is for browsers and the database.
fn children_drain(whole: Duration) -> Duration {
    Duration::from_secs(whole.saturating_sub((whole / 3).min(Duration::from_secs(8))).as_secs())
}

async fn live(
    stage: &mut Stage,
    config: &Config,
    options: &DevOptions,
    place: Place,
    began: Instant,
) -> Result<(), Trouble> {
    start(stage, config, options, place).await?;
    summary(stage, began);
    loop {
        tokio::select! {
            news = stage.news.recv() => if let Some(news) = news { stage.hear(news)? },
            () = stage.clock.wait(WATCH) => stage.mend_postgres().await,
        }
    }
}

async fn start(stage: &mut Stage, config: &Config, options: &DevOptions, mut place: Place) -> Result<(), Trouble> {
    // The demo site needs no database: it starts while the database does.
    let site_began = stage.clock.monotonic();
    let site_plan = place.demo_site(options.demo_site)?;
    let mut site_child = site_plan.spawn()?;
    let url = database(stage, config).await?;
    place.set("DATABASE_URL", &url);
    stage.ready.database_url = Some(url.clone());
    let site: Value = site_plan.ready(&mut site_child, &stage.clock).await?;
    let site = site["url"].as_str().unwrap_or_default().to_owned();
    progress(stage, "demo site", site_began, &site);
    let fixed = place.demo_site(address_of(&site, options.demo_site))?;
    stage.rest.keep(fixed, site_child);
    stage.ready.demo_site = Some(site.clone());

    let api_began = stage.clock.monotonic();
    let api = place.api(config.listen_control, config.listen_telemetry, &site);
    let mut api_child = api.spawn()?;
    browser(stage, config, &mut place).await?;
    let said: Ready = api.ready(&mut api_child, &stage.clock).await?;
    let control = said.control.clone().unwrap_or_default();
    let telemetry = said.telemetry.clone().unwrap_or_default();
    progress(stage, "api", api_began, &control);
    let fixed =
        place.api(address_of(&control, config.listen_control), address_of(&telemetry, config.listen_telemetry), &site);
    stage.work.keep(fixed, api_child);
    (stage.ready.control, stage.ready.telemetry) = (Some(control.clone()), Some(telemetry.clone()));
    stage.add(said);
    workers(stage, &place, &site).await?;
    stage.ready.token_file = Some(token_file(&place.data_dir, &url).await?);
    everything_answers(stage, &[format!("{control}/ready"), http(&telemetry) + "/health", site + "/_health"]).await?;
    stage.announce()
}

async fn database(stage: &mut Stage, config: &Config) -> Result<String, Trouble> {
    let began = stage.clock.monotonic();
    let url = if let Some(url) = &config.database_url {
        progress(stage, "database", began, "the one of DATABASE_URL");
        url.expose().to_owned()
    } else {
        let server = PrivatePostgres::start(PostgresOptions::new(&stage.data_dir)).await?;
        let how = if server.adopted() { ", found running" } else { "" };
        progress(stage, "database", began, &format!("private Postgres on 127.0.0.1:{}{how}", server.port()));
        let url = server.database_url();
        stage.postgres = Some(server);
        url
    };
    let began = stage.clock.monotonic();
    let backups = Backup::Folder(stage.data_dir.join("backups"));
    let raised = raise_schema(&url, &backups, stage.clock.now()).await?;
    let kept = raised.backup.map(|file| format!("; before that, a backup into {}", file.display()));
    progress(stage, "schema", began, &format!("version {}{}", raised.version, kept.unwrap_or_default()));
    Ok(url)
}

/// Starts the keeper of browsers, unless there is a WebDriver endpoint already.
async fn browser(stage: &mut Stage, config: &Config, place: &mut Place) -> Result<(), Trouble> {
    let began = stage.clock.monotonic();
    if config.webdriver_url.is_some() {
        progress(stage, "browsers", began, "those of FERMATA_WEBDRIVER_URL");
        return Ok(());
    }
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let plan = place.browser(anywhere);
    let mut child = plan.spawn()?;
    let said: Ready = plan.ready(&mut child, &stage.clock).await?;
    let endpoint = said.webdriver.clone().unwrap_or_default();
    progress(stage, "browsers", began, &endpoint);
    // Workers know the endpoint for as long as they live, so a new keeper must have the old address.
    stage.rest.keep(place.browser(address_of(&endpoint, anywhere)), child);
    stage.ready.webdriver = Some(endpoint.clone());
    stage.add(said);
    place.set("FERMATA_WEBDRIVER_URL", endpoint);
    Ok(())
}

async fn workers(stage: &mut Stage, place: &Place, site: &str) -> Result<(), Trouble> {
    let began = stage.clock.monotonic();
    let mut starting: Vec<(Plan, _)> = Vec::new();
    for n in 1..=WORKERS {
        let plan = place.worker(n, site);
        let child = plan.spawn()?;
        starting.push((plan, child));
    }
    for (plan, mut child) in starting {
        let said: Ready = plan.ready(&mut child, &stage.clock).await?;
        let node = stage.add(said);
        progress(stage, &node.name, began, &format!("pid {}", node.pid));
        stage.work.keep(plan, child);
    }
    Ok(())
}

/// The last look before anybody is told: each address answers with success.
async fn everything_answers(stage: &Stage, addresses: &[String]) -> Result<(), Trouble> {
    let began = stage.clock.monotonic();
    let client = Client::builder().no_proxy().build();
    let client = client.map_err(|error| Trouble::failed("no HTTP client").why(error.to_string()))?;
    for address in addresses {
        loop {
            let answer = client.get(address).send().await;
            let wrong = match answer {
                Ok(answer) if answer.status().is_success() => break,
                Ok(answer) => format!("{} {}", answer.status(), answer.text().await.unwrap_or_default()),
                Err(error) => error.to_string(),
            };
            if stage.clock.monotonic().duration_since(began) > ANSWER_LIMIT {
                return Err(Trouble::failed(format!("{address} does not answer as it should")).why(wrong));
            }
            stage.clock.wait(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

/// The socket address in a URL of ours.
fn address_of(url: &str, otherwise: SocketAddr) -> SocketAddr {
    url.split_once("://").and_then(|(_, rest)| rest.parse().ok()).unwrap_or(otherwise)
}

/// A WebSocket address as the HTTP one that it is.
fn http(url: &str) -> String {
    url.replacen("ws://", "http://", 1)
}

fn progress(stage: &Stage, what: &str, began: Instant, detail: &str) {
    say(format_args!("  {what:<10} {:>5.1} s  {detail}", stage.seconds(began)));
}

fn summary(stage: &Stage, began: Instant) {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let control = text(&stage.ready.control);
    let token = stage.ready.token_file.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    say(format_args!("ready after {:.1} s", stage.seconds(began)));
    say(format_args!("\n  control    {control}  (documentation: {control}/docs)"));
    say(format_args!("  telemetry  {}", text(&stage.ready.telemetry)));
    say(format_args!("  demo site  {}", text(&stage.ready.demo_site)));
    say(format_args!("  token      {token}  (client `demo`, every scope)"));
    say("\nnext: `fermata demo` takes the tour; or submit a command of your own:\n");
    say(format_args!(
        "  curl -sS {control}/v1/commands -H \"Authorization: Bearer $(cat {token})\" \\\n    \
         -H 'Content-Type: application/json' \\\n    \
         -d '{{\"type\":\"flow.run\",\"payload\":{{\"workflow_name\":\"demo.http_publish\",\
         \"inputs\":{{\"caption\":\"hello\"}}}}}}'\n"
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_children_leave_time_for_the_rest() {
        for (whole, children) in [(20, 13), (60, 52), (3, 2), (0, 0)] {
            assert_eq!(children_drain(Duration::from_secs(whole)), Duration::from_secs(children));
        }
    }

    #[test]
    fn an_address_is_read_out_of_a_url_of_ours() {
        let other = SocketAddr::from(([127, 0, 0, 1], 1));
        assert_eq!(address_of("ws://127.0.0.1:7071", other).port(), 7071);
        assert_eq!(address_of("", other), other);
    }
}
