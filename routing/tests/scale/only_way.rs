//! R42: a link that is held back and that some event needs, because the zones that may carry it leave no other way.

use std::time::Duration;

use meshbridge_routing::{BridgeIndex, CarrierSet, DestinationSet, Passage, Split, ZoneName};

use crate::flapping::{NOTICED, down, flap, held, up};
use crate::mesh::Mesh;
use crate::rng::Rng;

/// R42: a session that lasted so long is listed where it is the only way.
const LASTED: Duration = Duration::from_secs(1);
/// R2: a bridge that hears nothing new looks again with its next hello.
const LOOKED: Duration = Duration::from_millis(500);
/// The records of both ends are everywhere: a link takes 50 ms.
const TOLD: Duration = Duration::from_millis(300);

/// Two bridges with a link and a detour, and one behind each of the three.
///
/// ```text
///   3 ── 0 ═══ 1 ── 4
///         ╲   ╱
///           2 ── 5
/// ```
fn detour() -> Mesh {
    let pairs = [[0, 1], [0, 2], [1, 2], [0, 3], [1, 4], [2, 5]];
    let mut mesh = Mesh::over(Rng::new(7), 6, pairs.into());
    (0..6).for_each(|node| mesh.boot(node));
    mesh.run_for(Duration::from_secs(2));
    mesh
}

/// The link between `0` and `1` goes down and up until it is held back.
fn flap_the_direct_link(mesh: &mut Mesh) {
    let direct = [wire(mesh, [0, 1])];
    (0..NOTICED).for_each(|_| flap(mesh, &direct));
    assert_eq!(held(mesh), 2, "both ends hold it back");
}

fn wire(mesh: &Mesh, ends: [usize; 2]) -> usize {
    mesh.wires.iter().position(|wire| wire.ends == ends).expect("it was drawn")
}

/// The zones of these bridges.
fn zones_of(bridges: &[usize]) -> Passage {
    let zone = |at: &usize| ZoneName::parse(&format!("z{at}")).expect("a name");
    CarrierSet::zones(bridges.iter().map(zone)).into()
}

/// The way that an event takes, as each bridge on it decides.
fn send(mesh: &Mesh, from: usize, to: usize, passage: &Passage) -> Option<Vec<usize>> {
    let destinations: DestinationSet = [BridgeIndex(to as u16)].into_iter().collect();
    let (mut path, mut split) = (vec![from], Split::default());
    while let Some(at) = path.last().copied().filter(|at| *at != to) {
        let before = path.len().checked_sub(2).map(|before| &mesh.nodes[path[before]].id);
        let forwarding = mesh.nodes[at].router.as_ref().expect("all are up").forwarding();
        forwarding.split(&destinations, passage, before, &mut split);
        path.push(usize::from(split.hops.first()?.next.0));
        assert!(path.len() <= mesh.nodes.len(), "in circles: {path:?}");
    }
    Some(path)
}

#[derive(Clone, Copy, PartialEq)]
enum Sent {
    /// Also before the link came and went.
    Before,
    /// Not before it was held back.
    Since,
}

#[track_caller]
fn check_taken(way: &[usize], carriers: &[usize], sent: Sent) {
    let mut mesh = detour();
    let (from, to, carriers) = (way[0], *way.last().expect("two ends"), zones_of(carriers));
    if sent == Sent::Before {
        assert_eq!(send(&mesh, from, to, &carriers).as_deref(), Some(way), "all is well");
    }
    flap_the_direct_link(&mut mesh);
    mesh.run_for(LASTED);
    if sent == Sent::Since {
        assert_eq!(held(&mesh), 2, "nobody has asked for it");
        assert_eq!(send(&mesh, from, to, &carriers), None, "nor is there another way");
        mesh.run_for(LOOKED);
    }
    mesh.run_for(TOLD);
    assert_eq!(send(&mesh, from, to, &carriers).as_deref(), Some(way));
}

#[test]
fn the_only_way_that_an_event_may_go_is_taken_however_often_it_failed() {
    for sent in [Sent::Before, Sent::Since] {
        check_taken(&[0, 1], &[0, 1], sent);
        check_taken(&[1, 0], &[0, 1], sent);
        // The zone of an end does not have to be named (R18), and who has no part in carrying follows who has.
        check_taken(&[0, 1], &[0, 5], sent);
        // Behind the neighbour.
        check_taken(&[0, 1, 4], &[0, 1, 4], sent);
        check_taken(&[0, 1, 4], &[0, 1, 3], sent);
    }
}

/// It waits at its origin, so the ends of the link see nothing of it meanwhile: they remember.
#[test]
fn the_only_way_of_events_of_others_is_taken_as_well() {
    check_taken(&[3, 0, 1, 4], &[0, 1, 3, 4], Sent::Before);
    check_taken(&[4, 1, 0, 3], &[0, 1, 3, 4], Sent::Before);
    check_taken(&[3, 0, 1], &[0, 3], Sent::Before);
}

#[test]
fn a_link_that_no_event_needs_is_held_back_whatever_the_zones() {
    let mut mesh = detour();
    let events: [(usize, usize, &[usize]); 8] = [
        // There is the detour.
        (0, 1, &[0, 1, 2]),
        (3, 4, &[0, 1, 2, 3]),
        (1, 0, &[2, 1]),
        (0, 5, &[0, 2]),
        // No way, with the link or without it.
        (0, 5, &[0, 1]),
        (0, 4, &[0, 4]),
        // A set without the zone of the bridge that would send.
        (0, 1, &[]),
        (0, 1, &[1, 3]),
    ];
    let send_all = |mesh: &Mesh| {
        events.iter().for_each(|(from, to, carriers)| drop(send(mesh, *from, *to, &zones_of(carriers))));
    };
    send_all(&mesh);
    flap_the_direct_link(&mut mesh);
    for second in 0..14 {
        send_all(&mesh);
        mesh.run_for(Duration::from_secs(1));
        assert_eq!(held(&mesh), 2, "after {second} seconds");
    }
    assert_eq!(send(&mesh, 0, 1, &Passage::ANY), Some(vec![0, 2, 1]));
}

/// Neither end takes what the other one lists, or does not yet leave out, for a sign that it needs the link.
#[test]
fn a_link_that_lasts_for_a_while_each_time_is_held_back_as_well() {
    let mut mesh = detour();
    send(&mesh, 0, 1, &zones_of(&[0, 1, 2]));
    let direct = [wire(&mesh, [0, 1])];
    for round in 0..20 {
        down(&mut mesh, &direct);
        mesh.run_for(Duration::from_millis(300));
        up(&mut mesh, &direct);
        mesh.run_for(2 * LASTED);
        assert!(round < 4 || held(&mesh) == 2, "in round {round}");
    }
}
