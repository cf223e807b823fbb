//! The browser lane against real chromedriver and Chromium: what is found, and who may click.

mod site;
mod stage;

use std::fs;
use std::path::Path;
use std::time::Duration;

use chrono::TimeDelta;
use fermata_api::supervisor::{Supervisor, SupervisorError, SupervisorOptions};
use fermata_engine::clock::Clock;
use fermata_workflows::browser::{BrowserError, Condition, DataAttribute, Read, Target, Tier};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use stage::{Outcome, Process, Stage, chromedriver_of, client, css, fresh_folder, named, open_at, processes_of, until};

fn text(text: &str) -> Target {
    Target { text: Some(text.to_owned()), ..Target::default() }
}

#[tokio::test]
async fn a_form_is_filled_and_sent_by_accessible_names() -> Outcome {
    let stage = Stage::start().await?;
    let page = stage.open_form("r", 1).await?;
    let photo = Target { label: Some("Photo".to_owned()), ..Target::default() };

    page.fill(&named("textbox", "Caption"), "old").await?;
    page.fill(&named("textbox", "Caption"), "Grüße 🎉\nzwei").await?;
    page.fill(&named("textbox", "Tag"), "köln").await?;
    page.upload(&photo, "../a b.jpg", b"hello").await?;
    page.click_confirm(&named("button", "Plane Post")).await?;
    page.wait(&Condition::Text("Sent post".to_owned()), Duration::from_secs(5)).await?;

    assert_eq!(stage.site.reached("post"), ["Grüße 🎉\nzwei|köln|a b.jpg 5"]);
    assert_eq!(page.read(&named("textbox", "Tag"), &Read::Value).await?, "köln");
    assert_eq!(page.title().await?, "A form");
    assert!(page.screenshot().await?.starts_with(b"\x89PNG"));
    page.close().await?;
    assert_eq!(stage.sessions().await?, 0);
    stage.end().await
}

#[tokio::test]
async fn each_tier_finds_the_control_when_the_better_ones_do_not() -> Outcome {
    let stage = Stage::start().await?;
    let page = stage.open_form("r", 1).await?;
    let by_data = Target {
        name: Some("Weiter".to_owned()),
        data: Some(DataAttribute { attribute: "data-testid".to_owned(), value: "next".to_owned() }),
        ..Target::default()
    };

    assert_eq!(page.tier(&named("link", "Go on")).await?, Tier::Accessible);
    assert_eq!(page.tier(&text("Go o")).await?, Tier::Text);
    assert_eq!(page.tier(&by_data).await?, Tier::Data);
    assert_eq!(page.tier(&css("#plain")).await?, Tier::Css);
    assert_eq!(page.read(&by_data, &Read::Url).await?, stage.site.at("/next"));
    page.click(&by_data).await?;
    page.assert(&Condition::All(vec![
        Condition::UrlContains("/next".to_owned()),
        Condition::Visible(text("The next page")),
        Condition::Absent(named("button", "Plane Post")),
    ]))
    .await?;
    stage.end().await
}

#[tokio::test]
async fn a_click_needs_exactly_one_visible_control_that_can_take_it() -> Outcome {
    let stage = Stage::start().await?;
    let page = stage.open_form("r", 1).await?;
    let delete = named("button", "Delete");
    let draft = Target { within: Some(Box::new(named("region", "Drafts"))), ..delete.clone() };

    let ambiguous = page.click(&delete).await;
    assert!(matches!(ambiguous, Err(BrowserError::Ambiguous { count: 2, .. })), "{ambiguous:?}");
    page.click(&draft).await?;
    let hidden = page.holds(&Condition::Visible(css("#hidden"))).await?;
    assert!(!hidden, "a hidden control matches nothing");
    for (control, way) in [("Never", "disabled"), ("Under", "covered by <div id=veil>")] {
        let refused = page.click(&named("button", control)).await;
        let told = refused.as_ref().map_err(ToString::to_string).err().unwrap_or_default();
        assert!(told.contains(way), "{told}");
    }
    let unusable = page.holds(&Condition::Visible(css("div["))).await;
    assert!(matches!(unusable, Err(BrowserError::Unusable { .. })), "{unusable:?}");
    let file = page.goto("file:///etc/passwd").await;
    assert!(matches!(file, Err(BrowserError::Unusable { .. })), "{file:?}");
    stage.end().await
}

#[tokio::test]
async fn a_confirming_click_is_refused_on_css_alone() -> Outcome {
    let stage = Stage::start().await?;
    let page = stage.open_form("r", 1).await?;

    let refused = page.click_confirm(&css("#plain")).await;
    assert!(matches!(refused, Err(BrowserError::CssOnly { .. })), "{refused:?}");
    assert!(stage.site.reached("plain").is_empty());

    page.click(&css("#plain")).await?;
    until("the plain click arrives", async || stage.site.reached("plain").len() == 1).await?;
    stage.end().await
}

#[tokio::test]
async fn an_older_epochs_click_never_reaches_the_page() -> Outcome {
    let stage = Stage::start().await?;
    let older = stage.open_form("r", 1).await?;
    let other_run = stage.open_form("other", 1).await?;

    let newer = stage.open_form("r", 2).await?;
    assert_eq!(stage.sessions().await?, 2, "the older epoch's browser is closed");
    let late = older.click_confirm(&named("button", "Plane Post")).await;
    let again = stage.open("r", 1).await;

    assert!(matches!(late, Err(BrowserError::Fenced)), "{late:?}");
    assert!(matches!(again, Err(BrowserError::Fenced)), "{again:?}");
    assert!(stage.site.reached("post").is_empty());
    newer.click_confirm(&named("button", "Plane Post")).await?;
    other_run.click_confirm(&named("button", "Plane Post")).await?;
    until("both clicks arrive", async || stage.site.reached("post").len() == 2).await?;
    stage.end().await
}

#[tokio::test]
async fn a_takeover_does_not_wait_for_the_older_epochs_call() -> Outcome {
    let stage = Stage::start().await?;
    let older = stage.open("r", 1).await?;
    let hang = stage.site.at("/hang");
    let hanging = tokio::spawn(async move { older.goto(&hang).await });
    let clock = Clock::system();
    let began = clock.monotonic();

    stage.open_form("r", 2).await?;

    assert!(clock.monotonic() - began < Duration::from_secs(15), "the page load limit is 30 s");
    assert!(hanging.await?.is_err());
    stage.end().await
}

#[tokio::test]
async fn a_stopped_worker_that_wakes_up_after_a_takeover_cannot_click() -> Outcome {
    let stage = Stage::start().await?;
    let endpoint = stage.supervisor.endpoint();
    let given = [("STAGE_ENDPOINT", endpoint.as_str()), ("STAGE_SITE", stage.site.base.as_str())];
    let worker = Process::start("browser_supervisor::process_a_worker_that_clicks_when_told", &given)?;
    until("the worker is about to click", async || !stage.site.reached("ready").is_empty()).await?;

    worker.signal(Signal::SIGSTOP)?;
    stage.site.let_go();
    let newer = stage.open_form("r", 2).await?;
    worker.signal(Signal::SIGCONT)?;
    until("the worker has tried", async || !stage.site.reached("tried").is_empty()).await?;

    assert_eq!(stage.site.reached("tried"), ["Err(Fenced)"]);
    assert!(stage.site.reached("post").is_empty());
    newer.click_confirm(&named("button", "Plane Post")).await?;
    until("the new holder's click arrives", async || stage.site.reached("post").len() == 1).await?;
    stage.end().await
}

#[tokio::test]
#[ignore = "runs as a process of its own, started by the test of the stopped worker"]
async fn process_a_worker_that_clicks_when_told() -> Outcome {
    let site = std::env::var("STAGE_SITE")?;
    let page = open_at(std::env::var("STAGE_ENDPOINT")?, "r", 1).await?;
    page.goto(&format!("{site}/form")).await?;
    let post = named("button", "Plane Post");
    page.wait(&Condition::Visible(post.clone()), Duration::from_secs(10)).await?;
    let client = client()?;
    client.post(format!("{site}/reached/ready")).send().await?;
    client.get(format!("{site}/go")).send().await?;
    let tried = page.click_confirm(&post).await;
    client.post(format!("{site}/reached/tried")).body(format!("{tried:?}")).send().await?;
    Ok(())
}

#[tokio::test]
async fn a_command_after_its_deadline_is_refused() -> Outcome {
    let stage = Stage::start().await?;
    let page = stage.open_form("r", 1).await?;
    let post = named("button", "Plane Post");

    page.set_deadline(Some(Clock::system().now() - TimeDelta::seconds(1)));
    let late = page.click_confirm(&post).await;
    assert!(matches!(late, Err(BrowserError::DeadlinePassed)), "{late:?}");
    assert!(stage.site.reached("post").is_empty());

    page.set_deadline(Some(Clock::system().now() + TimeDelta::seconds(20)));
    page.click_confirm(&post).await?;
    until("the timely click arrives", async || stage.site.reached("post").len() == 1).await?;
    stage.end().await
}

#[tokio::test]
async fn a_call_that_outlives_its_deadline_ends_with_its_browser() -> Outcome {
    let stage = Stage::start().await?;
    let page = stage.open_form("r", 1).await?;

    page.set_deadline(Some(Clock::system().now() + TimeDelta::seconds(1)));
    let hung = page.goto(&stage.site.at("/hang")).await;

    assert!(matches!(hung, Err(BrowserError::Unreachable { .. })), "{hung:?}");
    assert_eq!(stage.sessions().await?, 0);
    page.set_deadline(None);
    let gone = page.click_confirm(&named("button", "Plane Post")).await;
    assert!(matches!(gone, Err(BrowserError::SessionLost)), "{gone:?}");
    stage.end().await
}

#[tokio::test]
async fn a_full_supervisor_says_when_to_come_again() -> Outcome {
    let stage = Stage::with(|options| options.max_sessions = 1).await?;
    let page = stage.open("r", 1).await?;

    let refused = stage.open("other", 1).await;
    assert!(matches!(refused, Err(BrowserError::Busy)), "{refused:?}");
    let raw = client()?
        .post(format!("{}/session", stage.supervisor.endpoint()))
        .header("Fermata-Fence", "other:1")
        .json(&json!({"capabilities": {}}))
        .send()
        .await?;
    assert_eq!(raw.status(), 503);
    assert!(raw.headers().contains_key("retry-after"));

    page.close().await?;
    stage.open("other", 1).await?;
    stage.end().await
}

#[tokio::test]
async fn only_a_fenced_worker_may_drive_and_never_a_web_page() -> Outcome {
    let stage = Stage::start().await?;
    let url = format!("{}/session", stage.supervisor.endpoint());
    let body = json!({"capabilities": {}});

    let unfenced = client()?.post(&url).json(&body).send().await?;
    assert_eq!(unfenced.status(), 400);
    let page = client()?.post(&url).header("Fermata-Fence", "r:1").header("Origin", "http://evil.example");
    assert_eq!(page.json(&body).send().await?.status(), 403);
    assert_eq!(stage.sessions().await?, 0);
    stage.end().await
}

#[tokio::test]
async fn what_nobody_uses_is_closed() -> Outcome {
    let stage = Stage::with(|options| options.idle = Duration::from_secs(2)).await?;
    let idle = stage.open("idle", 1).await?;
    drop(stage.open("dropped", 1).await?);

    until("both sessions are closed", async || stage.sessions().await.is_ok_and(|open| open == 0)).await?;

    let late = idle.title().await;
    assert!(matches!(late, Err(BrowserError::SessionLost)), "{late:?}");
    stage.end().await
}

#[tokio::test]
async fn a_chromedriver_that_dies_is_started_again() -> Outcome {
    let stage = Stage::start().await?;
    let page = stage.open("r", 1).await?;
    let driver = chromedriver_of(&stage.folder).ok_or("chromedriver runs")?;

    kill(Pid::from_raw(driver), Signal::SIGKILL)?;
    until("another one opens browsers", async || stage.open("r", 2).await.is_ok()).await?;

    assert!(page.title().await.is_err());
    assert_ne!(chromedriver_of(&stage.folder), Some(driver));
    stage.end().await
}

#[tokio::test]
async fn a_stopped_supervisor_leaves_no_process() -> Outcome {
    let stage = Stage::start().await?;
    let _page = stage.open_form("r", 1).await?;
    assert!(processes_of(&stage.folder).len() > 3, "chromedriver and a Chromium run");

    let folder = stage.folder.clone();
    stage.supervisor.stop().await;

    assert_eq!(processes_of(&folder), Vec::<i32>::new());
    assert_eq!(fs::read_dir(folder.join("profiles"))?.count(), 0, "no profile stays");
    Ok(fs::remove_dir_all(folder)?)
}

#[tokio::test]
async fn a_killed_supervisor_leaves_no_process() -> Outcome {
    let folder = fresh_folder();
    let given = folder.display().to_string();
    let supervisor =
        Process::start("browser_supervisor::process_a_supervisor_with_a_browser", &[("STAGE_FOLDER", &given)])?;
    until("its browser is open", async || folder.join("open").exists()).await?;
    assert!(processes_of(&folder).len() > 3);

    supervisor.signal(Signal::SIGKILL)?;

    until("nothing of it runs", async || processes_of(&folder).is_empty()).await?;
    Ok(fs::remove_dir_all(folder)?)
}

#[tokio::test]
#[ignore = "runs as a process of its own, started by the test of the killed supervisor"]
async fn process_a_supervisor_with_a_browser() -> Outcome {
    let folder = std::env::var("STAGE_FOLDER")?;
    let supervisor = Supervisor::start(SupervisorOptions::new(folder.clone().into())).await?;
    let _page = open_at(supervisor.endpoint(), "r", 1).await?;
    fs::write(Path::new(&folder).join("open"), "")?;
    std::future::pending().await
}

#[tokio::test]
async fn a_folder_serves_one_supervisor() -> Outcome {
    let stage = Stage::start().await?;
    let second = Supervisor::start(SupervisorOptions::new(stage.folder.clone())).await;
    assert!(matches!(second, Err(SupervisorError::InUse { .. })), "{second:?}");
    assert!(stage.open("r", 1).await.is_ok(), "the first one is unharmed");
    stage.end().await
}
