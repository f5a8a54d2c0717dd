//! The directory where operators put bundles.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use meshbridge_bundle::{ARCHIVE_BYTES_MAX, Digest, Layer, open};
use tracing::warn;

use super::alarms::AlarmKind;
use super::keeper::{Keeper, Offered, Source};
use super::shelf::read_bounded;

/// Files that are looked at; those beyond are an alarm.
const FILES_MAX: usize = 1_000;
const SUFFIX: &str = "bundle";

/// A file that says of itself which layer and revision it is. Nobody has looked at its signature.
struct Found {
    name: String,
    revision: u64,
    digest: Digest,
    archive: Vec<u8>,
}

impl Keeper {
    /// Looks at every file `*.bundle` in the directory. Of each layer the newest that is signed is taken; older ones may
    /// lie beside it. One that is older than what is in force, and came while this bridge runs, is somebody's attempt to
    /// go back, and an alarm.
    pub(crate) fn scan(&mut self) {
        let directory = self.parts.settings.directory.clone();
        let mut trouble: BTreeSet<String> = BTreeSet::new();
        let found = match read(&directory, &mut trouble, self) {
            Ok(found) => found,
            Err(problem) => {
                let what = format!("cannot read `{}`: {problem}", directory.display());
                self.alarms.raise(AlarmKind::Disk, "policy.bundles", what);
                return;
            }
        };
        self.alarms.clear(AlarmKind::Disk, "policy.bundles");
        let mut seen = BTreeSet::new();
        let mut back = BTreeSet::new();
        // The layer federation first: it says who signs for the others.
        for (_, mut files) in found {
            files.sort_by_key(|file| std::cmp::Reverse(file.revision));
            let mut has_newest = false;
            for file in files {
                let is_new = !self.seen.contains(&file.digest) && self.has_scanned;
                seen.insert(file.digest);
                if has_newest {
                    continue;
                }
                match self.offer(&file.archive, Source::File(&file.name)) {
                    Offered::Taken | Offered::Known => has_newest = true,
                    Offered::Older(what) => {
                        has_newest = true;
                        warn!(file = %file.name, %what, "A policy bundle is not taken");
                        let is_alarm = is_new
                            || self
                                .alarms
                                .iter()
                                .any(|(kind, about, _)| kind == AlarmKind::Rollback && about == file.name);
                        if is_alarm {
                            self.alarms.raise(AlarmKind::Rollback, &file.name, what);
                            back.insert(file.name);
                        }
                    }
                    Offered::Wrong(_) => {
                        trouble.insert(file.name);
                    }
                    Offered::Unknown(_) | Offered::Contradicts(_) | Offered::NotNow(_) => {}
                }
            }
        }
        self.alarms.retain(AlarmKind::Rollback, |about| back.contains(about) || !is_file(about));
        self.alarms.retain(AlarmKind::Unsigned, |about| trouble.contains(about) || !is_file(about));
        self.seen = seen;
        self.has_scanned = true;
    }
}

fn is_file(about: &str) -> bool {
    about.ends_with(".bundle")
}

/// By layer, as the files say it.
fn read(
    directory: &Path,
    trouble: &mut BTreeSet<String>,
    keeper: &mut Keeper,
) -> std::io::Result<BTreeMap<Layer, Vec<Found>>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && path.extension().is_some_and(|extension| extension == SUFFIX) {
            names.push(path);
        }
    }
    names.sort();
    if names.len() > FILES_MAX {
        let what = format!("more than {FILES_MAX} files; take old bundles out of the directory");
        keeper.alarms.raise(AlarmKind::Unsigned, "too many.bundle", what);
        trouble.insert("too many.bundle".to_owned());
        // Names are made to ascend; the newest are at the end.
        names.drain(..names.len() - FILES_MAX);
    }
    let mut found: BTreeMap<Layer, Vec<Found>> = BTreeMap::new();
    for path in names {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let opened = read_bounded(&path, ARCHIVE_BYTES_MAX)
            .map_err(anyhow::Error::from)
            .and_then(|archive| Ok((open(&archive)?, archive)));
        match opened {
            Ok((opened, archive)) => {
                let manifest = opened.manifest();
                let (revision, digest) = (manifest.revision(), opened.signed_manifest().digest());
                let file = Found { name, revision, digest, archive };
                found.entry(manifest.layer().clone()).or_default().push(file);
            }
            Err(problem) => {
                keeper.alarms.raise(AlarmKind::Unsigned, &name, format!("{problem:#}"));
                trouble.insert(name);
            }
        }
    }
    Ok(found)
}
