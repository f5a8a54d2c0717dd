//! Bytes from outside: they are read or refused, never more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use meshbridge_routing::wire::data::{
    BATCH_BYTES_MAX, BatchWriter, Carriers, Frame, RecvTable, SendTable, Target, decode_batch, payload_digest,
};
use meshbridge_routing::wire::{Entry, Notice, NoticeKind, TableAnnounce};
use meshbridge_routing::{
    BridgeId, DENIED_LINKS_MAX, EventKey, Keyring, Limits, LinkId, Refusal, Router, RouterConfig, Run,
    Signature, Verified, ZoneName,
};
use meshbridge_topic::Topic;
use proptest::prelude::*;

struct Trusting;

impl Keyring for Trusting {
    fn sign(&self, _: &[u8]) -> Signature {
        Signature { chain: Vec::new(), signature: Bytes::new() }
    }

    fn verify(
        &self,
        _: &BridgeId,
        _: &ZoneName,
        _: &[Bytes],
        _: &[u8],
        _: &[u8],
        now: Instant,
    ) -> Result<Verified, Refusal> {
        Ok(Verified { not_after: now + Duration::from_secs(60) })
    }
}

fn bridge(name: &str) -> BridgeId {
    BridgeId::parse(name).expect("a name")
}

#[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
fn router() -> (Router, Instant) {
    let now = Instant::now();
    let zone = ZoneName::parse("z").expect("a name");
    let members = [(bridge("a"), zone.clone()), (bridge("b"), zone.clone())].into();
    let config = RouterConfig {
        federation: "f".to_owned(),
        id: bridge("a"),
        zone,
        run: Run { epoch: 1, nonce: 1 },
        members,
        limits: Limits::default(),
        seed: 1,
        policy_digest: [0; 32],
    };
    let mut router = Router::new(config, Arc::new(Trusting), now);
    router.handle_link_up(LinkId(1), bridge("b"), 1, now);
    (router, now)
}

fn frames() -> impl Strategy<Value = Frame> {
    let numbers = (any::<u16>(), 0..64_u8, any::<u64>(), 1..=255_u8, any::<u32>(), any::<u16>());
    let sets = (
        prop::collection::vec((any::<u16>(), any::<u64>()), 1..20),
        prop::option::of(prop::collection::vec(any::<u16>(), 0..5)),
        prop::collection::vec(any::<(u16, u16)>(), 0..=DENIED_LINKS_MAX),
    );
    let rest = (
        prop::collection::vec((any::<u8>(), any::<u8>(), prop::collection::vec(any::<u8>(), 0..9)), 0..3),
        // Below and above the size from which a payload is a chunk of its own.
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            prop::collection::vec(any::<u8>(), 4_000..4_300)
        ],
    );
    (numbers, sets, rest).prop_map(
        |((run, lane, seq, hop_limit, life_ms, policy), sets, (extensions, payload))| Frame {
            run,
            lane,
            seq,
            destinations: sets.0.into_iter().map(|(bridge, prev)| Target { bridge, prev }).collect(),
            carriers: sets.1.map_or(Carriers::All, |zones| Carriers::Zones(zones.into_iter().collect())),
            denied: sets.2.into_iter().collect(),
            hop_limit,
            life_ms,
            digest: payload_digest(&payload),
            policy,
            topic: Topic::parse("orders.eu.created").expect("a topic"),
            extensions: extensions
                .into_iter()
                .map(|(kind, version, value)| (kind, version, value.into()))
                .collect(),
            payload: payload.into(),
        },
    )
}

/// As the stream has it, behind its length.
fn whole(writer: BatchWriter) -> Bytes {
    let mut stream = Bytes::from(writer.finish().collect::<Vec<_>>().concat());
    let length = stream.split_to(4);
    assert_eq!(&length[..], (stream.len() as u32).to_be_bytes());
    stream
}

proptest! {
    #[test]
    fn a_batch_reads_back_what_was_written(frames in prop::collection::vec(frames(), 0..6)) {
        let mut writer = BatchWriter::new();
        for frame in &frames {
            prop_assert!(writer.push(frame));
        }
        let read: Result<Vec<Frame>, _> = decode_batch(whole(writer)).expect("a batch").collect();
        prop_assert_eq!(read, Ok(frames));
    }

    #[test]
    fn a_frame_that_does_not_fit_leaves_the_batch_as_it_was(frames in prop::collection::vec(frames(), 1..6), is_whole in any::<bool>()) {
        let mut writer = BatchWriter::new();
        let mut large = frames[0].clone();
        if is_whole {
            large.payload = vec![0; BATCH_BYTES_MAX].into();
        } else {
            // Beyond its limit after most of it was written.
            large.extensions = (0..2).map(|kind| (kind, 1, vec![0; 40_000].into())).collect();
        }
        for frame in &frames {
            prop_assert!(!writer.push(&large));
            prop_assert!(writer.push(frame));
        }
        prop_assert!(!writer.push(&large));
        prop_assert_eq!(writer.len(), frames.len());
        let read: Result<Vec<Frame>, _> = decode_batch(whole(writer)).expect("a batch").collect();
        prop_assert_eq!(read, Ok(frames));
    }

    #[test]
    fn a_damaged_batch_is_read_or_refused(frame in frames(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut writer = BatchWriter::new();
        prop_assert!(writer.push(&frame));
        let mut bytes = whole(writer).to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(frames) = decode_batch(bytes.into()) {
            prop_assert!(frames.count() <= 1024);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(kind in 0..40_u8, rest in prop::collection::vec(any::<u8>(), 0..300)) {
        let bytes: Bytes = [vec![kind], rest].concat().into();
        let _ = TableAnnounce::decode(bytes.clone());
        let _ = Notice::decode(bytes.clone());
        if let Ok(frames) = decode_batch(bytes.clone()) {
            frames.for_each(drop);
        }
        let (mut router, now) = router();
        let _ = router.handle_message(LinkId(1), bytes, now);
    }
}

#[test]
fn a_table_grows_on_both_sides_alike_and_gaps_are_refused() {
    let mut send = SendTable::default();
    let mut recv = RecvTable::default();
    let entry = Entry::Run { bridge: bridge("a"), run: Run { epoch: 1, nonce: 2 } };
    let number = send.index_of(&entry).expect("room");
    assert_eq!(send.index_of(&entry), Ok(number));
    let announce = send.announce().expect("something new");
    assert_eq!(send.announce(), None);
    let read = TableAnnounce::decode(announce.encode()).expect("an announcement");
    assert_eq!(recv.entry(number), None);
    recv.apply(read.clone()).expect("continues");
    assert_eq!(recv.entry(number), Some(&entry));
    assert!(recv.apply(read).is_err());
}

#[test]
fn a_notice_reads_back_what_was_written() {
    let key = EventKey { origin: bridge("a"), run: Run { epoch: 1, nonce: 2 }, lane: 3, seq: 4 };
    let zone = |name| ZoneName::parse(name).expect("a name");
    for kind in [
        NoticeKind::Denied { rule: "r@zone".into(), disposition: "reject".into(), context: "ingress".into() },
        NoticeKind::Dropped { reason: "queue-full".into() },
        NoticeKind::DeniedLink {
            rule: "r@zone".into(),
            context: "transit".into(),
            link: (zone("b"), zone("a")),
        },
    ] {
        let notice = Notice { to: bridge("a"), from: bridge("b"), key: key.clone(), kind, hop_limit: 16 };
        assert_eq!(Notice::decode(notice.encode()), Ok(notice));
    }
}

#[test]
fn a_frame_with_more_denied_links_than_there_may_be_is_neither_written_nor_read() {
    let frame = |count: usize| Frame {
        run: 1,
        lane: 0,
        seq: 1,
        destinations: [Target { bridge: 1, prev: 0 }].into_iter().collect(),
        carriers: Carriers::All,
        denied: vec![(3, 4); count].into(),
        hop_limit: 16,
        life_ms: 0,
        digest: [0; 16],
        policy: 1,
        topic: Topic::parse("orders.eu.created").expect("a topic"),
        extensions: Default::default(),
        payload: Bytes::new(),
    };
    assert!(!BatchWriter::new().push(&frame(DENIED_LINKS_MAX + 1)));
    let mut writer = BatchWriter::new();
    assert!(writer.push(&frame(DENIED_LINKS_MAX)));
    let bytes = whole(writer).to_vec();
    // Version, count, length; run to policy; one destination, all carriers.
    let at = 7 + 34 + 12 + 2;
    assert_eq!(usize::from(bytes[at]), DENIED_LINKS_MAX);
    let mut more = bytes.clone();
    more[at] += 1;
    let read: Vec<_> = decode_batch(more.into()).expect("a batch").collect();
    assert!(read[0].is_err(), "{read:?}");
}
