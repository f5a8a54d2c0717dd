//! Packets between bridges.

use super::*;

/// The event, by what it carries.
pub(super) fn id_of(payload: &[u8]) -> u64 {
    payload.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// What an exchange says is delivered, of the events that are open here.
fn told_delivered(origin: &BridgeId, message: &Message, state: &State) -> Vec<String> {
    let Message::Exchange(exchange) = message else { return Vec::new() };
    let lanes = exchange.delivered.iter().flatten();
    let knows = |key: &EventKey| {
        let mut lanes = lanes.clone().filter(|lane| (lane.run, lane.lane) == (key.run, key.lane));
        lanes.any(|lane| lane.contains(key.seq))
    };
    let open = state.events.values().filter(|event| event.local_open && event.key.origin == *origin);
    open.filter(|event| knows(&event.key)).map(|event| event.key.to_string()).collect()
}

impl World {
    pub(super) fn arrive(&mut self, from: usize, to: usize, packet: Packet) -> Result<(), String> {
        if self.blocked.contains(&(from, to)) {
            self.report.packets_lost += 1;
            return Ok(());
        }
        let (now, reading) = (self.instant(), self.reading(to));
        let wall = reading.logged();
        let sender = self.nodes[from].id.clone();
        let (group, consumer) = (self.nodes[to].group, self.nodes[to].consumer);
        let live = self.groups.is_live(to);
        let Some(core) = self.nodes[to].core.as_mut() else { return Ok(()) };
        match packet {
            Packet::Frame { dies: Some(dies), .. } if dies <= self.now => self.report.packets_lost += 1,
            Packet::Frame { key, prev, after, payload, dies, group: chosen, alone, attempts } => {
                if self.no_room.contains(&to) {
                    // As a bridge does that is full: not taken, and the origin hears of it by its credit.
                    self.report.packets_lost += 1;
                    self.report.refused += 1;
                    core.had_no_room(&key.origin, now);
                } else if core.classify(&key, now) != Arrival::New {
                    self.report.resent += 1;
                } else if !chosen && id_of(&payload) % 100 < self.faults.refusals {
                    core.refuse_after(key, prev, after, Outcome::Kept("privacy/card".into()));
                } else {
                    let member = live && consumer.is_some();
                    let plain = group.filter(|_| !alone);
                    let groups = plain.into_iter().chain(consumer.filter(|_| chosen && member)).collect();
                    let returned = if chosen && !member { vec![groups::name()] } else { Vec::new() };
                    let payload = Bytes::from(payload);
                    let topic = "t".into();
                    let groups_only = alone;
                    let left = |dies| Duration::from_millis(dies - self.now);
                    let expires = dies.map_or(0, |dies| reading.end_of(left(dies)));
                    core.take_after(
                        Arrived {
                            key,
                            prev,
                            topic,
                            payload,
                            expires,
                            groups,
                            groups_only,
                            attempts,
                            returned,
                        },
                        after,
                        wall,
                    );
                }
            }
            Packet::Message(bytes) => {
                let message = Message::decode(&bytes).map_err(|problem| format!("message: {problem}"))?;
                let told = told_delivered(&sender, &message, core.state());
                core.on_message(&sender, message, now);
                self.nodes[to].told.extend(told);
            }
        }
        self.drain(to)
    }

    pub(super) fn send(&mut self, from: usize, to: usize, packet: Packet) {
        let is_message = matches!(packet, Packet::Message(_));
        let loss = self.faults.loss + if is_message { self.faults.message_loss } else { 0 };
        let copies = if self.rng.random_range(0..100) < self.faults.repeat { 2 } else { 1 };
        for _ in 0..copies {
            if self.rng.random_range(0..100) < loss {
                self.report.packets_lost += 1;
                continue;
            }
            let ms = 5 + if self.faults.jitter_ms > 0 {
                self.rng.random_range(0..self.faults.jitter_ms)
            } else {
                0
            };
            self.at(ms, Step::Arrive { from, to, packet: packet.clone() });
        }
    }
}
