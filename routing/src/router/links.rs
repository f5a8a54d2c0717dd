//! Links coming, talking and going (R1 to R4).

use std::time::Instant;

use bytes::Bytes;

use super::{ProtocolViolation, Router, RouterEvent};
use crate::ids::{BridgeId, LinkId, Run};
use crate::peer::{HELLO_EVERY, Peer, State};
use crate::wire::control::Message;

impl Router {
    /// A session with a peer whose certificate the driver has checked. A link to the same peer that is still there is
    /// replaced.
    pub fn handle_link_up(&mut self, link: LinkId, bridge: BridgeId, cost: u32, now: Instant) {
        self.peers.retain(|_, peer| peer.bridge != bridge);
        self.peers.insert(link, Peer::new(link, bridge, cost.max(1), now));
        self.send_open(link);
        // A link that replaced another is down until its peer has greeted again.
        self.originate_record(now);
    }

    pub fn handle_link_down(&mut self, link: LinkId, now: Instant) {
        if self.peers.remove(&link).is_some() {
            self.originate_record(now);
            self.on_graph_changed();
        }
    }

    /// One control message. An error means that the link must be closed; what was learned before it stays.
    pub fn handle_message(
        &mut self,
        link: LinkId,
        message: Bytes,
        now: Instant,
    ) -> Result<(), ProtocolViolation> {
        let message = Message::decode(message)?;
        let Some(peer) = self.peers.get_mut(&link) else { return Ok(()) };
        peer.heard_at = now;
        let state = peer.state;
        match (state, message) {
            (_, Message::Open { federation, bridge, run }) => self.on_open(link, federation, bridge, run, now)?,
            (_, Message::Hello { summary, seen }) => self.on_hello(link, summary, seen, now),
            // R1: nothing is believed before the greeting.
            (State::Greeting, _) => {}
            (State::Up, Message::LinkState(record)) => self.on_record(link, record, now),
            (State::Up, Message::LinkStateAck(digest)) => {
                if let Some(peer) = self.peers.get_mut(&link) {
                    peer.on_ack(&digest);
                }
            }
            (State::Up, Message::Digests { records, sets }) => self.on_digests(link, &records, &sets, now),
            (State::Up, Message::InterestPull { have }) => self.on_pull(link, &have),
            (State::Up, Message::InterestDelta { version, base, adds, removes }) => {
                self.on_delta(link, version, base, adds, removes, now);
            }
            (State::Up, Message::InterestSnapshot { version, chunk, last, filters }) => {
                self.on_snapshot(link, version, chunk, last, filters, now);
            }
            (State::Up, Message::EpochFloor { epoch }) => self.on_epoch_floor(epoch, now),
        }
        Ok(())
    }

    fn on_open(
        &mut self,
        link: LinkId,
        federation: String,
        bridge: BridgeId,
        _run: Run,
        now: Instant,
    ) -> Result<(), ProtocolViolation> {
        let own_federation = &self.config.federation;
        let Some(peer) = self.peers.get_mut(&link) else { return Ok(()) };
        if bridge != peer.bridge || federation != *own_federation {
            let expected = peer.bridge.clone();
            return Err(ProtocolViolation::WrongGreeting { claimed: bridge, federation, expected });
        }
        if peer.is_up() {
            return Ok(());
        }
        peer.state = State::Up;
        self.send_hello(link, now);
        // Our record now lists the link; the databases are compared.
        self.originate_record(now);
        self.on_graph_changed();
        self.send_digests(link, now);
        Ok(())
    }

    fn on_hello(&mut self, link: LinkId, summary: [u8; 16], seen: bool, now: Instant) {
        if !seen {
            self.send_open(link);
        }
        let own = self.summary();
        let Some(peer) = self.peers.get_mut(&link) else { return };
        if !peer.is_up() {
            return;
        }
        // R8: twice in a row, so that a change on its way between two hellos does not make a full comparison.
        let disagrees = summary != own;
        let again = disagrees && peer.disagreed;
        peer.disagreed = disagrees;
        if again {
            self.send_digests(link, now);
        }
    }

    /// Hellos, repetitions and the end of silent links.
    pub(super) fn tend_links(&mut self, now: Instant) {
        let dead: Vec<LinkId> =
            self.peers.values().filter(|peer| peer.dead_at() <= now).map(|peer| peer.link).collect();
        for link in dead {
            self.emit(RouterEvent::LinkDead(link));
            self.handle_link_down(link, now);
        }
        let due: Vec<LinkId> =
            self.peers.values().filter(|peer| peer.hello_at <= now).map(|peer| peer.link).collect();
        for link in due {
            self.send_hello(link, now);
        }
        let repeats: Vec<(LinkId, Vec<BridgeId>)> =
            self.peers.values_mut().map(|peer| (peer.link, peer.take_due(now))).collect();
        for (link, bridges) in repeats {
            for bridge in bridges {
                self.send_record(link, &bridge, now);
            }
        }
    }

    fn send_open(&mut self, link: LinkId) {
        let open = Message::Open {
            federation: self.config.federation.clone(),
            bridge: self.config.id.clone(),
            run: self.config.run,
        };
        self.send(link, &open);
    }

    fn send_hello(&mut self, link: LinkId, now: Instant) {
        let summary = self.summary();
        let Some(peer) = self.peers.get_mut(&link) else { return };
        peer.hello_at = now + HELLO_EVERY;
        let seen = peer.is_up();
        self.send(link, &Message::Hello { summary, seen });
    }

    /// A digest of everything this router knows: equal summaries, equal databases.
    pub(super) fn summary(&mut self) -> [u8; 16] {
        if let Some(summary) = self.summary {
            return summary;
        }
        let mut hasher = blake3::Hasher::new_derive_key("meshbridge database summary v1");
        for digest in self.topology.digests().iter().chain(&self.set_digests()) {
            hasher.update(digest.bridge.as_str().as_bytes());
            hasher.update(&[0]);
            hasher.update(&digest.run.epoch.to_be_bytes());
            hasher.update(&digest.run.nonce.to_be_bytes());
            hasher.update(&digest.number.to_be_bytes());
        }
        let mut summary = [0; 16];
        hasher.finalize_xof().fill(&mut summary);
        self.summary = Some(summary);
        summary
    }
}
