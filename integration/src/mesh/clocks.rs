//! Clocks that are set while their bridges run: each bridge is shown the wall clock by libfaketime, off by what stands in
//! a file of its own. Its monotonic clock goes on as it is.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::Mesh;

/// libfaketime for programs with threads, where the distribution puts it.
pub fn faketime() -> Option<PathBuf> {
    let by_machine = fs::read_dir("/usr/lib").ok()?.filter_map(Result::ok).map(|entry| entry.path());
    let mut places = by_machine.map(|directory| directory.join("faketime/libfaketimeMT.so.1"));
    places.find(|library| library.exists())
}

impl Mesh {
    /// From now on the wall clock of this bridge is off by so many seconds. Nothing where the mesh has no clocks.
    pub fn set_clock(&self, zone: &str, off_by: i64) -> Result<()> {
        if self.clocks.is_none() {
            return Ok(());
        }
        let file = file_of(&self.zone(zone).config);
        // A bridge reads it at each look at its clock, and never half of it.
        let whole = file.with_extension("new");
        fs::write(&whole, format!("{off_by:+}\n"))?;
        fs::rename(whole, file)?;
        Ok(())
    }

    pub(super) fn clock_of(&self, config: &Path) -> Vec<(&'static str, OsString)> {
        let Some(library) = &self.clocks else { return Vec::new() };
        vec![
            ("LD_PRELOAD", library.into()),
            ("FAKETIME_TIMESTAMP_FILE", file_of(config).into()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            // Times of files are the disk's.
            ("NO_FAKE_STAT", "1".into()),
        ]
    }
}

fn file_of(config: &Path) -> PathBuf {
    config.with_file_name("clock")
}
