//! The tools on every disk that the rig makes: they must say beforehand what a start then finds.

use meshbridge_spool::vfs::SimVfs;
use meshbridge_spool::{Bug, ExportOptions, OpenError, Report, Verdict, bug, export, verify};

use crate::world;

/// Seeded bugs break the tools as well; then only the log is judged.
pub fn any_bug() -> bool {
    Bug::ALL.into_iter().any(bug)
}

fn contents(vfs: &SimVfs) -> Vec<(String, Option<Vec<u8>>)> {
    vfs.names().into_iter().map(|name| (name.clone(), vfs.contents(&name))).collect()
}

/// Looks at a copy of the disk, with what a failed flush left in the cache.
pub fn look(vfs: &SimVfs) -> Result<Report, String> {
    let disk = vfs.fork();
    disk.kill();
    // A first look meets the disk past the cache, which is no change of it.
    verify(&disk).map_err(|problem| format!("verify: {problem:?}"))?;
    let before = contents(&disk);
    let report = verify(&disk).map_err(|problem| format!("verify: {problem:?}"))?;
    let exported = export(&disk, ExportOptions { salvage: false }, &mut |_| Ok(()));
    let salvaged = export(&disk, ExportOptions { salvage: true }, &mut |_| Ok(()))
        .map_err(|problem| format!("export: {problem:?}"))?;
    let whole = matches!(report.verdict, Verdict::Sound | Verdict::TornTail);
    if whole != exported.is_ok() && !matches!(report.verdict, Verdict::Damaged) {
        return Err(format!("{:?}, and the export says {exported:?}", report.verdict));
    }
    if exported.is_ok() && exported.as_ref().ok() != Some(&salvaged) {
        return Err(format!("export finds {exported:?}, and with salvage {salvaged:?}"));
    }
    if contents(&disk) != before {
        return Err("the tools changed the disk".to_owned());
    }
    Ok(report)
}

/// After crashes alone nothing is damaged.
pub fn judge_crash(vfs: &SimVfs) -> world::Verdict {
    let report = look(vfs)?;
    match report.verdict {
        Verdict::Sound | Verdict::TornTail => Ok(()),
        _ => Err(format!("a crash alone was judged as {report:#?}")),
    }
}

/// What a start and a scrub of everything came to.
#[derive(Debug)]
pub enum Start<'a> {
    Refused(&'a OpenError),
    Started {
        damage: &'a [meshbridge_spool::Damage],
        /// Segments in which a scrub then found something.
        scrubbed: &'a [u64],
        /// Bodies that are needed cannot be read.
        lost: bool,
    },
}

/// The report of the same disk must have said so.
pub fn judge_start(report: &Report, start: &Start<'_>) -> world::Verdict {
    let wrong = |what: &str| Err(format!("{what}: {start:?} and {report:#?}"));
    match start {
        Start::Refused(problem) => match &report.verdict {
            Verdict::Refused(reason) if reason.to_string() == problem.to_string() => Ok(()),
            _ => wrong("verify did not see that the start would be refused"),
        },
        Start::Started { damage, scrubbed, lost } => {
            let loud = *lost || !damage.is_empty();
            match report.verdict {
                Verdict::Refused(_) => return wrong("verify said that the start would be refused"),
                Verdict::Damaged => {}
                Verdict::Sound | Verdict::TornTail if loud => return wrong("verify missed damage"),
                Verdict::Sound | Verdict::TornTail => {}
            }
            for segment in *scrubbed {
                let seen = report.segments.iter().find(|seen| seen.segment == *segment);
                // In a spare nothing can be lost; that it became shorter must be said all the same.
                if seen.is_some_and(|seen| seen.run.is_some() && seen.holes.is_empty()) {
                    return wrong("verify saw nothing in a damaged segment");
                }
            }
            for one in *damage {
                let said = match one.last {
                    Some(0) => true,
                    Some(last) => report.gaps.contains(&(one.first, last)),
                    None => report.end_in_doubt == Some(one.first),
                };
                if !said {
                    return wrong("verify did not name the numbers");
                }
            }
            Ok(())
        }
    }
}
