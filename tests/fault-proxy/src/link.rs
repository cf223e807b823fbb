//! A link: a listener, where its connections go, and the weather they have in common.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::book::Book;
use crate::clock;
use crate::connection::{self, Conduct};
use crate::desk::Journal;
use crate::fault::{Act, Fault, Kind};

/// How long it waits when the system has no socket left to accept with.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Where connections go: a TCP address, or the path of a unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Upstream {
    Tcp(String),
    Unix(PathBuf),
}

impl FromStr for Upstream {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.rsplit_once(':') {
            _ if text.starts_with('/') => Ok(Self::Unix(text.into())),
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(Self::Tcp(text.to_owned())),
            _ => Err("an upstream is HOST:PORT or the path of a unix socket"),
        }
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => formatter.write_str(address),
            Self::Unix(path) => write!(formatter, "{}", path.display()),
        }
    }
}

/// What all connections of a link obey.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weather {
    /// While it is set nothing passes; the number tells one pulling of the cable from the next.
    pub(crate) frozen: Option<u64>,
    pub(crate) bytes_per_s: Option<u64>,
    /// How often all connections were reset.
    pub(crate) resets: u64,
    /// How often all faults were cleared.
    pub(crate) clears: u64,
}

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Link {
    book: Mutex<Book>,
    upstream: Mutex<Upstream>,
    weather: watch::Sender<Weather>,
    journal: Arc<Journal>,
}

impl Link {
    pub(crate) fn new(book: Book, upstream: Upstream, journal: Arc<Journal>) -> Self {
        Self { book: Mutex::new(book), upstream: Mutex::new(upstream), weather: watch::Sender::default(), journal }
    }

    /// Does something with the book, and tells the journal what fired.
    pub(crate) fn with_book<T>(&self, act: impl FnOnce(&mut Book) -> T) -> T {
        let (done, fired) = {
            let mut book = lock(&self.book);
            (act(&mut book), book.take_fired())
        };
        if !fired.is_empty() {
            self.journal.add(fired);
        }
        done
    }

    pub(crate) fn weather(&self) -> watch::Receiver<Weather> {
        self.weather.subscribe()
    }

    pub(crate) fn upstream(&self) -> Upstream {
        lock(&self.upstream).clone()
    }

    pub(crate) fn set_upstream(&self, upstream: Upstream) {
        *lock(&self.upstream) = upstream;
    }

    /// Arms a fault, or carries it out if it waits for nothing; false when the book is full.
    pub(crate) fn arm(self: &Arc<Self>, id: &str, fault: Fault) -> bool {
        let act = fault.act;
        if !self.with_book(|book| book.arm(id.to_owned(), fault)) {
            return false;
        }
        if !act.is_immediate() {
            return true;
        }
        let what = match act {
            Act::HalfOpen { for_ms, .. } => {
                self.freeze(for_ms);
                "the cable is pulled".to_owned()
            }
            Act::Throttle { bytes_per_s } => {
                self.weather.send_modify(|weather| weather.bytes_per_s = Some(bytes_per_s));
                format!("{bytes_per_s} bytes per second")
            }
            _ => format!("{} connections", self.reset_all()),
        };
        self.with_book(|book| book.fire_at_once(id, &what));
        true
    }

    /// Disarms one fault or all, and ends what they did to the weather.
    pub(crate) fn clear(&self, id: Option<&str>) {
        let kinds = self.with_book(|book| book.disarm(id));
        self.weather.send_modify(|weather| {
            if id.is_none() || kinds.contains(&Kind::HalfOpen) {
                weather.frozen = None;
            }
            if id.is_none() || kinds.contains(&Kind::Throttle) {
                weather.bytes_per_s = None;
            }
            weather.clears += u64::from(id.is_none());
        });
    }

    /// Pulls the cable, for so long or until the faults are cleared.
    pub(crate) fn freeze(self: &Arc<Self>, for_ms: Option<u64>) {
        let mut number = 0;
        self.weather.send_modify(|weather| {
            // Any number that the cable was not pulled by before.
            number = NUMBERS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            weather.frozen = Some(number);
        });
        if let Some(for_ms) = for_ms {
            let link = Arc::clone(self);
            tokio::spawn(async move {
                clock::pause(Duration::from_millis(for_ms)).await;
                link.weather.send_if_modified(|weather| {
                    let mine = weather.frozen == Some(number);
                    weather.frozen = weather.frozen.filter(|_| !mine);
                    mine
                });
            });
        }
    }

    /// Resets all current connections; returns how many there are.
    pub(crate) fn reset_all(&self) -> u64 {
        self.weather.send_modify(|weather| weather.resets += 1);
        self.with_book(|book| book.counts.current)
    }

    /// Accepts connections for as long as it is polled.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener) {
        let mut number = 0;
        loop {
            match listener.accept().await {
                Ok((client, _)) => {
                    number += 1;
                    self.welcome(client, number);
                }
                // Such as too many open files: it passes.
                Err(_) => clock::pause(ACCEPT_PAUSE).await,
            }
        }
    }

    fn welcome(self: &Arc<Self>, client: TcpStream, number: u64) {
        let conduct = self.with_book(|book| {
            let refused = book.refuses(number);
            let full = book.counts.current >= crate::bounds::MAX_CONNECTIONS_PER_LINK as u64;
            book.counts.connections += 1;
            book.counts.turned_away += u64::from(full && !refused);
            if refused || full {
                return Conduct::Refuse;
            }
            book.counts.current += 1;
            Conduct::Serve
        });
        match conduct {
            Conduct::Refuse => connection::reset(client),
            Conduct::Serve => {
                let weather = self.weather();
                let link = Arc::clone(self);
                tokio::spawn(async move {
                    connection::serve(&link, client, number, weather).await;
                    link.with_book(|book| book.counts.current -= 1);
                });
            }
        }
    }
}

static NUMBERS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

/// Opens the listener of a link.
pub(crate) async fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Locks, also after a panic elsewhere: each critical section leaves its value whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
