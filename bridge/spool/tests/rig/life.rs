//! Random lives of a spool, and what may happen to it.

use std::io;

use meshbridge_spool::AppendError;
use meshbridge_spool::vfs::{CallFault, FaultPlan};

use crate::world::{Counts, Verdict, World};

/// Which misfortunes a life meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Kills and power cuts between and inside calls, also during recovery.
    Cuts,
    /// Errors of calls, failed flushes that lose pages, short reads and writes.
    Errors,
    /// A disk and a quota that fill up.
    Full,
}

/// A whole life; gives the counts and a hash of every call that was made.
pub fn life(seed: u64, kind: Kind) -> Result<(Counts, u64), String> {
    let mut world = World::new(seed);
    live(&mut world, kind).map_err(|why| format!("seed {seed}, {kind:?}: {why}"))?;
    Ok((world.counts, world.vfs.trace()))
}

fn live(world: &mut World, kind: Kind) -> Verdict {
    if kind == Kind::Full {
        world.options.segments_max = 12;
        if world.random.one_in(2) {
            let segments = 9 + world.random.below(4);
            world.limit_disk(segments);
        }
    }
    world.reopen()?;
    let steps = if kind == Kind::Full { 60 } else { 15 } + world.random.below(45);
    for _ in 0..steps {
        if let Some(fault) = draw_fault(world, kind) {
            let call = 1 + world.random.below(25);
            world.vfs.arm(FaultPlan::once(call, fault));
        }
        match step(world, kind) {
            Ok(()) | Err(AppendError::TooLarge { .. }) => {}
            Err(AppendError::Full) => after_full(world, kind)?,
            Err(AppendError::Broken(_) | AppendError::Poisoned) => crash(world, kind)?,
        }
        if world.random.one_in(if kind == Kind::Full { 20 } else { 8 }) {
            crash(world, kind)?;
        }
    }
    world.power_cut();
    world.reopen()
}

fn draw_fault(world: &mut World, kind: Kind) -> Option<CallFault> {
    let chance = if kind == Kind::Full { 0 } else { 7 };
    if chance == 0 || !world.random.one_in(chance) {
        return None;
    }
    Some(match kind {
        Kind::Cuts => CallFault::Power,
        _ => match world.random.below(6) {
            0 => CallFault::Error(io::ErrorKind::StorageFull),
            1 => CallFault::Error(io::ErrorKind::ReadOnlyFilesystem),
            2 => CallFault::Short,
            3 => CallFault::Error(io::ErrorKind::Other),
            _ => CallFault::SyncLosesPages,
        },
    })
}

fn step(world: &mut World, kind: Kind) -> Result<(), AppendError> {
    let events = if kind == Kind::Full { 55 } else { 26 };
    match world.random.below(100) {
        n if n < events => {
            let count = 1 + world.random.below(4);
            world.submit_events(count)?;
            // Two batches may be written before a flush.
            if world.random.one_in(3) { Ok(()) } else { world.sync() }
        }
        n if n < 58 => {
            let most = 1 + world.random.below(6) as usize;
            world.settle_some(most)?;
            if world.random.one_in(2) { Ok(()) } else { world.sync() }
        }
        n if n < 68 => world.sync(),
        n if n < 76 => world.idle(),
        n if n < 86 => {
            let through = world.random.one_in(2);
            world.checkpoint(through)
        }
        _ => {
            world.maintain()?;
            if world.random.one_in(2) { world.sync() } else { Ok(()) }
        }
    }
}

/// A crash of one of three sorts, and a start that may itself be interrupted, up to three times.
fn crash(world: &mut World, kind: Kind) -> Verdict {
    fall(world);
    for _ in 0..3 {
        if !world.random.one_in(3) {
            break;
        }
        let call = 1 + world.random.below(40);
        world.vfs.arm(FaultPlan::once(call, CallFault::Power));
        match world.try_open() {
            Ok(_) => {
                // It got through before the fault struck; nothing was acted upon yet.
                world.close();
            }
            Err(_) => fall(world),
        }
        world.power_cut();
    }
    world.vfs.arm(FaultPlan::default());
    world.reopen()?;
    if kind == Kind::Full {
        // What torn first batches leave behind is kept until somebody clears it away.
        world.clear_quarantine();
    }
    // As a bridge does: a start ends with a checkpoint, so that restarts do not fill the disk.
    let tidied = (|| {
        world.checkpoint(true)?;
        world.maintain()?;
        world.sync()
    })();
    match tidied {
        Ok(()) => Ok(()),
        Err(problem) => Err(format!("no room for the checkpoint of a start: {problem:?}")),
    }
}

fn fall(world: &mut World) {
    match world.random.below(4) {
        0 => world.kill(),
        1 => {
            world.kill();
            world.power_cut();
        }
        _ => world.power_cut(),
    }
}

/// Full refuses events and nothing else; settling and giving back makes room again.
fn after_full(world: &mut World, kind: Kind) -> Verdict {
    if kind != Kind::Full {
        return Ok(());
    }
    for round in 0..400 {
        if world.live() == 0 {
            break;
        }
        world.settle_oldest(16).map_err(|problem| format!("a settlement found no room: {problem:?}"))?;
        world.sync().map_err(|problem| format!("{problem:?}"))?;
        if round % 8 == 7 {
            tidy(world).map_err(|problem| format!("maintenance found no room: {problem:?}"))?;
        }
    }
    for _ in 0..6 {
        tidy(world).map_err(|problem| format!("maintenance found no room: {problem:?}"))?;
    }
    world.submit_events(1).map_err(|problem| format!("room did not come back: {problem:?}"))
}

/// What a bridge does every so often, and more often when space is short.
fn tidy(world: &mut World) -> Result<(), AppendError> {
    world.checkpoint(true)?;
    world.maintain()?;
    world.sync()?;
    world.maintain()
}
