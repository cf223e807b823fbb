//! What a campaign came to: a table, a picture, and the same for programs.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::campaign::Tally;
use crate::clock;
use crate::trouble::Trouble;

/// Pixels of a row and of a crash point's cell.
const ROW: usize = 26;
const CELL: usize = 22;
const WIDTH: usize = 860;

/// Whether a tally is as it should be: nothing broken, or a mutant caught.
pub(crate) fn is_well(tally: &Tally) -> bool {
    let caught = tally.violated() > 0;
    tally.trials > 0 && tally.trouble.is_empty() && caught == tally.mutant.is_some()
}

/// One line for people.
pub(crate) fn line(tally: &Tally) -> String {
    let what = tally.mutant.as_ref().map_or_else(|| tally.fault.clone(), |name| format!("mutant {name}"));
    let found = if tally.violations.is_empty() {
        "no violation".to_owned()
    } else {
        let by: Vec<_> = tally.violations.iter().map(|(invariant, count)| format!("{invariant} {count}x")).collect();
        format!("{} at seeds {:?}", by.join(", "), tally.failing_seeds)
    };
    let trouble = if tally.trouble.is_empty() {
        String::new()
    } else {
        format!(", {} times trouble with the rig", tally.trouble.len())
    };
    format!(
        "{what}: {} trials (seeds {} to {}), {} blows, {} runs, {} actions, {} facts, {:.0} s: {found}; the platform was asked \
         {} times, of which for an effect {}, did {}, and of those {} once more{trouble}",
        tally.trials,
        tally.first_seed,
        tally.last_seed,
        tally.struck,
        tally.runs,
        tally.figures.actions,
        tally.facts,
        tally.seconds,
        tally.requests,
        tally.figures.calls,
        tally.figures.effects,
        tally.figures.duplicates
    )
}

/// A column of the table: what it is called, and what it says of a campaign.
type Column = (&'static str, fn(&Tally) -> String);

const COLUMNS: [Column; 13] = [
    ("what", |tally| tally.mutant.as_ref().map_or_else(|| tally.fault.clone(), |name| format!("mutant `{name}`"))),
    ("trials", |tally| tally.trials.to_string()),
    ("seeds", |tally| format!("{}-{}", tally.first_seed, tally.last_seed)),
    ("blows", |tally| tally.struck.to_string()),
    ("runs", |tally| tally.runs.to_string()),
    ("actions", |tally| tally.figures.actions.to_string()),
    ("requests", |tally| tally.requests.to_string()),
    ("calls", |tally| tally.figures.calls.to_string()),
    ("effects", |tally| tally.figures.effects.to_string()),
    ("duplicates", |tally| tally.figures.duplicates.to_string()),
    ("facts", |tally| tally.facts.to_string()),
    ("s", |tally| format!("{:.0}", tally.seconds)),
    ("violations", |tally| {
        let found: Vec<_> = tally.violations.iter().map(|(invariant, count)| format!("{invariant}: {count}")).collect();
        if found.is_empty() { "0".to_owned() } else { found.join(", ") }
    }),
];

/// A row of the table.
fn row(cells: &[String; COLUMNS.len()]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

/// Writes `report.json`, `report.md` and `report.svg`; answers whether all is well.
pub(crate) fn write(out: &Path, tallies: &[Tally]) -> Result<bool, Trouble> {
    let well = tallies.iter().all(is_well);
    let not_run = [
        "netem (no such queueing discipline here)",
        "device-mapper (power failure of a disk)",
        "browser lane (crash tests of its own)",
    ];
    let whole = json!({"well": well, "tallies": tallies, "not_run": not_run});
    std::fs::write(out.join("report.json"), serde_json::to_string_pretty(&whole)?)?;
    let mut table = row(&COLUMNS.map(|(name, _)| name.to_owned()));
    table.push_str(&row(&COLUMNS.map(|_| "---".to_owned())));
    for tally in tallies {
        table.push_str(&row(&COLUMNS.map(|(_, cell)| cell(tally))));
    }
    // Writing into a string cannot fail.
    for (name, (fell, tried)) in tallies.iter().flat_map(|tally| &tally.points) {
        let _ = writeln!(table, "\n`{name}`: fell {fell} of {tried}");
    }
    let _ = writeln!(table, "\n{}", circumstances());
    let _ = writeln!(table, "\nNot run on this machine: {}.", not_run.join("; "));
    std::fs::write(out.join("report.md"), &table)?;
    std::fs::write(out.join("report.svg"), picture(tallies))?;
    println!(
        "torture: {} in {}",
        if well { "all is well" } else { "NOT well; see report.md and kept/" },
        out.display()
    );
    Ok(well)
}

/// What was run, of which commit, and where: without it a figure says nothing.
fn circumstances() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let args: Vec<_> = std::env::args().skip(1).collect();
    let commit = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    let commit = commit.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned()).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let kib = read("/proc/meminfo").split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0);
    format!(
        "`fermata-torture {}` of commit {}, on {cores} cores, {} GiB, Linux {}, at {}",
        args.join(" "),
        if commit.is_empty() { "unknown" } else { &commit },
        kib / (1 << 20),
        read("/proc/sys/kernel/osrelease").trim(),
        clock::now().format("%Y-%m-%d %H:%M UTC")
    )
}

/// A bar per fault and mutant, as long as its trials; a cell per crash point, as dark as it was hit.
fn picture(tallies: &[Tally]) -> String {
    let most = tallies.iter().map(|tally| tally.trials).max().unwrap_or(1).max(1);
    let points: Vec<_> = tallies.iter().flat_map(|tally| &tally.points).collect();
    let height = ROW * (tallies.len() + 2) + CELL * (points.len().div_ceil(2) + 1);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>"
    );
    for (n, tally) in tallies.iter().enumerate() {
        let y = ROW * (n + 1);
        let what = tally.mutant.as_ref().map_or_else(|| tally.fault.clone(), |name| format!("mutant {name}"));
        let length = (tally.trials * 420 / most).max(2);
        let (colour, says) = match (is_well(tally), &tally.mutant) {
            (true, None) => ("#2e7d5b", format!("{} trials, nothing broken", tally.trials)),
            (true, Some(_)) => ("#6a5acd", format!("caught within {} trials", tally.trials)),
            (false, None) => ("#c0392b", format!("{} trials, {} violations", tally.trials, tally.violated())),
            (false, Some(_)) => ("#c0392b", format!("not caught in {} trials", tally.trials)),
        };
        let _ = write!(
            svg,
            "<text x=\"10\" y=\"{}\">{what}</text><rect x=\"200\" y=\"{}\" width=\"{length}\" height=\"14\" rx=\"3\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"{}\" fill=\"#444\">{says}</text>",
            y + 12,
            y + 1,
            208 + length,
            y + 12
        );
    }
    let top = ROW * (tallies.len() + 2);
    for (n, (name, (fell, tried))) in points.iter().enumerate() {
        let (x, y) = (10 + (n % 2) * 420, top + (n / 2) * CELL);
        let colour = if *fell == 0 { "#c0392b" } else { "#2e7d5b" };
        let opacity = 25 + (75 * fell).checked_div(*tried).unwrap_or(0);
        let _ = write!(
            svg,
            "<rect x=\"{x}\" y=\"{y}\" width=\"14\" height=\"14\" rx=\"3\" fill=\"{colour}\" fill-opacity=\"0.{opacity:02}\"/>\
             <text x=\"{}\" y=\"{}\">{name}: fell {fell} of {tried}</text>",
            x + 20,
            y + 12
        );
    }
    svg.push_str("</svg>\n");
    svg
}
