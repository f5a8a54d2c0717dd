//! What only looks as if somebody had said it.

use std::sync::LazyLock;

use bytes::Bytes;
use meshbridge_routing::Refusal;
use meshbridge_routing::wire::Relay;
use proptest::prelude::*;

use super::{HOUR, Party, World, bridge};
use crate::sealing::Refused;

#[test]
fn a_bridge_of_the_federation_cannot_speak_for_another() {
    let world = World::new();
    let (a, b) = world.pair();
    let c = world.start("c", 1);
    c.meet(&b);
    let mut exchange = c.says_exchange(&b);
    exchange.from = a.id.clone();
    assert_eq!(b.hears(&exchange), Err(Refused::Untrusted(Refusal::WrongIdentity)));
    let mut receipt = c.says_receipt(&b);
    receipt.from = a.id.clone();
    assert_eq!(b.hears(&receipt), Err(Refused::UnknownKey));
    b.understands(&a);
}

#[test]
fn what_was_said_to_another_does_not_count_here() {
    let world = World::new();
    let (a, b) = world.pair();
    let c = world.start("c", 1);
    a.meet(&c);
    for mut relay in [a.says_exchange(&c), a.says_receipt(&c)] {
        relay.to = b.id.clone();
        let refused = b.hears(&relay).expect_err("it was for c");
        assert!(
            matches!(refused, Refused::Untrusted(Refusal::BadSignature) | Refused::UnknownKey),
            "{refused}"
        );
    }
}

#[test]
fn what_a_bridge_said_cannot_be_turned_round_to_it() {
    let world = World::new();
    let (a, b) = world.pair();
    let turned = |relay: Relay| Relay { to: relay.from, from: relay.to, ..relay };
    assert_eq!(a.hears(&turned(a.says_receipt(&b))), Err(Refused::WrongCode));
    let exchange = a.hears(&turned(a.says_exchange(&b)));
    assert_eq!(exchange, Err(Refused::Untrusted(Refusal::WrongIdentity)));
    // Neither in its own name.
    assert_eq!(a.hears(&Relay { to: a.id.clone(), ..a.says_receipt(&b) }), Err(Refused::Unlisted));
}

#[test]
fn who_is_not_listed_is_refused_with_a_good_certificate() {
    let world = World::new();
    let b = world.start("b", 1);
    let rogue = Party { id: bridge("rogue"), ..world.start_in("north", "rogue", 1, HOUR) };
    assert_eq!(b.hears(&rogue.says_exchange(&b)), Err(Refused::Unlisted));
}

#[test]
fn a_certificate_of_another_zone_than_the_document_says_proves_nothing() {
    let world = World::new();
    let (a, b) = (world.start_in("west", "a", 1, HOUR), world.start("b", 1));
    assert_eq!(b.hears(&a.says_exchange(&b)), Err(Refused::Untrusted(Refusal::WrongIdentity)));
}

#[test]
fn a_certificate_of_another_authority_proves_nothing() {
    let (a, b) = (World::new().start("a", 1), World::new().start("b", 1));
    let refused = b.hears(&a.says_exchange(&b)).expect_err("another authority");
    assert!(matches!(refused, Refused::Untrusted(Refusal::Untrusted(_))), "{refused}");
}

#[test]
fn every_changed_byte_is_noticed() {
    let world = World::new();
    let (a, b) = world.pair();
    for relay in [a.says_exchange(&b), a.says_receipt(&b)] {
        for at in 0..relay.body.len() {
            let mut body = relay.body.to_vec();
            body[at] ^= 1 << (at % 8);
            let changed = Relay { body: Bytes::from(body), ..relay.clone() };
            assert!(b.hears(&changed).is_err(), "byte {at} of {}", relay.body.len());
        }
        assert!(b.hears(&relay).is_ok(), "none of that has used up the true one");
    }
}

#[test]
fn an_exchange_under_a_pair_key_and_a_signed_receipt_are_refused() {
    let world = World::new();
    let (a, b) = world.pair();
    let to = &b.id;
    let sign = |message: &meshbridge_delivery::Message| {
        use crate::sealing::envelope::Signed;
        use crate::sealing::pair_key::Direction;
        use meshbridge_routing::Keyring as _;
        let claims = super::super::lock(&a.sealing.ends[to]).claims(1, a.sealing.key.public());
        let message = Bytes::from(message.encode());
        let signature = a.sealing.keyring.sign(&claims.statement(Direction { from: &a.id, to }, &message));
        let body = Signed { claims, signature, message }.encode();
        Relay { to: to.clone(), from: a.id.clone(), hop_limit: 1, body }
    };
    assert_eq!(b.hears(&sign(&a.exchange())), Ok(a.exchange()));
    assert_eq!(b.hears(&sign(&a.receipt())), Err(Refused::Malformed("the kind of seal")));
}

static TRUE: LazyLock<(Party, Party, [Relay; 2])> = LazyLock::new(|| {
    let world = World::new();
    let (a, b) = world.pair();
    let said = [a.says_exchange(&b), a.says_receipt(&b)];
    (a, b, said)
});

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

    #[test]
    fn bytes_from_outside_are_refused_without_a_panic(body in proptest::collection::vec(any::<u8>(), 0..600), kind in 0..4_u8) {
        let (a, b, _) = &*TRUE;
        let mut body = body;
        // Past the first two bytes as well.
        if kind > 0 && body.len() > 1 {
            (body[0], body[1]) = (2, kind);
        }
        let relay = Relay { to: b.id.clone(), from: a.id.clone(), hop_limit: 1, body: Bytes::from(body) };
        prop_assert!(b.hears(&relay).is_err());
    }

    #[test]
    fn what_is_cut_or_changed_is_refused_without_a_panic(
        signed in any::<bool>(),
        cut in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), 1..=255_u8), 0..4),
    ) {
        let (_, b, said) = &*TRUE;
        let relay = &said[usize::from(signed)];
        let mut body = relay.body.to_vec();
        for (at, with) in changes {
            let at = at.index(body.len());
            body[at] ^= with;
        }
        body.truncate(cut.index(relay.body.len()));
        let changed = Relay { body: Bytes::from(body), ..relay.clone() };
        prop_assert!(b.hears(&changed).is_err());
    }
}
