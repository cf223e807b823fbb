//! Webhooks that go wrong: what each fault looks like to a receiver, and that a good one is not
//! deceived by any.

use std::collections::BTreeSet;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::inbox::{Inbox, deliveries};
use crate::running::Running;

/// A site whose posts are told under these odds.
async fn telling(odds: Value) -> (Running, Inbox) {
    let site = Running::start();
    let inbox = Inbox::of(&site, &["post.created"]).await;
    assert_eq!(site.put("/_webhooks/conduct", odds).await, StatusCode::OK);
    (site, inbox)
}

fn conduct(sent: &Value) -> &str {
    sent["conduct"].as_str().unwrap()
}

fn ids(sent: &[Value]) -> BTreeSet<&str> {
    sent.iter().map(|sent| sent["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_good_receiver_gets_each_event_exactly_once_whatever_is_done_to_it() {
    let (site, inbox) = telling(json!({
        "seed": 5, "duplicate": 0.3, "late_ms": [0, 100], "reorder": 0.3, "forge": 0.3, "replay": 0.3,
        "replay_after_ms": [50, 200], "wrong_timestamp": 0.3
    }))
    .await;
    for n in 0..30 {
        site.refer(&format!("r-{n}")).await.unwrap();
    }

    let faults = ["duplicate", "late", "reorder", "forge: signed", "forge: tampered", "replay", "wrong timestamp"];
    let is_through = |sent: &[Value]| {
        let accepted: Vec<Value> =
            sent.iter().filter(|sent| sent["attempt"] != 0 && sent["status"] == 200).cloned().collect();
        ids(&accepted).len() == 30 && faults.iter().all(|fault| sent.iter().any(|sent| conduct(sent).contains(fault)))
    };
    let sent = deliveries(&site, is_through).await;

    let events = inbox.events();
    let told: BTreeSet<String> = events.iter().map(|event| event.json()["data"]["id"].to_string()).collect();
    let applied: BTreeSet<String> = site.ledger().await.iter().map(|entry| entry["id"].to_string()).collect();
    assert_eq!((events.len(), &told), (30, &applied));
    assert!(events.iter().all(|event| event.json()["data"]["account"] == "ada"));
    assert!(inbox.letters().len() > 30 && sent.len() > 30);
}

#[tokio::test]
async fn the_same_seed_does_the_same_to_the_same_webhook_and_another_seed_does_not() {
    let mut runs = Vec::new();
    for seed in [1, 1, 2] {
        let (site, _inbox) = telling(json!({ "seed": seed, "duplicate": 0.5, "late_ms": [0, 50], "drop": 0.3 })).await;
        for n in 0..8 {
            site.refer(&format!("r-{n}")).await.unwrap();
        }
        let is_true = |sent: &&Value| conduct(sent) != "duplicate";
        let sent = deliveries(&site, |sent| sent.iter().filter(is_true).count() == 8).await;
        let what = |sent: &Value| format!("{} {}", sent["id"], conduct(sent));
        runs.push(sent.iter().filter(is_true).map(what).collect::<BTreeSet<_>>());
    }

    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}

#[tokio::test]
async fn a_duplicate_is_the_same_letter_twice() {
    let (site, inbox) = telling(json!({ "duplicate": 1.0 })).await;

    site.refer("r-1").await.unwrap();
    deliveries(&site, |sent| sent.len() >= 2).await;

    let letters = inbox.letters();
    assert_eq!((&letters[0].id, &letters[0].signature), (&letters[1].id, &letters[1].signature));
    assert_eq!(inbox.events().len(), 1);
}

#[tokio::test]
async fn a_late_webhook_comes_late() {
    let (site, inbox) = telling(json!({ "late_ms": [400, 400] })).await;

    site.refer("r-1").await.unwrap();
    let sent = deliveries(&site, |sent| !sent.is_empty()).await;

    assert_eq!(conduct(&sent[0]), "late 400 ms");
    let applied = site.ledger().await[0]["time"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>();
    assert!((inbox.events()[0].at - applied.unwrap()).num_milliseconds() >= 400);
}

#[tokio::test]
async fn a_webhook_out_of_order_comes_after_a_later_one() {
    let (site, inbox) = telling(json!({ "seed": 2, "reorder": 0.5 })).await;
    for n in 0..10 {
        site.refer(&format!("{n}")).await.unwrap();
    }

    let sent = deliveries(&site, |sent| sent.len() == 10).await;

    let number = |reference: &Value| reference.as_str().unwrap().parse::<u32>().unwrap();
    let order: Vec<u32> = inbox.events().iter().map(|event| number(&event.json()["data"]["reference"])).collect();
    let reordered: Vec<&Value> = sent.iter().filter(|sent| conduct(sent) == "reorder").collect();
    assert!(!reordered.is_empty());
    for late in reordered {
        let late = number(&late["reference"]);
        assert!(order.iter().take_while(|&&event| event != late).any(|&event| event > late), "{late} {order:?}");
    }
}

#[tokio::test]
async fn a_forgery_comes_first_under_the_true_id_and_does_not_verify() {
    let (site, inbox) = telling(json!({ "forge": 1.0 })).await;
    for n in 0..8 {
        site.refer(&format!("r-{n}")).await.unwrap();
    }

    let sent = deliveries(&site, |sent| sent.len() >= 16).await;

    for forgery in ["forge: signed by a stranger", "forge: tampered body"] {
        let forged: Vec<&Value> = sent.iter().filter(|sent| conduct(sent) == forgery).collect();
        assert!(!forged.is_empty() && forged.iter().all(|forged| forged["status"] == 401), "{forged:?}");
    }
    let letters = inbox.letters();
    for event in inbox.events() {
        let first = letters.iter().find(|letter| letter.id == event.id).unwrap();
        assert_eq!(first.answer, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(inbox.events().len(), 8);
}

#[tokio::test]
async fn a_replay_is_the_accepted_letter_again_with_its_old_timestamp() {
    let (site, inbox) = telling(json!({ "replay": 1.0, "replay_after_ms": [1_200, 1_200] })).await;

    site.refer("r-1").await.unwrap();
    deliveries(&site, |sent| sent.iter().any(|sent| conduct(sent) == "replay")).await;

    let [first, again] = &inbox.letters()[..] else { panic!() };
    assert_eq!((&first.id, &first.timestamp, &first.signature), (&again.id, &again.timestamp, &again.signature));
    assert_eq!(first.body, again.body);
    assert!((again.at - first.at).num_milliseconds() >= 1_200);
    assert_eq!(inbox.events().len(), 1);
}

#[tokio::test]
async fn a_dropped_webhook_is_on_the_list_and_nowhere_else() {
    let (site, inbox) = telling(json!({ "drop": 1.0, "forge": 1.0, "duplicate": 1.0 })).await;

    site.refer("r-1").await.unwrap();
    let sent = deliveries(&site, |sent| !sent.is_empty()).await;

    assert_eq!((conduct(&sent[0]), &sent[0]["status"], &sent[0]["attempt"]), ("drop", &json!(null), &json!(0)));
    assert!(inbox.letters().is_empty());
}

#[tokio::test]
async fn a_wrong_timestamp_is_truly_signed_and_put_right_when_it_is_refused() {
    let (site, inbox) = telling(json!({ "wrong_timestamp": 1.0 })).await;

    site.refer("r-1").await.unwrap();
    let sent = deliveries(&site, |sent| sent.len() >= 2).await;

    assert!(conduct(&sent[0]).starts_with("wrong timestamp by "));
    assert_eq!((&sent[0]["status"], &sent[1]["status"]), (&json!(400), &json!(200)));
    assert_eq!(inbox.events().len(), 1);
}

#[tokio::test]
async fn senseless_odds_are_refused_and_a_reset_forgets_them_with_the_endpoints() {
    let (site, inbox) = telling(json!({ "seed": 9, "drop": 1.0 })).await;
    for senseless in [json!({ "forge": 1.5 }), json!({ "late_ms": [2, 1] }), json!({ "lose": 1.0 })] {
        assert_eq!(site.put("/_webhooks/conduct", senseless).await, StatusCode::BAD_REQUEST);
    }
    assert_eq!(site.get("/_webhooks/conduct").await["seed"], 9);
    site.refer("r-1").await.unwrap();

    site.http.post(site.address("/_reset")).send().await.unwrap();
    site.refer("r-2").await.unwrap();

    assert_eq!(site.get("/_webhooks/conduct").await["drop"], 0.0);
    assert_eq!(site.get("/_webhooks/deliveries").await, json!({ "deliveries": [], "forgotten": 0 }));
    assert!(inbox.letters().is_empty());
}
