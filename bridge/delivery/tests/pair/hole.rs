//! One frame that the network lost, in the midst of others that arrive.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use meshbridge_delivery::{Action, Arrival, Arrived, Core, Message};
use smallvec::SmallVec;

use super::{STEP, end, event, id};

const LOST: u64 = 20;

#[test]
fn a_lost_frame_is_sent_again_while_others_go_on_arriving() {
    let held_up = lose_one(2, |_, _| {});
    assert!(held_up <= Duration::from_secs(2), "{held_up:?}");
}

/// The receipt for the one before is still on its way when the path ends: it is progress, and no reason to wait for the lost one as if nothing had happened.
#[test]
fn what_was_in_flight_when_the_path_changed_is_sent_again_after_a_round_trip() {
    let held_up = lose_one(1, |near, now| near.on_path_changed(&id("far"), now));
    assert!(held_up <= Duration::from_millis(100), "{held_up:?}");
}

/// One frame is lost of events that are `every` so many steps apart, far less than the time without progress after which a sender sends again. How long its lane
/// is held up.
fn lose_one(every: u32, on_loss: impl Fn(&mut Core, Instant)) -> Duration {
    let start = Instant::now();
    let mut near = end("near", 1, start);
    let mut far = end("far", 2, start);
    near.on_reachable(&id("far"), true, start);
    far.on_reachable(&id("near"), true, start);
    let (mut sent, mut offered) = (BTreeSet::new(), Vec::new());
    let (mut lost_at, mut arrived_at) = (None, None);
    for step in 0..500 {
        let now = start + STEP * step;
        if step > 50 && step % every == 0 {
            near.accept(vec![event(u64::from(step))], 1);
        }
        for core in [&mut near, &mut far] {
            if core.poll_timeout().is_some_and(|at| at <= now) {
                core.handle_timeout(now);
            }
        }
        let mut told: VecDeque<(bool, Message)> = VecDeque::new();
        loop {
            let mut idle = true;
            while let Some(action) = near.poll_action() {
                idle = false;
                match action {
                    Action::Append(append) => near.on_committed(append.ticket, now),
                    Action::Message { message, .. } => told.push_back((true, message)),
                    Action::Send { body, to, .. } => {
                        let key = near.state().events.get(&body).expect("kept").key.clone();
                        if sent.insert(body) && sent.len() as u64 == LOST {
                            lost_at = Some(now);
                            on_loss(&mut near, now);
                            continue;
                        }
                        if far.classify(&key, now) == Arrival::New {
                            let (topic, payload) = ("orders".into(), Bytes::from_static(b"event"));
                            let groups = SmallVec::new();
                            let (groups_only, attempts, returned) = (false, 0, Vec::new());
                            let prev = to[0].1;
                            far.take(
                                Arrived {
                                    key,
                                    prev,
                                    topic,
                                    payload,
                                    expires: 0,
                                    groups,
                                    groups_only,
                                    attempts,
                                    returned,
                                },
                                1,
                            );
                        }
                    }
                    _ => {}
                }
            }
            while let Some(action) = far.poll_action() {
                idle = false;
                match action {
                    Action::Append(append) => far.on_committed(append.ticket, now),
                    Action::Message { message, .. } => told.push_back((false, message)),
                    Action::Ready { body, out_of_order } => {
                        assert!(!out_of_order);
                        offered.push(far.state().events.get(&body).expect("kept").key.seq);
                        far.on_offered(body, 0);
                    }
                    _ => {}
                }
            }
            while let Some((from_near, message)) = told.pop_front() {
                idle = false;
                if from_near {
                    far.on_message(&id("near"), message, now);
                } else {
                    near.on_message(&id("far"), message, now);
                }
            }
            if idle {
                break;
            }
        }
        if offered.len() as u64 >= LOST {
            arrived_at.get_or_insert(now);
        }
    }
    assert!(offered.is_sorted() && offered.len() > 200, "{offered:?}");
    arrived_at.expect("it arrived") - lost_at.expect("one was lost")
}
