//! T4: the loss of power under the real binary, on a file system that forgets what was not synced.
//!
//! `MESHBRIDGE_LAZYFS` is the binary of LazyFS, as an absolute path; [`HOW`] says how to get it. Where its build cannot download, the packages libspdlog-dev and
//! libtoml11-dev and one command in its repository do the same: `g++ -std=c++17 -O2 -Ilibs/libpcache/include -Ilazyfs/include $(find libs/libpcache/src -name
//! '*.cpp') lazyfs/src/*.cpp lazyfs/include/lazyfs/fusepp/Fuse.cpp -o lazyfs-binary $(pkg-config --cflags --libs fuse3 spdlog) -lpthread`.
//!
//! `MESHBRIDGE_LAZYFS_ROUNDS` is how often the power goes, 4 without it. The origin's disk and the destination's take turns, and now and then it is both; so do
//! the ways in which it goes, see [`Cut`]. In about half of the rounds the link of the bridge is cut before, so that it alone has what it acknowledged.
//!
//! LazyFS forgets the bytes and the sizes of files. It does not forget names: a file that was made, renamed or removed is so at once, and a flush of a directory
//! does nothing. That names are flushed is for the crash rig of the spool to show (T3), whose disk forgets them too.

mod disk;

use std::env;
use std::fs;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Plan, Rigging, Weather, eventually, is_alive, signal, skip};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use self::disk::{LazyDisk, SPOOL};
use super::Scene;

const HOW: &str = "MESHBRIDGE_LAZYFS is not set: apt-get install g++ cmake libfuse3-dev fuse3, git clone https://github.com/dsrhaslab/lazyfs, \
    build.sh in lazyfs/libs/libpcache and in lazyfs/lazyfs, then MESHBRIDGE_LAZYFS=$PWD/lazyfs/lazyfs/build/lazyfs";
const ROUNDS: usize = 4;
/// The link is the one that parts each from the others.
const ENDS: [End; 2] =
    [End { zone: "west", link: ("west", "middle") }, End { zone: "east", link: ("middle", "east") }];
/// Several pages of a segment, which a torn write parts.
const EVENT_BYTES: usize = 6 << 10;
/// Deliveries that may be due when the power goes, so that a small spool is not full after many rounds.
const BACKLOG: u64 = 300;
const DRAINED_WITHIN: Duration = Duration::from_secs(120);
/// The calm before, in milliseconds.
const CALM_MS: Range<u64> = 200..1_500;
/// How long the disk may not answer before the power goes.
const STALL_MS: Range<u64> = 0..300;
/// A fault that has not struck by then waits for writes that do not come.
const TORN_WITHIN: Duration = Duration::from_secs(20);
/// About as many writes make a segment, as LazyFS sees them: zeros, and two pages of header. Those after it are batches.
const MAKING: u32 = 520;

/// A bridge whose disk loses power.
#[derive(Clone, Copy, Debug)]
struct End {
    zone: &'static str,
    link: (&'static str, &'static str),
}

/// How the power goes. The bridge ends with it, and everything that was not synced is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// At a random time.
    Clear,
    /// Some moments after the disk has stopped to answer: what was acknowledged meanwhile was acknowledged too early.
    Stall,
    /// Once more while the bridge starts, or soon after, in a write of which some parts are on the disk.
    TornWrite,
    /// The same between two writes with no flush in between; one of them is on the disk, and it may be the later one.
    TornSequence,
}

const CUTS: [Cut; 4] = [Cut::Clear, Cut::Stall, Cut::TornWrite, Cut::TornSequence];

impl Cut {
    /// As the ledger has it.
    fn name(self) -> &'static str {
        match self {
            Cut::Clear => "clear-cache",
            Cut::Stall => "stall",
            Cut::TornWrite => "torn-op",
            Cut::TornSequence => "torn-seq",
        }
    }
}

/// LazyFS, where the environment says that there is one.
fn lazyfs() -> Option<PathBuf> {
    let program = env::var_os("MESHBRIDGE_LAZYFS").filter(|path| !path.is_empty()).map(PathBuf::from);
    if program.is_none() {
        skip("the loss of power under the real binary (T4)", HOW);
    }
    program
}

fn rounds() -> usize {
    env::var("MESHBRIDGE_LAZYFS_ROUNDS")
        .map_or(ROUNDS, |text| text.parse().expect("MESHBRIDGE_LAZYFS_ROUNDS is a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_events_survive_the_loss_of_power_on_lazyfs() -> Result<()> {
    let Some(program) = lazyfs() else { return Ok(()) };
    // Declared before the scene, so that they go after its bridges.
    let mut disks = [LazyDisk::new(&program).await?, LazyDisk::new(&program).await?];
    let data = ENDS.iter().zip(&disks).map(|(end, disk)| (end.zone.to_owned(), disk.data())).collect();
    let rigging = Rigging { spool: SPOOL.to_owned(), data, ..Rigging::default() };
    let zones = ["west", "middle", "east"];
    let scene = Scene::start_rigged(&Plan::chain(), &zones, true, &rigging, EVENT_BYTES).await?;
    let seed = scene.seed();
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    for round in 0..rounds() {
        let cut = CUTS[(round + round / CUTS.len()) % CUTS.len()];
        let is_of_both = random.random_bool(0.25);
        eventually("the backlog drains", DRAINED_WITHIN, || async {
            let due = scene.ledger.with(|ledger| ledger.outstanding());
            ensure!(due <= BACKLOG, "{due} deliveries are due");
            Ok(())
        })
        .await
        .with_context(|| scene.mesh.story())?;
        let strikes = ENDS.iter().zip(&mut disks).enumerate().filter_map(|(at, (end, disk))| {
            let random = Pcg64Mcg::seed_from_u64(random.random());
            (is_of_both || at == round % ENDS.len()).then(|| strike(&scene, *end, disk, cut, random))
        });
        futures_util::future::try_join_all(strikes)
            .await
            .with_context(|| format!("{cut:?} in round {round} of seed {seed} (MESHBRIDGE_SEED)"))
            .with_context(|| scene.mesh.story())?;
    }
    let faults = scene.ledger.with(|ledger| ledger.totals().faults);
    let is_torn = [Cut::TornWrite, Cut::TornSequence].iter().any(|cut| faults.contains_key(cut.name()));
    ensure!(is_torn || rounds() < CUTS.len(), "no write was torn: {faults:?}");
    let totals = scene.judge(&[], 20 * rounds() as u64).await;
    let totals = totals.with_context(|| format!("seed {seed} (MESHBRIDGE_SEED)"))?;
    eprintln!("{} rounds: {totals:?}", rounds());
    Ok(())
}

/// Calm, the loss of power, and the start on what is left.
async fn strike(
    scene: &Scene,
    End { zone, link: (from, to) }: End,
    disk: &mut LazyDisk,
    cut: Cut,
    mut random: Pcg64Mcg,
) -> Result<()> {
    let mesh = &scene.mesh;
    let struck = |kind: &str| {
        mesh.note(&format!("{zone} lost power: {kind}"));
        scene.ledger.with(|ledger| ledger.fault(kind));
    };
    let link = mesh.relay(from, to);
    pause(CALM_MS, &mut random).await;
    if random.random_bool(0.5) {
        link.set_both(Weather::cut());
        pause(CALM_MS, &mut random).await;
    }
    if cut == Cut::Clear {
        mesh.kill(zone)?;
        disk.clear().await?;
        struck(cut.name());
        link.heal();
        return mesh.restart(zone).await;
    }
    disk.freeze()?;
    pause(STALL_MS, &mut random).await;
    lose_power(scene, zone, disk)?;
    struck(Cut::Stall.name());
    link.heal();
    if cut != Cut::Stall {
        disk.switch_on(&tear(&disk.kept(), cut, &mut random)?).await?;
        let server = disk.pid()?;
        mesh.launch(zone)?;
        let torn = eventually("LazyFS tears a write and ends", TORN_WITHIN, || async {
            ensure!(!is_alive(server), "there was no such write");
            Ok(())
        });
        // The power goes in any case.
        let kind = if torn.await.is_ok() { cut.name() } else { "untorn" };
        lose_power(scene, zone, disk)?;
        struck(kind);
    }
    disk.switch_on("").await?;
    mesh.restart(zone).await
}

async fn pause(milliseconds: Range<u64>, random: &mut Pcg64Mcg) {
    tokio::time::sleep(Duration::from_millis(random.random_range(milliseconds))).await;
}

/// The bridge is told to end before its disk does, so that it has no time in which it sees that.
fn lose_power(scene: &Scene, zone: &str, disk: &mut LazyDisk) -> Result<()> {
    // One that has seen its disk fail may have ended already.
    drop(signal(scene.mesh.zone(zone).pid, "KILL"));
    disk.cut()?;
    scene.mesh.kill(zone)?;
    disk.unmount()
}

/// A fault in the segments that the next start makes and writes, as LazyFS has it in its configuration.
fn tear(data: &Path, cut: Cut, random: &mut Pcg64Mcg) -> Result<String> {
    let spool = data.join("spool");
    let names = fs::read_dir(&spool)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let numbers = names.filter_map(|name| u64::from_str_radix(name.strip_prefix("seg-")?, 16).ok());
    let next = numbers.max().context("a spool has segments")? + 1;
    let is_made = random.random_bool(0.75);
    // The first may be full, or have nothing of the kind, before it is struck; so there is one in each of the next.
    let faults = (next..next + 4).map(|segment| {
        let file = spool.join(format!("seg-{segment:016x}"));
        let how = if cut == Cut::TornWrite {
            let parts = [2, 4, 8][random.random_range(0..3)];
            let kept: Vec<u32> = (0..parts).map(|_| random.random_range(1..=parts)).collect();
            let write = random.random_range(if is_made { MAKING..MAKING + 100 } else { 1..MAKING });
            format!("occurrence={write}\nparts={parts}\npersist={kept:?}\n")
        } else {
            // Three times writes come without a flush while a segment is made, then perhaps when a start copies.
            let group = if is_made && segment == next { 4 } else { random.random_range(1..4) };
            let kept = random.random_range(1..=2);
            format!("occurrence={group}\nop=\"write\"\npersist=[{kept}]\n")
        };
        format!("[[injection]]\ntype={:?}\nfile={file:?}\n{how}", cut.name())
    });
    Ok(faults.collect())
}

/// That the judge sees it when a bridge acknowledges what is not on the disk shows that the test above can fail.
#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_does_not_flush_is_noticed_on_lazyfs() -> Result<()> {
    let Some(program) = lazyfs() else { return Ok(()) };
    let directory = tempfile::tempdir()?;
    let mut disk = LazyDisk::new(&program).await?;
    let rigging = Rigging {
        spool: SPOOL.to_owned(),
        data: [("west".to_owned(), disk.data())].into(),
        environment: vec![("LD_PRELOAD", no_flush(directory.path())?)],
        ..Rigging::default()
    };
    let mut scene =
        Scene::start_rigged(&Plan::chain(), &["west", "east"], true, &rigging, EVENT_BYTES).await?;
    scene.settled_within = Duration::from_secs(1);
    scene.run_for(50).await?;
    let link = scene.mesh.relay("west", "middle");
    link.set_both(Weather::cut());
    let accepted = scene.ledger.with(|ledger| ledger.totals().accepted);
    scene.run_for(accepted + 50).await?;
    scene.mesh.kill("west")?;
    disk.clear().await?;
    link.heal();
    scene.mesh.restart("west").await?;
    scene.ledger.with(|ledger| ledger.fault(Cut::Clear.name()));
    let verdict = scene.judge(&[], 50).await.err().context("a loss passed for a clean run")?;
    let text = format!("{verdict:#}");
    ensure!(text.contains("lost"), "{text}");
    Ok(())
}

/// A library that takes the place of `fdatasync` and does nothing.
fn no_flush(directory: &Path) -> Result<PathBuf> {
    let library = directory.join("no_flush.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-x", "c", "-", "-o"]).arg(&library).stdin(Stdio::piped());
    let mut compiler = compiler.spawn().context("start cc")?;
    let mut source = compiler.stdin.take().expect("stdin is piped");
    source.write_all(b"int fdatasync(int file) { return 0; }\n")?;
    drop(source);
    ensure!(compiler.wait()?.success(), "cc does not compile");
    Ok(library)
}
