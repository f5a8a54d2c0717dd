//! Each verdict is given where it is due, and a run as it should be gets none.

use std::time::Duration;

use meshbridge_ledger::{Account, Delivery, Demands, End, Ledger, Place, Report, Topics, Verdict};

/// Two bridges with a subscription each; `e1` was accepted for both and has arrived at both.
struct Run {
    ledger: Ledger,
    east: Place,
    west: Place,
}

fn key(seq: u64) -> String {
    format!("origin-1:3-00000000000000ff:7:{seq}")
}

impl Run {
    fn new() -> Run {
        let mut ledger = Ledger::default();
        let east = ledger.subscribed("east-1", "audit", &Topics::All);
        let west = ledger.subscribed("west-1", "billing", &Topics::Only(vec!["orders".to_owned()]));
        ledger.established(east);
        let mut run = Run { ledger, east, west };
        run.publish("e1", 1, &["east-1", "west-1"]);
        run.offer(east, "e1", 1, 1);
        run.offer(west, "e1", 1, 1);
        run
    }

    fn publish(&mut self, id: &str, seq: u64, destinations: &[&str]) {
        self.ledger.submitted(id, "orders");
        self.ledger.accepted(&key(seq), id, destinations.iter().copied(), []);
    }

    fn offer(&mut self, place: Place, id: &str, seq: u64, count: u32) {
        self.offer_as(place, id, &key(seq), count);
    }

    fn offer_as(&mut self, place: Place, id: &str, key: &str, count: u32) {
        let at = Duration::from_millis(self.ledger.totals().offered);
        self.ledger.delivered(place, Delivery { key, id, count, is_out_of_order: false, at });
    }

    fn report(&self) -> Report {
        self.ledger.judge(&Demands::default())
    }

    #[track_caller]
    fn is_clean(&self) {
        let report = self.report();
        assert!(report.is_clean(), "{report}");
    }

    /// One finding of this verdict and none of another; its text.
    #[track_caller]
    fn is(&self, verdict: Verdict) -> String {
        let report = self.report();
        assert_eq!(report.findings.keys().collect::<Vec<_>>(), [&verdict], "{report}");
        assert_eq!(report.count(verdict), 1, "{report}");
        report.findings[&verdict].examples[0].clone()
    }
}

#[test]
fn a_run_as_promised_is_clean() {
    let mut run = Run::new();
    run.publish("e2", 2, &["east-1", "west-1"]);
    run.offer(run.east, "e2", 2, 1);
    run.offer(run.west, "e2", 2, 1);
    run.offer(run.west, "e2", 2, 2);
    run.ledger.acknowledged(run.west, "e2");
    run.is_clean();
    let demands = Demands { events: 2, deliveries: 5, faults: 0, accounts: false };
    let totals = run.ledger.judge(&demands).into_result().expect("clean");
    assert_eq!((totals.offered, totals.retried, totals.acknowledged), (5, 1, 1));
}

#[test]
fn an_accepted_event_that_does_not_come_is_lost() {
    let mut run = Run::new();
    run.publish("e2", 2, &["east-1", "west-1"]);
    run.offer(run.east, "e2", 2, 1);
    assert_eq!(run.ledger.outstanding(), 1);
    let text = run.is(Verdict::Lost);
    assert_eq!(
        text,
        "e2 (origin-1:3-00000000000000ff:7:2) at west-1/billing: the answer names east-1, west-1"
    );
}

#[test]
fn an_event_with_a_recorded_end_is_not_lost() {
    for (end, is_excuse) in [
        (End::Denied("rule".to_owned()), true),
        (End::Expired, true),
        (End::DeadLettered("gone".to_owned()), true),
        (End::Moved, true),
        (End::Delivered, false),
    ] {
        let mut run = Run::new();
        run.publish("e2", 2, &["east-1", "west-1"]);
        run.offer(run.east, "e2", 2, 1);
        run.ledger.ended("west-1", &key(2), end);
        if is_excuse {
            run.is_clean();
        } else {
            run.is(Verdict::Lost);
        }
    }
}

#[test]
fn an_answer_that_forgets_an_established_subscription_loses_the_event() {
    let mut run = Run::new();
    run.publish("e2", 2, &[]);
    assert!(run.is(Verdict::Lost).contains("at east-1/audit: the answer names nobody"));
}

#[test]
fn a_subscription_is_owed_nothing_from_before_it_and_from_after_it() {
    let mut run = Run::new();
    let late = run.ledger.subscribed("east-1", "late", &Topics::All);
    run.is_clean();
    run.ledger.closed(late);
    run.publish("e2", 2, &["east-1"]);
    run.offer(run.east, "e2", 2, 1);
    run.is_clean();
    run.offer(late, "e2", 2, 1);
    assert!(run.is(Verdict::Unauthorised).contains("cancelled"));
}

#[test]
fn an_event_without_an_answer_is_owed_only_where_it_was_seen() {
    let mut run = Run::new();
    run.ledger.submitted("e2", "orders");
    run.is_clean();
    let sibling = run.ledger.subscribed("east-1", "sibling", &Topics::All);
    run.ledger.submitted("e3", "orders");
    run.offer(run.east, "e3", 3, 1);
    assert!(run.is(Verdict::Lost).contains("at east-1/sibling: no answer, but east-1/audit has it"));
    run.offer(sibling, "e3", 3, 1);
    run.is_clean();
    assert_eq!(run.report().totals.surfaced, 1);
}

#[test]
fn an_offer_must_count_up() {
    for (count, is_repeated) in [(1, true), (2, false), (7, false)] {
        let mut run = Run::new();
        run.offer(run.east, "e1", 1, count);
        if is_repeated {
            assert!(run.is(Verdict::Repeated).contains("offer 1 after offer 1"));
        } else {
            run.is_clean();
        }
    }
    let mut run = Run::new();
    run.offer(run.east, "e1", 1, 3);
    run.offer(run.east, "e1", 1, 2);
    run.is(Verdict::Repeated);
}

#[test]
fn an_offer_after_its_durable_acknowledgement_is_a_repetition() {
    let mut run = Run::new();
    run.ledger.acknowledged(run.east, "e1");
    run.offer(run.east, "e1", 1, 2);
    assert!(run.is(Verdict::Repeated).contains("acknowledged durably"));
}

#[test]
fn a_second_key_is_a_repetition_unless_the_first_had_ended() {
    let mut run = Run::new();
    run.offer(run.east, "e1", 9, 1);
    assert!(run.is(Verdict::Repeated).contains("whose end nobody recorded"));
    run.ledger.ended("east-1", &key(1), End::DeadLettered("attempts".to_owned()));
    run.is_clean();
}

#[test]
fn order_counts_for_first_offers_in_a_lane() {
    let mut run = Run::new();
    for seq in [2, 3] {
        run.publish(&format!("e{seq}"), seq, &["east-1", "west-1"]);
        run.offer(run.west, &format!("e{seq}"), seq, 1);
    }
    run.offer(run.east, "e3", 3, 1);
    run.offer(run.east, "e2", 2, 1);
    assert!(run.is(Verdict::OutOfOrder).contains("behind origin-1:3-00000000000000ff:7:3"));
}

#[test]
fn a_second_attempt_may_be_overtaken() {
    let mut run = Run::new();
    for seq in [2, 3] {
        run.publish(&format!("e{seq}"), seq, &["east-1", "west-1"]);
        run.offer(run.west, &format!("e{seq}"), seq, 1);
    }
    run.offer(run.east, "e3", 3, 1);
    // Its first attempt left before, and was lost with a connection.
    run.offer(run.east, "e2", 2, 2);
    run.is_clean();
}

#[test]
fn order_is_kept_across_runs_and_not_across_lanes() {
    let (old, new) = ("origin-1:3-00000000000000ff:7:9", "origin-1:4-0000000000000001:7:1");
    let other_lane = "origin-1:3-00000000000000ff:8:1";
    let mut run = Run::new();
    for (id, key) in [("n", new), ("o", old), ("l", other_lane)] {
        run.ledger.submitted(id, "orders");
        run.ledger.accepted(key, id, ["east-1"], []);
        run.offer_as(run.east, id, key, 1);
    }
    assert!(run.is(Verdict::OutOfOrder).starts_with("o "));
}

#[test]
fn an_event_where_it_should_not_be_is_unauthorised() {
    let mut run = Run::new();
    run.publish("e2", 2, &["east-1"]);
    run.offer(run.east, "e2", 2, 1);
    run.offer(run.west, "e2", 2, 1);
    assert!(run.is(Verdict::Unauthorised).ends_with("at west-1/billing: the answer names east-1"));

    let mut run = Run::new();
    run.ledger.submitted("e2", "orders");
    run.ledger.accepted(&key(2), "e2", ["east-1"], ["west-1"]);
    run.offer(run.east, "e2", 2, 1);
    run.is_clean();
    run.offer(run.west, "e2", 2, 1);
    assert!(run.is(Verdict::Unauthorised).ends_with("the answer says denied"));

    let mut run = Run::new();
    run.offer(run.east, "stranger", 2, 1);
    assert!(run.is(Verdict::Unauthorised).ends_with("nobody submitted it"));

    let mut run = Run::new();
    run.ledger.submitted("e2", "payments");
    run.ledger.accepted(&key(2), "e2", ["east-1", "west-1"], []);
    run.offer(run.east, "e2", 2, 1);
    run.is_clean();
    run.offer(run.west, "e2", 2, 1);
    assert!(run.is(Verdict::Unauthorised).ends_with("it does not want topic `payments`"));
}

#[test]
fn nothing_is_offered_after_its_end() {
    let mut run = Run::new();
    run.publish("e2", 2, &["east-1", "west-1"]);
    run.offer(run.west, "e2", 2, 1);
    run.ledger.ended("east-1", &key(2), End::Denied("federation/rule".to_owned()));
    run.is_clean();
    run.offer(run.east, "e2", 2, 1);
    assert!(run.is(Verdict::Unauthorised).contains("after its end Denied(\"federation/rule\")"));
}

#[test]
fn a_moved_event_may_arrive_elsewhere() {
    let mut run = Run::new();
    run.publish("e2", 2, &["east-1"]);
    run.offer(run.west, "e2", 5, 1);
    run.ledger.ended("east-1", &key(2), End::Moved);
    run.is_clean();
}

#[test]
fn books_must_add_up_and_agree_with_the_answers() {
    let right = Account { sent: 1, delivered: 1, ..Account::default() };
    let mut run = Run::new();
    run.ledger.account("origin-1", "east-1", right);
    run.is_clean();
    let open = Account { sent: 1, ..Account::default() };
    run.ledger.account("origin-1", "east-1", open);
    assert!(run.is(Verdict::OutOfBalance).starts_with("origin-1 to east-1: sent 1, accounted for 0"));
    run.ledger.account("origin-1", "east-1", Account::default());
    assert!(run.is(Verdict::OutOfBalance).contains("sent 0, publishers were told of 1 to 1"));
    let more = Account { sent: 2, delivered: 2, ..Account::default() };
    run.ledger.account("origin-1", "east-1", more);
    run.is(Verdict::OutOfBalance);
    // It may be the one whose publisher heard nothing.
    run.ledger.submitted("unknown", "orders");
    run.is_clean();
}

#[test]
fn a_pair_has_one_end() {
    let mut run = Run::new();
    run.ledger.ended("east-1", &key(1), End::Delivered);
    run.ledger.ended("east-1", &key(1), End::Delivered);
    run.ledger.ended("west-1", &key(1), End::Expired);
    run.is_clean();
    run.ledger.ended("east-1", &key(1), End::Expired);
    assert!(run.is(Verdict::OutOfBalance).ends_with("ended twice at east-1: Delivered, then Expired"));
}

#[test]
fn a_key_is_readable_and_names_one_event() {
    let mut run = Run::new();
    run.ledger.submitted("e2", "orders");
    run.ledger.accepted("origin-1:3:7:2", "e2", [], ["east-1"]);
    run.is(Verdict::BadKey);

    let mut run = Run::new();
    run.publish("e2", 1, &["east-1"]);
    run.ledger.ended("east-1", &key(1), End::Moved);
    assert!(run.is(Verdict::BadKey).ends_with("is the key of e1 and of e2"));
}

#[test]
fn a_judge_that_sees_nothing_says_so() {
    let mut ledger = Ledger::default();
    ledger.fault("kill");
    let report = ledger.judge(&Demands { events: 1, deliveries: 1, faults: 2, accounts: true });
    assert_eq!(report.count(Verdict::TooLittle), 3, "{report}");
    let run = Run::new();
    let report = run.ledger.judge(&Demands { events: 1, deliveries: 2, faults: 0, accounts: true });
    assert_eq!(report.count(Verdict::TooLittle), 2, "two pairs without books: {report}");
}

#[test]
fn examples_are_bounded_and_cases_are_not() {
    let mut ledger = Ledger::new(3);
    let place = ledger.subscribed("east-1", "audit", &Topics::All);
    for number in 0..1_000 {
        let (id, key) = (format!("e{number}"), key(number));
        ledger.accepted(&key, &id, ["east-1"], []);
        for _ in 0..2 * (number % 2) {
            let at = Duration::ZERO;
            let delivery = Delivery { key: &key, id: &id, count: 1, is_out_of_order: false, at };
            ledger.delivered(place, delivery);
        }
    }
    let report = ledger.judge(&Demands::default());
    assert_eq!((report.count(Verdict::Lost), report.count(Verdict::Repeated)), (500, 500));
    assert!(report.findings.values().all(|found| found.examples.len() == 3));
    assert!(report.to_string().contains("and 497 more"), "{report}");
}
