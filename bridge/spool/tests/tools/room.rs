//! A disk that others fill (RELIABILITY S13).

use meshbridge_spool::vfs::{SimVfs, Vfs};
use meshbridge_spool::{Append, AppendError, Class, Log, RESERVE_SEGMENTS};

use crate::spool::{SEGMENT_BYTES, open};

const RESERVE_BYTES: u64 = RESERVE_SEGMENTS * SEGMENT_BYTES;

/// The rest of the disk, others take.
fn leave_free(disk: &SimVfs, bytes: u64) {
    disk.limit(Some(disk.used_bytes() + bytes));
}

fn event<V: Vfs + Clone>(log: &mut Log<V>, id: u64, bytes: usize) -> Result<(), AppendError> {
    log.append(Class::Event, &[Append::Body { id, head: b"event", bytes: &vec![7; bytes] }])?;
    log.sync().map(|_| ())
}

fn settle<V: Vfs + Clone>(log: &mut Log<V>, id: u64) {
    log.append(Class::Essential, &[Append::State(b"settled")]).expect("what is essential is taken");
    log.sync().expect("synced");
    log.release(id);
}

#[test]
fn admission_closes_under_the_reserve_although_spares_can_be_made() {
    let disk = SimVfs::new(1);
    let mut log = open(&disk, 1);
    event(&mut log, 1, 100).expect("there is room");
    leave_free(&disk, RESERVE_BYTES - 1);
    log.maintain(1 << 20).expect("maintained");
    assert!(!log.admits_events(), "the reserve is touched, and events are taken");
    assert!(matches!(event(&mut log, 2, 100), Err(AppendError::Full)));
    settle(&mut log, 1);
    // As the bridge does: the spare is made by another thread before maintenance runs.
    if let Some(job) = log.order_spare() {
        log.add_spare(job.run());
    }
    log.maintain(1 << 20).expect("maintained");
    assert!(!log.admits_events(), "a spare could be made, and the reserve is touched all the same");
    leave_free(&disk, RESERVE_BYTES + SEGMENT_BYTES);
    log.maintain(1 << 20).expect("maintained");
    event(&mut log, 3, 100).expect("there is room again, without a restart");
}

#[test]
fn a_burst_between_two_rounds_of_maintenance_stops_at_the_reserve() {
    let disk = SimVfs::new(1);
    let mut log = open(&disk, 1);
    leave_free(&disk, RESERVE_BYTES + 2 * SEGMENT_BYTES);
    let capacity = disk.used_bytes() + RESERVE_BYTES + 2 * SEGMENT_BYTES;
    let taken = (1..1_000).take_while(|id| event(&mut log, *id, 10_000).is_ok()).count();
    assert!(taken > 5, "{taken} events");
    // The spare that was made last is a part of what the reserve is for.
    let free = capacity - disk.used_bytes();
    assert!(free + SEGMENT_BYTES >= RESERVE_BYTES, "{free} bytes are free after {taken} events");
}

#[test]
fn what_others_take_is_noticed_by_the_next_batch() {
    let disk = SimVfs::new(1);
    let mut log = open(&disk, 1);
    event(&mut log, 1, 100).expect("there is room");
    disk.fill(true);
    settle(&mut log, 1);
    assert!(!log.admits_events());
}
