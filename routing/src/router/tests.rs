//! A neighbour that lies: each statement is refused and nothing changes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use meshbridge_topic::TopicFilter;

use super::{Router, RouterConfig, RouterEvent};
use crate::lthash::LtHash;
use crate::want::Want;
use crate::wire::{Delta, Message, SnapshotChunk};
use crate::{BridgeId, Keyring, Limits, LinkId, ListedLink, Refusal, Run, Signature, Verified, ZoneName};

struct HashKeyring(BridgeId);

fn tag(id: &BridgeId, message: &[u8]) -> Bytes {
    let mut hasher = blake3::Hasher::new();
    hasher.update(id.as_str().as_bytes()).update(b"/").update(message);
    Bytes::copy_from_slice(hasher.finalize().as_bytes())
}

impl Keyring for HashKeyring {
    fn sign(&self, message: &[u8]) -> Signature {
        Signature { chain: Vec::new(), signature: tag(&self.0, message) }
    }

    fn verify(
        &self,
        claimed: &BridgeId,
        _: &ZoneName,
        _: &[Bytes],
        message: &[u8],
        signature: &[u8],
        now: Instant,
    ) -> Result<Verified, Refusal> {
        let good = tag(claimed, message) == signature;
        good.then_some(Verified { not_after: now + Duration::from_secs(60) }).ok_or(Refusal::BadSignature)
    }
}

const LINK: LinkId = LinkId(1);

fn filter(text: &str) -> TopicFilter {
    TopicFilter::parse(text).expect("a filter")
}

fn router(name: &str, members: &[&str], now: Instant) -> Router {
    let id = |name: &str| BridgeId::parse(name).expect("a name");
    let zone = ZoneName::parse("z").expect("a name");
    let config = RouterConfig {
        federation: "f".to_owned(),
        id: id(name),
        zone: zone.clone(),
        run: Run { epoch: 1, nonce: 1 },
        members: members.iter().map(|name| (id(name), zone.clone())).collect(),
        limits: Limits::default(),
        seed: 1,
        policy_digest: [0; 32],
    };
    Router::new(config, Arc::new(HashKeyring(id(name))), now)
}

/// Routers `a` and `b` over one link, all messages exchanged; `b` has sent what is in the list.
#[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
fn pair() -> (Router, Vec<Message>, Instant) {
    let now = Instant::now();
    let mut a = router("a", &["a", "b"], now);
    let mut b = router("b", &["a", "b", "c"], now);
    b.subscribe(&filter("x"), now).expect("room");
    a.handle_link_up(LINK, b.id.clone(), 1, now);
    b.handle_link_up(LINK, a.id.clone(), 1, now);
    let mut sent = Vec::new();
    for _ in 0..10 {
        while let Some(transmit) = a.poll_transmit() {
            b.handle_message(LINK, transmit.payload, now).expect("kept");
        }
        while let Some(transmit) = b.poll_transmit() {
            sent.push(Message::decode(transmit.payload.clone()).expect("a message"));
            a.handle_message(LINK, transmit.payload, now).expect("kept");
        }
    }
    while a.poll_event().is_some() {}
    (a, sent, now)
}

fn state(router: &Router) -> String {
    let records: Vec<_> = router.records().collect();
    format!("{records:?} {:?}", router.interest_sets().collect::<Vec<_>>())
}

#[track_caller]
fn check_refused(a: &mut Router, message: Message, why: Option<Refusal>, now: Instant) {
    let before = state(a);
    a.handle_message(LINK, message.encode(), now).expect("a message of the protocol");
    let refused = std::iter::from_fn(|| a.poll_event()).find_map(|event| match event {
        RouterEvent::Refused { why, .. } => Some(why),
        _ => None,
    });
    assert_eq!(refused, why);
    assert_eq!(state(a), before);
}

fn snapshot(sent: &[Message]) -> SnapshotChunk {
    let found = sent.iter().rev().find_map(|message| match message {
        Message::Snapshot(chunk) if chunk.head.owner.as_str() == "b" => Some(chunk.clone()),
        _ => None,
    });
    found.expect("b has sent its set")
}

fn record(sent: &[Message]) -> crate::LinkState {
    let found = sent.iter().rev().find_map(|message| match message {
        Message::LinkState(record) if record.bridge.as_str() == "b" => Some(record.clone()),
        _ => None,
    });
    found.expect("b has sent its record")
}

#[test]
fn a_forged_record_is_refused() {
    let (mut a, sent, now) = pair();
    let mut forged = record(&sent);
    forged.seq += 1;
    forged.links = vec![ListedLink { to: a.id.clone(), cost: 1 }];
    check_refused(&mut a, Message::LinkState(forged), Some(Refusal::BadSignature), now);
}

#[test]
fn a_replayed_version_changes_nothing() {
    let (mut a, sent, now) = pair();
    for old in sent.iter().filter(|message| !matches!(message, Message::Open { .. })) {
        check_refused(&mut a, old.clone(), None, now);
    }
}

#[test]
fn the_record_of_an_unlisted_bridge_is_refused() {
    let (mut a, _, now) = pair();
    let c = router("c", &["a", "b", "c"], now);
    let foreign = c.records().next().expect("its own").clone();
    let why = Refusal::Unlisted(c.id.clone());
    check_refused(&mut a, Message::LinkState(foreign), Some(why), now);
}

#[test]
fn another_zone_than_the_documents_is_refused() {
    let (mut a, sent, now) = pair();
    let mut moved = record(&sent);
    moved.seq += 1;
    moved.zone = ZoneName::parse("y").expect("a name");
    moved.signature = HashKeyring(moved.bridge.clone()).sign(&moved.signed_bytes("f"));
    let why = Refusal::WrongZone { bridge: moved.bridge.clone(), claimed: moved.zone.clone() };
    check_refused(&mut a, Message::LinkState(moved), Some(why), now);
}

#[test]
fn an_end_mark_that_leaves_filters_out_is_refused() {
    let (mut a, sent, now) = pair();
    let mut ghost = snapshot(&sent);
    ghost.head.version += 1;
    ghost.head.signature = HashKeyring(ghost.head.owner.clone()).sign(&ghost.head.signed_bytes("f"));
    ghost.filters.clear();
    check_refused(&mut a, Message::Snapshot(ghost), Some(Refusal::WrongDigest), now);
}

// R16: budgets go by the number that the owner signs.
#[test]
fn a_change_is_taken_only_with_the_number_of_what_there_is_then() {
    let (mut a, sent, now) = pair();
    let (x, y): (Want, Want) = (filter("x").into(), filter("y").into());
    let lies: [(&[&Want], u32); 3] = [(&[&x, &y], 0), (&[&x, &y], 3), (&[&x, &y, &y], 3)];
    for (of, count) in lies {
        let mut head = snapshot(&sent).head;
        let (from, mut hash) = (head.version, LtHash::default());
        of.iter().for_each(|want| hash.add(&want.digest_bytes()));
        (head.version, head.digest, head.count) = (from + 1, hash.digest(), count);
        head.signature = HashKeyring(head.owner.clone()).sign(&head.signed_bytes("f"));
        let added = of[1..].iter().map(|want| (*want).clone()).collect();
        let lie = Message::Delta(Delta { head, from, added, removed: Vec::new() });
        check_refused(&mut a, lie, Some(Refusal::WrongDigest), now);
    }
}

#[test]
fn an_epoch_that_nobody_reaches_is_refused() {
    let (mut a, sent, now) = pair();
    let mut far = record(&sent);
    far.run.epoch = (1 << 48) + 1;
    far.signature = HashKeyring(far.bridge.clone()).sign(&far.signed_bytes("f"));
    let why = Refusal::EpochTooHigh(far.run.epoch);
    check_refused(&mut a, Message::LinkState(far), Some(why), now);
}

#[test]
fn a_bridge_that_hears_a_later_run_of_itself_continues_above_it() {
    let (mut a, _, now) = pair();
    let mut own = a.records().find(|record| record.bridge == a.id).expect("its own").clone();
    own.run.epoch = 9;
    own.signature = HashKeyring(own.bridge.clone()).sign(&own.signed_bytes("f"));
    a.handle_message(LINK, Message::LinkState(own).encode(), now).expect("a message of the protocol");
    assert_eq!(a.run().epoch, 10);
    assert!(std::iter::from_fn(|| a.poll_event()).any(|event| event == RouterEvent::EpochRaised(10)));
}

#[test]
fn a_run_in_doubt_is_followed_by_another_one() {
    let (mut a, _, now) = pair();
    let before = a.run();
    a.begin_run(before.nonce + 1, now);
    assert_eq!(a.run(), Run { epoch: before.epoch + 1, nonce: before.nonce + 1 });
    let raised = RouterEvent::EpochRaised(before.epoch + 1);
    assert!(std::iter::from_fn(|| a.poll_event()).any(|event| event == raised));
    let own = a.records().find(|record| record.bridge == a.id).expect("its own");
    assert_eq!(own.run, a.run());
}

#[test]
fn two_living_copies_do_not_count_up_against_each_other() {
    let (mut a, _, now) = pair();
    let mut raised = 0;
    let mut heard = Run { epoch: 9, nonce: 77 };
    for _ in 0..100 {
        let mut own = a.records().find(|record| record.bridge == a.id).expect("its own").clone();
        own.run = heard;
        own.signature = HashKeyring(own.bridge.clone()).sign(&own.signed_bytes("f"));
        a.handle_message(LINK, Message::LinkState(own).encode(), now).expect("a message of the protocol");
        raised += std::iter::from_fn(|| a.poll_event())
            .filter(|event| matches!(event, RouterEvent::EpochRaised(_)))
            .count();
        // The other copy hears of that and does the same.
        heard.epoch = a.run().epoch + 1;
    }
    assert_eq!(raised, 1);
}

/// The neighbour may be an old copy of a disk whose other copy has the name by now.
#[test]
fn a_neighbour_whose_name_has_a_newer_run_is_not_listed_until_it_takes_part_in_it() {
    let (mut a, sent, mut now) = pair();
    let lists_b = |a: &Router| {
        let own = a.records().find(|record| record.bridge == a.id).expect("its own");
        assert_eq!(a.forwarding().links.len(), own.links.len(), "what is listed is what carries");
        !own.links.is_empty()
    };
    let later = |a: &mut Router, now: &mut Instant| {
        *now += Duration::from_millis(600);
        a.handle_timeout(*now);
    };
    later(&mut a, &mut now);
    later(&mut a, &mut now);
    while a.poll_transmit().is_some() {}
    assert!(lists_b(&a));
    let mut newer = record(&sent);
    newer.run.epoch += 1;
    newer.signature = HashKeyring(newer.bridge.clone()).sign(&newer.signed_bytes("f"));
    let (bridge, run, zone) = (newer.bridge.clone(), newer.run, newer.zone.clone());
    a.handle_message(LINK, Message::LinkState(newer).encode(), now).expect("a message of the protocol");
    assert!(!lists_b(&a));

    later(&mut a, &mut now);
    let sent: Vec<_> =
        std::iter::from_fn(|| a.poll_transmit()).map(|sent| Message::decode(sent.payload)).collect();
    assert!(sent.contains(&Ok(Message::Hello { open_received: false, digest_received: true })), "{sent:?}");
    let open = Message::Open { federation: "f".to_owned(), bridge, zone, run };
    a.handle_message(LINK, open.encode(), now).expect("a message of the protocol");
    assert!(lists_b(&a));
}

/// As the owner would sign it, for these zones.
fn resigned(mut chunk: SnapshotChunk, zones: &[&str]) -> SnapshotChunk {
    let zones = zones.iter().map(|zone| ZoneName::parse(zone).expect("a name"));
    chunk.head.version += 1;
    chunk.head.audience = crate::Audience::zones(zones);
    chunk.head.signature = HashKeyring(chunk.head.owner.clone()).sign(&chunk.head.signed_bytes("f"));
    chunk
}

// R40
#[test]
fn a_set_for_others_is_refused_and_nothing_of_it_is_kept_or_answered() {
    let (mut a, sent, now) = pair();
    while a.poll_transmit().is_some() {}
    let foreign = resigned(snapshot(&sent), &["y"]);
    let why = Refusal::WrongAudience(foreign.head.owner.clone());
    check_refused(&mut a, Message::Snapshot(foreign), Some(why), now);
    assert_eq!(a.poll_transmit(), None);
}

// R40
#[test]
fn an_audience_cannot_be_widened() {
    let (mut a, sent, now) = pair();
    let mut widened = resigned(snapshot(&sent), &["z"]);
    widened.head.audience =
        crate::Audience::zones(["y", "z"].map(|zone| ZoneName::parse(zone).expect("a name")));
    check_refused(&mut a, Message::Snapshot(widened.clone()), Some(Refusal::BadSignature), now);
    widened.head.audience = crate::Audience::All;
    check_refused(&mut a, Message::Snapshot(widened), Some(Refusal::BadSignature), now);
}

// R41: that it is forgotten is enough to end it; its number is believed only where it is our own word.
#[test]
fn the_last_number_there_is_cannot_be_forced_on_a_set_of_our_own() {
    let (mut a, sent, now) = pair();
    let mut forged = resigned(snapshot(&sent), &["z"]);
    forged.head.owner = a.id.clone();
    forged.head.run = a.run;
    forged.head.version = u64::MAX;
    while a.poll_transmit().is_some() {}
    a.handle_message(LINK, Message::Snapshot(forged.clone()).encode(), now)
        .expect("a message of the protocol");
    a.subscribe(&filter("y"), now).expect("room");
    let later = now + Duration::from_secs(1);
    a.handle_timeout(later);
    let told =
        std::iter::from_fn(|| a.poll_transmit()).map(|one| Message::decode(one.payload).expect("ours"));
    let versions: Vec<u64> = told
        .filter_map(|message| match message {
            Message::Snapshot(chunk) => Some(chunk.head.version),
            Message::Delta(delta) => Some(delta.head.version),
            _ => None,
        })
        .collect();
    assert!(!versions.is_empty() && versions.iter().all(|version| (1..10).contains(version)), "{versions:?}");

    // What this run has signed itself goes on from there.
    forged.head.version = 40;
    forged.head.audience =
        crate::Audience::zones(["y", "z"].map(|zone| ZoneName::parse(zone).expect("a name")));
    forged.head.signature = HashKeyring(a.id.clone()).sign(&forged.head.signed_bytes("f"));
    let audience = forged.head.audience.id();
    a.handle_message(LINK, Message::Snapshot(forged).encode(), later).expect("a message of the protocol");
    assert_eq!(a.set(&a.id, audience).map(|set| set.head.version), Some(41));
}

/// A list has up to 24 KiB, and a thousand versions are remembered.
#[test]
fn what_follows_a_version_shares_its_list_of_zones() {
    let (_, sent, _) = pair();
    let head = resigned(snapshot(&sent), &["y", "z"]).head;
    let delta = Message::Delta(Delta { head, from: 1, added: Vec::new(), removed: Vec::new() });
    let [first, second] = [(), ()].map(|()| match Message::decode(delta.encode()) {
        Ok(Message::Delta(delta)) => delta.head,
        other => panic!("{other:?}"),
    });
    let first = first.detached(None);
    let second = second.detached(Some(&first));
    assert_eq!(first, second);
    let same = match (&first.audience, &second.audience) {
        (crate::Audience::Zones(one), crate::Audience::Zones(other)) => Arc::ptr_eq(one, other),
        _ => false,
    };
    assert!(same);
}
