//! What can go wrong with the rig itself. A broken invariant is no trouble: it is what the rig is for.

/// Why a trial could not be carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// A program did not start, or ended.
    #[error("{program}: {why}; it said last:\n    {said}")]
    Program {
        /// Which.
        program: String,
        /// What happened.
        why: String,
        /// The end of its log.
        said: String,
    },
    /// Something did not come true in time.
    #[error("not in time: {0}")]
    Late(String),
    /// An answer of a program of ours was not understood.
    #[error("{0}")]
    Answer(String),
    /// Files, sockets, processes.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The rig's own look into the database.
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    /// HTTP.
    #[error("http: {0}")]
    Http(#[from] reqwest::Error),
    /// JSON.
    #[error("json: {0}")]
    Json(#[from] serde_json::Error),
    /// Signals.
    #[error("a signal could not be sent: {0}")]
    Signal(#[from] nix::Error),
}
