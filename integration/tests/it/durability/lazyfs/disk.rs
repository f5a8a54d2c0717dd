//! A disk that can lose power: a directory behind LazyFS, and the process that serves it.
//!
//! ```text
//! bridge ── mount ──► LazyFS: what was written ── fsync, fdatasync ──► root
//!                        ▲ clear-cache, torn writes, SIGKILL
//! ```

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{eventually, signal};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::{OpenOptions, Receiver, Sender};
use tokio::time::timeout;

const MOUNTED_WITHIN: Duration = Duration::from_secs(20);
const CLEARED_WITHIN: Duration = Duration::from_secs(20);
/// Twice what a bridge with this [`SPOOL`] can have on its disk: when the cache is full, LazyFS writes through and forgets nothing.
const CACHE_MIB: u32 = 256;
/// Of a bridge on such a disk.
pub(super) const SPOOL: &str = "segmentMiB: 8, sizeMiB: 112";

/// Gone when dropped, mount and process, which must come after the end of the bridge on it.
#[derive(Debug)]
pub(super) struct LazyDisk {
    program: PathBuf,
    directory: TempDir,
    commands: Sender,
    answers: Receiver,
    server: Option<Child>,
}

impl LazyDisk {
    /// An empty one, switched on.
    pub(super) async fn new(program: &Path) -> Result<LazyDisk> {
        let directory = tempfile::tempdir()?;
        for name in ["root", "mount"] {
            fs::create_dir(directory.path().join(name))?;
        }
        let pipes = ["commands", "answers"].map(|name| directory.path().join(name));
        let made = Command::new("mkfifo").args(&pipes).status()?;
        ensure!(made.success(), "mkfifo: {made}");
        let [commands, answers] = &pipes;
        // Both ways, so that neither side waits for the other to open.
        let mut both_ways = OpenOptions::new();
        both_ways.read_write(true);
        let commands = both_ways.open_sender(commands)?;
        let answers = both_ways.open_receiver(answers)?;
        let mut disk = LazyDisk { program: program.to_owned(), directory, commands, answers, server: None };
        disk.switch_on("").await?;
        Ok(disk)
    }

    /// Where a bridge may have its data.
    pub(super) fn data(&self) -> PathBuf {
        self.mount().join("data")
    }

    /// The same files as they would be after a loss of power.
    pub(super) fn kept(&self) -> PathBuf {
        self.path("root").join("data")
    }

    /// Serves what is kept, with faults as LazyFS has them in its configuration: its pipe takes no command of more than 100 bytes.
    pub(super) async fn switch_on(&mut self, faults: &str) -> Result<()> {
        ensure!(self.server.is_none(), "it is on");
        let [config, log, root] = ["lazyfs.toml", "lazyfs.log", "root"].map(|name| self.path(name));
        let [commands, answers] = ["commands", "answers"].map(|name| self.path(name));
        let text = format!(
            "[faults]\nfifo_path={commands:?}\nfifo_path_completed={answers:?}\n\
             [cache]\napply_eviction=false\n[cache.simple]\ncustom_size=\"{CACHE_MIB}mb\"\nblocks_per_page=1\n\
             [filesystem]\nlog_all_operations=false\nlogfile=\"\"\n{faults}"
        );
        fs::write(&config, text)?;
        let log = File::options().create(true).append(true).open(log)?;
        let mut command = Command::new(&self.program);
        command.arg(self.mount()).arg("--config-path").arg(config);
        command.arg("-o").arg(format!("modules=subdir,subdir={}", root.display()));
        // One request at a time, since its cache was not made for several.
        command.args(["-f", "-s"]).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.server = Some(command.spawn().with_context(|| format!("start {}", self.program.display()))?);
        let outside = fs::metadata(self.directory.path())?.dev();
        let mount = self.mount();
        eventually("LazyFS is mounted", MOUNTED_WITHIN, || async {
            ensure!(fs::metadata(&mount)?.dev() != outside, "not mounted");
            Ok(())
        })
        .await
        .with_context(|| fs::read_to_string(self.path("lazyfs.log")).unwrap_or_default())
    }

    /// The fault `lazyfs::clear-cache`: forgets what was not synced, and goes on serving.
    pub(super) async fn clear(&mut self) -> Result<()> {
        let cleared = async {
            self.commands.write_all(b"lazyfs::clear-cache\n").await?;
            let mut answer = [0; b"finished::clear-cache\n".len()];
            self.answers.read_exact(&mut answer).await?;
            ensure!(&answer == b"finished::clear-cache\n", "{:?}", String::from_utf8_lossy(&answer));
            Ok(())
        };
        timeout(CLEARED_WITHIN, cleared).await.context("LazyFS does not answer")?
    }

    /// Whoever reads, writes or flushes waits from now on.
    pub(super) fn freeze(&self) -> Result<()> {
        signal(self.pid()?, "STOP")
    }

    /// Of LazyFS, which ends by itself after a torn write.
    pub(super) fn pid(&self) -> Result<u32> {
        Ok(self.server.as_ref().context("it is off")?.id())
    }

    /// Ends LazyFS where it is. What it had in its cache is lost, and who uses its files gets errors.
    pub(super) fn cut(&mut self) -> Result<()> {
        let server = self.server.as_mut().context("it is off")?;
        server.kill()?;
        server.wait()?;
        Ok(())
    }

    /// After a cut, and after the end of the bridge.
    pub(super) fn unmount(&mut self) -> Result<()> {
        ensure!(unmount(&self.mount()), "{} stays mounted", self.mount().display());
        self.server = None;
        Ok(())
    }

    fn mount(&self) -> PathBuf {
        self.path("mount")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Drop for LazyDisk {
    fn drop(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        drop(server.kill());
        drop(server.wait());
        unmount(&self.mount());
    }
}

/// As the user that mounted, and also where somebody still looks.
fn unmount(mount: &Path) -> bool {
    let unmounted = Command::new("fusermount3").args(["-u", "-z", "-q"]).arg(mount).status();
    unmounted.is_ok_and(|status| status.success())
        || Command::new("umount").arg("--lazy").arg(mount).status().is_ok_and(|status| status.success())
}
