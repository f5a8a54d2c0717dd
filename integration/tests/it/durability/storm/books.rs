//! The books of the bridges after a storm: every account balances, nothing is open, and nothing ended otherwise than delivered.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Mesh, eventually};
use serde_json::Value;

/// T18 has five seconds after the last event; outcomes that were lost are told again every two.
const CLOSED_WITHIN: Duration = Duration::from_secs(40);

/// Checks them all.
pub(super) async fn close(mesh: &Mesh, users: &[String]) -> Result<()> {
    for zone in users {
        let admin = mesh.zone(zone).admin();
        eventually(&format!("the books of {zone} are closed"), CLOSED_WITHIN, || async {
            let books = admin.json("/v1/delivery").await?;
            let open = rows(&books, "destinations")?.iter().find(|one| !is_closed(one));
            ensure!(open.is_none(), "{open:?}");
            let owed = rows(&books, "sources")?.iter().find(|one| one["open"] != 0 || one["untold"] != 0);
            ensure!(owed.is_none(), "{owed:?}");
            Ok(())
        })
        .await?;
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

fn is_closed(account: &Value) -> bool {
    account["balanced"] == true && account["pending"] == 0 && account["inDoubt"] == 0
}

fn rows<'b>(books: &'b Value, of: &str) -> Result<&'b Vec<Value>> {
    books[of].as_array().with_context(|| format!("no `{of}`: {books}"))
}
