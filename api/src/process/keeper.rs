//! Keeps children alive: one that ends is started again, after a pause that grows while it keeps
//! ending.

use std::time::{Duration, Instant};

use fermata_engine::clock::Clock;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::child::{Child, Plan};

/// The first pause before a child is started again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A child that lived this long starts over with the first pause.
const SOUND_LIFE: Duration = Duration::from_secs(30);
/// News that nobody has read yet.
const NEWS: usize = 64;

/// What happened to a child.
#[derive(Debug)]
pub(super) enum News {
    /// It ended, and will be started again.
    Down {
        /// Which.
        name: String,
        /// How.
        how: String,
    },
    /// It is there again.
    Up {
        /// Which.
        name: String,
        /// Its new process id.
        pid: u32,
        /// What it says of itself.
        ready: Value,
    },
}

/// Children that are kept alive until they are stopped together.
#[derive(Debug)]
pub(super) struct Keeper {
    clock: Clock,
    tell: mpsc::Sender<News>,
    tasks: JoinSet<()>,
    stopping: CancellationToken,
    patience: Duration,
}

impl Keeper {
    /// A keeper without children, and what it will tell. Its children get `patience` to end.
    pub(super) fn new(clock: Clock, patience: Duration) -> (Self, mpsc::Receiver<News>) {
        let (tell, news) = mpsc::channel(NEWS);
        (Self { clock, tell, tasks: JoinSet::new(), stopping: CancellationToken::new(), patience }, news)
    }

    /// Another keeper that tells the same listener, and is stopped apart.
    pub(super) fn beside(&self, patience: Duration) -> Self {
        let (clock, tell) = (self.clock.clone(), self.tell.clone());
        Self { clock, tell, tasks: JoinSet::new(), stopping: CancellationToken::new(), patience }
    }

    /// Keeps a child alive from now on.
    pub(super) fn keep(&mut self, plan: Plan, child: Child) {
        let (clock, tell, stopping) = (self.clock.clone(), self.tell.clone(), self.stopping.clone());
        self.tasks.spawn(keep(plan, child, Kept { clock, tell, stopping, patience: self.patience }));
    }

    /// Ends all children: asked first, killed when they take longer than their patience.
    pub(super) async fn stop(mut self) {
        self.stopping.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

struct Kept {
    clock: Clock,
    tell: mpsc::Sender<News>,
    stopping: CancellationToken,
    patience: Duration,
}

async fn keep(plan: Plan, mut child: Child, kept: Kept) {
    let mut pause = FIRST_PAUSE;
    loop {
        let born = kept.clock.monotonic();
        let how = tokio::select! {
            how = child.ended() => how,
            () = kept.stopping.cancelled() => return child.stop(kept.patience).await,
        };
        pause = next_pause(pause, born, kept.clock.monotonic());
        // Nobody listens while everything is being stopped.
        drop(kept.tell.send(News::Down { name: plan.name.clone(), how }).await);
        child = loop {
            tokio::select! {
                () = kept.clock.wait(pause) => {}
                () = kept.stopping.cancelled() => return,
            }
            match again(&plan, &kept).await {
                Again::Up(child) => break child,
                Again::Stopped => return,
                Again::Failed(how) => {
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    drop(kept.tell.send(News::Down { name: plan.name.clone(), how }).await);
                }
            }
        };
    }
}

enum Again {
    Up(Child),
    Failed(String),
    Stopped,
}

async fn again(plan: &Plan, kept: &Kept) -> Again {
    let mut child = match plan.spawn() {
        Ok(child) => child,
        Err(trouble) => return Again::Failed(trouble.to_string()),
    };
    let ready = tokio::select! {
        ready = plan.ready::<Value>(&mut child, &kept.clock) => ready,
        () = kept.stopping.cancelled() => {
            child.stop(kept.patience).await;
            return Again::Stopped;
        }
    };
    match ready {
        Ok(ready) => {
            let up = News::Up { name: plan.name.clone(), pid: child.pid, ready };
            drop(kept.tell.send(up).await);
            Again::Up(child)
        }
        Err(trouble) => Again::Failed(trouble.to_string()),
    }
}

/// The pause grows only for a child that keeps ending soon.
fn next_pause(last: Duration, born: Instant, died: Instant) -> Duration {
    if died.saturating_duration_since(born) >= SOUND_LIFE { FIRST_PAUSE } else { (last * 2).min(LONGEST_PAUSE) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_to_a_bound_and_starts_over_after_a_sound_life() {
        let born = Clock::system().monotonic();
        let soon = born + Duration::from_millis(1);
        let mut pause = FIRST_PAUSE;
        for _ in 0..20 {
            pause = next_pause(pause, born, soon);
        }
        assert_eq!(pause, LONGEST_PAUSE);
        assert_eq!(next_pause(pause, born, born + SOUND_LIFE), FIRST_PAUSE);
    }
}
