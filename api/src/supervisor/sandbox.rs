//! Finds Chromium, and learns once whether its sandbox works here.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use super::error::SupervisorError;
use super::process::{Place, find, kill_group};

/// How long Chromium may take to show an empty page; it takes two seconds on a slow machine.
const PROBE_LIMIT: Duration = Duration::from_secs(10);

/// The Debian packages that bring what is needed.
pub(super) const PACKAGES: &str = "chromium chromium-driver";

/// The browser to start, and how.
#[derive(Debug, Clone)]
pub(super) struct Browser {
    pub(super) program: PathBuf,
    pub(super) sandboxed: bool,
}

/// Finds Chromium and starts it once with its sandbox.
pub(super) async fn inspect(place: &Place) -> Result<Browser, SupervisorError> {
    let program = find("chromium", Some("CHROMIUM"), PACKAGES)?;
    let refusal = probe(place, &program).await;
    match &refusal {
        None => tracing::info!(browser.sandbox = true, "Chromium runs as {} with its sandbox", place.user_name()),
        Some(why) => tracing::warn!(
            browser.sandbox = false,
            "Chromium's sandbox does not work here ({why}); it runs as {} with --no-sandbox: a hostile page that \
             breaks out of the renderer has that user's rights. Allow unprivileged user namespaces to mend it",
            place.user_name()
        ),
    }
    Ok(Browser { program, sandboxed: refusal.is_none() })
}

/// Why the sandbox does not work; none when it does.
async fn probe(place: &Place, program: &std::path::Path) -> Option<String> {
    let profile = place.profiles().join("probe");
    let mut command = place.command(program);
    command
        .args(["--headless=new", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .arg("--disable-dev-shm-usage")
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(["--dump-dom", "about:blank"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Some(format!("Chromium did not start: {error}")),
    };
    let group = child.id().and_then(|id| i32::try_from(id).ok());
    let ended = tokio::time::timeout(PROBE_LIMIT, child.wait_with_output()).await;
    if let Some(group) = group {
        kill_group(group);
    }
    match ended {
        Err(_) => Some(format!("no empty page within {} s", PROBE_LIMIT.as_secs())),
        Ok(Err(error)) => Some(error.to_string()),
        Ok(Ok(output)) if output.status.success() && contains_page(&output.stdout) => None,
        Ok(Ok(output)) => Some(reason(&output.stderr)),
    }
}

fn contains_page(output: &[u8]) -> bool {
    String::from_utf8_lossy(output).contains("<html")
}

/// The line that speaks of the sandbox, else the last one.
fn reason(errors: &[u8]) -> String {
    const REASON_MAX_CHARS: usize = 160;
    let text = String::from_utf8_lossy(errors);
    let telling = text.lines().find(|line| line.to_ascii_lowercase().contains("sandbox"));
    let line = telling.or_else(|| text.lines().last()).unwrap_or("it ended without a word");
    line.chars().take(REASON_MAX_CHARS).collect()
}
