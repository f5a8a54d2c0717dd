//! One change at a time, and how long it takes until every table is right again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::mesh::{DIGEST, HELLO, Mesh, TOPICS, Traffic};
use crate::oracle;

/// The promise: from when the first bridge knows of a change until every table is right.
pub const CONVERGED_WITHIN: Duration = Duration::from_secs(1);
/// R2: how long the silence of a neighbour goes unnoticed.
const SILENCE: Duration = Duration::from_millis(2_600);
/// R15, with its jitter.
const LINGER: Duration = Duration::from_millis(151);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    LinkDown,
    LinkUp,
    Cost,
    Killed,
    /// Its machine is gone: nobody resets its connections.
    FallenSilent,
    Started,
    InterestAdded,
    InterestWithdrawn,
}

/// What changes of one kind cost.
#[derive(Clone, Debug, Default)]
pub struct Cost {
    /// Virtual time until the last router had its last table.
    pub converged: Vec<Duration>,
    pub messages: u64,
    pub bytes: u64,
    /// Of the link that carried the most.
    pub link_bytes_max: u64,
    pub recomputed_ns: Vec<u64>,
}

pub type Costs = BTreeMap<Change, Cost>;

/// Draws a change, makes it, and sees that it is known everywhere in time. What fails is told with the change.
pub fn step(mesh: &mut Mesh, costs: &mut Costs) -> Result<(), String> {
    let (change, topic) = make(mesh);
    mesh.traffic = Traffic { by_wire: vec![0; mesh.wires.len()], ..Traffic::default() };
    // What was still under way from the change before is none of this one's.
    mesh.changed_at = mesh.now;
    let unnoticed = match change {
        Change::FallenSilent => SILENCE,
        Change::InterestWithdrawn => LINGER,
        _ => Duration::ZERO,
    };
    let known_at = mesh.now + unnoticed;
    mesh.run_for(unnoticed + CONVERGED_WITHIN);
    let took = mesh.changed_at.saturating_duration_since(known_at);
    if let Some(wrong) =
        oracle::first_wrong_table(mesh).or_else(|| oracle::first_wrong_destinations(mesh, topic))
    {
        return Err(format!("{change:?}: {wrong}"));
    }
    note(costs.entry(change).or_default(), took, &mesh.traffic);
    if change == Change::FallenSilent {
        // Its neighbours have ended the sessions; it has none left to end.
        mesh.wires.iter_mut().for_each(|wire| wire.silent = false);
    }
    Ok(())
}

fn note(cost: &mut Cost, took: Duration, traffic: &Traffic) {
    let kinds = traffic.kinds.iter().enumerate().filter(|(kind, _)| ![HELLO, DIGEST].contains(kind));
    let (messages, bytes) = kinds.fold((0, 0), |sum, (_, kind)| (sum.0 + kind.0, sum.1 + kind.1));
    cost.converged.push(took);
    cost.messages += messages;
    cost.bytes += bytes;
    cost.link_bytes_max = traffic.by_wire.iter().copied().max().unwrap_or(0).max(cost.link_bytes_max);
    cost.recomputed_ns.extend(&traffic.recomputed_ns);
}

/// The change, and the topic to look at: its own, or any.
fn make(mesh: &mut Mesh) -> (Change, usize) {
    let topic = mesh.rng.pick(TOPICS);
    let down: Vec<usize> = (0..mesh.wires.len()).filter(|wire| mesh.wires[*wire].down).collect();
    let dead = (0..mesh.nodes.len()).find(|node| mesh.nodes[*node].router.is_none());
    let change = match mesh.rng.below(100) {
        0..25 => link_down(mesh),
        25..50 if !down.is_empty() => {
            let wire = down[mesh.rng.pick(down.len())];
            mesh.wires[wire].down = false;
            mesh.connect(wire);
            Change::LinkUp
        }
        25..50 => link_down(mesh),
        50..65 => {
            let (wire, cost) = (mesh.rng.pick(mesh.wires.len()), [5, 10, 20, 30, 40][mesh.rng.pick(5)]);
            mesh.change_cost(wire, cost);
            Change::Cost
        }
        65..75 => match dead {
            Some(node) => {
                mesh.boot(node);
                Change::Started
            }
            None => {
                let (node, silently) = (mesh.rng.pick(mesh.nodes.len()), mesh.rng.percent(20));
                mesh.kill(node, silently);
                if silently { Change::FallenSilent } else { Change::Killed }
            }
        },
        75..88 => {
            let node = living(mesh);
            mesh.subscribe(node, topic);
            Change::InterestAdded
        }
        _ => {
            let wanting =
                |node: &usize| mesh.nodes[*node].router.is_some() && mesh.nodes[*node].wants.contains(&topic);
            match (0..mesh.nodes.len()).rfind(wanting) {
                Some(node) => {
                    mesh.unsubscribe(node, topic);
                    Change::InterestWithdrawn
                }
                None => {
                    let node = living(mesh);
                    mesh.subscribe(node, topic);
                    Change::InterestAdded
                }
            }
        }
    };
    (change, topic)
}

fn link_down(mesh: &mut Mesh) -> Change {
    let wire = mesh.rng.pick(mesh.wires.len());
    mesh.wires[wire].down = true;
    mesh.close(wire);
    Change::LinkDown
}

pub fn living(mesh: &mut Mesh) -> usize {
    loop {
        let node = mesh.rng.pick(mesh.nodes.len());
        if mesh.nodes[node].router.is_some() {
            return node;
        }
    }
}

/// The value that this share of a sorted list does not exceed.
fn quantile<T: Copy + Default>(sorted: &[T], percent: usize) -> T {
    sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
}

/// One line for each kind of change.
pub fn report(costs: Costs, wires: usize) {
    println!(
        "change               times   converged ms p50 p99 max   messages  bytes/change  bytes/link mean max   table µs p50 p99"
    );
    for (change, mut cost) in costs {
        cost.converged.sort_unstable();
        cost.recomputed_ns.sort_unstable();
        let times = cost.converged.len() as u64;
        let ms = |percent| quantile(&cost.converged, percent).as_millis();
        let us = |percent| quantile(&cost.recomputed_ns, percent) as f64 / 1_000.0;
        println!(
            "{:<18} {times:>7} {:>18} {:>3} {:>3} {:>10} {:>13} {:>15} {:>4} {:>14.1} {:.1}",
            format!("{change:?}"),
            ms(50),
            ms(99),
            ms(100),
            cost.messages / times,
            cost.bytes / times,
            cost.bytes / times / wires as u64,
            cost.link_bytes_max,
            us(50),
            us(99),
        );
    }
}

/// What passes while nothing changes, and what it costs.
pub fn report_rest(mesh: &mut Mesh, span: Duration) {
    mesh.traffic = Traffic { by_wire: vec![0; mesh.wires.len()], ..Traffic::default() };
    mesh.run_for(span);
    let seconds = span.as_secs_f64();
    let links = mesh.wires.iter().filter(|wire| wire.session.is_some()).count() as f64;
    let per_link = |kind: usize| mesh.traffic.kinds[kind].1 as f64 / links / seconds;
    println!(
        "at rest, each link and second: {:.0} bytes of hellos, {:.0} of digests; each bridge {:.2} ms of processor time",
        per_link(HELLO),
        per_link(DIGEST),
        mesh.traffic.busy_ns as f64 / 1e6 / seconds / mesh.nodes.len() as f64,
    );
}

/// When a test began, for what it reports.
#[expect(clippy::disallowed_methods, reason = "reported, and no input of anything")]
pub fn clock() -> Instant {
    Instant::now()
}
