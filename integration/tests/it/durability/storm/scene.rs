//! A federation under load, drawn from a seed: where the bridges are, who publishes, who reads, and the end of it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::future::{try_join, try_join_all};
use meshbridge_integration::judge::{Demands, Topics};
use meshbridge_integration::{Member, Mesh, Offers, Plan, SharedLedger, eventually};
use rand::RngExt;
use rand::seq::SliceRandom;
use tokio::sync::RwLockReadGuard;
use tokio::task::JoinHandle;

use super::super::MACHINE;
use super::books;
use super::faults::{draws, strike_all, strike_bridge, strike_link};
use super::publishers::{self, Books, Counts, Firm, Manner, Office};
use super::readers::{Kind, Subscriber};

const ALL: &str = "orders.flow.**";
const JOBS: &str = "orders.jobs.created";
/// After everything is healed. D4 lets a sender wait for 30 s and a fifth.
const SETTLED_WITHIN: Duration = Duration::from_secs(90);
const LEVELS: [&str; 4] = ["stored", "stored", "replicated", "delivered"];

/// See the module.
pub(super) struct Scene {
    /// Kept as long as the scene.
    _busy: RwLockReadGuard<'static, ()>,
    seed: u64,
    shape: &'static str,
    mesh: Mesh,
    ledger: SharedLedger,
    zones: Vec<String>,
    /// Where somebody publishes and reads; the others are on the way only.
    users: Vec<String>,
    readers: Vec<(String, Subscriber)>,
    publishers: Vec<(String, JoinHandle<Result<()>>)>,
    office: Arc<Office>,
    members: Vec<Member>,
    offers: Offers,
    jobs: Arc<Mutex<BTreeSet<String>>>,
}

impl Scene {
    pub(super) async fn start(seed: u64) -> Result<Scene> {
        let busy = MACHINE.read().await;
        let mut random = draws(seed, "scene");
        let (shape, plan, on_the_way): (_, _, &[&str]) = match random.random_range(0..4) {
            0 => ("chain", Plan::chain(), &["middle"]),
            1 => ("diamond", Plan::diamond(), &["north", "south"]),
            2 => ("star", Plan::star(), &["hub"]),
            _ => ("ring", Plan::ring(), &["r1", "r4"]),
        };
        let zones = plan.zones().to_vec();
        // One time in three everybody has users, and no disk may be lost.
        let on_the_way = if random.random_range(0..3) == 0 { &[] } else { on_the_way };
        let users: Vec<String> =
            zones.iter().filter(|zone| !on_the_way.contains(&zone.as_str())).cloned().collect();
        let mesh = Mesh::start(&plan, seed).await?;
        let ledger = SharedLedger::default();
        let topics = |zone: &str| ["created", "changed"].map(|what| format!("orders.flow.{zone}.{what}"));
        let mut readers = Vec::new();
        let mut firm = Vec::new();
        let mut kinds = Kind::ALL;
        let one = topics(&users[0])[0].clone();
        for zone in &users {
            let node = mesh.zone(zone);
            kinds.shuffle(&mut random);
            let only = Topics::Only(vec![one.clone()]);
            for (name, filter, topics, kind) in [
                ("all", ALL, &Topics::All, kinds[0]),
                ("one", one.as_str(), &only, kinds[1]),
                ("too", ALL, &Topics::All, kinds[2]),
            ] {
                let reader = Subscriber::start(kind, &node, name, filter, topics, &ledger).await?;
                if kind.is_firm() {
                    let topics = (name == "one").then(|| vec![one.clone()]);
                    firm.push(Firm { place: reader.place, bridge: node.bridge.clone(), topics });
                }
                readers.push((format!("{zone}/{name} by {kind:?}"), reader));
            }
        }
        let offers = Offers::default();
        let mut members = Vec::new();
        for (number, zone) in users.iter().enumerate() {
            let pause = Duration::from_millis(random.random_range(0..20));
            let query = format!("filter={JOBS}");
            for name in 0..=number % 2 {
                let name = format!("{zone}-{name}");
                members.push(Member::join(&mesh.zone(zone), &name, "workers", &query, pause, &offers).await?);
            }
        }
        for zone in &users {
            mesh.knows(zone, ALL).await?;
        }
        readers.iter().for_each(|(_, reader)| reader.established(&ledger));
        let office = Arc::new(Office { counts: Counts::default(), firm, stop: AtomicBool::new(false) });
        let jobs = Arc::default();
        let mut scene = Scene {
            _busy: busy,
            seed,
            shape,
            mesh,
            ledger,
            zones,
            users,
            readers,
            publishers: Vec::new(),
            office,
            members,
            offers,
            jobs,
        };
        for zone in scene.users.clone() {
            for number in 0..3 {
                let manner = Manner {
                    name: format!("{zone}-{number}"),
                    topics: topics(&zone).to_vec(),
                    level: LEVELS[random.random_range(0..LEVELS.len())],
                    grpc: random.random_range(0..2) == 0,
                    scattered: random.random_range(0..2) == 0,
                    every: Duration::from_millis(random.random_range(5..40)),
                    bytes: if random.random_range(0..6) == 0 { 20_000 } else { 600 },
                };
                scene.publish(&zone, manner, Books::Ledger(scene.ledger.clone()));
            }
            let manner = Manner {
                name: format!("{zone}-jobs"),
                topics: vec![JOBS.to_owned()],
                level: LEVELS[random.random_range(0..LEVELS.len())],
                grpc: false,
                scattered: true,
                every: Duration::from_millis(60),
                bytes: 300,
            };
            scene.publish(&zone, manner, Books::Group(Arc::clone(&scene.jobs)));
        }
        Ok(scene)
    }

    fn publish(&mut self, zone: &str, manner: Manner, books: Books) {
        let name = manner.name.clone();
        let task = publishers::publish(self.mesh.zone(zone), manner, books, Arc::clone(&self.office));
        self.publishers.push((name, tokio::spawn(task)));
    }

    pub(super) fn summary(&self) -> String {
        let readers: Vec<&str> = self.readers.iter().map(|(name, _)| name.as_str()).collect();
        format!(
            "{} of {}, users in {}; {}",
            self.shape,
            self.zones.join(" "),
            self.users.join(" "),
            readers.join(", ")
        )
    }

    /// Faults for so long, then calm, then the verdict.
    pub(super) async fn storm(&mut self, time: Duration) -> Result<String> {
        for half in 0..2 {
            self.strike(self.seed ^ half, Instant::now() + time / 2).await?;
            if half == 0 {
                strike_all(&self.mesh, &self.zones, self.seed, &self.ledger).await?;
            }
        }
        self.mesh.note("everything is healed");
        let healed = Instant::now();
        self.mesh.connected().await?;
        self.office.stop.store(true, Ordering::Relaxed);
        for (name, task) in self.publishers.drain(..) {
            publishers::finished(task, &name).await?;
        }
        let demands = Demands { events: 50, deliveries: 100, faults: 1, accounts: false };
        let totals = self.ledger.settle(SETTLED_WITHIN, &demands).await?;
        let jobs: Vec<String> = self.jobs.lock().expect("not poisoned").iter().cloned().collect();
        eventually("every job is acknowledged", SETTLED_WITHIN, || async {
            let offers = self.offers.snapshot();
            let done = |id: &&String| {
                offers.get(*id).is_some_and(|all| all.iter().any(|one| one.acknowledged || one.unanswered))
            };
            let open: Vec<_> = jobs.iter().filter(|id| !done(id)).take(10).collect();
            ensure!(open.is_empty(), "of {} jobs: {open:?}", jobs.len());
            Ok(())
        })
        .await?;
        self.offers.check(&jobs)?;
        let settled = healed.elapsed();
        books::close(&self.mesh, &self.users).await?;
        Ok(format!(
            "{totals:?}; {} jobs; {}; settled {settled:?} after the last fault",
            jobs.len(),
            self.office.counts
        ))
    }

    async fn strike(&self, seed: u64, until: Instant) -> Result<()> {
        let (mesh, ledger) = (&self.mesh, &self.ledger);
        let bridges = try_join_all(
            self.zones
                .iter()
                .map(|zone| strike_bridge(mesh, zone, !self.users.contains(zone), seed, until, ledger)),
        );
        let links = async {
            let links = mesh.relays().map(|(from, to, relay)| async move {
                strike_link(relay, &format!("{from}–{to}"), seed, until, mesh, ledger).await;
            });
            futures_util::future::join_all(links).await;
            Ok(())
        };
        try_join(bridges, links).await.context("a fault")?;
        Ok(())
    }

    /// For the message of a failure.
    pub(super) async fn told(&self) -> String {
        let mut text: String =
            self.readers.iter().map(|(name, reader)| format!("{name}: {}\n", reader.told())).collect();
        text.push_str(&format!("{} members; {}\n", self.members.len(), self.office.counts));
        text.push_str(&self.mesh.books().await);
        text.push('\n');
        text.push_str(&self.mesh.story());
        text
    }
}
