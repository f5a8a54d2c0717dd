//! A key lives as long as the trust that it came with.

use std::sync::Arc;
use std::time::{Duration, Instant};

use meshbridge_routing::Refusal;
use time::Duration as Span;

use super::{HOUR, World};
use crate::sealing::Refused;

#[test]
fn a_key_ends_with_the_chain_that_vouched_for_it() {
    let world = World::new();
    let (a, b) = world.pair();
    let later = Instant::now() + Duration::from_secs(3_601);
    let (exchange, receipt) = (a.says_exchange(&b), a.says_receipt(&b));
    assert_eq!(b.sealing.open(&receipt, later), Err(Refused::UnknownKey));
    assert_eq!(b.hears(&receipt), Err(Refused::UnknownKey), "it is gone, whatever the clock says then");
    assert_eq!(b.seal(&a, &b.receipt()), Err(Refused::NoKey));
    assert_eq!(b.hears(&exchange), Err(Refused::Unproven), "one of before does not bring it back");
    a.meet(&b);
    assert_eq!(b.hears(&receipt), Err(Refused::Repeated), "the key is the same, and so is what was said");
    assert_eq!(b.hears(&exchange), Err(Refused::Repeated));
    b.understands(&a);
}

#[test]
fn an_exchange_under_an_expired_certificate_is_refused_and_a_renewed_one_heals_it() {
    let world = World::new();
    let (a, b) = (world.start_in("east", "a", 1, Span::seconds(3)), world.start("b", 1));
    a.meet(&b);
    b.understands(&a);
    std::thread::sleep(Duration::from_millis(4_000));
    assert_eq!(b.hears(&a.says_receipt(&b)), Err(Refused::UnknownKey));
    let refused = b.hears(&a.says_exchange(&b)).expect_err("the chain has ended");
    assert_eq!(refused, Refused::Untrusted(Refusal::Expired));
    a.credentials.store(Arc::new(world.credentials("east", "a", HOUR, "")));
    a.meet(&b);
    b.understands(&a);
}

#[test]
fn a_renewed_certificate_keeps_the_key() {
    let world = World::new();
    let (a, b) = world.pair();
    let receipt = a.says_receipt(&b);
    a.credentials.store(Arc::new(world.credentials("east", "a", HOUR * 3, "")));
    assert!(b.hears(&a.says_exchange(&b)).is_ok());
    let later = Instant::now() + Duration::from_secs(2 * 3_600);
    assert!(b.sealing.open(&receipt, later).is_ok());
}

#[test]
fn who_is_denied_is_not_heard_from_the_next_message_on() {
    let world = World::new();
    let (a, b) = world.pair();
    let c = world.start("c", 1);
    c.meet(&b);
    b.credentials.store(Arc::new(world.credentials("west", "b", HOUR, "a # taken over\n")));
    assert_eq!(b.hears(&a.says_receipt(&b)), Err(Refused::UnknownKey));
    assert_eq!(b.seal(&a, &b.receipt()), Err(Refused::NoKey));
    assert_eq!(b.hears(&a.says_exchange(&b)), Err(Refused::Untrusted(Refusal::Expired)));
    b.understands(&c);
    // And forgiven.
    b.credentials.store(Arc::new(world.credentials("west", "b", HOUR, "")));
    a.meet(&b);
    b.understands(&a);
}
