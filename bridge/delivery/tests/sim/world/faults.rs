//! What goes wrong: crashes, lost disks, partitions.

use super::*;

impl World {
    pub(super) fn crash(&mut self, node: usize) -> Result<(), String> {
        if self.nodes[node].core.is_none() {
            return Ok(());
        }
        self.report.crashes += 1;
        let keep = self.rng.random_range(0..4);
        self.nodes[node].crash(keep);
        let life = self.nodes[node].lives;
        for published in self.published.values_mut().filter(|p| p.node == node) {
            if published.waits.is_some_and(|(at, _)| at == life) {
                published.waits = None;
            }
        }
        let ms = self.rng.random_range(10..5_000);
        self.at(ms, Step::Start { node });
        self.tell_reachability()
    }

    /// A bridge that publishes nothing (the last) comes back with a blank disk.
    pub(super) fn wipe(&mut self) -> Result<(), String> {
        let node = self.nodes.len() - 1;
        if self.nodes[node].core.is_none() {
            return Ok(());
        }
        self.report.wipes += 1;
        self.nonce += 1;
        let epoch = self.nodes[node].disk.epoch;
        let fresh = Node::new(&format!("b{node}"), u128::from(self.nonce) << 32);
        let old = std::mem::replace(&mut self.nodes[node], fresh);
        self.nodes[node].disk.epoch = epoch;
        self.nodes[node].lives = old.lives;
        self.nodes[node].subscriber = old.subscriber;
        // It may get again what the disk knew to be acknowledged.
        self.nodes[node].subscriber.settled.clear();
        let ms = self.rng.random_range(10..2_000);
        self.at(ms, Step::Start { node });
        self.tell_reachability()
    }

    /// The first bridge, which is nobody's destination, goes on from an older copy of its disk.
    pub(super) fn roll_back(&mut self) -> Result<(), String> {
        let Some((mut image, ended, ended_keys)) = self.image.take() else { return Ok(()) };
        if self.nodes[0].core.is_none() {
            return Ok(());
        }
        self.report.rollbacks += 1;
        self.nodes[0].crash(0);
        image.batches.truncate(image.durable);
        // What was accepted after the image is forgotten, also by its publishers.
        let known = image.fold(&self.nodes[0].id).0.producers;
        self.published.retain(|id, published| {
            published.node != 0 || !published.acknowledged || known.get(u128::from(*id)).is_some()
        });
        // What it was told after the image it is told again, or both ends have forgotten it.
        let own =
            |published: &BTreeMap<u64, Published>, id: &u64| published.get(id).is_none_or(|p| p.node == 0);
        self.ended.retain(|(_, id), _| !own(&self.published, id));
        self.ended.extend(ended.into_iter().filter(|((_, id), _)| own(&self.published, id)));
        let prefix = format!("{}:", self.nodes[0].id);
        self.ended_keys.retain(|(_, key), _| !key.starts_with(&prefix));
        self.ended_keys.extend(ended_keys.into_iter().filter(|((_, key), _)| key.starts_with(&prefix)));
        self.nodes[0].disk = image;
        for published in self.published.values_mut().filter(|p| p.node == 0) {
            published.waits = None;
        }
        let ms = self.rng.random_range(10..2_000);
        self.at(ms, Step::Start { node: 0 });
        self.tell_reachability()
    }

    /// The first bridge, which is nobody's destination, loses its disk (M21). What its destinations had stored they
    /// deliver; what none of them had is lost, and only that.
    pub(super) fn wipe_origin(&mut self) -> Result<(), String> {
        if self.nodes[0].core.is_none() {
            return Ok(());
        }
        self.report.origin_wipes += 1;
        let gone: Vec<u64> =
            self.published.iter().filter(|(_, p)| p.node == 0 && p.acknowledged).map(|(id, _)| *id).collect();
        let taken: Vec<BTreeSet<String>> = self.nodes.iter().map(|node| node.disk.taken(&node.id)).collect();
        let unsettled: Vec<BTreeSet<String>> = (0..self.nodes.len()).map(|to| self.unsettled(to)).collect();
        for id in gone {
            let Some(published) = self.published.remove(&id) else { continue };
            for &to in &published.destinations {
                let key = &published.key;
                // What its publisher was told at the level `replicated`.
                let told = !unsettled[to].contains(key);
                // Or closed with its run, because its end was told.
                let has = taken[to].contains(key) || self.nodes[to].subscriber.seen.contains_key(&id);
                if told && !has {
                    return Err(format!("{id} counted as stored at b{to} and is not"));
                }
                if has {
                    self.orphans.push((to, id));
                    self.report.orphans += 1;
                } else {
                    self.report.lost_with_origin += 1;
                }
            }
        }
        for published in self.published.values_mut().filter(|p| p.node == 0) {
            published.waits = None;
        }
        self.nonce += 1;
        // Counted from the time of day, and so above the former's.
        let epoch = self.epochs.get(&0).copied().unwrap_or_default() + 1_000;
        let mut fresh = Node::new("b0", u128::from(self.nonce) << 32);
        fresh.disk.epoch = epoch;
        fresh.lives = self.nodes[0].lives;
        self.nodes[0] = fresh;
        let ms = self.rng.random_range(10..2_000);
        self.at(ms, Step::Start { node: 0 });
        self.tell_reachability()
    }

    /// Keys of the first bridge's events that `to` has not stored, as far as the first bridge knows.
    fn unsettled(&self, to: usize) -> BTreeSet<String> {
        let Some(core) = self.nodes[0].core.as_ref() else { return BTreeSet::new() };
        let destination = core.state().destinations.get(&self.nodes[to].id);
        let lanes = destination.into_iter().flat_map(|destination| &destination.lanes);
        let bodies = lanes.flat_map(|(_, numbers)| numbers.values().map(|pending| pending.body));
        bodies.filter_map(|body| Some(core.state().events.get(&body)?.key.to_string())).collect()
    }

    /// The last bridge goes away for long.
    pub(super) fn leave(&mut self) -> Result<(), String> {
        if self.faults.absent_ms == 0 {
            return Ok(());
        }
        let node = self.nodes.len() - 1;
        self.nodes[node].crash(0);
        self.at(self.faults.absent_ms, Step::Start { node });
        self.tell_reachability()
    }

    pub(super) fn jump(&mut self, node: usize, life: u64) -> Result<(), String> {
        let now = self.instant();
        if self.nodes[node].lives != life {
            return Ok(());
        }
        let highest = self.epochs.entry(node).or_default();
        *highest += 1;
        let epoch = *highest;
        self.nonce += 1;
        let run = Run { epoch, nonce: self.nonce * 7919 };
        if let Some(core) = self.nodes[node].core.as_mut() {
            core.begin_run(run, now);
            self.nodes[node].disk.epoch = epoch;
        }
        self.drain(node)
    }

    pub(super) fn copy_destination(&mut self) -> Result<(), String> {
        let node = &self.nodes[self.nodes.len() - 1];
        if node.core.is_some() {
            self.copy = Some((node.disk.clone(), node.subscriber.settled.clone()));
            let ms = self.rng.random_range(200..4_000);
            self.at(ms, Step::Older);
        }
        Ok(())
    }

    /// The last bridge, which is nobody's origin, goes on from an older copy of its disk.
    pub(super) fn roll_back_destination(&mut self) -> Result<(), String> {
        let node = self.nodes.len() - 1;
        let Some((mut copy, settled)) = self.copy.take() else { return Ok(()) };
        if self.nodes[node].core.is_none() {
            return Ok(());
        }
        self.report.older_destinations += 1;
        self.nodes[node].crash(0);
        copy.batches.truncate(copy.durable);
        self.nodes[node].disk = copy;
        // What was acknowledged after the copy may come again (M25).
        self.nodes[node].subscriber.settled = settled;
        let ms = self.rng.random_range(10..2_000);
        self.at(ms, Step::Start { node });
        self.tell_reachability()
    }

    pub(super) fn set_room(&mut self, node: usize, room: bool) -> Result<(), String> {
        if room {
            self.no_room.remove(&node);
        } else {
            self.no_room.insert(node);
        }
        let now = self.instant();
        if let Some(core) = self.nodes[node].core.as_mut() {
            core.set_credit(if room { u64::MAX } else { 0 }, now);
        }
        self.drain(node)
    }

    pub(super) fn tell_reachability(&mut self) -> Result<(), String> {
        let now = self.instant();
        for a in 0..self.nodes.len() {
            for b in 0..self.nodes.len() {
                if a == b {
                    continue;
                }
                let up = self.nodes[b].core.is_some()
                    && !self.blocked.contains(&(a, b))
                    && !self.blocked.contains(&(b, a));
                let other = self.nodes[b].id.clone();
                if let Some(core) = self.nodes[a].core.as_mut() {
                    core.on_reachable(&other, up, now);
                }
                if !up && self.faults.groups > 0 {
                    self.at(700, Step::TakeBack { node: a, bridge: b });
                }
            }
            self.drain(a)?;
        }
        Ok(())
    }
}
