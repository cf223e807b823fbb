// the physical limit of this round: pgbench on the same cluster. node limits.mjs
import pg from 'pg'
import { execFileSync } from 'node:child_process'
import path from 'node:path'
import { loadavg, envNum } from './lib.mjs'
const bin = process.env.PG_BIN,
  base = process.env.PG_BASE,
  here = path.dirname(new URL(import.meta.url).pathname)
const root = new pg.Client({ connectionString: base + '/postgres' })
await root.connect()
await root.query('drop database if exists limits with (force)')
await root.query('create database limits')
const c = new pg.Client({ connectionString: base + '/limits' })
await c.connect()
await c.query(`create table l1(id bigserial primary key, created timestamptz not null default now(), payload text);
  create table l2(id bigint primary key, state int not null default 0, locked_by int, payload jsonb);
  create index on l2(state, id);
  insert into l2 select i, 0, null, jsonb_build_object('k', i, 'pad', repeat('x', 170)) from generate_series(1, 100000) i; analyze l2;
  create table l5_run(id int primary key, state smallint not null default 2, epoch int not null default 1, step_seq int not null default 0, pad text default repeat('x', 100)) with (fillfactor = 50);
  insert into l5_run(id) select generate_series(1, 20000);
  create table l5_step(run_id int, seq int, epoch int, status smallint, out jsonb, at timestamptz default now(), primary key(run_id, seq));
  create table l5_position(pos bigint not null) with (fillfactor = 10); insert into l5_position values (0);
  create table l5_event(pos bigint primary key, run_id int, kind smallint, body jsonb, at timestamptz default now()); analyze;`)
const T = envNum('LIMIT_SECS', 3)
for (const [name, file, clients, mult] of [
  ['L1@1', 'l1', 1, 1],
  ['L1@8', 'l1', 8, 1],
  ['L1@32', 'l1', 32, 1],
  ['L1@64', 'l1', 64, 1],
  ['L2@32', 'l2', 32, 1],
  ['L3@8x100', 'l3', 8, 100],
  ['L4@32', 'l4', 32, 1],
  ['L5@1x64', 'l5', 1, 64],
  ['L5@2x64', 'l5', 2, 64],
]) {
  const la = loadavg()
  const u = new URL(base)
  const o = execFileSync(
    path.join(bin, 'pgbench'),
    [
      '-h',
      u.hostname,
      '-p',
      u.port,
      '-U',
      u.username,
      '-n',
      '-M',
      'prepared',
      '-c',
      clients,
      '-j',
      Math.min(2, clients),
      '-T',
      T,
      '-f',
      path.join(here, 'pgbench', file + '.sql'),
      'limits',
    ],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
  )
  const tps = +/tps = ([\d.]+)/.exec(o)[1],
    lat = +/latency average = ([\d.]+)/.exec(o)[1]
  console.log(
    JSON.stringify({
      round: process.env.ROUND,
      peer: 'limit',
      m: name,
      rate: +(tps * mult).toFixed(0),
      avg_ms: lat,
      load: la,
    }),
  )
}
await c.end()
await root.query('drop database limits with (force)')
await root.end()
