//! Mutants whose rule is kept in SQL: the functions of a rigged build's database, broken on purpose.
//!
//! Each takes the function as the migrations left it and changes its text, so that it breaks nothing
//! but its rule. A text that is not found is an error: the mutant would be none.

use sqlx::{Executor, PgConnection};

use crate::rigged::mutant;

/// A record is applied whatever its epoch and place are.
const NO_FENCING: &str = "
do $$
declare
    was text := pg_get_functiondef('fermata.write'::regproc);
    now text := replace(was, 'and l.epoch = i.epoch and l.seq = i.seq', '');
begin
    if now = was then raise exception 'fermata.write has no fence to take away'; end if;
    execute now;
end $$";

/// Positions are given before the commit and without a lock that is held to it, as a sequence would.
const SEQUENCE: &str = "
create sequence if not exists fermata.mutant_event;
create sequence if not exists fermata.mutant_audit;
select setval('fermata.mutant_event', greatest(event, 1), event > 0), setval('fermata.mutant_audit', greatest(audit, 1), audit > 0)
    from fermata.position;
grant all on sequence fermata.mutant_event, fermata.mutant_audit to fermata_writer;
create or replace function fermata.mutant_take(n int4, m int4, out event int8, out audit int8) language plpgsql as $$
begin
    perform pg_advisory_lock(7160000000000000777);
    select case when is_called then last_value else 0 end into event from fermata.mutant_event;
    select case when is_called then last_value else 0 end into audit from fermata.mutant_audit;
    if n > 0 then perform setval('fermata.mutant_event', event + n); end if;
    if m > 0 then perform setval('fermata.mutant_audit', audit + m); end if;
    perform pg_advisory_unlock(7160000000000000777);
    update fermata.position p set event = greatest(p.event, mutant_take.event + n), audit = greatest(p.audit, mutant_take.audit + m)
        where p.ctid in (select ctid from fermata.position for update skip locked);
end $$;
do $$
declare
    was text := pg_get_functiondef('fermata.append'::regproc);
    now text := regexp_replace(was, 'update fermata.position set event.*? into base;', 'select * into base from fermata.mutant_take(n, m);');
begin
    if now = was then raise exception 'fermata.append has no counter to take away'; end if;
    execute now;
end $$";

/// Breaks the rule that the environment names, if it is one of SQL.
pub(super) async fn break_rules(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    if mutant!("no-fencing") {
        connection.execute(NO_FENCING).await?;
    }
    if mutant!("sequence-as-cursor") {
        connection.execute(SEQUENCE).await?;
    }
    Ok(())
}
