//! Processes: the binary run to its end, one bridge on its own, signals.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, bail};

use crate::binary;

/// What a finished command left.
#[derive(Debug)]
pub struct Output {
    /// The exit code; -1 when a signal ended it.
    pub code: i32,
    /// Its data.
    pub stdout: String,
    /// Everything else it said.
    pub stderr: String,
}

/// Runs the binary with `arguments` to its end, for at most `within`.
pub fn meshbridge(arguments: &[&str], within: Duration) -> Result<Output> {
    meshbridge_with_input(arguments, "", within)
}

/// Like [`meshbridge`], with something to read on stdin.
pub fn meshbridge_with_input(arguments: &[&str], input: &str, within: Duration) -> Result<Output> {
    let mut child = Command::new(binary())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("start meshbridge")?;
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let input = input.to_owned();
    // A command that ends without reading its input closes the pipe; that is its right.
    thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let pid = child.id();
    let (ended, end) = std::sync::mpsc::channel();
    let waiter = thread::spawn(move || drop(ended.send(child.wait_with_output())));
    match end.recv_timeout(within) {
        Ok(output) => {
            let output = output?;
            Ok(Output {
                code: output.status.code().unwrap_or(-1),
                stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
                stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            })
        }
        Err(_) => {
            signal(pid, "KILL")?;
            drop(waiter.join());
            bail!("meshbridge {arguments:?} did not end within {within:?}")
        }
    }
}

/// A bridge that a test runs by itself with `meshbridge run`; killed on drop.
#[derive(Debug)]
pub struct StandAlone {
    child: Child,
    log: std::path::PathBuf,
}

/// Starts `meshbridge run --config CONFIG`, its log going to a file beside the configuration.
pub fn stand_alone(config: &Path) -> Result<StandAlone> {
    let log = config.with_extension("log");
    let file = fs::File::create(&log)?;
    let child = Command::new(binary())
        .arg("run")
        .arg("--config")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()?;
    Ok(StandAlone { child, log })
}

impl StandAlone {
    /// What it has written so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its exit code, when it has ended.
    pub fn exit_code(&mut self) -> Result<Option<i32>> {
        Ok(self.child.try_wait()?.map(|status| status.code().unwrap_or(-1)))
    }
}

impl Drop for StandAlone {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Sends a signal, named as `kill` names it, to one process.
pub fn signal(pid: u32, name: &str) -> Result<()> {
    let status =
        Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).stderr(Stdio::null()).status()?;
    if !status.success() {
        bail!("no process {pid} to send {name} to");
    }
    Ok(())
}

/// Whether a process runs; one that ended and waits for its parent does not.
pub fn is_alive(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let state = fields.next();
    // The first thread of a killed process may be gone while others still are, and with them the files it has locked.
    let threads: u32 = fields.nth(16).and_then(|count| count.parse().ok()).unwrap_or(0);
    match state {
        Some("Z") => threads > 1,
        Some("X") | None => false,
        Some(_) => true,
    }
}

/// Waits until none of `pids` runs; those that are left when time is over are the result.
pub(crate) fn outlived(pids: &[u32], within: Duration) -> Vec<u32> {
    let deadline = Instant::now() + within;
    loop {
        let left: Vec<u32> = pids.iter().copied().filter(|pid| is_alive(*pid)).collect();
        if left.is_empty() || Instant::now() >= deadline {
            return left;
        }
        thread::sleep(Duration::from_millis(20));
    }
}
