//! What can be done to one bridge beside killing it: asked to stop, frozen, started and left alone.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Mesh;
use crate::{eventually, signal};

impl Mesh {
    /// Starts the bridge of a zone and waits for nothing: it may be struck while it reads its spool.
    pub fn launch(&self, zone: &str) -> Result<()> {
        self.spawn(zone, "")?;
        self.note(&format!("{zone} is launched"));
        Ok(())
    }

    /// Waits until a bridge that was launched answers.
    pub async fn up(&self, zone: &str) -> Result<()> {
        self.ready(zone).await
    }

    /// SIGTERM: the bridge ends by itself, with exit code 0, within this time.
    pub async fn terminate(&self, zone: &str, within: Duration) -> Result<()> {
        signal(self.pid(zone)?, "TERM")?;
        self.note(&format!("asked {zone} to stop"));
        let status = eventually(&format!("{zone} stops when asked"), within, || async {
            let mut member = self.member(zone);
            let child = member.child.as_mut().with_context(|| format!("{zone} does not run"))?;
            child.try_wait()?.context("it runs")
        })
        .await?;
        self.member(zone).child = None;
        self.note(&format!("{zone} stopped with {status}"));
        ensure!(status.success(), "{zone} was asked to stop and ended with {status}");
        Ok(())
    }

    /// SIGSTOP: to the others the bridge has fallen silent, to itself no time passes.
    pub fn freeze(&self, zone: &str) -> Result<()> {
        signal(self.pid(zone)?, "STOP")?;
        self.note(&format!("froze {zone}"));
        Ok(())
    }

    /// SIGCONT.
    pub fn thaw(&self, zone: &str) -> Result<()> {
        signal(self.pid(zone)?, "CONT")?;
        self.note(&format!("thawed {zone}"));
        Ok(())
    }

    fn pid(&self, zone: &str) -> Result<u32> {
        let member = self.member(zone);
        ensure!(member.child.is_some(), "{zone} does not run");
        Ok(member.node.pid)
    }
}
