//! What the disk itself does, without any server: the figure that every durable one is read against.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

use crate::connection::Interrupt;
use crate::histogram;

/// The file begins anew at this size; writes go on into space that has to be found, as they do in a log.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// How long an append and its sync take.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sync {
    pub(crate) bytes: usize,
    pub(crate) p50_micros: f64,
    pub(crate) p99_micros: f64,
    pub(crate) syncs_per_second: f64,
}

/// Appends `bytes` bytes and calls fdatasync, again and again for a while, in a file of `directory`.
pub(crate) fn sync(directory: &Path, bytes: usize, time: Duration, interrupt: &Interrupt) -> Result<Sync> {
    let path = directory.join("disk.probe");
    let mut file = File::create(&path)?;
    let block = vec![0x5a; bytes];
    let mut times = histogram();
    let begin = Instant::now();
    let mut written = 0;
    // Ten at least: a slow disk is to have a median too.
    while begin.elapsed() < time || times.len() < 10 {
        interrupt.check()?;
        let start = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        times.saturating_record(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
        written += bytes as u64;
        if written >= FILE_BYTES_MAX {
            file = File::create(&path)?;
            written = 0;
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    drop(file);
    fs::remove_file(&path)?;
    Ok(Sync {
        bytes,
        p50_micros: times.value_at_quantile(0.5) as f64 / 1e3,
        p99_micros: times.value_at_quantile(0.99) as f64 / 1e3,
        syncs_per_second: times.len() as f64 / seconds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_has_figures_and_nothing_is_left_on_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let sync =
            sync(directory.path(), 4_096, Duration::from_millis(20), &Interrupt::default()).expect("a disk");
        assert!(sync.p50_micros > 0.0 && sync.p99_micros >= sync.p50_micros && sync.syncs_per_second > 0.0);
        assert_eq!(fs::read_dir(directory.path()).expect("it is there").count(), 0);
    }
}
