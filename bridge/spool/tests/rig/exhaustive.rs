//! Short histories, cut at every single call to the disk, with every subset of the unsynced writes where they are
//! few.

use meshbridge_spool::AppendError;
use meshbridge_spool::vfs::{CallFault, FaultPlan};

use crate::world::{Counts, Verdict, World};

/// Up to this many unsynced changes, all subsets are tried.
const ALL_SUBSETS_BELOW: usize = 6;

/// Walks one history; `most` ends are tried for each call beyond the exhaustive ones.
pub fn walk(seed: u64, most: u64) -> Result<(Counts, u64), String> {
    let mut total = Counts::default();
    let mut call = 1;
    loop {
        let mut world = World::new(seed);
        let finished = history(&mut world, call)?;
        let unsynced = world.vfs.unsynced();
        let (ends, exact) = if unsynced <= ALL_SUBSETS_BELOW { (1 << unsynced, true) } else { (most, false) };
        for end in 0..ends {
            let mut fork = world.fork();
            if exact {
                fork.vfs.power_cut_exact(end);
                fork.counts.cuts += 1;
            } else {
                (0..=end).for_each(|_| {
                    fork.random.next();
                });
                fork.vfs.reseed(fork.random.next());
                fork.power_cut();
            }
            let why = |why| format!("history {seed}, cut at call {call}, end {end} (exact: {exact}): {why}");
            fork.reopen().map_err(why)?;
            fork.power_cut();
            fork.reopen().map_err(why)?;
            total.cuts += fork.counts.cuts;
            total.acknowledged += fork.counts.acknowledged;
        }
        if finished {
            return Ok((total, world.vfs.trace()));
        }
        call += 1;
    }
}

/// Plays the history until call number `cut`; `true` when it ended before that.
fn history(world: &mut World, cut: u64) -> Result<bool, String> {
    world.reopen()?;
    world.vfs.arm(FaultPlan::once(cut, CallFault::Power));
    let steps = 10 + world.random.below(11);
    for _ in 0..steps {
        match step(world) {
            Ok(()) | Err(AppendError::Full | AppendError::TooLarge { .. }) => {}
            Err(_) => break,
        }
    }
    let verdict: Verdict = Ok(());
    verdict?;
    world.close();
    Ok(world.vfs.struck() == 0)
}

fn step(world: &mut World) -> Result<(), AppendError> {
    match world.random.below(10) {
        0..4 => {
            let count = 1 + world.random.below(3);
            world.submit_events(count)?;
            if world.random.one_in(4) { Ok(()) } else { world.sync() }
        }
        4..6 => {
            world.settle_some(3)?;
            world.sync()
        }
        6 => world.idle(),
        7 => world.checkpoint(true),
        _ => {
            world.maintain()?;
            world.sync()
        }
    }
}
