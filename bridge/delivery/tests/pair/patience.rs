//! How long a sender waits, for a destination that was away and has come back.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use meshbridge_delivery::{Action, Core, Message};

use super::{STEP, end, event, id};

/// Does what there is to do, on a network that carries messages and loses frames; tells whether a frame was sent.
fn turn(near: &mut Core, far: &mut Core, now: Instant) -> bool {
    let mut sent = false;
    for core in [&mut *near, &mut *far] {
        if core.poll_timeout().is_some_and(|at| at <= now) {
            core.handle_timeout(now);
        }
    }
    loop {
        let mut told: VecDeque<(bool, Message)> = VecDeque::new();
        for (is_near, core) in [(true, &mut *near), (false, &mut *far)] {
            while let Some(action) = core.poll_action() {
                match action {
                    Action::Append(append) => core.on_committed(append.ticket, now),
                    Action::Message { message, .. } => told.push_back((is_near, message)),
                    Action::Send { .. } => sent = true,
                    _ => {}
                }
            }
        }
        if told.is_empty() {
            return sent;
        }
        for (from_near, message) in told {
            if from_near {
                far.on_message(&id("near"), message, now);
            } else {
                near.on_message(&id("far"), message, now);
            }
        }
    }
}

/// What it learned of a network that lost everything says nothing of the one after: an event that is lost once more is sent again soon, not after half a minute.
#[test]
fn a_destination_that_comes_back_meets_a_sender_without_its_old_patience() {
    let start = Instant::now();
    let mut near = end("near", 1, start);
    let mut far = end("far", 2, start);
    let reach = |near: &mut Core, far: &mut Core, reachable: bool, now: Instant| {
        near.on_reachable(&id("far"), reachable, now);
        far.on_reachable(&id("near"), reachable, now);
    };
    reach(&mut near, &mut far, true, start);
    turn(&mut near, &mut far, start);
    near.accept(vec![event(1)], 1);
    let mut now = start;
    let mut sends = Vec::new();
    while now < start + Duration::from_secs(120) {
        now += STEP;
        if turn(&mut near, &mut far, now) {
            sends.push(now);
        }
    }
    let pauses: Vec<Duration> = sends.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.iter().any(|pause| *pause > Duration::from_secs(15)), "it grew patient: {pauses:?}");
    reach(&mut near, &mut far, false, now);
    turn(&mut near, &mut far, now);
    now += Duration::from_secs(1);
    reach(&mut near, &mut far, true, now);
    let back = now;
    let mut sends = Vec::new();
    while now < back + Duration::from_secs(3) {
        if turn(&mut near, &mut far, now) {
            sends.push(now - back);
        }
        now += STEP;
    }
    assert!(sends.len() >= 2, "sent {sends:?} after it is back");
}
