//! What other bridges want is remembered in records that any segment has room for (RELIABILITY D2, S5).

use std::time::Instant;

use bytes::Bytes;
use meshbridge_delivery::{Action, Config, Core, Record, State};
use meshbridge_routing::{BridgeId, KeptInterest, Run};

const MIB: usize = 1 << 20;

fn id(name: &str) -> BridgeId {
    BridgeId::parse(name).expect("valid id")
}

/// Messages of 64 KiB, `bytes` in all; each with its own content.
fn messages(bytes: usize) -> Vec<Bytes> {
    (0..bytes >> 16)
        .map(|number| Bytes::from(vec![u8::try_from(number % 251).expect("small"); 64 << 10]))
        .collect()
}

fn records(core: &mut Core) -> Vec<Record> {
    let appends = std::iter::from_fn(|| core.poll_action()).filter_map(|action| match action {
        Action::Append(append) => Some(append.records),
        _ => None,
    });
    appends.flatten().map(|(record, _)| record).collect()
}

#[test]
fn however_much_a_bridge_wants_no_record_is_large() {
    let far = id("far");
    let mut core = Core::recover(
        State::new(id("here")),
        Config::default(),
        7,
        Run { epoch: 1, nonce: 1 },
        1,
        Instant::now(),
    );
    let mut folded = State::new(id("here"));
    core.remember_interest(far.clone(), vec![Bytes::from_static(b"before")]);
    let news = [
        (KeptInterest::Whole(messages(3 * MIB)), 3 * 16),
        (KeptInterest::More(messages(2 * MIB + (64 << 10))), 5 * 16 + 1),
        (KeptInterest::Whole(messages(64 << 10)), 1),
        (KeptInterest::Whole(Vec::new()), 0),
    ];
    for (news, remembered) in news {
        core.heard_interest(far.clone(), None, news);
        for record in records(&mut core) {
            let bytes = record.encode();
            assert!(bytes.len() < 2 * MIB, "{} bytes", bytes.len());
            assert!(bytes.len() - record.message_bytes() < 4_096, "what is reckoned with is what is written");
            let (record, _) = Record::decode(&bytes).expect("own record");
            folded.apply(&record, &mut Vec::new());
        }
        assert_eq!(core.state().interest.get(&far).map_or(0, Vec::len), remembered);
        assert_eq!(folded.interest, core.state().interest);
    }
}
