//! Known words (S-001, S-076, S-078): nothing is planned under a word that no rule could be about.

use fermata_engine::EngineOptions;
use fermata_engine::NodeOptions;
use fermata_engine::effect::Vocabulary;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_effect_under_a_word_that_nobody_knows_fails_and_nothing_is_planned_or_called() {
    let stage = Stage::new().await;
    let run = stage.act("pubish", "1", Value::Null).await;
    assert_eq!(stage.ended(run).await, ("FAILED".to_owned(), json!(["action_type_unknown", null])));
    assert_eq!((stage.db.count("select count(*) from fermata.action").await, stage.platform.calls()), (0, 0));
    let ask = Proposal {
        client_id: Some("acme".into()),
        platform: "memory".into(),
        account_id: "main".into(),
        action_type: "pubish".into(),
        payload: Value::Null,
        at: None,
    };
    stage.engine.evaluate(&Principal::operator(), &ask).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_the_host_does_not_know_gets_no_effect_and_one_that_it_adds_does() {
    let (db, platform) = (TestDb::new().await, Platform::new());
    for (words, wanted) in
        [(Vocabulary::default(), "FAILED"), (Vocabulary::default().with_platforms(["memory"]), "SUCCEEDED")]
    {
        let registry = Registry::new().with(Publish(platform.clone())).knowing(words);
        let engine = Engine::open(EngineOptions { registry, ..db.options(Registry::new()) }).await.unwrap();
        engine.work(NodeOptions { slots: 4, lease: LEASE, role: "test".into() }).await.unwrap();
        let input = json!({"account": "main", "action": "publish", "key": "1"});
        let run = db.submit(&engine, "test.rationed", input).await;
        let ended = db.ended(&engine, run).await;
        assert_eq!(ended.status, wanted, "{:?}", ended.error);
        engine.close(Duration::from_secs(5)).await;
    }
    assert_eq!(platform.calls(), 1);
}
