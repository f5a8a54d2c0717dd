//! Outcomes of a destination whose disk is an older copy of itself (M25): its numbers have been given before.

use std::time::Duration;

use meshbridge_delivery::Outcome;

use super::ends::Ends;

/// Its acknowledgement is on the disk of the origin alone.
#[test]
fn what_an_origin_knows_to_be_delivered_ends_at_an_older_copy_without_its_subscriber() {
    let mut ends = Ends::new();
    for number in 1..=3 {
        ends.publish(number);
    }
    let copy = ends.far_log.clone();
    ends.acknowledge(1);
    ends.acknowledge(2);
    ends.run_for(Duration::from_secs(1));
    assert_eq!(ends.outcomes.len(), 2);

    ends.far_log = copy;
    ends.restart_far();
    assert_eq!(ends.offered.len(), 3, "while its origin is away");
    ends.link(true);
    assert_eq!(ends.far.state().events.len(), 1);
    ends.acknowledge(3);
    ends.run_for(Duration::from_secs(10));
    ends.assert_all_delivered(3);
}

/// What the origin says before the flush is not the whole: it has taken outcomes of a former process as well.
#[test]
fn outcomes_that_an_origin_is_about_to_note_have_their_numbers() {
    let mut ends = Ends::new();
    ends.is_forgetful = true;
    for number in 1..=3 {
        ends.publish(number);
    }
    let copy = ends.far_log.clone();
    ends.unflushed = Some(Vec::new());
    ends.acknowledge(1);
    ends.acknowledge(2);
    ends.run_for(Duration::from_millis(100));

    ends.far_log = copy;
    ends.restart_far();
    ends.link(true);
    ends.acknowledge(3);
    ends.acknowledge(1);
    ends.run_for(Duration::from_millis(100));
    ends.flush_near();
    ends.acknowledge(2);
    ends.run_for(Duration::from_secs(10));
    ends.assert_all_delivered(3);
}

/// The process that gave the numbers anew has never met the origin; the next one finds them in its log.
#[test]
fn outcomes_of_a_process_that_never_met_their_origin_are_told() {
    let mut ends = Ends::new();
    ends.is_forgetful = true;
    for number in 1..=3 {
        ends.publish(number);
    }
    let copy = ends.far_log.clone();
    ends.acknowledge(1);
    ends.run_for(Duration::from_secs(1));
    assert_eq!(ends.outcomes.len(), 1);

    ends.far_log = copy;
    ends.restart_far();
    ends.acknowledge(3);
    ends.acknowledge(2);
    ends.run_for(Duration::from_secs(1));
    ends.restart_far();
    ends.link(true);
    ends.acknowledge(1);
    ends.run_for(Duration::from_secs(10));
    ends.assert_all_delivered(3);
}

/// Others come all the time, each before the pause is over after which a lost one is said again.
#[test]
fn a_lost_outcome_is_said_again_while_others_follow() {
    let mut ends = Ends::new();
    ends.publish(1);
    ends.loses_outcome = true;
    ends.acknowledge(1);
    for number in 2..=12 {
        ends.publish(number);
        ends.acknowledge(number);
    }
    assert!(!ends.loses_outcome, "one was lost");
    assert_eq!(ends.outcomes.get(&1), Some(&Outcome::Delivered), "five seconds ago");
    ends.run_for(Duration::from_secs(10));
    ends.assert_all_delivered(12);
}
