//! Where the policies of a command are: directories, and the federation document they belong to.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use meshbridge_policy::testing::Suite;
use meshbridge_policy::{Diagnostic, Diagnostics, Federation, SourceFile};

use super::Failure;
use crate::config::{ConfigProblem, read_federation};
use crate::policy_store::read_sources;

/// Tests are in files that end so.
pub(super) const TEST_SUFFIX: &str = ".test.yaml";
/// The name of the document where it is not given.
const FEDERATION: &str = "federation.yaml";

/// A federation with the files of its policies.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) federation: Federation,
    pub(super) files: Vec<SourceFile>,
    /// Directories and files that they were read from.
    pub(super) places: Vec<PathBuf>,
}

impl Sources {
    pub(super) fn tests(&self) -> impl Iterator<Item = &SourceFile> {
        self.files.iter().filter(|file| is_test(Path::new(&file.name)))
    }

    /// Files beside these that are named almost like policies, and are not read for it.
    pub(super) fn not_read(&self) -> Diagnostics {
        let mut names = Vec::new();
        let mut places = self.places.clone();
        while let Some(place) = places.pop() {
            // What cannot be read was told before.
            for path in std::fs::read_dir(&place).into_iter().flatten().flatten().map(|entry| entry.path()) {
                let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
                match path.is_dir() {
                    _ if is_hidden => {}
                    true => places.push(path),
                    false => names.push(plain(&path).display().to_string()),
                }
            }
        }
        names.sort();
        names.dedup();
        meshbridge_policy::misnamed(&names)
    }

    /// Whether a test is about these policies, and no others.
    pub(super) fn are_of(&self, file: &SourceFile, suite: &Suite) -> bool {
        let directory = Path::new(&file.name).parent().unwrap_or(Path::new("."));
        let mut places: Vec<PathBuf> = suite.policies.iter().map(|below| directory.join(below)).collect();
        if places.is_empty() {
            places.push(directory.to_owned());
        }
        let whole = |files: &[SourceFile]| -> BTreeSet<PathBuf> {
            files.iter().filter_map(|file| std::fs::canonicalize(&file.name).ok()).collect()
        };
        files(&places).is_ok_and(|files| whole(&files) == whole(&self.files))
    }
}

/// Why there are none.
#[derive(Debug)]
pub(super) enum NoSources {
    /// The federation document has errors.
    Federation(Diagnostics),
    Failed(Failure),
}

impl From<ConfigProblem> for NoSources {
    fn from(problem: ConfigProblem) -> NoSources {
        match problem {
            ConfigProblem::Invalid(problems) => NoSources::Federation(problems),
            problem => NoSources::Failed(problem.into()),
        }
    }
}

/// Reads directories. A directory with a federation document stands for the policies that document names.
pub(super) fn read(directories: &[PathBuf], federation: Option<&Path>) -> Result<Sources, NoSources> {
    let document = match federation {
        Some(file) => file.to_owned(),
        None => find_federation(directories).ok_or_else(|| no_federation(directories))?,
    };
    let federation = read_federation(&document)?;
    let base = document.parent().unwrap_or(Path::new("."));
    let mut all: Vec<PathBuf> = Vec::new();
    for directory in directories {
        let is_home =
            plain(&directory.join(FEDERATION)) == plain(&document) && !federation.policies().is_empty();
        match is_home {
            true => all.extend(federation.policies().iter().map(|below| plain(&base.join(below)))),
            false => all.push(plain(directory)),
        }
    }
    Ok(Sources { federation, files: files(&all)?, places: all })
}

/// Every policy file below these, each once however many directories lead to it.
pub(super) fn files(places: &[PathBuf]) -> Result<Vec<SourceFile>, NoSources> {
    let mut met = BTreeSet::new();
    let mut files = Vec::new();
    for place in places {
        let found = if place.is_file() {
            let text = read_text(place).map_err(NoSources::Failed)?;
            vec![SourceFile { name: place.display().to_string(), text }]
        } else {
            let failed = |problem: crate::policy_store::LoadPolicyError| {
                NoSources::Failed(Failure::Input(problem.into()))
            };
            read_sources(std::slice::from_ref(place)).map_err(failed)?
        };
        for mut file in found {
            let whole = std::fs::canonicalize(&file.name).unwrap_or_else(|_| PathBuf::from(&file.name));
            if met.insert(whole) {
                file.name = plain(Path::new(&file.name)).display().to_string();
                files.push(file);
            }
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

pub(super) fn read_text(path: &Path) -> Result<String, Failure> {
    let unreadable = |problem| anyhow!("cannot read `{}`: {problem}", path.display());
    std::fs::read_to_string(path).map_err(|problem| Failure::Input(unreadable(problem)))
}

/// The federation document as a file of policies: the layer federation is signed with it.
pub(super) fn federation_file(directories: &[PathBuf], named: Option<&Path>) -> Option<SourceFile> {
    let path = named.map(Path::to_owned).or_else(|| find_federation(directories))?;
    let text = read_text(&path).ok()?;
    Some(SourceFile { name: path.display().to_string(), text })
}

/// In one of the directories, or one level up.
pub(super) fn find_federation(directories: &[PathBuf]) -> Option<PathBuf> {
    let inside = directories.iter().map(|directory| directory.join(FEDERATION));
    let above = directories.iter().map(|directory| directory.join("..").join(FEDERATION));
    inside.chain(above).find(|file| file.is_file()).map(|file| plain(&file))
}

fn no_federation(directories: &[PathBuf]) -> NoSources {
    let missing = directories.iter().find(|directory| !directory.exists());
    NoSources::Failed(Failure::Input(match missing {
        Some(missing) => anyhow!("cannot read `{}`: there is no such directory", missing.display()),
        None => {
            anyhow!("no {FEDERATION} in the directories given, nor one level up; name it with --federation")
        }
    }))
}

/// The path without `.` in it, so that diagnostics name files as people do.
pub(super) fn plain(path: &Path) -> PathBuf {
    let plain: PathBuf =
        path.components().filter(|part| !matches!(part, std::path::Component::CurDir)).collect();
    if plain.as_os_str().is_empty() { PathBuf::from(".") } else { plain }
}

pub(super) fn is_test(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(TEST_SUFFIX))
}

/// Diagnostics of several sources in the order of their places, none twice: a test is read with its policies and again
/// by itself.
pub(super) fn together(all: Vec<Diagnostics>) -> Vec<Diagnostic> {
    let mut problems: Vec<Diagnostic> = all.iter().flat_map(Diagnostics::iter).cloned().collect();
    problems.sort_by(|a, b| (&a.span, a.code, &a.message).cmp(&(&b.span, b.code, &b.message)));
    problems.dedup();
    problems
}
