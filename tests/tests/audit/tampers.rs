//! Somebody who owns the database changes sealed rows, two hundred times, and is found out each time.

use std::sync::Arc;
use std::time::Duration;

use fermata_engine::audit::Tamper;
use fermata_engine::workflow::Registry;
use fermata_tests::{Lot, Promises, TestDb, eventually};
use sqlx::{Connection as _, Executor as _, PgConnection};

use super::{Stage, key, worker};

/// Somebody who owns the server: no trigger and no privilege stops him.
pub(super) struct Intruder(PgConnection);

const TABLES: [&str; 5] = ["audit", "audit_seal", "audit_head", "signed_head", "position"];

impl Intruder {
    pub(super) async fn on(db: &TestDb) -> Self {
        let mut intruder = Self(PgConnection::connect(&db.url).await.unwrap());
        intruder.does("create schema kept").await;
        for table in TABLES {
            for gives_way in ["disable trigger user", "no force row level security"] {
                intruder.does(&format!("alter table fermata.{table} {gives_way}")).await;
            }
            intruder.does(&format!("create table kept.{table} as table fermata.{table}")).await;
        }
        intruder
    }

    pub(super) async fn does(&mut self, sql: &str) {
        let done = self.0.execute(sqlx::AssertSqlSafe(sql.to_owned())).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    async fn puts_everything_back(&mut self) {
        for table in TABLES {
            self.does(&format!("truncate fermata.{table}")).await;
            self.does(&format!("insert into fermata.{table} select * from kept.{table}")).await;
        }
    }

    /// The rows from `at` on were never there, as far as this database says.
    async fn forgets(&mut self, at: i64) {
        self.does(&format!("delete from fermata.audit_seal where position >= {at}")).await;
        self.does("delete from fermata.audit_head").await;
        self.does(
            "insert into fermata.audit_head select distinct on (client_id) client_id, seq, hash, now()
             from fermata.audit_seal order by client_id, seq desc",
        )
        .await;
        self.does(
            "delete from fermata.signed_head h where not exists (
             select 1 from fermata.audit_seal s where s.client_id = h.client_id and s.seq = h.seq)",
        )
        .await;
    }

    async fn edits(&mut self, lot: &mut Lot, at: i64) {
        let change = [
            "body = jsonb_set(body, '{idempotency_key}', '\"other\"')",
            "body = jsonb_set(body, '{result, status}', '\"unknown\"')",
            "actor = actor || 'x'",
            "phase = 'cancelled'",
            "at = at + interval '1 microsecond'",
            "action_id = gen_random_uuid()",
            "run_id = null",
            "id = gen_random_uuid()",
            "client_id = client_id || 'x'",
        ];
        let change = change[lot.below(9)];
        self.does(&format!("update fermata.audit set {change} where position = {at}")).await;
    }
}

/// Changes something; answers where, and what is to be found.
async fn tamper(stage: &Stage, intruder: &mut Intruder, lot: &mut Lot, n: u32) -> (i64, &'static [Tamper]) {
    let mut row = || i64::try_from(1 + lot.below(72)).unwrap();
    let (at, other) = (row(), row());
    let expected: &[Tamper] = match n % 8 {
        0 | 1 => {
            intruder.edits(lot, at).await;
            &[Tamper::Edited]
        }
        2 => {
            intruder.does(&format!("delete from fermata.audit where position = {at}")).await;
            &[Tamper::Missing]
        }
        3 => {
            for table in ["audit", "audit_seal"] {
                intruder.does(&format!("delete from fermata.{table} where position = {at}")).await;
            }
            &[Tamper::Missing]
        }
        4 => {
            let other = if other == at { at % 72 + 1 } else { other };
            for (from, to) in [(at, -1), (other, at), (-1, other)] {
                let moved = format!("update fermata.audit set position = {to} where position = {from}");
                intruder.does(&moved).await;
            }
            &[Tamper::Edited]
        }
        5 => {
            for shift in ["+ 1000000", "- 999999"] {
                let moved = format!("update fermata.audit set position = position {shift} where position >= {at}");
                intruder.does(&moved).await;
            }
            intruder
                .does(&format!(
                    "insert into fermata.audit select {at}, at, client_id, run_id, action_id, actor, phase, body
                     from fermata.audit where position = {}",
                    if at == 1 { 2 } else { 1 }
                ))
                .await;
            intruder.does("update fermata.position set audit = audit + 1").await;
            &[Tamper::Edited]
        }
        6 => {
            intruder.does(&format!("delete from fermata.audit where position >= {at}")).await;
            intruder.forgets(at).await;
            intruder.does(&format!("update fermata.position set audit = {}", at - 1)).await;
            assert!(stage.verify(Vec::new()).await.ok, "without heads from outside a cut tail cannot be seen");
            &[Tamper::Cut]
        }
        _ => {
            // Written anew from there on, by a sealer that looks like ours but does not have its key.
            intruder.edits(lot, at).await;
            intruder.forgets(at).await;
            written_anew(stage).await;
            &[Tamper::Rewritten, Tamper::Cut]
        }
    };
    (at, expected)
}

/// A worker with a key of its own seals what has no link.
async fn written_anew(stage: &Stage) {
    let theirs = worker(&stage.db, &stage.ledger, &key(), &Arc::default()).await;
    let unsealed = "select (select audit from fermata.position) - (select count(*) from fermata.audit_seal)";
    eventually("the chain is written anew", || async { (stage.db.count(unsealed).await == 0).then_some(()) }).await;
    theirs.close(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_tampers_are_all_found() {
    let stage = Stage::new().await;
    let mut runs = Vec::new();
    for n in 0..12 {
        runs.push(stage.publish(["a", "b", "c"][n % 3], &format!("k{n}"), &Promises::default()).await);
    }
    for run in runs {
        stage.db.ended(&stage.engine, run).await;
    }
    stage.sealed().await;
    stage.engine.close(Duration::from_secs(5)).await;
    let engine = stage.db.engine(Registry::new()).await;
    let stage = Stage { engine, ..stage };
    let heads = stage.heads();
    assert!(stage.verify(heads.clone()).await.ok);
    let (mut intruder, mut lot) = (Intruder::on(&stage.db).await, Lot::new(6));
    for n in 0..200 {
        let (at, expected) = tamper(&stage, &mut intruder, &mut lot, n).await;
        let found = stage.verify(heads.clone()).await;
        let kinds: Vec<_> = found.findings.iter().map(|finding| finding.kind).collect();
        assert!(!found.ok && expected.iter().any(|kind| kinds.contains(kind)), "tamper {n} at {at}: {found:?}");
        intruder.puts_everything_back().await;
    }
    assert!(stage.verify(heads).await.ok);
}
