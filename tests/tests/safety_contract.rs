//! The safety contract, the same on every platform that it names and in every lane (S-003, S-004): real processes, a real
//! browser, and the demo platform under the name of each. `cargo test --test safety_contract`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use fermata_tests::Dev;
use fermata_workflows::packs;
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};

/// S-076.
const PLATFORMS: [&str; 7] = ["instagram", "facebook", "tiktok", "youtube", "linkedin", "x", "skool"];

/// As many commands are under way at once as an installation has browsers for.
const BROWSERS: usize = 2;

/// The flow that publishes in a lane, by the names of the installed ones: looked for by a request where both are used.
fn flow(lane: &str, platform: &str) -> Value {
    let installed = packs().unwrap();
    let document = |name: &str| {
        let found = installed.iter().find(|flow| flow.name() == name).unwrap();
        serde_json::to_value(found.document()).unwrap()
    };
    let (api, browser) = (document("demo.http_publish"), document("demo.publish"));
    let mut flow = if lane == "api" { api.clone() } else { browser };
    flow["name"] = json!(format!("contract.{platform}_{lane}"));
    flow["platform"] = json!(platform);
    flow["lane"] = json!(lane);
    if lane == "hybrid" {
        flow["steps"][1]["effect"]["look"] = api["steps"][1]["effect"]["look"].clone();
    }
    // What depends on the post; in a browser it is a picture of it.
    if lane == "api" {
        let proof = json!({"id": "proof", "set": {"values": {"seen": "${steps.publish.id}"}}});
        flow["steps"].as_array_mut().unwrap().push(proof);
    }
    flow
}

/// A lane of a running installation.
struct Contract {
    dev: Dev,
    lane: &'static str,
    /// Where it is seen that nothing is done: in a browser that is no other for each platform, and takes seconds.
    some: &'static [&'static str],
    at_once: usize,
}

impl Contract {
    async fn of(lane: &'static str) -> Self {
        let (some, at_once) =
            if lane == "api" { (&PLATFORMS[..], PLATFORMS.len()) } else { (&["tiktok", "x"][..], BROWSERS) };
        Self { dev: Dev::start().await, lane, some, at_once }
    }

    /// Publishes on a platform; answers the command.
    async fn publishes(&self, platform: &str, reference: &str) -> String {
        let mut inputs = json!({
            "handle": "ada", "caption": format!("on {platform}"), "reference": reference, "absence": "inconclusive",
            "call_timeout_s": 3, "visible_within_s": 1,
        });
        if self.lane == "api" {
            // Nothing is sent again by its key: the look has to tell.
            inputs["honours_keys"] = json!(false);
        }
        let payload = json!({"flow": flow(self.lane, platform), "inputs": inputs});
        let body = json!({"type": "flow.run", "client_id": "demo", "payload": payload});
        let (status, accepted) = self.dev.post("/v1/commands", &body).await;
        assert_eq!(status, 202, "{platform}: {accepted}");
        accepted["command_id"].as_str().unwrap().to_owned()
    }

    /// The same on each of these platforms: how each ended, with its newest action.
    async fn on(&self, platforms: &'static [&'static str], word: &str) -> Vec<(String, Value, Value)> {
        let each = stream::iter(platforms).map(|platform| async move {
            let reference = format!("{word}_{platform}");
            let command = self.publishes(platform, &reference).await;
            let ended = self.dev.reaches(&command, &["SUCCEEDED", "FAILED", "HUMAN_REQUIRED"]).await;
            let actions = self.dev.get(&format!("/v1/commands/{command}/actions")).await;
            (reference, ended, actions["items"][0].clone())
        });
        each.buffered(self.at_once).collect().await
    }

    /// A post whose answer is lost, and that is asked for again, is there once, and says so with its proof.
    async fn no_duplicate_side_effect(&self) {
        self.dev.mode(json!({"drop_answer": true, "keys": "ignore", "times": PLATFORMS.len()})).await;
        let first = self.on(&PLATFORMS, "once").await;
        self.dev.mode(json!({})).await;
        let again = self.on(&PLATFORMS, "once").await;
        for ((reference, ended, action), (_, repeated, _)) in first.iter().zip(&again) {
            assert_eq!((&ended["status"], &repeated["status"]), (&json!("SUCCEEDED"), &json!("SUCCEEDED")), "{ended}");
            assert_eq!(self.dev.applied(reference).await, 1, "{reference}");
            assert!(ended["result"]["permalink"].is_string(), "{ended}");
            assert_eq!(ended["result"]["permalink"], repeated["result"]["permalink"], "{reference}");
            assert_eq!(action["state"], "postcheck_complete", "{action}");
            assert!(action["level"].as_i64().unwrap() >= 2, "it was seen: {action}");
        }
    }

    /// What nobody can tell is unknown, is asked of a person, and nothing that depends on it begins.
    async fn unknown_state(&self) {
        self.dev.mode(json!({"drop_answer": true, "keys": "ignore", "hide_ms": 600_000})).await;
        for (reference, ended, action) in self.on(&PLATFORMS, "unknown").await {
            assert_eq!((&ended["status"], &action["state"]), (&json!("HUMAN_REQUIRED"), &json!("unknown")), "{ended}");
            assert_eq!(self.dev.applied(&reference).await, 1, "{reference}");
            let steps = self.dev.get(&format!("/v1/commands/{}/steps", ended["command_id"].as_str().unwrap())).await;
            let begun: Vec<_> = steps["items"].as_array().unwrap().iter().map(|step| step["key"].clone()).collect();
            assert!(begun.contains(&json!("login")) && !begun.contains(&json!("proof")), "{steps}");
        }
        self.dev.mode(json!({})).await;
    }

    /// What a kill switch stops is not done anywhere.
    async fn kill_switch(&self) {
        let switch = |engaged: bool| json!({"engaged": engaged, "reason": "contract"});
        assert_eq!(self.dev.put("/v1/kill-switches/clients/demo", &switch(true)).await.0, 200);
        for (reference, ended, action) in self.on(self.some, "stopped").await {
            assert_eq!(
                (&ended["error"]["code"], &action["state"]),
                (&json!("kill_switch"), &json!("blocked")),
                "{ended}"
            );
            assert_eq!(self.dev.applied(&reference).await, 0, "{reference}");
        }
        assert_eq!(self.dev.put("/v1/kill-switches/clients/demo", &switch(false)).await.0, 200);
    }

    /// What a platform's policy forbids is not done there, and is elsewhere.
    async fn policy(&self) {
        let forbids = json!({"allowed_actions": {"tiktok": ["like"]}});
        let (status, put) = self.dev.put("/v1/policies/platform:tiktok", &forbids).await;
        assert_eq!(status, 200, "{put}");
        for (reference, ended, action) in self.on(self.some, "allowed").await {
            let stopped = reference == "allowed_tiktok";
            let state = if stopped { "blocked" } else { "postcheck_complete" };
            assert_eq!(action["state"], state, "{reference}: {ended}");
            assert_eq!(self.dev.applied(&reference).await, usize::from(!stopped), "{reference}");
        }
        assert_eq!(self.dev.put("/v1/policies/platform:tiktok", &json!({})).await.0, 200);
    }

    /// Every action has left its whole way, in its platform's and its lane's words.
    async fn audit(&self) {
        for platform in PLATFORMS {
            let rows = self.dev.get(&format!("/v1/audit?client_id=demo&platform={platform}&limit=200")).await;
            let rows = rows["items"].as_array().unwrap();
            let stopped = self.some.contains(&platform).then_some("blocked");
            let passed = ["queued", "preflight_passed", "attempted", "unknown", "confirmed_success"];
            for phase in passed.into_iter().chain(stopped) {
                assert!(rows.iter().any(|row| row["phase"] == phase), "{platform}, {phase}: {rows:#?}");
            }
            for row in rows.iter().filter(|row| !row["request"].is_null()) {
                assert_eq!((&row["platform"], &row["lane"]), (&json!(platform), &json!(self.lane)), "{row}");
            }
        }
    }

    async fn holds(&self) {
        self.no_duplicate_side_effect().await;
        self.unknown_state().await;
        self.kill_switch().await;
        self.policy().await;
        self.audit().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds_on_every_platform_over_an_api() {
    let contract = Contract::of("api").await;
    contract.holds().await;
    wrong_account(&contract).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds_on_every_platform_in_a_browser() {
    Contract::of("browser").await.holds().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds_on_every_platform_in_both_lanes_at_once() {
    Contract::of("hybrid").await.holds().await;
}

/// As somebody else nothing is done. Over an API; who is signed in in a browser comes with the browser lane (S-033).
async fn wrong_account(contract: &Contract) {
    for platform in PLATFORMS {
        let connected = json!({"fingerprint": {"id": "somebody-else", "handle": "ada"}});
        let path = format!("/v1/platform-accounts/{platform}/ada?client_id=demo");
        let (status, put) = contract.dev.put(&path, &connected).await;
        assert!(status < 300, "{put}");
    }
    for (reference, ended, _) in contract.on(&PLATFORMS, "whose").await {
        assert_eq!(ended["error"]["code"], "identity_mismatch", "{ended}");
        assert_eq!(contract.dev.applied(&reference).await, 0, "{reference}");
    }
}
