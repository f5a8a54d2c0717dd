//! What a group commit costs: appending a batch, and having it on the disk. The directory is `target/`, for `/tmp` is
//! memory on many machines.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use meshbridge_spool::vfs::RealVfs;
use meshbridge_spool::{Append, Class, Log, Options};

/// Released and retired at once, so that a long run stays within the spool.
fn append(log: &mut Log<RealVfs>, next: &mut u64, count: u64, payload: &[u8], sync: bool) {
    let first = *next;
    *next += count;
    let head = [7; 64];
    let records: Vec<Append<'_>> =
        (first..*next).map(|id| Append::Body { id, head: &head, bytes: payload }).collect();
    log.append(Class::Essential, &records).expect("there is room");
    if sync {
        log.sync().expect("the disk takes it");
    }
    (first..*next).for_each(|id| log.release(id));
    if log.segments() > 4 {
        log.begin_checkpoint(Vec::new());
        log.sync().expect("the disk takes it");
        log.maintain(u64::MAX).expect("the disk takes it");
    }
}

fn appending(c: &mut Criterion) {
    let directory =
        tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory is writable");
    for (name, sync) in [("append", false), ("append_and_sync", true)] {
        let mut group = c.benchmark_group(name);
        group.sample_size(20);
        for (count, bytes) in [(1, 1_024), (64, 1_024), (1_024, 128), (1_024, 1_024)] {
            let root = directory.path().join(format!("{name}-{count}-{bytes}"));
            let vfs = RealVfs::new(&root).expect("a directory");
            let options = Options { segments_max: 64, ..Options::default() };
            let mut seed = 0_u8;
            let entropy = Box::new(move || {
                seed = seed.wrapping_add(1);
                [seed; 32]
            });
            let (mut log, _) = Log::open(vfs, options, entropy, |_| {}).expect("a new spool");
            let payload = vec![b'x'; bytes];
            let mut next = 1;
            group.throughput(Throughput::Elements(count));
            let shape = BenchmarkId::from_parameter(format!("{count}_records_of_{bytes}_bytes"));
            group.bench_function(shape, |b| {
                b.iter(|| append(&mut log, &mut next, count, &payload, sync));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, appending);
criterion_main!(benches);
