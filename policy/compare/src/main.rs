//! The same rules and events decided by several policy engines, timed in one run.
//!
//! ```text
//!  Workload ─┬─► meshbridge, cedar, regorus, cel, vrl ─► one verdict for each event, the same from all, or an error
//!            └─► then each of them timed over the same events ─► table of medians and ratios
//! ```
//!
//! What is prepared once for an event, as an engine wants it, is prepared before the clock starts, for all alike: the
//! figures are of deciding, not of converting.

mod engines;
mod timing;
mod workload;

use anyhow::{Result, bail};

use engines::{ENGINES, Engine};
use timing::Measured;
use workload::Workload;

/// Numbers of rules that are measured.
const COUNTS: [usize; 5] = [1, 10, 100, 1_000, 10_000];

fn main() -> Result<()> {
    let only: Vec<String> = std::env::args().skip(1).collect();
    let is_wanted = |name: &str| only.is_empty() || only.iter().any(|one| one == name);
    let mut table: Vec<Vec<Option<Measured>>> = Vec::new();
    for count in COUNTS {
        let workload = Workload::new(count);
        let mut row = Vec::new();
        for kind in ENGINES {
            if !is_wanted(kind.name) || count > kind.rules_max {
                row.push(None);
                continue;
            }
            let engine = (kind.load)(&workload)?;
            check(kind.name, engine.as_ref(), &workload)?;
            let measured = timing::measure(engine.as_ref(), workload.events.len());
            eprintln!("{count:>6} rules  {:<11} {measured}", kind.name);
            row.push(Some(measured));
        }
        table.push(row);
    }
    print(&table);
    Ok(())
}

/// Every engine has to say what the workload expects, or its time means nothing.
fn check(name: &str, engine: &dyn Engine, workload: &Workload) -> Result<()> {
    for (at, event) in workload.events.iter().enumerate() {
        let passes = engine.passes(at);
        if passes != event.passes {
            bail!("{name}: {event:?} passes: {passes}");
        }
    }
    Ok(())
}

fn print(table: &[Vec<Option<Measured>>]) {
    print!("| rules |");
    ENGINES.iter().for_each(|kind| print!(" {} |", kind.name));
    println!("\n|{}", "---|".repeat(ENGINES.len() + 1));
    for (count, row) in COUNTS.iter().zip(table) {
        print!("| {count} |");
        let ours = row.first().and_then(Option::as_ref);
        for one in row {
            match (one, ours) {
                (None, _) => print!(" – |"),
                (Some(one), Some(ours)) => {
                    let ratio = one.median_ns / ours.median_ns;
                    let decimals = usize::from(ratio < 10.0);
                    print!(" {one} (×{ratio:.decimals$}) |");
                }
                (Some(one), None) => print!(" {one} |"),
            }
        }
        println!();
    }
}
