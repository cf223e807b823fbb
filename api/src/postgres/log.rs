//! What the server said: its start log and its own rotated logs, read for the end of an error.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::folder::Cluster;

/// How much of a log an error shows.
const LAST_WORDS_BYTES: usize = 1200;
/// How much of a log is read.
const READ_MAX_BYTES: u64 = 64 * 1024;

/// The server's own logs and how long each is now.
pub(super) fn log_sizes(cluster: &Cluster) -> Vec<(PathBuf, u64)> {
    let Ok(entries) = fs::read_dir(cluster.dir.join("log")) else {
        return Vec::new();
    };
    entries.flatten().filter_map(|entry| Some((entry.path(), entry.metadata().ok()?.len()))).collect()
}

/// The log that was written to last, or the start log before there is one.
pub(super) fn newest_log(cluster: &Cluster) -> PathBuf {
    log_sizes(cluster)
        .into_iter()
        .filter_map(|(path, _)| Some((fs::metadata(&path).ok()?.modified().ok()?, path)))
        .max()
        .map_or_else(|| cluster.start_log.clone(), |(_, path)| path)
}

/// What was added to the server's logs since their sizes were taken.
pub(super) fn said_since(cluster: &Cluster, sizes: &[(PathBuf, u64)]) -> String {
    let mut said = String::new();
    for (path, size) in log_sizes(cluster) {
        let known = sizes.iter().find(|(other, _)| *other == path).map_or(0, |(_, size)| *size);
        if size > known {
            said.push_str(&read_from(&path, known));
        }
    }
    said
}

/// The beginning of what a file holds from an offset on; nothing if it cannot be read.
pub(super) fn read_from(path: &Path, offset: u64) -> String {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(offset))?;
        file.take(READ_MAX_BYTES).read_to_end(&mut bytes)
    });
    match read {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => String::new(),
    }
}

/// What in a server program's words tells why it ended, rather than how far it came.
const TELLING: [&str; 8] = ["FATAL", "PANIC", "ERROR", "HINT", "error:", "could not", "lock file", "invalid"];

/// The end of what a server program said, in one line, for an error: the telling lines if there are any.
pub(super) fn last_lines(text: &str) -> String {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let telling: Vec<&str> = lines().filter(|line| TELLING.iter().any(|word| line.contains(word))).collect();
    let mut end = if telling.is_empty() { lines().collect() } else { telling }.join(" | ");
    let cut = end.len().saturating_sub(LAST_WORDS_BYTES);
    let cut = (cut..end.len()).find(|&at| end.is_char_boundary(at)).unwrap_or(0);
    end.split_off(cut)
}
