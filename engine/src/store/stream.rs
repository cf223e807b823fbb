//! The stream: how far it reaches, what is new in it, and hints between nodes.

use std::fmt;
use std::str::FromStr;

use sqlx::postgres::{PgConnection, PgExecutor, PgListener, PgPoolOptions};
use uuid::Uuid;

use super::read::row;
use super::{Role, Store, StoreError};
use crate::event::Cursor;
use crate::id::TokenId;
use crate::read::EventView;

/// The channel of hints between nodes.
const CHANNEL: &str = "fermata";

/// What a node tells the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// There are new events.
    Events,
    /// There are new events, and runs may be ready or mail may have come.
    Work,
    /// Somebody here follows events: tell when there are some.
    Follow,
    /// I am new: who follows?
    Hello,
}

/// A hint: nothing is lost without it but time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hint {
    /// Who sent it: one's own come back too.
    pub(crate) origin: Uuid,
    /// What it says.
    pub(crate) news: News,
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.news {
            News::Events => "events",
            News::Work => "work",
            News::Follow => "follow",
            News::Hello => "hello",
        };
        write!(f, "{} {word}", self.origin.simple())
    }
}

impl FromStr for Hint {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (origin, word) = text.split_once(' ').ok_or(())?;
        let news = match word {
            "events" => News::Events,
            "follow" => News::Follow,
            "hello" => News::Hello,
            // A newer node may say more than we know; looking never hurts.
            _ => News::Work,
        };
        Ok(Self { origin: origin.parse().map_err(|_| ())?, news })
    }
}

/// A hint on its way. Without a flush of its own: it may be lost.
const TELL: &str = "select set_config('synchronous_commit', 'off', true), pg_notify($1, $2)";

/// Tells the other nodes, on a connection of its own, which is asked nothing before: a run that waits in another process
/// waits for this.
#[derive(Debug)]
pub(crate) struct Teller {
    store: Store,
    connection: Option<PgConnection>,
}

impl Teller {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, connection: None }
    }

    /// Tells them; a connection that broke is made anew, once. Whoever gives up waiting gives the connection up, too.
    pub(crate) async fn tell(&mut self, hint: Hint) -> Result<(), StoreError> {
        if let Some(mut connection) = self.connection.take()
            && tell(hint, &mut connection).await.is_ok()
        {
            self.connection = Some(connection);
            return Ok(());
        }
        let mut connection = self.store.dedicated(Role::Writer).await?;
        tell(hint, &mut connection).await?;
        self.connection = Some(connection);
        Ok(())
    }
}

async fn tell(hint: Hint, executor: impl PgExecutor<'_>) -> Result<(), StoreError> {
    sqlx::query(TELL).bind(CHANNEL).bind(hint.to_string()).execute(executor).await?;
    Ok(())
}

/// Hints of other nodes, on a connection of their own.
pub(crate) struct Hints(PgListener);

impl Hints {
    /// The next hint; `None` when the connection, and with it its session lock, is gone.
    pub(crate) async fn next(&mut self) -> Result<Option<Hint>, StoreError> {
        loop {
            let Some(heard) = self.0.try_recv().await? else { return Ok(None) };
            if let Ok(hint) = heard.payload().parse() {
                return Ok(Some(hint));
            }
        }
    }

    /// The connection, to take a session lock on.
    pub(crate) fn connection(&mut self) -> &mut PgListener {
        &mut self.0
    }
}

impl Store {
    /// Listens for hints.
    pub(crate) async fn hints(&self) -> Result<Hints, StoreError> {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(self.options.clone())
            .await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        // A connection that came back by itself would not hold a lock that was taken on it.
        listener.ignore_pool_close_event(true);
        listener.listen(CHANNEL).await?;
        sqlx::query("set role fermata_writer").execute(&mut listener).await?;
        Ok(Hints(listener))
    }

    /// Tells the other nodes, now and then; who does so all the time has a [`Teller`].
    pub(crate) async fn hint(&self, hint: Hint) -> Result<(), StoreError> {
        tell(hint, &self.direct).await
    }

    /// Compares the database's history with the one that positions were given in, and answers the
    /// epoch in force.
    pub(crate) async fn recognise(&self) -> Result<u32, StoreError> {
        let epoch: i32 = sqlx::query_scalar("select fermata.recognise()").fetch_one(&self.direct).await?;
        Ok(u32::try_from(epoch).unwrap_or(Cursor::FIRST_EPOCH))
    }

    /// What tells this database from every other one; `None` where the service hides it.
    pub(crate) async fn known_as(&self) -> Result<Option<String>, StoreError> {
        let known = "select format('%s/%s/%s', p.history, d.oid, d.datname) from fermata.position p, pg_database d
            where d.datname = current_database() and p.history is not null";
        Ok(sqlx::query_scalar(known).fetch_optional(&self.direct).await?)
    }

    /// How far back and ahead the stream reaches: numbers only, the same for every client.
    pub(crate) async fn stream_bounds(&self) -> Result<(Cursor, Cursor), StoreError> {
        let (oldest, head, epoch): (Option<i64>, i64, i32) = sqlx::query_as(
            "select (select e.position - 1 from fermata.event e order by e.position limit 1), p.event, p.epoch
             from fermata.position p",
        )
        .fetch_one(&self.direct)
        .await?;
        let epoch = u32::try_from(epoch).unwrap_or(Cursor::FIRST_EPOCH);
        let at = |position| Cursor { epoch, position };
        Ok((at(oldest.unwrap_or(head)), at(head)))
    }

    /// What is behind a position, of every client: for the node's tail alone, which shows each
    /// event only to those who may see it.
    pub(crate) async fn behind(&self, after: Cursor, most: i64) -> Result<Vec<EventView>, StoreError> {
        let rows = sqlx::query(
            "select e.position, e.at, e.client_id, e.run_id, e.type, e.severity, e.data,
                    r.account_id, r.session_id, r.correlation_id, r.trace_id
             from (select * from fermata.event where position > $1 order by position limit $2) e
             left join fermata.run r on r.id = e.run_id
             order by e.position",
        )
        .bind(after.position)
        .bind(most)
        .fetch_all(&self.direct)
        .await?;
        Ok(rows.iter().map(|found| row::event(found, after.epoch)).collect::<Result<_, _>>()?)
    }

    /// Keeps a ticket until `expires_in_s` from now, by the hash of its text.
    pub(crate) async fn insert_ticket(&self, hash: &[u8], token: TokenId, expires_in_s: f64) -> Result<(), StoreError> {
        sqlx::query(
            "insert into fermata.ticket (hash, token_id, expires_at) values ($1, $2, now() + $3 * interval '1 s')",
        )
        .bind(hash)
        .bind(token.0)
        .bind(expires_in_s)
        .execute(&self.direct)
        .await?;
        Ok(())
    }

    /// Takes a ticket, once; `None` when there is none, or not any more.
    pub(crate) async fn take_ticket(&self, hash: &[u8]) -> Result<Option<TokenId>, StoreError> {
        let token: Option<Uuid> =
            sqlx::query_scalar("select fermata.take_ticket($1)").bind(hash).fetch_one(&self.direct).await?;
        Ok(token.map(TokenId))
    }

    /// Forgets tickets that nobody used in time.
    pub(crate) async fn prune_tickets(&self) -> Result<u64, StoreError> {
        let done = sqlx::query("delete from fermata.ticket where expires_at < now()").execute(&self.direct).await?;
        Ok(done.rows_affected())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_reads_back_and_an_unknown_word_means_work() {
        let origin = Uuid::from_u128(7);
        for news in [News::Events, News::Work, News::Follow, News::Hello] {
            let hint = Hint { origin, news };
            assert_eq!(hint.to_string().parse(), Ok(hint));
        }
        let newer = format!("{} of-the-future", origin.simple());
        assert_eq!(newer.parse(), Ok(Hint { origin, news: News::Work }));
        assert_eq!("garbage".parse::<Hint>(), Err(()));
    }
}
