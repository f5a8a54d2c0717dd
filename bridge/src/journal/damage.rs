//! What of the spool was found damaged, until somebody says that he knows (RELIABILITY S7): health is red for as long as
//! this list is there, over every restart. It is beside the spool, and nothing else depends on it.
//!
//! ```text
//! {"at":"2026-11-22T18:00:00Z","what":"segment 1: records 2 to 5 were durable once, 0 bodies salvaged"}
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing::error;

const FILE: &str = "damage.jsonl";
/// Beyond it nothing is added: that there is damage is said, and the log has the rest.
const BYTES_MAX: u64 = 256 << 10;

/// The list of one data directory.
#[derive(Debug)]
pub(crate) struct DamageList {
    path: PathBuf,
    /// Something is not in the file, for it could not be written.
    unwritten: AtomicBool,
}

impl DamageList {
    pub(crate) fn of(data_directory: &Path) -> DamageList {
        DamageList { path: data_directory.join(FILE), unwritten: AtomicBool::new(false) }
    }

    /// Whether something is on it.
    pub(crate) fn is_open(&self) -> bool {
        self.unwritten.load(Ordering::Relaxed) || self.path.exists()
    }

    /// Adds a line. One that cannot be written counts until the process ends.
    pub(crate) fn note(&self, what: &str) {
        if let Err(problem) = self.write(what) {
            self.unwritten.store(true, Ordering::Relaxed);
            error!(%problem, what, "What was found damaged cannot be written down");
        }
    }

    fn write(&self, what: &str) -> io::Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        if file.metadata()?.len() < BYTES_MAX {
            let at = OffsetDateTime::from(SystemTime::now()).format(&Rfc3339).unwrap_or_default();
            writeln!(file, "{}", serde_json::json!({"at": at, "what": what}))?;
        }
        file.sync_all()?;
        self.sync_directory()
    }

    /// Somebody knows of all of it: the list is kept under another name. Gives its lines, and where they are now; `None` where
    /// there was nothing.
    pub(crate) fn acknowledge(&self) -> io::Result<Option<(String, PathBuf)>> {
        let text = match fs::read_to_string(&self.path) {
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        let now =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let to = self.path.with_file_name(format!("damage-acknowledged-{now}.jsonl"));
        fs::rename(&self.path, &to)?;
        self.sync_directory()?;
        Ok(Some((text, to)))
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_open_over_restarts_until_it_is_acknowledged() {
        let directory = tempfile::tempdir().expect("a directory");
        let list = DamageList::of(directory.path());
        assert!(!list.is_open() && list.acknowledge().expect("it can be read").is_none());
        list.note("records 2 to 5");
        list.note("a \"file\"");
        let again = DamageList::of(directory.path());
        assert!(list.is_open() && again.is_open());
        let (text, kept) = again.acknowledge().expect("it can be read").expect("two lines");
        assert_eq!(text.lines().count(), 2);
        let line: serde_json::Value = serde_json::from_str(text.lines().last().expect("two")).expect("JSON");
        assert_eq!(line["what"], "a \"file\"");
        assert!(!list.is_open() && fs::read_to_string(kept).expect("it is kept") == text);
    }

    #[test]
    fn what_cannot_be_written_down_counts_all_the_same() {
        let directory = tempfile::tempdir().expect("a directory");
        let list = DamageList::of(&directory.path().join("nowhere"));
        list.note("records 2 to 5");
        assert!(list.is_open());
    }
}
