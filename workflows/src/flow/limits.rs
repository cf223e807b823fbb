//! Every bound of a flow, by name (I10).

use std::time::Duration;

use fermata_engine::artifact::MAX_ARTIFACT_BYTES;

/// The largest flow document, as text or as compact JSON.
pub const MAX_DOCUMENT_BYTES: usize = 256 * 1024;
/// The most steps of a flow.
pub const MAX_FLOW_STEPS: usize = 200;
/// The most acts of one browser step, look or preparation.
pub const MAX_ACTS: usize = 100;
/// The most named targets.
pub const MAX_TARGETS: usize = 200;
/// The most that filling the templates of one value may make.
pub const MAX_FILLED_BYTES: usize = 2 << 20;
/// The most that the payloads of a flow that is told in advance may come to.
pub const MAX_FORESEEN_BYTES: usize = 4 << 20;
/// The longest single template.
pub const MAX_TEMPLATE_BYTES: usize = 64 * 1024;
/// The most `${...}` in one template.
pub const MAX_PLACES: usize = 64;
/// The most findings that a linter reports.
pub const MAX_FINDINGS: usize = 50;
/// The longest message of a finding.
pub const MAX_MESSAGE_CHARS: usize = 500;
/// The longest name of a flow or step.
pub const MAX_NAME_BYTES: usize = 100;
/// The longest name of a flow's version.
pub const MAX_VERSION_BYTES: usize = 32;
/// The largest body of an HTTP answer that is read.
pub const MAX_BODY_BYTES: usize = 1 << 20;
/// The largest file that a page downloads; never more than an artifact may have.
pub const MAX_DOWNLOAD_BYTES: usize = 32 << 20;
/// The most looks of one poll.
pub const MAX_LOOKS: u32 = 2_000;
/// The most redirects that a reading request follows.
pub const MAX_REDIRECTS: usize = 5;
/// The longest that one attempt of a step, or one call, may take, in seconds.
pub const MAX_TIMEOUT_S: f64 = 3_600.0;
/// The longest durable wait, in seconds (a year).
pub const MAX_WAIT_S: f64 = 366.0 * 86_400.0;
/// The longest time that a platform may say it needs to show an effect, in seconds (a day).
pub const MAX_VISIBLE_WITHIN_S: f64 = 86_400.0;

/// One attempt of an HTTP step that says nothing else.
pub const HTTP_TIMEOUT: Duration = Duration::from_secs(30);
/// One attempt of a browser step that says nothing else.
pub const BROWSER_TIMEOUT: Duration = Duration::from_mins(2);
/// One call of an effect that says nothing else, in seconds.
pub const CALL_TIMEOUT_S: f64 = 30.0;
/// How long a wait in a browser step goes on when it says nothing else.
pub const WAIT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a download in a browser step goes on when it says nothing else.
pub const DOWNLOAD_TIMEOUT: Duration = Duration::from_mins(1);
/// How long a page of a look may take until it is ready to be judged.
pub const READY_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest pause that another side may ask for.
pub const MAX_RETRY_AFTER: Duration = Duration::from_hours(24);

const _: () = assert!(MAX_DOWNLOAD_BYTES <= MAX_ARTIFACT_BYTES, "what is downloaded is kept as an artifact");
