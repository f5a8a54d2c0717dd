//! The books of the bridges after a storm: every account balances, nothing is open, and nothing ended otherwise than delivered.

use anyhow::{Context, Result, ensure};
use meshbridge_integration::Mesh;
use serde_json::Value;

/// Checks them all.
pub(super) async fn close(mesh: &Mesh, users: &[String]) -> Result<()> {
    super::super::books::close(mesh).await?;
    for zone in users {
        let admin = mesh.zone(zone).admin();
        let books = admin.json("/v1/delivery").await?;
        for one in rows(&books, "destinations")? {
            let ended = ["denied", "expired", "deadLettered"].iter().all(|how| one[how] == 0);
            ensure!(ended && one["sent"] == one["delivered"], "{zone}: not all was delivered: {one}");
        }
        let letters = admin.dead_letters().await?;
        ensure!(letters.is_empty(), "{zone} has dead letters: {letters:?}");
    }
    for zone in mesh.zones() {
        let log = mesh.log(zone);
        let error = log.lines().find(|line| line.contains("ERROR") || line.contains("panicked"));
        ensure!(error.is_none(), "{zone} logged {error:?}");
    }
    Ok(())
}

fn rows<'b>(books: &'b Value, of: &str) -> Result<&'b Vec<Value>> {
    books[of].as_array().with_context(|| format!("no `{of}`: {books}"))
}
