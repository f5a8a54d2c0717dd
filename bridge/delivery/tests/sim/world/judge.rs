//! What happened, against what was promised.

use super::net::id_of;
use super::*;

impl World {
    pub(super) fn effect(&mut self, node: usize, effect: Effect) -> Result<(), String> {
        if let Effect::Unchosen { body, .. } = &effect {
            self.unchosen(node, *body);
        }
        if let Effect::Moved { from, to, group: None, .. } = &effect {
            return self.goes_on(from, to);
        }
        let Effect::Ended { key, destination, outcome } = effect else { return Ok(()) };
        if key.origin != self.nodes[node].id {
            return Ok(());
        }
        let id = *self.by_key.get(&key.to_string()).ok_or("an end of an unknown event")?;
        let at = self.node_of(&destination);
        // The end of a group's turn elsewhere is no end at this destination, and has a key of its own.
        let before = self.ended_keys.insert((at, key.to_string()), outcome.clone());
        if self.published.get(&id).is_none_or(|p| p.destinations.contains(&at)) && !self.is_moved(&key) {
            self.ended.insert((at, id), outcome.clone());
        }
        if let Some(before) = before
            && before != outcome
        {
            return Err(format!("{id} at b{at} ended as {before:?} and as {outcome:?}"));
        }
        let forgotten = Outcome::DeadLettered("outcome-forgotten".into());
        self.report.forgotten += u64::from(outcome == forgotten);
        self.report.expired += u64::from(outcome == Outcome::Expired);
        Ok(())
    }

    /// Destination and event of every dead letter, each of which has ended so, and whose bytes are there.
    fn letters(&self) -> Result<BTreeSet<(usize, u64)>, String> {
        let mut letters = BTreeSet::new();
        for node in &self.nodes {
            let state = node.core.as_ref().ok_or("a bridge is down at the end")?.state();
            for (body, bridge, in_doubt) in state.membership.letters() {
                let payload = node.disk.bodies.get(&body).ok_or("a letter without bytes")?;
                let place = (self.node_of(bridge), id_of(payload));
                if in_doubt || !matches!(self.ended.get(&place), Some(Outcome::Kept(_))) {
                    return Err(format!(
                        "{place:?} is a dead letter, and ended as {:?}",
                        self.ended.get(&place)
                    ));
                }
                letters.insert(place);
            }
        }
        Ok(letters)
    }

    /// After everything is quiet.
    pub(super) fn judge(&mut self) -> Result<(), String> {
        for (to, id) in &self.orphans {
            if !self.nodes[*to].subscriber.seen.contains_key(id) {
                return Err(format!(
                    "{id} was stored at b{to} when its origin lost its disk, and nobody saw it"
                ));
            }
        }
        let letters = self.letters()?;
        self.report.letters = letters.len() as u64;
        for (id, published) in &self.published {
            if !published.acknowledged {
                return Err(format!("{id} was never acknowledged"));
            }
            self.judge_group(*id, published)?;
            for to in &published.destinations {
                let ended = self.ended.get(&(*to, *id));
                let seen = self.nodes[*to].subscriber.seen.contains_key(id);
                match ended {
                    Some(Outcome::Delivered) if seen => {}
                    Some(Outcome::Delivered) => {
                        return Err(format!("{id} counts as delivered at b{to} and was not"));
                    }
                    // What its subscriber had acknowledged cannot have expired (D7).
                    Some(Outcome::Expired)
                        if published.expires > 0 && !self.nodes[*to].subscriber.settled.contains(id) => {}
                    Some(Outcome::DeadLettered(why))
                        if &**why == "egress-lost"
                            && !self.faults.retain
                            && self.report.wipes + self.report.rots + self.report.older_destinations > 0 => {}
                    Some(Outcome::DeadLettered(why))
                        if &**why == "outcome-forgotten"
                            && self.report.rollbacks + self.report.resumes > 0
                            && seen => {}
                    // Its origin has it, and nobody else.
                    Some(Outcome::Kept(_)) if letters.contains(&(*to, *id)) && !seen => {}
                    Some(other) => return Err(format!("{id} ended at b{to} as {other:?}")),
                    None => return Err(format!("{id} has no end at b{to} (seen: {seen})")),
                }
            }
        }
        for node in &self.nodes {
            let state = node.core.as_ref().ok_or("a bridge is down at the end")?.state();
            for (bridge, destination) in &state.destinations {
                let account = destination.account;
                if account.sent != account.ended() || destination.open() != 0 {
                    return Err(format!("{} to {bridge}: {account:?}, {} open", node.id, destination.open()));
                }
            }
            let kept: BTreeSet<u64> = state.membership.letters().map(|(body, ..)| body).collect();
            if let Some(left) = state.events.iter().find(|(body, _)| !kept.contains(body)) {
                return Err(format!("{} still keeps {left:?}", node.id));
            }
            if let Some((origin, source)) =
                state.sources.iter().find(|(_, source)| !source.outcomes.is_empty())
            {
                return Err(format!("{} still has {} outcomes for {origin}", node.id, source.outcomes.len()));
            }
        }
        Ok(())
    }
}
