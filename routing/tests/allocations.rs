//! The data path allocates for a batch and never for an event. In a binary of its own, because what counts is the allocator
//! of all of it.

#[path = "sim/keyring.rs"]
mod keyring;
#[path = "scale/mesh.rs"]
#[expect(dead_code, reason = "the simulation changes things as well")]
mod mesh;
#[path = "sim/rng.rs"]
#[expect(dead_code, reason = "the simulation draws more")]
mod rng;

use std::hint::black_box;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use mesh::Mesh;
use meshbridge_routing::wire::data::{BatchWriter, Carriers, Frame, Target, decode_batch};
use meshbridge_routing::{BridgeIndex, CarrierSet, DeniedLinks, DestinationSet, Passage, Split, ZoneName};
use meshbridge_topic::Topic;
use rng::Rng;
use smallvec::{SmallVec, smallvec};

/// More bridges than a destination set holds in place, and those of them that live, around the first one.
const BRIDGES: usize = 270;
const LIVING: [usize; 7] = [1, 2, 3, 100, 200, 260, 269];

fn allocations(work: impl FnOnce()) -> u64 {
    allocation_counter::measure(work).count_total
}

#[test]
fn planning_allocates_nothing_once_its_buffers_have_grown() {
    let mut mesh = Mesh::over(Rng::new(1), BRIDGES, LIVING.map(|at| [0, at]).into());
    mesh.nodes[269].wants.insert(3);
    mesh.boot(0);
    LIVING.into_iter().for_each(|at| mesh.boot(at));
    mesh.run_for(Duration::from_secs(2));
    let forwarding = mesh.nodes[0].router.as_ref().expect("it is up").forwarding();
    let topic = Topic::parse("scale.t3").expect("a topic");
    let all: DestinationSet = LIVING.map(|at| BridgeIndex(at as u16)).into_iter().collect();
    let few: DestinationSet = [BridgeIndex(1), BridgeIndex(269)].into_iter().collect();
    let zone = |at: usize| ZoneName::parse(&format!("z{at}")).expect("a name");
    let zones: Passage = CarrierSet::zones((0..40).map(zone)).into();
    // Links there are none of.
    let links = DeniedLinks::between((1..40).map(|at| (zone(100 + at), zone(200 + at))));
    let denied = Passage { carriers: CarrierSet::All, denied: links };
    let (mut found, mut groups, mut split) = (DestinationSet::default(), SmallVec::new(), Split::default());
    let mut plan = |destinations: &DestinationSet, passage: &Passage| {
        found.clear();
        forwarding.match_topic(black_box(&topic), &mut found, &mut groups);
        forwarding.split(black_box(destinations), passage, None, &mut split);
        assert!(found.contains(BridgeIndex(269)) && split.hops.len() == destinations.len());
    };
    for passage in [&Passage::ANY, &zones, &denied] {
        (0..2).for_each(|_| plan(&all, passage));
        // Few hops in between: what many need is kept.
        let count = allocations(|| [&all, &few, &all, &few].into_iter().for_each(|set| plan(set, passage)));
        assert_eq!(count, 0, "{passage:?}");
    }
}

fn frame(topic: &str, payload: usize) -> Frame {
    Frame {
        run: 1,
        lane: 3,
        seq: 1 << 40,
        destinations: smallvec![Target { bridge: 1, prev: 7 }],
        carriers: Carriers::All,
        denied: SmallVec::new(),
        hop_limit: 16,
        life_ms: 0,
        digest: [7; 16],
        policy: 1,
        topic: Topic::parse(topic).expect("a topic"),
        extensions: smallvec![(5, 1, Bytes::from_static(&[0, 0, 0, 9]))],
        payload: Bytes::from(vec![b'x'; payload]),
    }
}

/// Allocations of writing a batch and of reading it, with as many frames.
#[track_caller]
fn check(frames: &[Frame], encode_max: u64, decode_max: u64) {
    let mut chunks = Vec::with_capacity(2 * frames.len() + 2);
    let encode = allocations(|| {
        let mut writer = BatchWriter::new();
        frames.iter().for_each(|frame| assert!(writer.push(frame), "there is room"));
        chunks.extend(writer.finish());
    });
    let mut whole = BytesMut::new();
    chunks.iter().for_each(|chunk| whole.extend_from_slice(chunk));
    let batch = whole.freeze().slice(4..);
    let decode = allocations(|| {
        let read = decode_batch(batch).expect("it was written");
        let mut count = 0;
        for frame in read {
            black_box(frame.expect("it was written"));
            count += 1;
        }
        assert_eq!(count, frames.len());
    });
    let count = frames.len();
    assert!(encode <= encode_max, "{encode} allocations to write {count} frames");
    assert!(decode <= decode_max, "{decode} allocations to read {count} frames");
}

#[test]
fn a_batch_is_written_and_read_with_few_allocations_however_many_frames_it_has() {
    for count in [64, 1_024] {
        // Growth of a buffer that doubles, and of the list of chunks.
        check(&vec![frame("orders.eu.created", 128); count], 24, 2);
    }
    check(&vec![frame("orders.eu.created", 4_096); 512], 40, 2);
    // A topic is owned text: one allocation each time that it is another one than the frame's before.
    let two = [frame("orders.eu.created", 128), frame("orders.us.created", 128)];
    let many: Vec<Frame> = two.iter().cycle().take(16).cloned().collect();
    check(&many, 24, 2 + 16);
}
