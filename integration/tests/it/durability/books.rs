//! T18, P6: what the books of the bridges say when a scenario is over. Every scenario ends here: the equation holds at each bridge, the two ends of each pair agree,
//! and no bridge is unhealthy but for a spool that was damaged on purpose. A scenario that leaves nothing behind ends with
//! [`close`], one whose bridges are still parted with [`hold`].

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use meshbridge_integration::judge::Account;
use meshbridge_integration::{Mesh, Node, SharedLedger, eventually};
use serde_json::Value;

/// Twice T18's five seconds after quiet.
const AGREED_WITHIN: Duration = Duration::from_secs(10);
/// Nothing is quiet before lost receipts have been told again: D4 lets a sender wait for 30 s and a fifth.
const CLOSED_WITHIN: Duration = Duration::from_secs(40);

/// What one bridge says.
struct Books {
    bridge: String,
    accounts: BTreeMap<String, Row>,
    /// By origin: taken here and not ended, or ended without the origin's word that it knows.
    owed: BTreeMap<String, u64>,
}

/// One destination of a bridge.
struct Row {
    account: Account,
    unsettled: u64,
    in_doubt: u64,
}

/// The equation holds at every bridge that runs: all that can be said while they do not hear each other.
pub(crate) async fn hold(mesh: &Mesh) -> Result<()> {
    read(mesh).await.with_context(|| mesh.story())?;
    Ok(())
}

/// The equation holds at every bridge that runs, and soon both ends of each pair say the same.
pub(crate) async fn balance(mesh: &Mesh) -> Result<()> {
    let agreed = eventually("both ends of each pair agree", AGREED_WITHIN, || async {
        let all = read(mesh).await?;
        agree(&all)
    });
    agreed.await.with_context(|| mesh.story())
}

/// The same, and nothing is pending, in doubt or untold any more; how long that took.
pub(crate) async fn close(mesh: &Mesh) -> Result<Duration> {
    let began = Instant::now();
    let closed = eventually("every account is closed at both ends", CLOSED_WITHIN, || async {
        let all = read(mesh).await?;
        for books in &all {
            for (destination, row) in &books.accounts {
                let is_closed = row.account.pending == 0 && row.in_doubt == 0;
                let (from, account) = (&books.bridge, row.account);
                ensure!(is_closed, "{from} to {destination}: {account:?}, {} in doubt", row.in_doubt);
            }
            let owed = books.owed.iter().find(|(_, count)| **count > 0);
            ensure!(owed.is_none(), "{} owes {owed:?}", books.bridge);
        }
        agree(&all)
    });
    closed.await.with_context(|| mesh.story())?;
    Ok(began.elapsed())
}

/// Enters the accounts of every bridge that runs, for a judge that knows how many events there were.
pub(crate) async fn enter(mesh: &Mesh, ledger: &SharedLedger) -> Result<()> {
    for books in read(mesh).await? {
        for (destination, row) in &books.accounts {
            ledger.with(|ledger| ledger.account(&books.bridge, destination, row.account));
        }
    }
    Ok(())
}

async fn read(mesh: &Mesh) -> Result<Vec<Books>> {
    let mut all = Vec::new();
    for node in mesh.running() {
        all.push(books(&node).await.with_context(|| format!("the books of {}", node.bridge))?);
    }
    Ok(all)
}

/// Reads the books of one bridge. That they balance is not waited for: it is so whenever somebody looks.
async fn books(node: &Node) -> Result<Books> {
    let admin = node.admin();
    let answer = admin.json("/v1/delivery").await?;
    let mut accounts = BTreeMap::new();
    for row in rows(&answer, "destinations")? {
        let account = Account {
            sent: number(row, "sent")?,
            delivered: number(row, "delivered")?,
            denied: number(row, "denied")?,
            expired: number(row, "expired")?,
            dead_lettered: number(row, "deadLettered")?,
            pending: number(row, "pending")?,
        };
        let Account { sent, delivered, denied, expired, dead_lettered, pending } = account;
        let accounted = delivered + denied + expired + dead_lettered + pending;
        ensure!(sent == accounted && row["balanced"] == true, "sent is not what became of it: {row}");
        let (unsettled, in_doubt) = (number(row, "unsettled")?, number(row, "inDoubt")?);
        ensure!(unsettled <= pending, "{row}");
        let destination = row["destination"].as_str().context("a destination")?.to_owned();
        accounts.insert(destination, Row { account, unsettled, in_doubt });
    }
    ensure!(answer["balanced"] == true, "{answer}");
    let mut owed = BTreeMap::new();
    for row in rows(&answer, "sources")? {
        let origin = row["origin"].as_str().context("an origin")?.to_owned();
        owed.insert(origin, number(row, "open")? + number(row, "untold")?);
    }
    let (status, text) = admin.text("/healthz").await?;
    ensure!(status == 200 || answer["spool"]["damaged"] == true, "unhealthy: {status} {text}");
    let unbalanced = admin.metrics().await?.get("meshbridge_delivery_unbalanced").copied();
    ensure!(unbalanced == Some(0.0), "unbalanced by the metric: {unbalanced:?}");
    Ok(Books { bridge: node.bridge.clone(), accounts, owed })
}

/// What an origin waits to hear of is what its destination has not ended, or not told.
fn agree(all: &[Books]) -> Result<()> {
    for origin in all {
        for destination in all.iter().filter(|other| other.bridge != origin.bridge) {
            let row = origin.accounts.get(&destination.bridge);
            let awaited = row.map_or(0, |row| row.account.pending - row.unsettled);
            let owed = destination.owed.get(&origin.bridge).copied().unwrap_or(0);
            let (from, to) = (&origin.bridge, &destination.bridge);
            ensure!(awaited == owed, "{from} waits for the ends of {awaited} at {to}, which owes {owed}");
        }
    }
    Ok(())
}

fn rows<'b>(books: &'b Value, of: &str) -> Result<&'b Vec<Value>> {
    books[of].as_array().with_context(|| format!("no `{of}`: {books}"))
}

fn number(row: &Value, name: &str) -> Result<u64> {
    row[name].as_u64().with_context(|| format!("no number `{name}`: {row}"))
}
