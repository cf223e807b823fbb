//! The suite's cluster: starts a private Postgres, prints its URL, and stops it at end of input.

use std::io::Read as _;

use fermata_api::postgres::{PostgresOptions, PrivatePostgres};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: fermata-test-cluster FOLDER")?;
    std::fs::create_dir_all(&folder)?;
    let server = PrivatePostgres::start(PostgresOptions::new(folder)).await?;
    println!("{}", server.database_url());
    // Whoever started this holds the other end; when it goes, so does the cluster.
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    server.stop().await?;
    Ok(())
}
