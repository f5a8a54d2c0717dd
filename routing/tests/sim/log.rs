//! What happened in a world, line by line. Off while seeds pass; a failing seed is run once more with it on.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Faults shown on the terminal; the file has all of them.
const FAULTS_SHOWN: usize = 25;

#[derive(Clone, Debug, Default)]
pub struct Log(Option<Arc<Mutex<Vec<Line>>>>);

#[derive(Debug)]
struct Line {
    at: Duration,
    fault: bool,
    text: String,
}

impl Log {
    pub fn on() -> Log {
        Log(Some(Arc::default()))
    }

    pub fn event(&self, at: Duration, text: impl FnOnce() -> String) {
        self.add(at, false, text);
    }

    /// What the schedule did, as opposed to what followed from it.
    pub fn fault(&self, at: Duration, text: impl FnOnce() -> String) {
        self.add(at, true, text);
    }

    fn add(&self, at: Duration, fault: bool, text: impl FnOnce() -> String) {
        if let Some(lines) = &self.0 {
            let line = Line { at, fault, text: text() };
            lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    }

    /// How many faults there were, and the last of them.
    pub fn summary(&self) -> String {
        let Some(lines) = &self.0 else { return String::new() };
        let lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        let faults: Vec<&Line> = lines.iter().filter(|line| line.fault).collect();
        let shown = &faults[faults.len().saturating_sub(FAULTS_SHOWN)..];
        let mut text = format!("{} faults, {} events; the last faults:\n", faults.len(), lines.len());
        shown.iter().for_each(|line| writeln!(text, "{line}").expect("memory takes it"));
        text
    }

    /// Writes all lines into a file of the temporary directory.
    #[expect(clippy::disallowed_methods, reason = "the event list of a failure is kept for a person to read")]
    pub fn save(&self, seed: u64) -> std::io::Result<PathBuf> {
        let path = std::env::temp_dir().join(format!("meshbridge-sim-{seed}-{}.log", std::process::id()));
        let mut text = String::new();
        if let Some(lines) = &self.0 {
            let lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.iter().for_each(|line| writeln!(text, "{line}").expect("memory takes it"));
        }
        std::fs::write(&path, text)?;
        Ok(path)
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mark = if self.fault { "FAULT " } else { "" };
        write!(f, "{:>10.3}s {mark}{}", self.at.as_secs_f64(), self.text)
    }
}
