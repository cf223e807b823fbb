//! What renderctl says while Render does not behave (M-158): plainly whether anything was done, never
//! in Render's own words, and never after asking twice.

use tokio::net::TcpSocket;

use super::fake_render::{Mode, PAUSE_SECS, TOKEN};
use super::harness::Answer;
use super::renderctl::{SHOP, Stage};

/// Less than what Render may take otherwise, for those who wait for an answer that does not come.
const IMPATIENT: [(&str, &str); 1] = [("REQUEST_TIMEOUT_SECS", "3")];
/// What a detail says when it is not known whether a deploy began.
const DOUBT: &str = "nobody knows whether the deploy began";

/// Asks for a deploy, and checks that Render was asked for it exactly once.
async fn deployed(stage: &Stage, mode: Mode) -> Answer {
    stage.fake.behaves(mode);
    let answer = stage.post(SHOP, "").await;
    assert_eq!(stage.fake.seen(), ["POST /v1/services/srv-cu3a559u0jms73dmnu20/deploys"], "{mode:?}");
    answer
}

async fn listed(stage: &Stage, mode: Mode) -> Answer {
    stage.fake.behaves(mode);
    let answer = stage.get("/render/services").await;
    assert_eq!(stage.fake.seen(), ["GET /v1/services?limit=50"], "{mode:?}");
    answer
}

#[tokio::test]
async fn a_deploy_without_an_answer_in_time_is_in_doubt_and_not_asked_for_again() {
    let stage = Stage::new(&IMPATIENT).await;
    for mode in [Mode::Frozen, Mode::Cut] {
        let answer = deployed(&stage, mode).await;
        let problem = answer.problem(503, "provider-timeout", "deploy_unknown");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(DOUBT) && detail.contains("dashboard"), "{detail}");
        assert_eq!(answer.header("retry-after"), "", "no client should try again by itself");
        assert_eq!(stage.fake.deploys().len(), 1, "it had begun");
    }
}

#[tokio::test]
async fn a_deploy_that_render_answers_with_nonsense_is_in_doubt_too() {
    let stage = Stage::new(&[]).await;
    for mode in
        [Mode::Fails(500), Mode::Fails(503), Mode::Says("<html>"), Mode::Says("{}"), Mode::Says("[]"), Mode::Endless]
    {
        let problem = deployed(&stage, mode).await.problem(502, "provider-unavailable", "deploy_unknown");
        assert!(problem["detail"].as_str().unwrap().contains(DOUBT), "{mode:?}: {problem}");
        assert_eq!(stage.fake.deploys().len(), 1, "it had begun");
    }
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
        for answer in [listed(&stage, Mode::Refuses(status)).await, deployed(&stage, Mode::Refuses(status)).await] {
            let problem = answer.problem(502, "provider-unavailable", "provider_token_refused");
            assert!(!problem["detail"].as_str().unwrap().contains(DOUBT), "{problem}");
            assert_eq!(answer.header("www-authenticate"), "");
        }
    }
    assert!(stage.fake.deploys().is_empty());
}

#[tokio::test]
async fn when_render_is_busy_its_pause_is_handed_on() {
    let stage = Stage::new(&[]).await;
    for answer in [listed(&stage, Mode::Busy).await, deployed(&stage, Mode::Busy).await] {
        let problem = answer.problem(503, "not-ready", "provider_rate_limited");
        assert_eq!(
            (answer.header("retry-after"), problem["retry_after_s"].to_string().as_str()),
            (PAUSE_SECS, PAUSE_SECS)
        );
    }
    assert!(stage.fake.deploys().is_empty());
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let stage = Stage::new(&[]).await;
    listed(&stage, Mode::Redirects).await.problem(502, "provider-unavailable", "provider_answer_unusable");
    deployed(&stage, Mode::Redirects).await.problem(502, "provider-unavailable", "deploy_unknown");
}

#[tokio::test]
async fn a_service_that_render_will_not_deploy_is_a_conflict() {
    let stage = Stage::new(&[]).await;
    for status in [400, 409, 410] {
        deployed(&stage, Mode::Refuses(status)).await.problem(409, "conflict", "deploy_refused");
    }
    deployed(&stage, Mode::Refuses(404)).await.problem(404, "not-found", "not_found");
}

#[tokio::test]
async fn where_no_connection_is_made_nothing_was_sent_and_nothing_is_in_doubt() {
    // Taken, and nobody listens: connections are refused for as long as it is held.
    let taken = TcpSocket::new_v4().unwrap();
    taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let nobody = format!("http://{}/v1", taken.local_addr().unwrap());
    // A server that speaks no TLS, where TLS is wanted.
    let plain = super::fake_render::FakeRender::start().await;
    let other = plain.base().replacen("http:", "https:", 1);
    for base in [nobody, other] {
        let stage = Stage::new(&[("RENDER_API_BASE_URL", &base)]).await;
        stage.get("/render/services").await.problem(502, "provider-unavailable", "provider_unavailable");
        let problem = stage.post(SHOP, "").await.problem(502, "provider-unavailable", "provider_unavailable");
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
        for answer in [listed(&stage, mode).await, deployed(&stage, mode).await] {
            assert!(!String::from_utf8_lossy(&answer.bytes).contains(TOKEN), "{mode:?}");
            assert!(
                answer
                    .headers
                    .values()
                    .all(|value| !value.as_bytes().windows(TOKEN.len()).any(|at| at == TOKEN.as_bytes()))
            );
        }
    }
    for page in ["/config/validate", "/metrics", "/ready"] {
        assert!(!String::from_utf8_lossy(&stage.get(page).await.bytes).contains(TOKEN), "{page}");
    }
    let log = stage.renderctl.log();
    assert!(log.contains("asks Render to deploy") && !log.contains(TOKEN), "{log}");
}
