//! The exchange of two ends, before data flows (RELIABILITY D10).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use meshbridge_routing::{BridgeId, EventKey, Run};

use super::{Action, Alarm, Core, Waiting};
use crate::bugs::{Bug, bug};
use crate::intervals::IntervalSet;
use crate::message::{Exchange, MESSAGE_BYTES_MAX, Message, Speaker};
use crate::record::{LaneRanges, Outcome, Record};
use crate::state::{EGRESS_LOST, OUTCOME_FORGOTTEN};

/// First pause before an exchange is asked for again; doubles up to [`ASK_MAX`].
const ASK_FIRST: Duration = Duration::from_millis(250);
const ASK_MAX: Duration = Duration::from_secs(5);
/// Lanes of which one exchange says what can still come.
const LANES_TOLD: usize = 1_024;
/// Keys of one record of lost events.
const LOST_PER_RECORD: usize = 8_192;

/// What an exchange says because it was asked for.
#[derive(Debug, Default)]
struct Answer {
    unsettled: Vec<LaneRanges>,
    delivered: Option<Vec<LaneRanges>>,
}

impl Core {
    pub(super) fn ask_if_due(&mut self, bridge: &BridgeId, now: Instant) {
        let Some(peer) = self.peers.get(bridge) else { return };
        if !peer.reachable || peer.ask_at.is_none_or(|at| at > now) {
            return;
        }
        let pause = self.jittered((ASK_FIRST * (1 << peer.asked.min(8))).min(ASK_MAX));
        if let Some(peer) = self.peers.get_mut(bridge) {
            peer.asked += 1;
            peer.ask_at = Some(now + pause);
        }
        self.send_exchange(bridge, true, Answer::default());
    }

    /// The two ends do not understand each other: one exchange now. Who calls bounds how often.
    pub fn ask_for_exchange(&mut self, bridge: &BridgeId, now: Instant) {
        if let Some(peer) = self.peers.get_mut(bridge) {
            peer.ask_at = Some(now);
        }
        self.ask_if_due(bridge, now);
    }

    fn send_exchange(&mut self, bridge: &BridgeId, reply: bool, answer: Answer) {
        let open_here = self.open_here(bridge);
        let remembers = self.peers.get(bridge).filter(|_| open_here.is_some());
        let delivered_here = remembers.map_or_else(Vec::new, |peer| peer.lanes.delivered.newest());
        let destination = self.state.destinations.get(bridge);
        let uses = |run: &Run| *run == self.own.run || destination.is_some_and(|d| d.uses(*run));
        let open = self.state.runs.iter().copied().filter(uses).collect();
        let mut lanes = Vec::new();
        let mut bytes = 0;
        let mut complete = true;
        for lane in self.peers.get(bridge).into_iter().flat_map(|peer| peer.lanes.all_durable()) {
            bytes += lane.bytes();
            if bytes > MESSAGE_BYTES_MAX / 2 {
                complete = false;
                break;
            }
            lanes.push(lane);
        }
        let number = self.peers.get_mut(bridge).map_or(0, |peer| peer.lanes.next_number());
        let known = self.state.destinations.get(bridge).and_then(|destination| destination.peer);
        let exchange = Exchange {
            speaker: self.own,
            number,
            wall: self.state.wall,
            open,
            lanes,
            complete,
            listener: known.map(|(spool, run)| Speaker { spool, run }),
            heard: self.peers.get(bridge).is_some_and(|peer| peer.session.is_some()),
            closed: self.closed_runs(bridge),
            outcomes_known: self.peers.get(bridge).map_or(0, |peer| peer.sender.outcomes_noted),
            open_here,
            delivered_here,
            unsettled: answer.unsettled,
            resumed: self.peers.get(bridge).map_or_else(Vec::new, |peer| peer.lanes.resumed.question()),
            delivered: answer.delivered,
            reply,
        };
        self.actions.push_back(Action::Message { to: bridge.clone(), message: Message::Exchange(exchange) });
    }

    pub(super) fn on_exchange(&mut self, from: &BridgeId, exchange: Exchange, now: Instant) {
        let speaker = exchange.speaker;
        // It is so whatever has been said since, and whoever was told.
        self.end_delivered(from, exchange.delivered.as_deref().unwrap_or_default());
        if self.is_overtaken(from, &exchange) {
            if exchange.reply {
                self.send_exchange(from, false, Answer::default());
            }
            return;
        }
        self.report_unknown_numbers(from, &exchange.lanes);
        self.report_unknown_runs(from, &exchange.closed);
        if self.exchange_raises_doubt(from, &exchange, now) {
            return;
        }
        // What it told before it was told by another process or disk; what is in flight may never have arrived.
        let known = self.state.destinations.get(from).and_then(|destination| destination.peer);
        let other_disk = known.is_some_and(|(spool, _)| spool != speaker.spool) && !bug(Bug::SpoolIdIgnored);
        if other_disk {
            self.actions.push_back(Action::Alarm(Alarm::OtherDisk { bridge: from.clone() }));
        }
        self.report_lost(from, other_disk, &exchange);
        let source = self.state.sources.get(from);
        let mut closed = exchange.open.iter().map(|run| run.epoch).min().unwrap_or(0).saturating_sub(1);
        // M20: with the numbers of a run goes the only trace of what a disk that is an older copy has forgotten. So they
        // stay until the origin has heard of them, whatever gets lost on the way.
        let waits = !(exchange.heard && exchange.listener == Some(self.own))
            && source.is_some_and(|source| source.closes(closed));
        if waits {
            closed = 0;
        }
        let news = source.is_none_or(|s| s.peer != Some((speaker.spool, speaker.run)) || s.closed < closed);
        if news {
            let peer = Record::Peer { bridge: from.clone(), spool: speaker.spool, run: speaker.run, closed };
            self.write(peer, Bytes::new());
        }
        let own = self.own;
        let knows_us = exchange.listener.is_some_and(|listener| listener.spool == own.spool);
        if knows_us && !other_disk {
            self.forget_outcomes_known(from, exchange.outcomes_known, now);
        }
        if other_disk {
            self.restart_predecessors(from);
            // Its outcomes interest nobody any more.
            if let Some(peer) = self.peers.get_mut(from) {
                peer.lanes.say_all_kept(now);
            }
        }
        let peer = self.peers.entry(from.clone()).or_default();
        let restarted = peer.session != Some(speaker);
        if restarted {
            peer.sender.take_back();
        }
        peer.session = Some(speaker);
        peer.heard = Some((speaker, exchange.number));
        peer.outcomes_it_knows = Some(exchange.outcomes_known).filter(|_| knows_us);
        peer.may_skip_outcomes = exchange.open_here.is_some() || peer.may_skip_outcomes && !restarted;
        // While there is no room there, the word that there is may get lost.
        let probe = now + self.config.resend_max / 6;
        let probe = Some(probe).filter(|_| peer.sender.has_no_credit());
        if exchange.listener == Some(own) && exchange.delivered.is_some() {
            peer.lanes.resumed.answered();
        }
        // What it can tell of outcomes depends on which of them are noted here: it has not heard that from this process.
        let unheard = exchange.listener != Some(own)
            && self.state.destinations.get(from).is_some_and(|destination| !destination.awaiting.is_empty());
        let asks = waits || unheard || !peer.lanes.resumed.is_empty();
        peer.ask_at = if asks { Some(now + ASK_FIRST) } else { probe };
        peer.asked = 0;
        peer.sender.fence_now(now);
        if other_disk {
            peer.sender.outcomes_noted = 0;
            peer.sender.delivered.forget();
            peer.lanes.forget_outcomes();
        }
        if restarted {
            let noted = self.state.destinations.get(from).map_or(0, |destination| destination.outcomes_known);
            peer.sender.outcomes_before = noted;
        }
        peer.lanes.known_runs = exchange.open.iter().copied().collect();
        if let Some(source) = self.state.sources.get(from) {
            let freed = peer.lanes.forget_closed(source);
            self.actions
                .extend(freed.into_iter().map(|(body, late)| Action::Ready { body, out_of_order: late }));
            peer.lanes.say_all(source, now);
        } else {
            peer.lanes.due(now);
        }
        self.note_settled(from, exchange.lanes.clone(), now);
        // Behind the line above: what it settles may be forgotten, too.
        if exchange.open_here.is_some() {
            self.report_forgotten(from, &exchange, &exchange.lanes);
        }
        if !other_disk {
            self.report_closed(from, &exchange, now);
        }
        // M25: what it told an earlier process was so of what that one had. A disk that is an older copy may lack what it
        // does not send any more because it was stored here, and has it sent again once it knows.
        if exchange.listener == Some(own) {
            self.close_holes(from, &exchange.unsettled);
        }
        if exchange.reply {
            let unsettled = self.unsettled_for(from, &exchange.lanes);
            let delivered = self.peers.get(from).map(|peer| peer.sender.delivered.among(&exchange.resumed));
            let delivered = delivered.filter(|_| !exchange.resumed.is_empty());
            self.send_exchange(from, false, Answer { unsettled, delivered });
        }
        if restarted || exchange.reply {
            self.tell_outcomes_known(from);
        }
        self.pump(vec![from.clone()], now);
    }

    /// Packets take different ways: an exchange may arrive after what was said later.
    fn is_overtaken(&self, from: &BridgeId, exchange: &Exchange) -> bool {
        let heard = self.peers.get(from).and_then(|peer| peer.heard);
        let overtaken = heard.is_some_and(|(speaker, number)| {
            speaker == exchange.speaker && exchange.number <= number
                || speaker.spool == exchange.speaker.spool && exchange.speaker.run.epoch < speaker.run.epoch
        });
        let known = self.state.destinations.get(from).and_then(|destination| destination.peer);
        let former = known.is_some_and(|(spool, run)| {
            spool == exchange.speaker.spool && exchange.speaker.run.epoch < run.epoch
        });
        overtaken || former
    }

    /// Where the origin knows fewer outcomes than it once noted, or has forgotten that it closed a run, what it may still
    /// hear of.
    fn open_here(&self, from: &BridgeId) -> Option<Vec<LaneRanges>> {
        let source = self.state.sources.get(from)?;
        let peer = self.peers.get(from)?;
        let known = peer.outcomes_it_knows?;
        let reopened = peer.lanes.known_runs.iter().any(|run| source.is_closed(*run));
        if known + 1 >= source.outcomes_from && !reopened {
            return None;
        }
        let mut open: BTreeMap<(Run, u8), IntervalSet> = BTreeMap::new();
        let live = self.state.events.values().filter(|event| event.local_open && event.key.origin == *from);
        let keys = live.map(|event| (event.key.run, event.key.lane, event.key.seq));
        for (run, lane, seq) in
            keys.chain(source.outcomes.iter().map(|ended| (ended.run, ended.lane, ended.seq)))
        {
            open.entry((run, lane)).or_default().insert(seq, seq);
        }
        Some(open.iter().map(|((run, lane), set)| crate::state::ranges_of(*run, *lane, set)).collect())
    }

    /// What comes next follows what is still unsettled, not what the other end has lost.
    fn restart_predecessors(&mut self, bridge: &BridgeId) {
        let (Some(last_for), Some(destination)) =
            (self.last_for.get_mut(bridge), self.state.destinations.get(bridge))
        else {
            return;
        };
        for (lane, last) in (0..).zip(last_for) {
            let unsettled = destination.lanes.get(&(self.own.run, lane));
            *last = unsettled.and_then(|numbers| numbers.last_key_value()).map_or(0, |(seq, _)| *seq);
        }
    }

    /// Events that the destination had stored, whose end we have not heard of, and that it does not have any more.
    fn report_lost(&mut self, from: &BridgeId, other_disk: bool, exchange: &Exchange) {
        if bug(Bug::SpoolIdIgnored) || !other_disk && !exchange.complete {
            return;
        }
        let Some(destination) = self.state.destinations.get(from) else { return };
        let mut lost = Vec::new();
        // What it has closed it has because we once said that nothing in it was open: our disk is an older copy.
        let remembered = |run: &Run| other_disk || !exchange.closed.contains(run);
        for ((run, lane), awaiting) in destination.awaiting.iter().filter(|((run, _), _)| remembered(run)) {
            let has = exchange.lanes.iter().find(|ranges| ranges.run == *run && ranges.lane == *lane);
            let gone = |seq: &u64| other_disk || has.is_none_or(|ranges| !ranges.contains(*seq));
            lost.extend(awaiting.iter().filter(gone).map(|seq| (*run, *lane, seq)));
        }
        if lost.is_empty() {
            return;
        }
        // What is still here is sent again, so it is not lost.
        let gone = |(run, lane, seq): &&(Run, u8, u64)| {
            let key = EventKey { origin: self.state.own.clone(), run: *run, lane: *lane, seq: *seq };
            self.state.retained(&key, from).is_none()
        };
        let events = lost.iter().filter(gone).count() as u64;
        if events > 0 {
            self.actions.push_back(Action::Alarm(Alarm::EgressLost { destination: from.clone(), events }));
        }
        for keys in lost.chunks(LOST_PER_RECORD) {
            let outcome = Outcome::DeadLettered(EGRESS_LOST.into());
            let record = Record::Lost { destination: from.clone(), outcome, keys: keys.to_vec() };
            self.write(record, Bytes::new());
        }
        // Those whose bytes are still here are pending again.
        let pending: Vec<u64> = self
            .state
            .destinations
            .get(from)
            .into_iter()
            .flat_map(|destination| destination.lanes.values().flat_map(|lane| lane.values().map(|p| p.body)))
            .filter(|body| *body <= self.durable_body)
            .collect();
        if let Some(peer) = self.peers.get_mut(from) {
            peer.sender.unsent.extend(pending);
        }
    }

    fn closed_runs(&self, of: &BridgeId) -> Vec<Run> {
        let source = self.state.sources.get(of);
        source.into_iter().flat_map(|source| &source.closed_runs).copied().collect()
    }

    /// Everything of the runs that the destination has closed has ended there, or it says what has not.
    fn report_closed(&mut self, from: &BridgeId, exchange: &Exchange, now: Instant) {
        let Some(destination) = self.state.destinations.get(from) else { return };
        let Some(peer) = self.peers.get(from) else { return };
        let is_closed = |run: &Run| exchange.closed.contains(run) || peer.sender.closed_there.contains(run);
        let places = destination.awaiting.keys().filter(|(run, _)| is_closed(run));
        let whole = |(run, lane): &(Run, u8)| LaneRanges {
            run: *run,
            lane: *lane,
            cumulative: u64::MAX,
            above: Vec::new(),
        };
        let lanes: Vec<LaneRanges> = places.map(whole).collect();
        if lanes.is_empty() {
            return;
        }
        if exchange.open_here.is_some() {
            self.report_forgotten(from, exchange, &lanes);
        } else if let Some(peer) = self.peers.get_mut(from) {
            // It has not heard yet what is known here.
            peer.ask_at.get_or_insert(now + ASK_FIRST);
        }
    }

    /// Events that have ended at the destination in a way that the stream of outcomes will not tell: this end has noted it
    /// once, on a disk that it has lost, and the other end has let go of it.
    ///
    /// RELIABILITY M20, P6: how they ended is known for certain only where the destination remembers it. For ever it
    /// cannot: an outcome for each number would grow without bound, which is why D11 lets it forget what is noted, and D6
    /// drops the intervals of a closed run. What it does keep, the cumulative number or the name of a closed run, says that
    /// a number has ended, not that it was delivered: `prev` and `skip` settle numbers that it never saw, and others were
    /// denied, expired or dead-lettered. So it remembers the newest of what was delivered, and the rest is accounted as
    /// forgotten: to call a lost event delivered would be worse.
    fn report_forgotten(&mut self, from: &BridgeId, exchange: &Exchange, taken: &[LaneRanges]) {
        let Some(destination) = self.state.destinations.get(from) else { return };
        let holds = |lanes: &[LaneRanges], run: Run, lane: u8, seq: u64| {
            lanes.iter().any(|ranges| ranges.run == run && ranges.lane == lane && ranges.contains(seq))
        };
        let awaiting = destination
            .awaiting
            .iter()
            .flat_map(|((run, lane), set)| set.iter().map(|seq| (*run, *lane, seq)));
        let open = exchange.open_here.as_deref().unwrap_or_default();
        let (delivered, forgotten): (Vec<_>, Vec<_>) = awaiting
            .filter(|(run, lane, seq)| holds(taken, *run, *lane, *seq) && !holds(open, *run, *lane, *seq))
            .partition(|(run, lane, seq)| holds(&exchange.delivered_here, *run, *lane, *seq));
        let reason = Outcome::DeadLettered(OUTCOME_FORGOTTEN.into());
        for (outcome, numbers) in [(Outcome::Delivered, delivered), (reason, forgotten)] {
            for keys in numbers.chunks(LOST_PER_RECORD) {
                let (destination, outcome) = (from.clone(), outcome.clone());
                self.write(Record::Lost { destination, outcome, keys: keys.to_vec() }, Bytes::new());
            }
        }
    }

    /// What can still come in the lanes where the destination has holes: it may have lost what was there, and would wait
    /// for it.
    fn unsettled_for(&self, to: &BridgeId, lanes: &[LaneRanges]) -> Vec<LaneRanges> {
        let destination = self.state.destinations.get(to);
        let holed = lanes.iter().filter(|lane| !lane.above.is_empty());
        let unsettled = holed.map(|lane| {
            let upto =
                if lane.run == self.own.run { self.next_seq[usize::from(lane.lane)] - 1 } else { u64::MAX };
            let mut pending = IntervalSet::default();
            let numbers = destination.and_then(|destination| destination.lanes.get(&(lane.run, lane.lane)));
            for seq in numbers.into_iter().flat_map(|numbers| numbers.keys()) {
                pending.insert(*seq, *seq);
            }
            let above = pending.ranges().collect();
            LaneRanges { run: lane.run, lane: lane.lane, cumulative: upto, above }
        });
        unsettled.take(LANES_TOLD).collect()
    }

    /// The holes that nothing can fill any more.
    fn close_holes(&mut self, origin: &BridgeId, unsettled: &[LaneRanges]) {
        for told in unsettled {
            let Some(source) = self.state.sources.get(origin) else { return };
            let Some(taken) = source.taken.get(&(told.run, told.lane)) else { continue };
            let last = taken.ranges().last().map_or(0, |(_, to)| to).min(told.cumulative);
            let mut holes = IntervalSet::default();
            if last > 0 {
                holes.insert(1, last);
            }
            taken.ranges().chain(told.above.iter().copied()).for_each(|(from, to)| holes.remove(from, to));
            let ranges: Vec<(u64, u64)> = holes.ranges().collect();
            if ranges.is_empty() {
                continue;
            }
            let (run, lane) = (told.run, told.lane);
            let record = Record::Skipped { origin: origin.clone(), run, lane, ranges: ranges.clone() };
            self.write(record, Bytes::new());
            self.then(Waiting::Skipped { origin: origin.clone(), run, lane, ranges });
        }
    }
}
