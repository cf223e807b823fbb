-- The durable core: runs, steps, waits, intents, actions, events, audit (design, section 4).
--
-- Three roles, made by `fermata migrate` before this file runs: the login owns everything,
-- `fermata_writer` is the group writer's and no request reaches it, `fermata_reader` answers
-- requests under forced row-level security with the client set per transaction.

create schema if not exists fermata;
set local search_path = fermata, pg_temp;

-- The command as accepted: written once.
create table run (
    id              uuid        not null,
    client_id       text        not null,
    kind            text        not null,               -- the command type, such as flow.run
    workflow        text        not null,               -- name@version: what a node must host
    platform        text,
    account_id      text,
    session_id      text,
    correlation_id  text,
    idempotency_key text,
    priority        int2        not null,
    not_before      timestamptz,
    deadline        timestamptz,
    policy          jsonb,
    input           jsonb       not null,
    trace_id        text        not null,
    parent_id       uuid,
    submitted_by    text        not null,
    created_at      timestamptz not null,
    primary key (id)
) partition by range (id);
create index run_by_client on run (client_id, id desc);

-- The queue row (apalis' row): narrow, updated in place, deleted when the run ends.
create table live (
    id          uuid        primary key,
    client_id   text        not null,
    workflow    text        not null,
    state       int2        not null check (state between 0 and 3), -- 0 ready 1 running 2 waiting 3 parked
    priority    int2        not null,
    epoch       int4        not null default 0,     -- the fencing token: grows with each claim
    seq         int4        not null default 0,     -- records applied: the second fence, and what makes a resend safe
    generation  int4        not null default 0,     -- grows with continue_as_new
    inbox       int4        not null default 0,     -- deliveries from outside: signals, decisions, children
    deliveries  int2        not null default 0,     -- claims since the last progress
    cancel      boolean     not null default false,
    node        uuid,
    ready_at    timestamptz not null,
    due         timestamptz,
    deadline    timestamptz,
    wait_reason text,
    parent_id   uuid,
    check ((state = 1) = (node is not null))
) with (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
create index live_ready on live (client_id, priority desc, ready_at, id) where state = 0;
create index live_due on live (due) where state = 2 and due is not null;
create index live_node on live (node) where state = 1;
create index live_parent on live (parent_id) where parent_id is not null;

-- How a run ended: written once.
create table outcome (
    id        uuid        not null,
    client_id text        not null,
    status    text        not null check (status in ('SUCCEEDED', 'FAILED', 'CANCELLED')),
    epoch     int4        not null,
    result    jsonb,
    error     jsonb,
    parent_id uuid,
    ended_at  timestamptz not null,
    primary key (id)
) partition by range (id);
create index outcome_parent on outcome (parent_id) where parent_id is not null;

-- Checkpoints, and failed attempts before them: immutable.
create table step (
    run_id     uuid        not null,
    generation int4        not null,
    key        text        not null,
    attempt    int2        not null,
    seq        int4        not null,
    epoch      int4        not null,
    kind       int2        not null,
    beside     boolean     not null,  -- another step was in flight when this one was called
    input_hash text        not null,
    output     jsonb,
    error      jsonb,
    started_at timestamptz not null,
    ended_at   timestamptz not null,
    primary key (run_id, generation, key, attempt)
) partition by range (run_id);

-- The input of a generation made by continue_as_new.
create table renewal (
    run_id     uuid  not null,
    generation int4  not null,
    input      jsonb not null,
    primary key (run_id, generation)
);

create table signal (
    id          uuid        primary key,
    run_id      uuid        not null,
    client_id   text        not null,
    name        text        not null,
    payload     jsonb       not null,
    sent_by     text        not null,
    sent_at     timestamptz not null,
    consumed_by text
);
create index signal_of_run on signal (run_id, sent_at, id);

create table gate (
    id         uuid        primary key,
    run_id     uuid        not null,
    client_id  text        not null,
    key        text        not null,
    generation int4        not null,
    kind       text        not null check (kind in ('approval', 'takeover')),
    reason     text        not null,
    shown      jsonb       not null,
    state      text        not null default 'open'
               check (state in ('open', 'approved', 'rejected', 'completed', 'expired', 'cancelled')),
    opened_at  timestamptz not null,
    expires_at timestamptz,
    decided_at timestamptz,
    actor      text,
    comment    text,
    outputs    jsonb
);
create unique index gate_open_once on gate (run_id, key, generation) where state = 'open';
create index gate_of_run on gate (run_id, opened_at);
create index gate_open on gate (client_id, id) where state = 'open';

-- The business identity of a side effect: unique for ever, so not partitioned by time.
create table intent (
    id             uuid        primary key,
    client_id      text        not null,
    key            text        not null,
    spec           jsonb       not null,
    current_action uuid,
    repeat_allowed boolean     not null default false,
    created_at     timestamptz not null,
    unique (client_id, key)
);

create table action_transition (
    from_state text not null,
    to_state   text not null,
    primary key (from_state, to_state)
);
insert into action_transition values
    ('queued', 'preflight_passed'), ('queued', 'blocked'), ('queued', 'cancelled'),
    ('preflight_passed', 'identity_verified'), ('preflight_passed', 'blocked'), ('preflight_passed', 'cancelled'),
    ('identity_verified', 'attempted'), ('identity_verified', 'blocked'), ('identity_verified', 'cancelled'),
    ('attempted', 'confirmed_success'), ('attempted', 'confirmed_failed'), ('attempted', 'unknown'),
    ('unknown', 'confirmed_success'), ('unknown', 'confirmed_failed'), ('unknown', 'postcheck_complete'),
    ('confirmed_success', 'postcheck_complete'), ('confirmed_failed', 'postcheck_complete');

-- One attempt at an intent.
create table action (
    id              uuid        primary key,
    intent_id       uuid        not null references intent (id),
    run_id          uuid        not null,
    client_id       text        not null,
    step_key        text        not null,
    number          int4        not null,            -- 1 for the first action of the intent
    state           text        not null,
    action_type     text        not null,
    platform        text        not null,
    account_id      text        not null,
    lane            text        not null check (lane in ('api', 'browser', 'hybrid')),
    idempotency_key text        not null,
    payload_hash    text        not null,
    policy_hash     text        not null,
    verdict         jsonb       not null,
    attempt_id      uuid,
    epoch           int4        not null,
    call_deadline   timestamptz,
    resends         int4        not null default 0,
    looks           int4        not null default 0,
    effect          boolean,
    receipt         jsonb,
    error           jsonb,
    level           int2        not null default 0 check (level between 0 and 3),
    created_at      timestamptz not null,
    updated_at      timestamptz not null
);
create index action_of_run on action (run_id, created_at);
create index action_of_intent on action (intent_id);
create index action_unknown on action (client_id) where state = 'unknown';

-- I4: whatever writes here, the machine holds. This catches our own mistakes only.
create function action_moves_legally() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        if new.state <> 'queued' then
            raise exception 'an action begins as queued, not as %', new.state using errcode = 'check_violation';
        end if;
    elsif new.state <> old.state
        and not exists (select 1 from fermata.action_transition t
                        where t.from_state = old.state and t.to_state = new.state) then
        raise exception 'an action cannot go from % to %', old.state, new.state using errcode = 'check_violation';
    elsif (new.intent_id, new.run_id, new.client_id, new.idempotency_key, new.payload_hash)
        is distinct from (old.intent_id, old.run_id, old.client_id, old.idempotency_key, old.payload_hash) then
        raise exception 'the identity of an action never changes' using errcode = 'check_violation';
    end if;
    return new;
end $$;
create trigger action_moves_legally before insert or update on action
    for each row execute function action_moves_legally();

-- The next positions, given last in each transaction, so that they are dense and in commit order.
create table position (
    one   boolean primary key default true check (one),
    event int8    not null default 0,
    audit int8    not null default 0
) with (fillfactor = 10);
insert into position default values;

-- Immutable facts, in commit order.
create table event (
    position  int8        not null,
    at        timestamptz not null,
    client_id text        not null,
    run_id    uuid,
    type      text        not null,
    severity  int2        not null,   -- 0 debug 1 info 2 warn 3 error
    data      jsonb       not null,
    primary key (position)
) partition by range (position);
create index event_of_run on event (run_id, position);

create table audit (
    position  int8        primary key,
    at        timestamptz not null,
    client_id text        not null,
    run_id    uuid,
    action_id uuid,
    actor     text        not null,
    phase     text        not null,
    body      jsonb       not null
);
create index audit_of_run on audit (run_id, position);
create index audit_of_action on audit (action_id, position);

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only', tg_table_name using errcode = 'insufficient_privilege';
end $$;
create trigger audit_is_append_only before update or delete on audit
    for each row execute function refuse_change();
create trigger audit_is_not_truncated before truncate on audit
    for each statement execute function refuse_change();

create table artifact (
    id           uuid        primary key,
    client_id    text        not null,
    run_id       uuid,
    kind         text        not null,
    content_type text        not null,
    checksum     text        not null,   -- sha256, hex: also where the content is
    bytes        int8        not null,
    created_at   timestamptz not null
);
create index artifact_of_run on artifact (run_id, created_at);

-- Idempotency keys of clients (Q-10): small, pruned, never partitioned.
create table idempotency (
    client_id   text        not null,
    family      text        not null,
    key         text        not null,
    fingerprint text        not null,
    run_id      uuid        not null,
    created_at  timestamptz not null,
    primary key (client_id, family, key)
);
create index idempotency_age on idempotency (created_at);

create table token (
    id            uuid        primary key,
    client_id     text        not null,     -- '*': every client
    name          text        not null,
    hash          bytea       not null,     -- sha256 of the secret; the secret is nowhere
    scopes        text[]      not null,
    command_types text[],                   -- null: every type
    created_at    timestamptz not null,
    expires_at    timestamptz,
    revoked_at    timestamptz
);

create table kill_switch (
    scope      text        primary key,     -- global, client:<id>, account:<id>
    engaged    boolean     not null,
    reason     text        not null,
    actor      text        not null,
    version    int8        not null default 1,
    changed_at timestamptz not null
);

-- Processes that hold leases. A lease is per node, not per run.
create table node (
    id           uuid        primary key,
    role         text        not null,
    pid          int4        not null,
    lock_key     int8        not null,      -- the session lock that the kernel frees when the process dies
    server_start timestamptz not null,      -- lock evidence counts only while this is unchanged
    started_at   timestamptz not null,
    lease_until  timestamptz not null
);

-- What the API calls a command.
create view command with (security_invoker = true) as
select r.id, r.client_id, r.kind, r.workflow, r.platform, r.account_id, r.session_id, r.correlation_id,
       r.idempotency_key, r.priority, r.not_before, r.deadline, r.policy, r.input, r.trace_id, r.parent_id,
       r.submitted_by, r.created_at,
       case when o.id is not null then o.status
            when l.cancel then 'CANCELLING'
            when l.state = 1 then 'RUNNING'
            when l.state = 3 then 'HUMAN_REQUIRED'
            when l.wait_reason is null then 'QUEUED'
            when l.wait_reason in ('approval', 'takeover') then 'HUMAN_REQUIRED'
            when l.wait_reason = 'external_poll' then 'POLLING'
            else 'WAITING' end as status,
       case when o.id is null and l.state <> 1 then l.wait_reason end as wait_reason,
       case when o.id is null and l.state = 2 then l.due end as due,
       coalesce(l.epoch, o.epoch) as epoch, l.seq, l.deliveries, l.node,
       o.result, o.error, o.ended_at
from run r
left join live l on l.id = r.id
left join outcome o on o.id = r.id;

set local search_path to default;
