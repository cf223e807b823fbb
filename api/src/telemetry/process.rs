//! What the kernel knows of this process, under the names that Prometheus clients use.

use std::fmt;

/// The kernel's clock ticks in a second, as `/proc` counts them: fixed at 100 on every Linux we run on.
const TICKS_PER_SECOND: f64 = 100.0;

/// A look at `/proc/self`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProcessStats {
    /// User and system time used so far.
    pub cpu_seconds: f64,
    /// Start, in seconds since 1970.
    pub start_time_seconds: f64,
    /// Resident memory.
    pub resident_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// Limit of open file descriptors; `None` without a limit.
    pub max_fds: Option<u64>,
}

impl ProcessStats {
    /// Reads `/proc`; `None` where there is none.
    pub fn of_self() -> Option<Self> {
        let read = |path: &str| std::fs::read_to_string(path).ok();
        let open_fds = std::fs::read_dir("/proc/self/fd").ok()?.count();
        Self::parse(
            &read("/proc/self/stat")?,
            &read("/proc/self/status")?,
            &read("/proc/stat")?,
            &read("/proc/self/limits")?,
            // Reading the folder takes a descriptor of its own.
        )
        .map(|stats| Self { open_fds: u64::try_from(open_fds.saturating_sub(1)).unwrap_or(u64::MAX), ..stats })
    }

    fn parse(stat: &str, status: &str, system: &str, limits: &str) -> Option<Self> {
        // The program's name may hold spaces and parentheses; what follows the last one does not.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
        let after = |text: &str, label: &str| {
            let rest = text.lines().find_map(|line| line.strip_prefix(label))?;
            rest.split_ascii_whitespace().next().map(str::to_owned)
        };
        let boot: f64 = after(system, "btime ")?.parse().ok()?;
        Some(Self {
            cpu_seconds: (ticks(11)? + ticks(12)?) / TICKS_PER_SECOND,
            start_time_seconds: boot + ticks(19)? / TICKS_PER_SECOND,
            resident_bytes: after(status, "VmRSS:")?.parse::<u64>().ok()? * 1024,
            threads: after(status, "Threads:")?.parse().ok()?,
            open_fds: 0,
            max_fds: after(limits, "Max open files").and_then(|limit| limit.parse().ok()),
        })
    }
}

/// The Prometheus text format.
impl fmt::Display for ProcessStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut metric = |name: &str, kind: &str, help: &str, value: &dyn fmt::Display| {
            writeln!(f, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n")
        };
        metric("process_cpu_seconds_total", "counter", "User and system CPU time.", &self.cpu_seconds)?;
        metric("process_start_time_seconds", "gauge", "Start, in seconds since 1970.", &self.start_time_seconds)?;
        metric("process_resident_memory_bytes", "gauge", "Resident memory.", &self.resident_bytes)?;
        metric("process_threads", "gauge", "Threads.", &self.threads)?;
        metric("process_open_fds", "gauge", "Open file descriptors.", &self.open_fds)?;
        match self.max_fds {
            Some(limit) => metric("process_max_fds", "gauge", "Limit of open file descriptors.", &limit),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read_in_spite_of_an_odd_program_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 9 0 0 0 150 50 0 0 20 0 9 0 12345 0 0";
        let stats = ProcessStats::parse(
            stat,
            "Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t9\n",
            "cpu 1\nbtime 1700000000\n",
            "Limit   Soft Limit\nMax open files            1024                 4096                 files\n",
        )
        .unwrap();
        assert_eq!(
            stats,
            ProcessStats {
                cpu_seconds: 2.0,
                start_time_seconds: 1_700_000_123.45,
                resident_bytes: 2 << 20,
                threads: 9,
                open_fds: 0,
                max_fds: Some(1024),
            }
        );
    }

    #[test]
    fn this_process_has_memory_and_descriptors() {
        let stats = ProcessStats::of_self().unwrap();
        assert!(stats.resident_bytes > 1 << 16 && stats.open_fds >= 3 && stats.threads >= 1);
        assert_eq!(ProcessStats::parse("", "", "", ""), None);
    }
}
