//! The machine, the guard and the intents against a reference written separately (S-028 to S-030, G-025; design, section 5).
//!
//! Random sequences of what the engine's writer sends are played by [`World`](reference::World), which shares no code with
//! the engine, and by Postgres, through the functions that the writer calls; after each operation both say the same.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod deal;
mod reference;

use deal::{Sequence, deal};
use fermata_tests::TestDb;
use futures::future::join_all;
use reference::{BUDGET, Op, Part, STATES, may_go};
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use sqlx::types::Json;
use sqlx::{Connection as _, Executor as _};

/// Says how many sequences are played; 100,000 take minutes.
const SEQUENCES: &str = "MODEL_SEQUENCES";
/// How many are played by default, by how many databases at once, and how many of them at a time.
const USUALLY: u64 = 20_000;
const DATABASES: u64 = 2;
const CHUNK: u64 = 250;
/// One sequence in so many is looked at after each operation, the others at their end.
const WATCHED: u64 = 8;

/// Plays sequences, each alone in the world: it is undone before the next one. Answers what was said to each operation, with
/// how everything stood after the last one (after each, if the sequence is to be `watched`), and how often a promise was broken:
///  - an attempt began while a switch of its account was on;
///  - an intent has two actions of which each did it, or may yet do it, or found it done.
const PLAYER: &str = r#"
create function pg_temp.shown(runs uuid[], clients text[]) returns text language plpgsql as $$
begin
    return coalesce((select string_agg(format('%s: %s %s %s %s %s %s %s %s %s %s; ', ('x' || right(a.id::text, 2))::bit(8)::int,
            a.number, a.state, coalesce(left(a.effect::text, 1), '?'), a.receipt is not null, a.level, a.looks, a.resends,
            a.answer is not null, a.tokens is not null,
            (select string_agg(p.kind || case when p.body ? 'permalink' then '+' else '' end, ',' order by
                p.kind || case when p.body ? 'permalink' then '+' else '' end collate "C")
                from fermata.proof p where p.action_id = a.id)), '' order by a.id)
        from fermata.action a where a.run_id = any (runs)), '')
    || coalesce((select string_agg(format('%s/%s %s %s %s; ', i.client_id, i.key,
            coalesce((('x' || right(i.current_action::text, 2))::bit(8)::int)::text, '?'), i.repeat_allowed,
            coalesce((select b.used from fermata.budget b where b.key = i.client_id), 0)), ''
            order by i.client_id collate "C", i.key collate "C")
        from fermata.intent i where i.client_id = any (clients)), '');
end $$;

create function pg_temp.play(games jsonb) returns setof text[] language plpgsql as $$
declare
    at constant timestamptz := '2026-01-01T00:00:00Z';
    game    jsonb;
    op      jsonb;
    x       jsonb;
    verdict jsonb;
    runs    uuid[];
    clients text[];
    said    text;
    told    text[];
    broken  int8;
    done    int4;
begin
    for game in select e from jsonb_array_elements(games) e loop
        runs := array(select r::uuid from jsonb_array_elements_text(game -> 'runs') r);
        clients := array(select c from jsonb_array_elements_text(game -> 'clients') c);
        told := '{}';
        begin
            insert into fermata.live (id, client_id, workflow, state, priority, epoch, node, ready_at)
                select r, clients[1], 'w@1', 1, 5, 1, r, at from unnest(runs) r;
            broken := 0;
            done := 0;
            for op in select e from jsonb_array_elements(game -> 'ops') e loop
                begin
                    if op ? 'rare' then
                        verdict := fermata.judge(at, op -> 'rare');
                        perform fermata.apply_parts(at, op -> 'rare',
                            array(select n from generate_series(1, (op ->> 'records')::int4) n where not verdict ? n::text));
                        select string_agg(case when v is null then 'done' when v ? 'held' then 'held'
                                when v ? 'kill_switch' then 'kill_switch ' || (v ->> 'kill_switch')
                                when v ? 'policy_changed' then 'policy_changed'
                                else 'wait ' || (v -> 'wait' ->> 'rule') end, '; ' order by n)
                            into said from generate_series(1, (op ->> 'records')::int4) n, lateral (select verdict -> n::text as v) t;
                    elsif op ? 'switch' then
                        x := op -> 'switch';
                        perform fermata.turn_switch(x ->> 0, x ->> 1, (x ->> 2)::boolean, 'why', 'who');
                        said := 'done';
                    else
                        x := op -> 'policy';
                        said := case when exists (select 1 from fermata.put_policy(x ->> 0, x ->> 1, x ->> 2, x ->> 3, '{}',
                            'who', (x ->> 4)::int8)) then 'done' else 'stale' end;
                    end if;
                exception when others then
                    said := 'error ' || sqlstate || ' ' || sqlerrm;
                end;
                done := done + 1;
                told := told || (said || case when game ? 'watched' or done = jsonb_array_length(game -> 'ops')
                    then ' | ' || pg_temp.shown(runs, clients) else '' end);
                continue when coalesce(op -> 'begins', '[]') = '[]';
                broken := broken + (select count(*) from fermata.action a join fermata.kill_switch k
                    on k.engaged and k.client_id in ('*', a.client_id) and k.account_id in ('*', a.account_id)
                    where a.run_id = any (runs) and a.state = 'attempted' and op -> 'begins' ? a.attempt_id::text);
            end loop;
            broken := broken + (select count(*) from (select 1 from fermata.action a where a.run_id = any (runs)
                group by a.intent_id having count(*) filter (where a.effect or a.receipt is not null or a.state in
                    ('preflight_passed', 'identity_verified', 'attempted', 'unknown')) > 1) twice);
            raise exception using errcode = 'MODEL';
        exception when sqlstate 'MODEL' then
            return next told || broken::text;
        end;
    end loop;
end $$;
"#;

/// An id of a sequence: what kind of thing it is of, and which one.
fn id(sequence: u64, kind: u8, nth: usize) -> String {
    format!("{sequence:08x}-0000-4000-8000-{kind:04x}{nth:08x}")
}

const RUN: u8 = 1;
const INTENT: u8 = 2;
const ACTION: u8 = 3;
const ATTEMPT: u8 = 4;

/// A part as the engine writes it (engine/src/effect/record.rs).
fn sent(sequence: &Sequence, ord: usize, nth: usize, part: &Part) -> Value {
    let about =
        |op: &str, action: usize| json!({"ord": ord, "op": op, "action_id": id(sequence.number, ACTION, action)});
    let mut fields = json!({});
    let mut it = match part {
        Part::Plan { action, intent, allowed } => {
            let planned = &sequence.intents[*intent];
            let spec = json!({"action_type": "post", "platform": "p", "account_id": planned.account, "lane": "api"});
            fields = json!({
                "intent_id": id(sequence.number, INTENT, nth), "intent_key": planned.key, "client_id": planned.client,
                "run_id": id(sequence.number, RUN, ord), "step_key": "s", "spec": spec, "idempotency_key": planned.key,
                "payload_hash": "h", "policy_hash": "h", "verdict": {"allowed": allowed}, "epoch": 1,
            });
            about("plan", *action)
        }
        Part::Attempt { action, intent, asks } => {
            let asked = &sequence.intents[*intent];
            fields = json!({
                "attempt_id": id(sequence.number, ATTEMPT, nth), "epoch": 1, "run_id": id(sequence.number, RUN, ord),
                "call_deadline": "2026-01-01T00:01:00Z", "client_id": asked.client, "platform": "p",
                "account_id": asked.account,
            });
            if let Some(asks) = asks {
                let one = json!({"key": asked.client, "name": "posts", "n": 1, "max": BUDGET, "window_s": 31_622_400});
                fields["heads"] = json!(asks.heads);
                fields["tokens"] = if asks.tokens { json!([one]) } else { json!([]) };
                if asks.alone {
                    fields["concurrency"] = json!(1);
                }
            }
            about("attempt", *action)
        }
        Part::Resend(action) => {
            fields = json!({"attempt_id": id(sequence.number, ATTEMPT, nth), "epoch": 1});
            about("resend", *action)
        }
        Part::Move { action, to, detail } => {
            fields = json!({"state": to, "looks": detail.looks});
            if let Some(effect) = detail.effect {
                fields["effect"] = json!(effect);
            }
            if let Some(receipt) = &detail.receipt {
                fields["receipt"] = receipt.clone();
            }
            if let Some(level) = detail.level {
                fields["level"] = json!(level);
            }
            about("move", *action)
        }
        Part::Prove { action, kind, permalink } => {
            let body = if *permalink { json!({"permalink": "https://p/1"}) } else { json!({}) };
            fields = json!({"kind": kind, "body": body});
            about("prove", *action)
        }
        Part::Answered(action) => {
            fields = json!({"answer": {"output": 1}});
            about("answered", *action)
        }
        Part::Look(action) => about("look", *action),
        Part::AllowRepeat(action) => about("allow_repeat", *action),
    };
    it.as_object_mut().unwrap().append(fields.as_object_mut().unwrap());
    it
}

impl Sequence {
    fn game(&self) -> Value {
        let ops: Vec<_> = self.ops.iter().enumerate().map(|(nth, op)| self.operation(nth, op)).collect();
        let runs = [1, 2].map(|ord| id(self.number, RUN, ord));
        let mut clients: Vec<_> = self.intents.iter().map(|intent| &intent.client).collect();
        clients.dedup();
        let mut game = json!({"runs": runs, "clients": clients, "ops": ops});
        if self.number.is_multiple_of(WATCHED) {
            game["watched"] = json!(true);
        }
        game
    }

    fn operation(&self, nth: usize, op: &Op) -> Value {
        match op {
            Op::Switch(reach, on) => json!({"switch": [reach.client, reach.account, on]}),
            Op::Policy(reach, known) => {
                json!({"policy": [reach.name(), reach.client, reach.platform, reach.account, known]})
            }
            Op::Batch(records) => {
                let parts = (1..).zip(records).flat_map(|(ord, record)| record.iter().map(move |part| (ord, part)));
                let rare: Vec<_> = parts.map(|(ord, part)| sent(self, ord, 2 * nth + ord, part)).collect();
                let begins: Vec<_> = rare.iter().filter(|part| part["op"] == "attempt").collect();
                let begins: Vec<_> = begins.iter().map(|part| &part["attempt_id"]).collect();
                json!({"rare": rare, "records": records.len(), "begins": begins})
            }
        }
    }

    /// Says so when Postgres answered anything else, and how.
    fn compare(&self, answers: &[String]) {
        let (broken, answers) = answers.split_last().unwrap();
        for (nth, (expected, answer)) in self.expected.iter().zip(answers).enumerate() {
            let (said, shown) = expected.split_once(" | ").unwrap();
            let (answered, is) = answer.split_once(" | ").unwrap_or((answer, shown));
            let alike = answered == said || said.starts_with("error") && answered.starts_with(said);
            assert!(
                alike && is == shown,
                "sequence {}, operation {nth}\n  the reference: {expected}\n  Postgres:      {answer}\n{}",
                self.number,
                self.told(nth),
            );
        }
        assert_eq!(answers.len(), self.ops.len());
        assert!(
            !self.honest || broken == "0",
            "sequence {} breaks a promise\n{}",
            self.number,
            self.told(self.ops.len())
        );
    }

    fn told(&self, last: usize) -> String {
        let each = self.ops.iter().zip(&self.expected).take(last + 1).enumerate();
        let lines: Vec<_> = each.map(|(nth, (op, expected))| format!("  {nth} {op:?}\n      {expected}\n")).collect();
        lines.concat()
    }
}

/// Who plays: a connection as the writer's role.
async fn player(db: &TestDb) -> PgConnection {
    let mut connection = PgConnection::connect(&db.url).await.unwrap();
    connection
        .execute("set role fermata_writer; set jit = off; set enable_seqscan = off; set plan_cache_mode = force_generic_plan")
        .await
        .unwrap();
    connection.execute(PLAYER).await.unwrap();
    connection
}

/// How many sequences are played: whole chunks of each database.
fn sequences() -> u64 {
    let wanted = std::env::var(SEQUENCES).map_or(USUALLY, |many| many.parse().unwrap());
    wanted.next_multiple_of(DATABASES * CHUNK)
}

/// Plays the sequences of one database, a chunk per transaction, which is undone.
async fn play_all(lane: u64) -> Vec<usize> {
    let db = TestDb::new().await;
    let mut connection = player(&db).await;
    let mut reached = vec![0; STATES.len()];
    let mine = sequences() / DATABASES;
    for first in (lane * mine..(lane + 1) * mine).step_by(usize::try_from(CHUNK).unwrap()) {
        let sequences: Vec<_> = (first..first + CHUNK).map(deal).collect();
        let games = Json(sequences.iter().map(Sequence::game).collect::<Vec<_>>());
        let mut undone = connection.begin().await.unwrap();
        let play = sqlx::query_scalar("select pg_temp.play($1)").bind(games);
        let answers: Vec<Vec<String>> = play.fetch_all(&mut *undone).await.unwrap();
        undone.rollback().await.unwrap();
        assert_eq!(answers.len(), sequences.len());
        for (sequence, answers) in sequences.iter().zip(&answers) {
            sequence.compare(answers);
            for (count, state) in reached.iter_mut().zip(STATES) {
                *count += usize::from(sequence.expected.iter().any(|shown| shown.contains(state)));
            }
        }
    }
    reached
}

#[tokio::test(flavor = "multi_thread")]
async fn machine_guard_and_intents_do_what_the_reference_says() {
    let mut reached = vec![0; STATES.len()];
    for lane in join_all((0..DATABASES).map(play_all)).await {
        for (count, more) in reached.iter_mut().zip(lane) {
            *count += more;
        }
    }
    let told: Vec<_> = STATES.iter().zip(&reached).collect();
    println!("{} sequences; how many reached each state: {told:?}", sequences());
    let far = reached[3];
    assert!(u64::try_from(far).unwrap() > sequences() / 4, "many sequences are attempted: {told:?}");
}

/// A legal way to each state.
fn way(state: &'static str) -> Vec<&'static str> {
    let attempted = ["preflight_passed", "identity_verified", "attempted"];
    match state {
        "queued" => vec![],
        "blocked" | "cancelled" => vec![state],
        "postcheck_complete" => [&attempted[..], &["unknown", state]].concat(),
        _ => match attempted.iter().position(|step| *step == state) {
            Some(nth) => attempted[..=nth].to_vec(),
            None => [&attempted[..], &[state]].concat(),
        },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_itself_takes_exactly_the_moves_of_the_machine() {
    let db = TestDb::new().await;
    let known =
        "insert into fermata.intent (id, client_id, key, spec, created_at) values ($1::uuid, 'c', 'k', '{}', now())";
    sqlx::query(known).bind(id(1, INTENT, 1)).execute(&db.pool).await.unwrap();
    let begins =
        "insert into fermata.action (id, intent_id, run_id, client_id, step_key, number, state, action_type, platform,
            account_id, lane, idempotency_key, payload_hash, policy_hash, verdict, epoch, created_at, updated_at)
        select gen_random_uuid(), id, id, 'c', 's', 1, $1, 'post', 'p', 'x', 'api', 'k', 'h', 'h', '{}', 1, now(), now()
        from fermata.intent";
    for from in STATES {
        let mut tried = db.pool.begin().await.unwrap();
        let began = sqlx::query(begins).bind(from).execute(&mut *tried).await;
        assert_eq!(began.is_ok(), from == "queued", "an action begins as {from}");
        drop(tried);
        for to in STATES.into_iter().chain(["done"]) {
            let mut tried = db.pool.begin().await.unwrap();
            sqlx::query(begins).bind("queued").execute(&mut *tried).await.unwrap();
            let goes = "update fermata.action set state = $1";
            for step in way(from) {
                sqlx::query(goes).bind(step).execute(&mut *tried).await.unwrap();
            }
            let moved = sqlx::query(goes).bind(to).execute(&mut *tried).await;
            assert_eq!(moved.is_ok(), may_go(from, to), "{from} -> {to}: {moved:?}");
        }
    }
}
