//! Schema and roles. Forward only; one at a time; safe to run again.

use sqlx::migrate::Migrator;
use sqlx::{Connection, Executor};

use super::{Role, Store, StoreError};

/// Every migration, embedded. Tests make their databases from it.
pub static MIGRATOR: Migrator = sqlx::migrate!("../migrations");

/// Roles belong to the whole cluster, so their making is guarded by a cluster-wide lock; a role
/// that another database's migration just made is no error.
const ROLES: &str = "
do $$
declare
    name text;
begin
    foreach name in array array['fermata_writer', 'fermata_reader'] loop
        if not exists (select 1 from pg_roles where rolname = name) then
            begin
                execute format('create role %I nologin nosuperuser nobypassrls', name);
            exception when duplicate_object or unique_violation then
                null;
            end;
        end if;
        if not pg_has_role(current_user, name, 'member') then
            execute format('grant %I to current_user', name);
        end if;
    end loop;
end $$";

/// A policy for the owner wherever row-level security is forced.
const OWNER_READS: &str = "
do $$
declare
    name text;
begin
    for name in
        select c.relname from pg_class c
        where c.relnamespace = to_regnamespace('fermata') and c.relforcerowsecurity
          and not exists (select 1 from pg_policy p where p.polrelid = c.oid and p.polname = 'backup')
    loop
        execute format('create policy backup on fermata.%I for select to current_user using (true)', name);
    end loop;
end $$";

/// How many days of partitions exist ahead.
pub(crate) const PARTITION_DAYS: i32 = 7;

/// Makes roles and schema in the database of `url`, and says which version it now has.
pub async fn migrate(url: &str) -> Result<i64, StoreError> {
    let mut connection = sqlx::PgConnection::connect(url).await?;
    connection.execute(ROLES).await.map_err(|error| {
        StoreError::Schema(format!("the login may not make the roles fermata_writer and fermata_reader: {error}"))
    })?;
    // A login that is called like the schema would otherwise look for the ledger of migrations in it.
    connection.execute("set search_path = public").await?;
    MIGRATOR.run(&mut connection).await.map_err(|error| StoreError::Schema(error.to_string()))?;
    #[cfg(feature = "rigged")]
    super::rigged::break_rules(&mut connection).await?;
    connection.close().await?;
    Ok(newest())
}

/// The version that this program needs.
pub(crate) fn newest() -> i64 {
    MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or_default()
}

/// Whether [`migrate`] would change a schema that is there already, and so should be preceded by a
/// backup (M-042): the version that it would change. `None` when there is no schema yet, or the
/// newest one.
pub async fn outdated(url: &str) -> Result<Option<i64>, StoreError> {
    let mut connection = sqlx::PgConnection::connect(url).await?;
    let there: Option<String> =
        sqlx::query_scalar("select to_regclass('public._sqlx_migrations')::text").fetch_one(&mut connection).await?;
    let found: Option<i64> = match there {
        Some(_) => {
            sqlx::query_scalar("select max(version) from public._sqlx_migrations where success")
                .fetch_one(&mut connection)
                .await?
        }
        None => None,
    };
    connection.close().await?;
    Ok(found.filter(|&version| version < newest()))
}

/// Lets the owner of the tables read all of them, for a backup: row-level security is forced, which
/// would hide every row from the owner too, or refuse the dump.
pub async fn open_to_backup(url: &str) -> Result<(), StoreError> {
    let mut connection = sqlx::PgConnection::connect(url).await?;
    connection.execute(OWNER_READS).await?;
    connection.close().await?;
    Ok(())
}

impl Store {
    /// Refuses a schema that is not the one of this program.
    pub(crate) async fn check_schema(&self) -> Result<(), StoreError> {
        let mut owner = self.dedicated(Role::Owner).await?;
        let found: Option<i64> = sqlx::query_scalar("select max(version) from public._sqlx_migrations where success")
            .fetch_one(&mut owner)
            .await
            .map_err(|_| StoreError::Schema("there is none yet".into()))?;
        match found {
            Some(version) if version == newest() => Ok(()),
            Some(version) => {
                Err(StoreError::Schema(format!("it has version {version}, this program needs {}", newest())))
            }
            None => Err(StoreError::Schema("there is none yet".into())),
        }
    }

    /// Makes the partitions of the coming days.
    pub(crate) async fn make_partitions(&self) -> Result<i32, StoreError> {
        let mut owner = self.dedicated(Role::Owner).await?;
        Ok(sqlx::query_scalar("select fermata.make_partitions($1)").bind(PARTITION_DAYS).fetch_one(&mut owner).await?)
    }
}
