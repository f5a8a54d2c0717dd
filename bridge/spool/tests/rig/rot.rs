//! Damage at rest: flipped bits, zeroed, stale and misplaced pages, cut and removed files.

use meshbridge_spool::AppendError;
use meshbridge_spool::format::PAGE_BYTES;

use crate::random::Random;
use crate::world::{Counts, World};

/// A life without faults, long enough for several segments and checkpoints.
fn quiet_life(seed: u64) -> Result<World, String> {
    let mut world = World::new(seed);
    world.reopen()?;
    let steps = 20 + world.random.below(80);
    for _ in 0..steps {
        let done = (|| match world.random.below(20) {
            0..9 => {
                let count = 1 + world.random.below(4);
                world.submit_events(count)?;
                world.sync()
            }
            9..14 => {
                world.settle_some(5)?;
                world.sync()
            }
            14..16 => world.idle(),
            16 | 17 => world.checkpoint(true),
            _ => {
                world.maintain()?;
                world.sync()
            }
        })();
        match done {
            Ok(()) | Err(AppendError::Full) => {}
            Err(problem) => return Err(format!("seed {seed}: {problem:?}")),
        }
        if world.random.one_in(40) {
            world.close();
            world.vfs.kill();
            world.reopen()?;
        }
    }
    if world.random.one_in(2) {
        world.idle().map_err(|problem| format!("{problem:?}"))?;
    } else {
        world.sync().map_err(|problem| format!("{problem:?}"))?;
    }
    Ok(world)
}

/// One damage to one file, then a start.
pub fn damage_bytes(seed: u64) -> Result<(Counts, u64), String> {
    let mut world = quiet_life(seed)?;
    let idle = world.random.one_in(2);
    if idle {
        world.idle().map_err(|problem| format!("{problem:?}"))?;
    }
    // Idle for more than 100 ms means sealed: from then on nothing is in doubt.
    let doubtful = !idle && world.doubtful();
    let active = world.active_file();
    let calm = world.live();
    world.close();
    world.vfs.kill();
    world.vfs.settle();
    let files = world.segment_files();
    let name = files[world.random.below(files.len() as u64) as usize].clone();
    let (what, hits) = damage(&mut world, &name);
    // Several hits may be the last commits and all that vouches for them; nothing on a disk can tell that from a torn
    // write.
    let end_hit = hits > 1 && name == active;
    let judged = world.reopen_damaged(doubtful || end_hit, end_hit);
    judged.map_err(|why| format!("seed {seed}, {what} in {name} of {files:?}, {calm} live: {why}"))?;
    Ok((world.counts, world.vfs.trace()))
}

fn damage(world: &mut World, name: &str) -> (String, u64) {
    let mut random = Random::new(world.random.next());
    let used = |bytes: &Vec<u8>| {
        let last = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) as u64;
        last + 1
    };
    match random.below(5) {
        0 | 1 => {
            let bits = 1 + random.below(64);
            world.vfs.corrupt(name, |bytes| {
                let mut random = random.clone();
                let reach = used(bytes);
                for _ in 0..bits {
                    let at = random.below(reach) as usize;
                    bytes[at] ^= 1 << random.below(8);
                }
            });
            (format!("{bits} bits"), bits)
        }
        2 => {
            world.vfs.corrupt(name, |bytes| {
                let page = (random.clone().below(used(bytes)) / PAGE_BYTES * PAGE_BYTES) as usize;
                bytes[page..page + PAGE_BYTES as usize].fill(0);
            });
            ("a zeroed page".to_owned(), 1)
        }
        3 => {
            world.vfs.corrupt(name, |bytes| {
                let mut random = random.clone();
                let pages = (used(bytes) / PAGE_BYTES).max(1);
                let (from, to) = (random.below(pages), random.below(pages));
                let copy = bytes[(from * PAGE_BYTES) as usize..][..PAGE_BYTES as usize].to_vec();
                bytes[(to * PAGE_BYTES) as usize..][..PAGE_BYTES as usize].copy_from_slice(&copy);
            });
            ("a misplaced page".to_owned(), 1)
        }
        _ => {
            world.vfs.corrupt(name, |bytes| {
                let reach = random.clone().below(used(bytes)) as usize;
                bytes.truncate(reach);
            });
            ("a cut file".to_owned(), 1)
        }
    }
}

/// Each file removed in turn, from the same disk.
pub fn remove_files(seed: u64) -> Result<(Counts, u64), String> {
    let mut world = quiet_life(seed)?;
    world.idle().map_err(|problem| format!("{problem:?}"))?;
    world.close();
    world.vfs.kill();
    world.vfs.settle();
    let mut total = Counts::default();
    for name in world.segment_files() {
        let mut fork = world.fork();
        fork.vfs.remove(&name);
        let before = fork.segment_files();
        let judged = fork.reopen_damaged(false, false);
        judged.map_err(|why| format!("seed {seed}, {name} removed from {before:?}: {why}"))?;
        if fork.log.is_none() {
            let after = fork.segment_files();
            if after != before {
                return Err(format!(
                    "seed {seed}: a refused start removed files: {before:?} became {after:?}"
                ));
            }
        }
        total.damaged += fork.counts.damaged;
    }
    Ok((total, world.vfs.trace()))
}
