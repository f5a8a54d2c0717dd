//! What can be done to one bridge beside killing it: asked to stop, frozen, started and left alone, given back the disk it once had.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Mesh, data_of};
use crate::{copy_tree, eventually, signal};

/// The disk of a bridge as it was once; as long as its mesh.
#[derive(Clone, Debug)]
pub struct Image(PathBuf);

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

    /// Keeps a copy of the disk of a bridge that does not run.
    pub fn image(&self, zone: &str) -> Result<Image> {
        let member = self.member(zone);
        ensure!(member.child.is_none(), "{zone} runs");
        let images = self.path().join("images");
        fs::create_dir_all(&images)?;
        let image = images.join(format!("{zone}-{}", fs::read_dir(&images)?.count()));
        copy_tree(&data_of(&member.node.config), &image)
            .with_context(|| format!("copy the disk of {zone}"))?;
        self.note(&format!("kept an image of the disk of {zone}"));
        Ok(Image(image))
    }

    /// Gives a bridge that does not run this disk in place of its own.
    pub fn roll_back(&self, zone: &str, image: &Image) -> Result<()> {
        let member = self.member(zone);
        ensure!(member.child.is_none(), "{zone} runs");
        let data = data_of(&member.node.config);
        fs::remove_dir_all(&data).with_context(|| format!("wipe {zone}"))?;
        copy_tree(&image.0, &data).with_context(|| format!("roll {zone} back"))?;
        self.note(&format!("rolled {zone} back to its image"));
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
