//! What renderctl says while Render does not behave (M-158): never in Render's own words, and never
//! after asking twice.

use tokio::net::TcpSocket;

use super::fake_render::{Mode, PAUSE_SECS, TOKEN};
use super::harness::Answer;
use super::renderctl::Stage;

/// Less than what Render may take otherwise, for those who wait for an answer that does not come.
const IMPATIENT: [(&str, &str); 1] = [("REQUEST_TIMEOUT_SECS", "3")];
async fn listed(stage: &Stage, mode: Mode) -> Answer {
    stage.fake.behaves(mode);
    let answer = stage.get("/render/services").await;
    assert_eq!(stage.fake.seen(), ["GET /v1/services?limit=50"], "{mode:?}");
    answer
}

#[tokio::test]
async fn a_list_without_an_answer_is_a_timeout() {
    let stage = Stage::new(&IMPATIENT).await;
    for mode in [Mode::Frozen, Mode::Cut] {
        listed(&stage, mode).await.problem(503, "provider-timeout", "provider_timeout");
    }
}

#[tokio::test]
async fn a_list_of_nonsense_is_a_bad_gateway() {
    let stage = Stage::new(&[]).await;
    listed(&stage, Mode::Fails(500)).await.problem(502, "provider-unavailable", "provider_unavailable");
    for mode in [Mode::Says("<html>"), Mode::Says("{}"), Mode::Says("[{}]"), Mode::Endless, Mode::Refuses(404)] {
        listed(&stage, mode).await.problem(502, "provider-unavailable", "provider_answer_unusable");
    }
    assert_eq!(listed(&stage, Mode::Honest).await.status, 200, "and then it goes on");
}

#[tokio::test]
async fn a_token_that_render_refuses_is_ours_and_not_the_callers() {
    let stage = Stage::new(&[]).await;
    for status in [401, 403] {
        let answer = listed(&stage, Mode::Refuses(status)).await;
        answer.problem(502, "provider-unavailable", "provider_token_refused");
        assert_eq!(answer.header("www-authenticate"), "");
    }
}

#[tokio::test]
async fn when_render_is_busy_its_pause_is_handed_on() {
    let stage = Stage::new(&[]).await;
    let answer = listed(&stage, Mode::Busy).await;
    let problem = answer.problem(503, "not-ready", "provider_rate_limited");
    assert_eq!((answer.header("retry-after"), problem["retry_after_s"].to_string().as_str()), (PAUSE_SECS, PAUSE_SECS));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let stage = Stage::new(&[]).await;
    listed(&stage, Mode::Redirects).await.problem(502, "provider-unavailable", "provider_answer_unusable");
}

#[tokio::test]
async fn where_no_connection_is_made_nothing_was_sent() {
    // Taken, and nobody listens: connections are refused for as long as it is held.
    let taken = TcpSocket::new_v4().unwrap();
    taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let nobody = format!("http://{}/v1", taken.local_addr().unwrap());
    // A server that speaks no TLS, where TLS is wanted.
    let plain = super::fake_render::FakeRender::start().await;
    let other = plain.base().replacen("http:", "https:", 1);
    for base in [nobody, other] {
        let stage = Stage::new(&[("RENDER_API_BASE_URL", &base)]).await;
        let answer = stage.get("/render/services").await;
        let problem = answer.problem(502, "provider-unavailable", "provider_unavailable");
        assert!(problem["detail"].as_str().unwrap().contains("nothing was sent"), "{problem}");
    }
    assert!(plain.seen().is_empty());
}

#[tokio::test]
async fn renders_token_goes_to_render_only() {
    let stage = Stage::new(&[]).await;
    let quoting = Mode::Says("{\"id\": [\"known-to-render-alone\"]}");
    for mode in [Mode::Honest, Mode::Refuses(401), Mode::Refuses(400), Mode::Busy, Mode::Fails(500), quoting, Mode::Cut]
    {
        let answer = listed(&stage, mode).await;
        assert!(!String::from_utf8_lossy(&answer.bytes).contains(TOKEN), "{mode:?}");
        let quotes = |value: &[u8]| value.windows(TOKEN.len()).any(|at| at == TOKEN.as_bytes());
        assert!(!answer.headers.values().any(|value| quotes(value.as_bytes())), "{mode:?}");
    }
    for page in ["/config/validate", "/metrics", "/ready"] {
        assert!(!String::from_utf8_lossy(&stage.get(page).await.bytes).contains(TOKEN), "{page}");
    }
    let log = stage.renderctl.log();
    assert!(log.contains("Render did not do what it was asked") && !log.contains(TOKEN), "{log}");
}
