//! What people have said of quarantined events: kept on the disk until the pair of event and destination has ended.
//!
//! ```text
//! {"format":"meshbridge-quarantine","version":1}
//! {"key":"…","destination":"…","released":[{"rule":"…","layer":"…","by":"…","reason":"…","at":"…"}]}
//! {"key":"…","destination":"…","released":[],"refused":{…}}
//! {"blake3":"…"}                                  over every byte before this line
//! ```
//!
//! The file is small and rewritten whole: a new one beside it, flushed, then renamed over it. A damaged one is set aside
//! and nothing of it is believed: what it had released is held again, which is safe, and said loudly.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use meshbridge_routing::{BridgeId, EventKey};
use serde::{Deserialize, Serialize};

/// Pairs that may be ruled on at a time. Beyond it a ruling is refused, and the event stays held.
pub(super) const RULINGS_MAX: usize = 10_000;
/// Rules that one pair may be released from.
const RELEASES_MAX: usize = 32;
/// What a file of that many entries may have at most; a larger one is not ours.
const FILE_BYTES_MAX: u64 = 512 << 20;

const NAME: &str = "quarantine.jsonl";
const FORMAT: &str = "meshbridge-quarantine";
const VERSION: u32 = 1;

/// An event and one of its destinations.
pub(super) type Pair = (EventKey, BridgeId);

/// What one person has said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Said {
    pub(super) rule: Arc<str>,
    pub(super) layer: String,
    /// The principal.
    pub(super) by: String,
    pub(super) reason: String,
    /// RFC 3339.
    pub(super) at: String,
}

/// Which way it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Release,
    Refuse,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ruling {
    released: Vec<Said>,
    /// Of `released`, as a judge wants them.
    rules: Arc<[Arc<str>]>,
    refused: Option<Said>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    format: String,
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct Line {
    key: String,
    destination: String,
    released: Vec<Said>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<Said>,
}

#[derive(Serialize, Deserialize)]
struct Foot {
    blake3: String,
}

/// Why a ruling is not kept; then it does not count.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotKept {
    #[error("{RULINGS_MAX} pairs have been ruled on and have not ended yet")]
    Full,
    #[error("the ruling cannot be written")]
    Disk(#[source] io::Error),
}

/// All of them.
#[derive(Debug)]
pub(super) struct Rulings {
    directory: PathBuf,
    by_pair: HashMap<Pair, Ruling>,
    /// Some have gone since the file was written.
    is_stale: bool,
}

impl Rulings {
    /// Reads what a data directory has. The text is of a damaged file, which lies beside the place now.
    pub(super) fn open(directory: &Path) -> io::Result<(Rulings, Option<String>)> {
        let path = directory.join(NAME);
        let mut rulings =
            Rulings { directory: directory.to_owned(), by_pair: HashMap::new(), is_stale: false };
        let bytes = match fs::metadata(&path) {
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok((rulings, None)),
            Err(problem) => return Err(problem),
            Ok(meta) if meta.len() > FILE_BYTES_MAX => None,
            Ok(_) => Some(fs::read(&path)?),
        };
        match bytes.as_deref().map_or(Err("it is too large".to_owned()), parse) {
            Ok(by_pair) => {
                rulings.by_pair = by_pair;
                Ok((rulings, None))
            }
            Err(problem) => {
                let aside = directory.join(format!("{NAME}.damaged"));
                fs::rename(&path, &aside)?;
                Ok((rulings, Some(format!("{problem}; the file is kept as `{}`", aside.display()))))
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_pair.len()
    }

    /// The rules that the pair was released from.
    pub(super) fn released(&self, pair: &Pair) -> Arc<[Arc<str>]> {
        self.by_pair.get(pair).map_or_else(Arc::default, |ruling| Arc::clone(&ruling.rules))
    }

    pub(super) fn refused(&self, pair: &Pair) -> Option<&Said> {
        self.by_pair.get(pair)?.refused.as_ref()
    }

    /// Keeps what was said, on the disk when this returns; all of it or nothing.
    pub(super) fn add(&mut self, way: Way, said: Vec<(Pair, Said)>) -> Result<(), NotKept> {
        let mut next = self.by_pair.clone();
        for (pair, said) in said {
            let ruling = next.entry(pair).or_default();
            match way {
                Way::Refuse => ruling.refused = Some(said),
                Way::Release if ruling.released.len() >= RELEASES_MAX => return Err(NotKept::Full),
                Way::Release => {
                    ruling.released.retain(|known| known.rule != said.rule);
                    ruling.released.push(said);
                    ruling.rules = ruling.released.iter().map(|said| Arc::clone(&said.rule)).collect();
                }
            }
        }
        if next.len() > RULINGS_MAX {
            return Err(NotKept::Full);
        }
        write(&self.directory, &next).map_err(NotKept::Disk)?;
        (self.by_pair, self.is_stale) = (next, false);
        Ok(())
    }

    /// The pair has ended.
    pub(super) fn forget(&mut self, pair: &Pair) {
        self.is_stale |= self.by_pair.remove(pair).is_some();
    }

    pub(super) fn pairs(&self) -> Vec<Pair> {
        self.by_pair.keys().cloned().collect()
    }

    pub(super) fn retain(&mut self, mut open: impl FnMut(&Pair) -> bool) {
        let before = self.by_pair.len();
        self.by_pair.retain(|pair, _| open(pair));
        self.is_stale |= self.by_pair.len() < before;
    }

    /// Takes those that have gone out of the file. One that stays there does no harm.
    pub(super) fn tidy(&mut self) -> io::Result<()> {
        if self.is_stale {
            write(&self.directory, &self.by_pair)?;
            self.is_stale = false;
        }
        Ok(())
    }
}

fn write(directory: &Path, all: &HashMap<Pair, Ruling>) -> io::Result<()> {
    let mut text = Vec::new();
    let mut line = |value: serde_json::Result<String>| -> io::Result<()> {
        text.extend_from_slice(value?.as_bytes());
        text.push(b'\n');
        Ok(())
    };
    line(serde_json::to_string(&Head { format: FORMAT.to_owned(), version: VERSION }))?;
    for ((key, destination), ruling) in all {
        line(serde_json::to_string(&Line {
            key: key.to_string(),
            destination: destination.to_string(),
            released: ruling.released.clone(),
            refused: ruling.refused.clone(),
        }))?;
    }
    let foot = Foot { blake3: blake3::hash(&text).to_hex().to_string() };
    text.extend_from_slice(serde_json::to_string(&foot)?.as_bytes());
    text.push(b'\n');
    let (path, fresh) = (directory.join(NAME), directory.join(format!("{NAME}.new")));
    let mut file = File::create(&fresh)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&fresh, &path)?;
    // The name is as durable as the bytes.
    File::open(directory)?.sync_all()
}

fn parse(bytes: &[u8]) -> Result<HashMap<Pair, Ruling>, String> {
    let body = bytes.strip_suffix(b"\n").ok_or("its last line is cut short")?;
    let foot_at = body.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let (text, foot) = body.split_at(foot_at);
    let foot: Foot = serde_json::from_slice(foot).map_err(|_| "it has no checksum".to_owned())?;
    if foot.blake3 != blake3::hash(text).to_hex().as_str() {
        return Err("its checksum is another".to_owned());
    }
    let mut lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let head: Option<Head> = lines.next().and_then(|line| serde_json::from_slice(line).ok());
    if !head.is_some_and(|head| head.format == FORMAT && head.version == VERSION) {
        return Err(format!("it is not {FORMAT} of version {VERSION}"));
    }
    let entry = |line: &[u8]| {
        let line: Line = serde_json::from_slice(line).ok()?;
        let pair = (line.key.parse().ok()?, BridgeId::parse(&line.destination).ok()?);
        let rules = line.released.iter().map(|said| Arc::clone(&said.rule)).collect();
        Some((pair, Ruling { released: line.released, rules, refused: line.refused }))
    };
    lines.map(|line| entry(line).ok_or_else(|| "a line of it cannot be read".to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use meshbridge_routing::Run;

    use super::*;

    fn pair(seq: u64) -> Pair {
        let origin = BridgeId::parse("near").expect("an id");
        let key = EventKey { origin, run: Run { epoch: 3, nonce: 9 }, lane: 1, seq };
        (key, BridgeId::parse("far").expect("an id"))
    }

    fn said(rule: &str) -> Said {
        let text = |text: &str| text.to_owned();
        let (by, reason) = (text("officer"), text("a \"reason\"\nof two lines"));
        Said { rule: rule.into(), layer: text("federation"), by, reason, at: text("2026-01-01T00:00:00Z") }
    }

    fn open(directory: &Path) -> Rulings {
        let (rulings, damage) = Rulings::open(directory).expect("readable");
        assert_eq!(damage, None);
        rulings
    }

    #[test]
    fn what_was_said_is_there_after_a_restart_until_the_pair_has_ended() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let mut rulings = open(directory.path());
        rulings.add(Way::Release, vec![(pair(1), said("a/one")), (pair(2), said("a/one"))]).expect("kept");
        rulings.add(Way::Release, vec![(pair(1), said("b/two")), (pair(1), said("b/two"))]).expect("kept");
        rulings.add(Way::Refuse, vec![(pair(3), said("a/one"))]).expect("kept");
        let mut again = open(directory.path());
        assert_eq!(again.by_pair, rulings.by_pair);
        assert_eq!(*again.released(&pair(1)), ["a/one".into(), "b/two".into()]);
        assert_eq!((again.refused(&pair(3)), again.refused(&pair(1))), (Some(&said("a/one")), None));
        again.forget(&pair(1));
        again.retain(|(key, _)| key.seq != 3);
        assert_eq!(open(directory.path()).len(), 3, "nothing is written for that alone");
        again.tidy().expect("written");
        assert_eq!(open(directory.path()).by_pair, again.by_pair);
        assert!(again.released(&pair(1)).is_empty() && again.released(&pair(2)).len() == 1);
    }

    #[test]
    fn any_changed_byte_is_damage_and_nothing_of_the_file_is_believed() {
        let directory = tempfile::tempdir().expect("temporary directory");
        open(directory.path())
            .add(Way::Release, vec![(pair(1), said("a/one")), (pair(2), said("b/two"))])
            .expect("kept");
        let whole = fs::read(directory.path().join(NAME)).expect("readable");
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert!(parse(&damaged).is_err(), "byte {at}");
            assert!(parse(&whole[..at]).is_err(), "cut at {at}");
        }
        fs::write(directory.path().join(NAME), &whole[..whole.len() / 2]).expect("written");
        let (rulings, damage) = Rulings::open(directory.path()).expect("readable");
        assert!(rulings.len() == 0 && damage.is_some_and(|text| text.contains("damaged")));
        assert!(directory.path().join(format!("{NAME}.damaged")).is_file());
        assert_eq!(open(directory.path()).len(), 0, "said once");
    }

    #[test]
    fn what_finds_no_room_is_refused_and_changes_nothing() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let mut rulings = open(directory.path());
        let many = (0..RULINGS_MAX as u64).map(|seq| (pair(seq), said("a/one"))).collect();
        rulings.add(Way::Release, many).expect("kept");
        let more = vec![(pair(RULINGS_MAX as u64), said("a/one"))];
        assert!(matches!(rulings.add(Way::Release, more), Err(NotKept::Full)));
        assert_eq!((rulings.len(), open(directory.path()).len()), (RULINGS_MAX, RULINGS_MAX));
        rulings.add(Way::Release, vec![(pair(7), said("b/two"))]).expect("a known pair needs no place");
    }
}
