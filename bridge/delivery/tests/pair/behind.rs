//! An origin whose disk is an older copy of itself (M20): its destinations tell it what it has forgotten.

use std::time::Duration;

use meshbridge_delivery::{Alarm, Record};
use meshbridge_routing::Run;

use super::ends::Ends;
use super::id;

/// Three events end at `far` in a run that the disk of `near` forgets. So many of what `far` says of it are lost.
fn roll_back(loses_exchanges: usize) -> (Ends, Run) {
    let mut ends = Ends::new();
    let image = ends.near_log.clone();
    ends.restart_near();
    ends.link(true);
    let forgotten = ends.near_run();
    for number in 1..=3 {
        ends.publish(number);
        ends.acknowledge(number);
    }
    ends.run_for(Duration::from_secs(1));
    ends.assert_all_delivered(3);

    ends.near_log = image;
    ends.near_epoch = forgotten.epoch;
    ends.restart_near();
    ends.loses_exchanges = loses_exchanges;
    ends.link(true);
    ends.run_for(Duration::from_secs(30));
    (ends, forgotten)
}

#[test]
fn a_destination_says_what_it_has_of_a_run_until_its_origin_has_heard() {
    for lost in 0..6 {
        let (mut ends, run) = roll_back(lost);
        let alarm = Alarm::OriginBehind { destination: id("far"), run, lane: 3, upto: 3 };
        assert_eq!(ends.alarms, [alarm], "{lost} lost");
        ends.link(false);
        ends.link(true);
        assert_eq!(ends.alarms.len(), 1, "it is said once");
        let source = &ends.far.state().sources[&id("near")];
        assert!(source.is_closed(run) && source.taken.is_empty(), "{lost} lost");
    }
}

/// The numbers are forgotten with the run; that there was such a run is not.
#[test]
fn a_destination_names_a_run_that_it_has_closed_to_an_origin_that_does_not_know_it() {
    let (mut ends, run) = roll_back(0);
    ends.near_log.retain(|record| !matches!(record, Record::Started { .. }));
    ends.near_log.push(Record::Started { run: Run { epoch: 1, nonce: 1 } });
    ends.near_epoch = run.epoch;
    ends.alarms.clear();
    ends.restart_near();
    ends.link(true);
    ends.run_for(Duration::from_secs(10));
    assert_eq!(ends.alarms, [Alarm::UnknownRun { destination: id("far"), run }]);
}

/// The outcomes that it had noted are nobody's any more; the destination remembers what it delivered.
#[test]
fn what_was_delivered_counts_as_delivered_where_only_the_destination_knows() {
    for closes in [false, true] {
        let mut ends = Ends::new();
        for number in 1..=3 {
            ends.publish(number);
        }
        let image = ends.near_log.clone();
        for seq in 1..=3 {
            ends.acknowledge(seq);
        }
        ends.run_for(Duration::from_secs(1));
        if closes {
            let run = ends.near_run();
            ends.restart_near();
            ends.link(true);
            ends.run_for(Duration::from_secs(1));
            assert!(ends.far.state().sources[&id("near")].is_closed(run));
        }
        ends.assert_all_delivered(3);

        ends.outcomes.clear();
        ends.near_log = image;
        ends.restart_near();
        ends.link(true);
        ends.run_for(Duration::from_secs(30));
        ends.assert_all_delivered(3);
    }
}
