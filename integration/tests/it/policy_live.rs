//! What a running bridge shows of its decisions: verdicts of rules that have no effect yet, and recordings of events
//! that can be judged again under other policies.

mod drift;
mod recording;
mod watching;

use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{binary, eventually};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Lines, Read as _};

const SOON: Duration = Duration::from_secs(30);

/// A command that goes on while the test does something.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(arguments: &[&str]) -> Result<Running> {
        let mut child = Command::new(binary())
            .arg("policy")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().context("it is piped")?).lines();
        Ok(Running { child, lines })
    }

    /// The next object that it prints.
    fn next(&mut self) -> Result<Option<Value>> {
        let Some(line) = self.lines.next().transpose()? else { return Ok(None) };
        Ok(Some(serde_json::from_str(&line).with_context(|| line.clone())?))
    }

    /// Its exit code, and what it said to stderr.
    async fn end(mut self) -> Result<(i32, String)> {
        let child = std::cell::RefCell::new(&mut self.child);
        let ended = || async { child.borrow_mut().try_wait()?.context("it still runs") };
        let status = eventually("the command ends", SOON, ended).await?;
        let mut said = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut said)?;
        }
        ensure!(!said.contains("panicked"), "{said}");
        Ok((status.code().context("it was ended from outside")?, said))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
