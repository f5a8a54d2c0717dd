//! Opening the spool and folding what it holds.

use std::path::Path;

use anyhow::Context as _;
use meshbridge_delivery::{Record, State};
use meshbridge_routing::BridgeId;
use meshbridge_spool::vfs::RealVfs;
use meshbridge_spool::{Damage, Log, OpenError, Options, Recovered, Replay};
use tracing::{error, info, warn};

use super::Spool;
use super::damage::DamageList;
use crate::config::SpoolSettings;

/// What a start found.
pub(crate) struct Opened {
    pub(crate) log: Spool,
    pub(crate) state: State,
    pub(crate) recovered: Recovered,
    /// Bodies that are wanted and lost.
    pub(crate) lost: Vec<u64>,
}

/// Opens the spool in `directory` and folds what it holds.
pub(crate) fn open(
    directory: &Path,
    settings: SpoolSettings,
    own: &BridgeId,
    accept_missing: bool,
) -> anyhow::Result<Opened> {
    let vfs = RealVfs::new(directory).with_context(|| format!("cannot use `{}`", directory.display()))?;
    let options = Options {
        segment_bytes: settings.segment_bytes,
        segments_max: settings.segments_max,
        first_epoch: now_seconds(),
        accept_missing,
        ..Options::default()
    };
    let mut state = State::new(own.clone());
    let mut unreadable = 0_u64;
    let mut effects = Vec::new();
    let opened = Log::open(vfs, options, Box::new(rand::random), |item| {
        let read = match item {
            Replay::Part(part) => state.apply_part(part),
            Replay::State { bytes, .. } | Replay::Body { bytes, .. } => {
                Record::decode(bytes).map(|(record, _)| {
                    state.apply(&record, &mut effects);
                    effects.clear();
                })
            }
            Replay::Lost { .. } => Ok(()),
        };
        unreadable += u64::from(read.is_err());
    });
    let (mut log, recovered) = opened.map_err(|problem| explain(directory, problem))?;
    if unreadable > 0 {
        warn!(records = unreadable, "Records of the spool make no sense to this version and were left out");
    }
    let lost = log.retain(|body| state.events.contains_key(&body));
    Ok(Opened { log, state, recovered, lost })
}

/// A new disk under an old name counts from here: above all the runs of the disk it replaces, which began at an earlier
/// time and counted its starts.
fn now_seconds() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(1, |since| since.as_secs().max(1))
}

fn explain(directory: &Path, problem: OpenError) -> anyhow::Error {
    let shown = directory.display();
    let hint = match &problem {
        OpenError::InUse => " (another bridge runs on this data directory)".to_owned(),
        OpenError::Missing(_) => format!(
            ": look at `meshbridge spool verify {shown}`; put the files back, or accept what is lost with `meshbridge run --accept-missing`"
        ),
        _ => String::new(),
    };
    anyhow::Error::new(problem).context(format!("cannot open the spool in `{shown}`{hint}"))
}

/// Says what recovery found, loudly where it is damage.
pub(crate) fn report(recovered: &Recovered, lost: &[u64], list: &DamageList) -> bool {
    if let Some(first) = recovered.torn {
        info!(first, "The last write before the stop was cut short; it had not been acknowledged");
    }
    for Damage { segment, first, last, salvaged } in &recovered.damage {
        error!(segment, first, last, salvaged, "The spool is damaged: these records were durable once");
        let upto = last.map_or_else(|| "on".to_owned(), |last| format!("to {last}"));
        list.note(&format!(
            "segment {segment}: records {first} {upto} were durable once; {salvaged} salvaged"
        ));
    }
    if !recovered.missing.is_empty() {
        error!(segments = ?recovered.missing, "Files of the spool are missing, and this was accepted");
        list.note(&format!("segments {:?} are missing, and this was accepted", recovered.missing));
    }
    if !lost.is_empty() {
        error!(events = lost.len(), "Events that were kept for somebody are lost with a damaged file");
        list.note(&format!("{} events that were kept for somebody are lost with a damaged file", lost.len()));
    }
    if list.is_open() {
        error!("Health is red until what was found damaged is acknowledged: `meshbridge spool acknowledge`");
    }
    !recovered.damage.is_empty() || !recovered.missing.is_empty() || !lost.is_empty()
}
