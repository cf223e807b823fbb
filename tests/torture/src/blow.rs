//! The blows of a plan, one after the other at their times.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::clock;
use crate::cluster::Cluster;
use crate::fault::{Blow, Target};
use crate::stage::{LEASE_SECS, Stage};
use crate::trouble::Trouble;
use crate::work::Office;

/// How long a process that is to fall at a point may take to get there.
const FALLS_WITHIN: Duration = Duration::from_secs(6);
/// How long a thread hangs before its process is killed, as who supervises it would.
const HANGS_FOR: Duration = Duration::from_millis(600);

/// What one moment of a trial brings.
enum Act<'p> {
    Kill(Target),
    Start(Target),
    Signal(Target, Signal),
    Arm(&'p Blow),
    Disarm(&'p str),
    KillPostgres,
    StartPostgres,
}

/// Deals all blows of a plan; answers the points at which a process fell.
pub(crate) async fn deal(
    stage: &mut Stage,
    cluster: &mut Option<Cluster>,
    blows: &[Blow],
    office: &Office,
) -> Result<Vec<String>, Trouble> {
    let mut timeline: Vec<(u64, Act<'_>)> = Vec::new();
    let mut point = None;
    for blow in blows {
        match blow {
            Blow::Kill { target, at_ms, again_ms } => {
                timeline.push((*at_ms, Act::Kill(*target)));
                timeline.push((at_ms + again_ms, Act::Start(*target)));
            }
            Blow::Stop { target, at_ms, for_ms } => {
                timeline.push((*at_ms, Act::Signal(*target, Signal::SIGSTOP)));
                timeline.push((at_ms + for_ms, Act::Signal(*target, Signal::SIGCONT)));
            }
            Blow::Link { link, at_ms, for_ms, .. } => {
                timeline.push((*at_ms, Act::Arm(blow)));
                timeline.push((at_ms + for_ms, Act::Disarm(link)));
            }
            Blow::Postgres { at_ms, again_ms } => {
                timeline.push((*at_ms, Act::KillPostgres));
                timeline.push((at_ms + again_ms, Act::StartPostgres));
            }
            Blow::Point { target, point: name, how, .. } => point = Some((*target, name.clone(), how.clone())),
        }
    }
    timeline.sort_by_key(|(at, _)| *at);
    for (at_ms, act) in timeline {
        office.until(at_ms).await;
        one(stage, cluster, act).await?;
    }
    match point {
        Some((target, name, how)) => fall(stage, target, name, &how).await,
        None => Ok(Vec::new()),
    }
}

async fn one(stage: &mut Stage, cluster: &mut Option<Cluster>, act: Act<'_>) -> Result<(), Trouble> {
    match act {
        Act::Kill(target) => {
            if let Some(program) = stage.program(target) {
                program.kill();
            }
        }
        Act::Start(target) => {
            if let Some(program) = stage.program(target)
                && !program.is_running()?
            {
                program.start(Vec::new())?;
            }
        }
        Act::Signal(target, signal) => {
            if let Some(program) = stage.program(target) {
                program.signal(signal)?;
            }
        }
        Act::Arm(Blow::Link { link, fault, .. }) => {
            stage.proxy.tell(&json!({"op": "fault", "name": link, "fault": fault})).await?;
        }
        Act::Arm(_) => {}
        Act::Disarm(link) => stage.proxy.clear(link).await?,
        Act::KillPostgres => {
            if let Some(cluster) = cluster {
                cluster.kill().await?;
            }
        }
        Act::StartPostgres => {
            if let Some(cluster) = cluster {
                cluster.again()?;
                stage.move_postgres(cluster.address()).await?;
            }
        }
    }
    Ok(())
}

/// Starts the process that is to fall, in time for the trial. A worker falls alone: the other one would do
/// the work.
pub(crate) async fn set_up(stage: &mut Stage, blows: &[Blow]) -> Result<(), Trouble> {
    for blow in blows {
        let Blow::Point { target, point, how, nth } = blow else { continue };
        let reaps = blows.iter().any(|blow| matches!(blow, Blow::Kill { .. }));
        if let (Target::Worker(n), false) = (target, reaps)
            && let Some(other) = stage.program(Target::Worker(1 - n))
        {
            other.kill();
        }
        drop(std::fs::remove_file(stage.points_log()));
        if let Some(program) = stage.program(*target) {
            program.start(vec![("RIGGED_POINT".to_owned(), format!("{point}:{how}:{nth}"))])?;
            program.ready().await?;
        }
    }
    Ok(())
}

/// Waits for the fall, and does what whoever runs the process would do.
async fn fall(stage: &mut Stage, target: Target, name: String, how: &str) -> Result<Vec<String>, Trouble> {
    let log = stage.points_log();
    let fired = format!("fired {name}");
    let fell = clock::until(FALLS_WITHIN, || async {
        std::fs::read_to_string(&log).is_ok_and(|log| log.lines().any(|line| line == fired))
    })
    .await;
    if !fell {
        return Ok(Vec::new());
    }
    let others = [Target::Worker(0), Target::Worker(1), Target::Api];
    for other in others.into_iter().filter(|other| *other != target) {
        one(stage, &mut None, Act::Start(other)).await?;
    }
    match how {
        "stop" => {
            clock::pause(Duration::from_secs(LEASE_SECS) + HANGS_FOR).await;
            one(stage, &mut None, Act::Signal(target, Signal::SIGCONT)).await?;
            clock::pause(HANGS_FOR).await;
        }
        "hang" => clock::pause(HANGS_FOR).await,
        _ => {}
    }
    // A new process, without the point.
    one(stage, &mut None, Act::Kill(target)).await?;
    one(stage, &mut None, Act::Start(target)).await?;
    Ok(vec![name])
}
