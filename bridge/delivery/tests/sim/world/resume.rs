//! The first bridge goes on from an image of its memory, with the disk of that moment (M22).

use super::*;
use crate::node::Disk;

/// From the end of the process that the image was made of: nothing of it is under way any more.
const DOWN_MS: std::ops::Range<u64> = 500..3_000;

/// After so long every destination has been heard.
const SILENCE_MS: u64 = 12_000;

#[derive(Debug)]
struct Image {
    core: Core,
    disk: Disk,
    before: usize,
    ended: Ends,
    ended_keys: EndsByKey,
}

#[derive(Debug, Default)]
pub(super) struct Resumed {
    image: Option<Image>,
    /// The process is gone, and the image not yet in its place.
    down: bool,
    /// When it was last.
    at: u64,
    /// Events that went on under other keys: their destinations may have them under both.
    again: BTreeSet<u64>,
}

impl Resumed {
    /// Whether a start of its own would find numbers on the disk that were used twice, and nobody has said so yet.
    pub(super) fn is_fresh(&self, now: u64) -> bool {
        self.down || now < self.at + SILENCE_MS && self.at > 0
    }

    pub(super) fn may_repeat(&self, id: u64) -> bool {
        self.again.contains(&id)
    }
}

impl World {
    pub(super) fn snapshot(&mut self) -> Result<(), String> {
        let node = &self.nodes[0];
        let Some(core) = node.core.clone().filter(|_| !self.resumed.down) else { return Ok(()) };
        let (ended, ended_keys) = (self.ended.clone(), self.ended_keys.clone());
        let image = Image { core, disk: node.disk.clone(), before: node.before, ended, ended_keys };
        if self.resumed.image.replace(image).is_none() {
            let ms = self.rng.random_range(200..4_000);
            self.at(ms, Step::Stop);
        }
        Ok(())
    }

    pub(super) fn stop(&mut self) -> Result<(), String> {
        self.resumed.down = true;
        self.nodes[0].core = None;
        let ms = self.rng.random_range(DOWN_MS);
        self.at(ms, Step::Resume);
        self.tell_reachability()
    }

    pub(super) fn resume(&mut self) -> Result<(), String> {
        let Image { core, disk, before, ended, ended_keys } = self.resumed.image.take().ok_or("no image")?;
        self.resumed.down = false;
        self.report.resumes += 1;
        // What was accepted after the image is forgotten, also by its publishers; the others ask again.
        let known = core.state().producers.clone();
        let known = |id: &u64| known.get(u128::from(*id)).is_some();
        self.published.retain(|id, p| p.node != 0 || !p.acknowledged || known(id));
        for published in self.published.values_mut().filter(|p| p.node == 0) {
            published.waits = None;
        }
        let prefix = format!("{}:", self.nodes[0].id);
        self.by_key.retain(|key, id| !key.starts_with(&prefix) || known(id));
        // How pairs ended after the image it is told again, or both ends have forgotten it.
        let own =
            |published: &BTreeMap<u64, Published>, id: &u64| published.get(id).is_none_or(|p| p.node == 0);
        self.ended.retain(|(_, id), _| !own(&self.published, id));
        self.ended.extend(ended.into_iter().filter(|((_, id), _)| own(&self.published, id)));
        self.ended_keys.retain(|(_, key), _| !key.starts_with(&prefix));
        self.ended_keys.extend(ended_keys.into_iter().filter(|((_, key), _)| key.starts_with(&prefix)));
        let node = &mut self.nodes[0];
        node.lives += 1;
        let (life, committed, last) = (node.lives, core.committed(), core.last_ticket());
        (node.core, node.disk, node.before) = (Some(core), disk, before);
        let highest = self.epochs.get(&0).copied().unwrap_or_default();
        let is_former = node.disk.epoch < highest;
        node.disk.epoch = node.disk.epoch.max(highest);
        for ticket in committed + 1..=last {
            let ms = self.rng.random_range(1..70);
            self.at(ms, Step::Commit { node: 0, life, ticket });
        }
        self.go_on_holding(life);
        // The federation may have more of its routing, too.
        if is_former || self.rng.random_bool(0.3) {
            let ms = self.rng.random_range(1..2_000);
            self.at(ms, Step::Jump { node: 0, life });
        }
        self.resumed.at = self.now;
        // Its links were those of the other process.
        let now = self.instant();
        let others: Vec<BridgeId> = self.nodes[1..].iter().map(|node| node.id.clone()).collect();
        if let Some(core) = self.nodes[0].core.as_mut() {
            others.iter().for_each(|other| core.on_reachable(other, false, now));
        }
        self.drain(0)?;
        self.tell_reachability()
    }

    /// Who holds events back is in the image, too.
    fn go_on_holding(&mut self, life: u64) {
        let Some(core) = self.nodes[0].core.as_ref() else { return };
        let held = core.held().flat_map(|(to, bodies)| bodies.map(move |body| (to.clone(), body)));
        for (to, body) in held.collect::<Vec<_>>() {
            let ms = self.rng.random_range(100..6_000);
            self.at(ms, Step::LetGo { node: 0, life, body, to: self.node_of(&to) });
        }
    }

    pub(super) fn begin_run(&mut self, node: usize, life: u64) -> Result<(), String> {
        let now = self.instant();
        if self.nodes[node].lives == life && self.nodes[node].core.is_some() {
            self.report.anew += 1;
            self.nonce += 1;
            let highest = self.epochs.entry(node).or_default();
            *highest += 1;
            let run = Run { epoch: *highest, nonce: self.nonce * 7919 };
            self.nodes[node].disk.epoch = run.epoch;
            if let Some(core) = self.nodes[node].core.as_mut() {
                core.begin_run(run, now);
            }
        }
        self.drain(node)
    }

    /// An event has another key from now on.
    pub(super) fn goes_on(&mut self, from: &EventKey, to: &EventKey) -> Result<(), String> {
        let id = *self.by_key.get(&from.to_string()).ok_or("an unknown event goes on")?;
        let known = self.by_key.insert(to.to_string(), id);
        if known.is_some_and(|known| known != id) {
            return Err(format!("{to} was given to {known:?} and to {id}"));
        }
        self.resumed.again.insert(id);
        self.report.rekeyed += 1;
        Ok(())
    }
}
