//! Processes that this program starts. Each is ended, by its number, when its guard is dropped; where `setpriv` is there, also when this program is killed.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::connection::Interrupt;

const ENDS_WITHIN: Duration = Duration::from_secs(5);
const READY_WITHIN: Duration = Duration::from_secs(20);
const LOG_LINES_SHOWN: usize = 8;

/// A server that runs until this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts `program`; what it says goes to `<name>.log` in `directory`.
    pub(crate) fn start(name: &str, program: &Path, arguments: &[&str], directory: &Path) -> Result<Server> {
        let log = directory.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log)?;
        let mut command = bound_to_us(program);
        command.args(arguments).current_dir(directory).stdin(Stdio::null());
        command.stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Server { name: name.to_owned(), child, log })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until something listens at `address`.
    pub(crate) fn wait_for(&mut self, address: SocketAddr, interrupt: &Interrupt) -> Result<()> {
        self.wait_until(interrupt, || {
            TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok()
        })
    }

    /// Waits until `is_ready`, as long as the process lives.
    pub(crate) fn wait_until(&mut self, interrupt: &Interrupt, is_ready: impl Fn() -> bool) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        while !is_ready() {
            interrupt.check()?;
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}: {}", self.name, self.last_words());
            }
            if Instant::now() > deadline {
                bail!("{} is not ready after {READY_WITHIN:?}: {}", self.name, self.last_words());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// What it has written so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn last_words(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Ok(number) = i32::try_from(self.child.id())
            && let Some(pid) = Pid::from_raw(number)
        {
            // A process that has ended needs no signal; its number is ours until it is waited for.
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
        // A stopped process does not hear SIGTERM.
        self.signal(Signal::CONT);
        let deadline = Instant::now() + ENDS_WITHIN;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// `program`, to be killed by the kernel when the thread that starts it ends; plain where util-linux is not there.
fn bound_to_us(program: &Path) -> Command {
    static SETPRIV: OnceLock<bool> = OnceLock::new();
    let has_setpriv = *SETPRIV.get_or_init(|| {
        let tried =
            Command::new("setpriv").args(["--pdeathsig", "KILL", "true"]).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    });
    if has_setpriv {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

/// An address on loopback that nobody uses now, for TCP and UDP.
pub(crate) fn free_address() -> Result<SocketAddr> {
    for _ in 0..100 {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        if UdpSocket::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no free port")
}

/// Keeps the processors from sleeping: one process for each, spinning whenever nobody else wants to run.
#[derive(Debug)]
pub(crate) struct KeptAwake {
    // Held for their Drop.
    _spinners: Vec<Server>,
}

impl KeptAwake {
    /// Starts them. An error where the kernel's idle class cannot be asked for: spinning at another priority would take time from what is measured.
    pub(crate) fn start(directory: &Path) -> Result<KeptAwake> {
        let own = std::env::current_exe()?;
        let own = own.to_string_lossy();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let spinners: Result<Vec<Server>> = (0..cores)
            .map(|core| {
                let name = format!("awake-{core}");
                Server::start(&name, Path::new("chrt"), &["--idle", "0", &own, "spin"], directory)
            })
            .collect();
        let mut spinners = spinners?;
        std::thread::sleep(Duration::from_millis(100));
        for spinner in &mut spinners {
            if let Some(status) = spinner.child.try_wait()? {
                bail!("processors cannot be kept awake: chrt ended with {status}: {}", spinner.last_words());
            }
        }
        Ok(KeptAwake { _spinners: spinners })
    }
}

/// What `spin` does: nothing, without rest, until its parent is another one.
pub(crate) fn spin() {
    let parent = std::os::unix::process::parent_id();
    while std::os::unix::process::parent_id() == parent {
        for _ in 0..100_000 {
            std::hint::spin_loop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_gone_when_its_guard_is() {
        let directory = tempfile::tempdir().expect("a directory");
        let server = Server::start("sleeper", Path::new("sleep"), &["600"], directory.path()).expect("sleep");
        let stat = format!("/proc/{}", server.pid());
        assert!(Path::new(&stat).exists());
        drop(server);
        assert!(!Path::new(&stat).exists());
    }

    #[test]
    fn a_server_that_ends_is_quoted() {
        let directory = tempfile::tempdir().expect("a directory");
        let arguments = ["-c", "echo the port is taken; exit 3"];
        let mut server = Server::start("broken", Path::new("sh"), &arguments, directory.path()).expect("sh");
        let problem = server.wait_until(&Interrupt::default(), || false).expect_err("it ended");
        assert!(problem.to_string().contains("the port is taken"), "{problem}");
    }
}
