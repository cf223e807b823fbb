//! How the program may end (contract, section 2).

use std::process::ExitCode;

/// Why the program ended, as its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It did what it was asked.
    Done = 0,
    /// It did not.
    Failed = 1,
    /// The command line does not fit.
    Usage = 2,
    /// There is no such thing.
    NotFound = 3,
    /// Nobody known, or not allowed.
    Auth = 4,
    /// The state of the thing does not allow it.
    Conflict = 5,
    /// Nobody answered, or not in time.
    Unreachable = 6,
    /// A policy, a budget or a kill switch said no.
    Blocked = 7,
    /// Nobody can tell whether it happened.
    Unknown = 8,
    /// A person has to decide first.
    Waiting = 9,
    /// The configuration is not valid.
    Config = 10,
    /// A signal ended it.
    Interrupted = 130,
}

impl Exit {
    /// Every way to end.
    pub const ALL: [Self; 12] = [
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::NotFound,
        Self::Auth,
        Self::Conflict,
        Self::Unreachable,
        Self::Blocked,
        Self::Unknown,
        Self::Waiting,
        Self::Config,
        Self::Interrupted,
    ];

    /// The number that the shell sees.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
