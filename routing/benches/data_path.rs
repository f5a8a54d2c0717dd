//! What the data path asks of this crate for each event or batch: who wants a topic, over which links it goes, and the bytes
//! of frames. The federation has 300 bridges and was learned by its own protocol.

#[path = "../tests/sim/keyring.rs"]
mod keyring;
#[path = "../tests/scale/mesh.rs"]
#[expect(dead_code, reason = "the simulation changes things as well")]
mod mesh;
#[path = "../tests/sim/rng.rs"]
#[expect(dead_code, reason = "the simulation draws more")]
mod rng;

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mesh::{Mesh, Size};
use meshbridge_routing::wire::data::{BatchWriter, Carriers, Frame, Target, decode_batch, payload_digest};
use meshbridge_routing::{BridgeIndex, CarrierSet, DeniedLinks, DestinationSet, Passage, Split, ZoneName};
use meshbridge_topic::Topic;
use smallvec::{SmallVec, smallvec};

const SIZE: Size = Size { bridges: 300, links: 330 };
const FRAMES: usize = 256;

fn forwarding(c: &mut Criterion) {
    let mesh = Mesh::settled(1, SIZE);
    let forwarding = mesh.nodes[0].router.as_ref().expect("it is up").forwarding();
    let topic = Topic::parse("scale.t3").expect("a topic");
    let mut destinations = DestinationSet::default();
    let mut groups = SmallVec::new();
    c.bench_function("match_topic_300_bridges", |b| {
        b.iter(|| {
            destinations.clear();
            forwarding.match_topic(black_box(&topic), &mut destinations, &mut groups);
        });
    });
    let zone = |at: usize| ZoneName::parse(&format!("z{at}")).expect("a name");
    let zones: Passage = CarrierSet::zones((0..50).map(zone)).into();
    let links = DeniedLinks::between((0..8).map(|at| (zone(at), zone(at + 8))));
    let links = Passage { carriers: CarrierSet::All, denied: links };
    let mut split = Split::default();
    let all = [("split", Passage::ANY), ("split_within_50_zones", zones), ("split_without_8_links", links)];
    for (name, passage) in all {
        let mut group = c.benchmark_group(name);
        for count in [1, 16, 299_u16] {
            let destinations: DestinationSet = (1..=count).map(BridgeIndex).collect();
            group.throughput(Throughput::Elements(1));
            group.bench_function(BenchmarkId::from_parameter(format!("{count}_destinations")), |b| {
                b.iter(|| forwarding.split(black_box(&destinations), &passage, None, &mut split));
            });
        }
        group.finish();
    }
}

fn frame(payload: usize) -> Frame {
    let payload = Bytes::from(vec![b'x'; payload]);
    Frame {
        run: 1,
        lane: 3,
        seq: 1 << 40,
        destinations: smallvec![Target { bridge: 1, prev: 7 }, Target { bridge: 2, prev: 9 }],
        carriers: Carriers::All,
        denied: SmallVec::new(),
        hop_limit: 16,
        life_ms: 60_000,
        digest: payload_digest(&payload),
        policy: 1,
        topic: Topic::parse("plant-3.line-3.sensor-3.temperature").expect("a topic"),
        extensions: SmallVec::new(),
        payload,
    }
}

fn encode(frame: &Frame) -> BatchWriter {
    let mut writer = BatchWriter::new();
    (0..FRAMES).for_each(|_| assert!(writer.push(black_box(frame)), "there is room"));
    writer
}

fn frames(c: &mut Criterion) {
    for size in [128, 1_024, 8_192] {
        let frame = frame(size);
        let mut group = c.benchmark_group(format!("batch_of_256_frames_of_{size}_bytes"));
        group.throughput(Throughput::Elements(FRAMES as u64));
        group.bench_function("encode", |b| {
            b.iter(|| encode(&frame).finish().map(|chunk| chunk.len()).sum::<usize>());
        });
        let mut whole = BytesMut::new();
        encode(&frame).finish().for_each(|chunk| whole.extend_from_slice(&chunk));
        // The length goes before the batch on the stream.
        let batch = whole.freeze().slice(4..);
        group.bench_function("decode", |b| {
            b.iter(|| {
                let frames = decode_batch(black_box(batch.clone())).expect("it was written");
                frames.map(|frame| frame.expect("it was written").payload.len()).sum::<usize>()
            });
        });
        group.finish();
        c.bench_function(&format!("payload_digest_of_{size}_bytes"), |b| {
            b.iter(|| payload_digest(black_box(&frame.payload)));
        });
    }
}

criterion_group!(benches, forwarding, frames);
criterion_main!(benches);
