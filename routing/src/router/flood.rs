//! Link-state records: made, spread, judged (R5 to R9, R16, R17).

use std::time::Instant;

use super::{EPOCH_MAX, REFRESH, Router, RouterEvent};
use crate::ids::{BridgeId, LinkId};
use crate::topology::Verdict;
use crate::wire::control::{Digest, LinkState, Message, Signed};

impl Router {
    /// R5: says anew what links this bridge has, with the next number.
    pub(super) fn originate_record(&mut self, now: Instant) {
        self.own_seq += 1;
        self.refresh_at = now + REFRESH;
        let mut links: Vec<(BridgeId, u32)> = self
            .peers
            .values()
            .filter(|peer| peer.is_up() && !self.stopping)
            .map(|peer| (peer.bridge.clone(), peer.cost))
            .collect();
        links.sort();
        let statement = LinkState {
            bridge: self.config.id.clone(),
            zone: self.config.zone.clone(),
            run: self.config.run,
            seq: self.own_seq,
            policy_digest: self.config.policy_digest,
            links,
        };
        let bytes = statement.to_signed_bytes();
        let signature = self.keyring.sign(&bytes);
        let record = Signed { statement, bytes, signature };
        let not_after = self.own_not_after(&record, now);
        if self.topology.insert(record, not_after, now) {
            self.on_graph_changed();
        }
        self.summary = None;
        self.flood(&self.config.id.clone(), None, now);
    }

    /// When our own certificate ends. A bridge whose certificate does not verify to itself has no business talking,
    /// which its peers will tell it; it does not trip over itself here.
    fn own_not_after(&self, record: &Signed<LinkState>, now: Instant) -> Instant {
        let Signed { bytes, signature, .. } = record;
        self.keyring
            .verify(&self.config.id, &self.config.zone, &signature.chain, bytes, &signature.signature, now)
            .map_or(now + 2 * REFRESH, |verified| verified.not_after)
    }

    fn flood(&mut self, bridge: &BridgeId, except: Option<LinkId>, now: Instant) {
        for link in self.up_links(except) {
            self.send_record(link, bridge, now);
        }
    }

    pub(super) fn send_record(&mut self, link: LinkId, bridge: &BridgeId, now: Instant) {
        let Some(entry) = self.topology.entry(bridge) else { return };
        let record = entry.record.clone();
        let digest = Digest {
            bridge: bridge.clone(),
            run: record.statement.run,
            number: record.statement.seq,
        };
        if let Some(peer) = self.peers.get_mut(&link) {
            peer.on_record_sent(digest, now);
        }
        self.send(link, &Message::LinkState(record));
    }

    pub(super) fn on_record(&mut self, link: LinkId, record: Signed<LinkState>, now: Instant) {
        let statement = &record.statement;
        let bridge = statement.bridge.clone();
        let digest = Digest { bridge: bridge.clone(), run: statement.run, number: statement.seq };
        // R7: confirmed whatever becomes of it, or a bad record would be repeated for ever.
        self.send(link, &Message::LinkStateAck(digest));
        if bridge == self.config.id {
            return self.on_own_record(link, &record, now);
        }
        let verdict = self.topology.judge(statement, now);
        if verdict == Verdict::Same {
            return;
        }
        if verdict == Verdict::Older {
            return self.send_record(link, &bridge, now);
        }
        let not_after = match self.check(&record, now) {
            Ok(not_after) => not_after,
            Err(why) => return self.refuse(link, why),
        };
        match verdict {
            Verdict::Newer => {
                if self.topology.insert(record, not_after, now) {
                    self.on_graph_changed();
                }
                self.summary = None;
                self.flood(&bridge, Some(link), now);
            }
            Verdict::Rival => {
                if self.topology.note_rival(&bridge, record.statement.run, now) {
                    self.emit(RouterEvent::CloneDetected(bridge));
                    self.on_graph_changed();
                }
            }
            Verdict::MustJump => {
                if self.peers.get(&link).is_some_and(|peer| peer.bridge == bridge) {
                    self.send(link, &Message::EpochFloor { epoch: record.statement.run.epoch });
                }
            }
            Verdict::Same | Verdict::Older => {}
        }
    }

    /// Listed, of its documented zone, within the epochs, and signed by its bridge.
    fn check(&self, record: &Signed<LinkState>, now: Instant) -> Result<Instant, String> {
        let LinkState { bridge, zone, run, .. } = &record.statement;
        match self.config.members.zone(bridge) {
            None => return Err(format!("link state of `{bridge}`, which the federation document does not list")),
            Some(documented) if documented != zone => {
                return Err(format!("`{bridge}` claims zone `{zone}`, the federation document says `{documented}`"));
            }
            Some(_) => {}
        }
        if run.epoch > EPOCH_MAX {
            return Err(format!("`{bridge}` claims epoch {}, which is out of bounds", run.epoch));
        }
        let signature = &record.signature;
        self.keyring
            .verify(bridge, zone, &signature.chain, &record.bytes, &signature.signature, now)
            .map(|verified| verified.not_after)
            .map_err(|refusal| format!("link state of `{bridge}`: {refusal}"))
    }

    /// R17: somebody remembers another life of ours.
    fn on_own_record(&mut self, link: LinkId, record: &Signed<LinkState>, now: Instant) {
        let heard = record.statement.run;
        let own = self.config.run;
        if heard == own {
            if record.statement.seq > self.own_seq {
                // Said by us, or by a copy of our memory; either way the numbers up to it are used.
                self.own_seq = record.statement.seq;
                self.originate_record(now);
            }
            return;
        }
        if let Err(why) = self.check(record, now) {
            return self.refuse(link, why);
        }
        if heard.epoch > own.epoch {
            self.raise_epoch(heard.epoch, now);
        } else if heard.epoch == own.epoch {
            self.emit(RouterEvent::CloneDetected(self.config.id.clone()));
        } else {
            self.send_record(link, &self.config.id.clone(), now);
        }
    }

    pub(super) fn on_epoch_floor(&mut self, epoch: u64, now: Instant) {
        // A neighbour may make us skip epochs, but not run out of them in one step.
        if epoch >= self.config.run.epoch && epoch < EPOCH_MAX {
            self.raise_epoch(epoch, now);
        }
    }

    fn raise_epoch(&mut self, heard: u64, now: Instant) {
        if heard >= EPOCH_MAX {
            return;
        }
        self.config.run.epoch = heard + 1;
        self.emit(RouterEvent::EpochRaised(heard + 1));
        self.originate_record(now);
        self.restart_set(now);
    }

    pub(super) fn refuse(&mut self, link: LinkId, why: String) {
        if let Some(peer) = self.peers.get(&link) {
            let peer = peer.bridge.clone();
            self.emit(RouterEvent::Refused { peer, why });
        }
    }
}
