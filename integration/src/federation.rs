//! A federation run by `meshbridge up`: every test has its own, with its own directory and ports.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use tempfile::TempDir;

use crate::process::outlived;
use crate::{Admin, Publisher, Subscriber, binary, copy_tree, eventually, is_alive, repository, signal};

const READY_WITHIN: Duration = Duration::from_secs(60);
const SETTLED_WITHIN: Duration = Duration::from_secs(20);
const LOG_BYTES_MAX: usize = 1 << 20;

/// The line `up` prints for a bridge.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct Node {
    pub bridge: String,
    pub zone: String,
    pub http: String,
    pub grpc: String,
    pub nats: String,
    pub admin: String,
    pub peer: String,
    pub pid: u32,
    pub config: PathBuf,
}

impl Node {
    /// A client of its HTTP listener.
    pub fn publisher(&self) -> Publisher {
        Publisher::new(&self.http)
    }

    /// A client of its admin port.
    pub fn admin(&self) -> Admin {
        Admin::new(&self.admin)
    }

    /// Subscribes here; returns once the bridge has taken the subscription.
    pub async fn subscribe(&self, filters: &[&str]) -> Result<Subscriber> {
        Subscriber::open(&self.zone, &self.http, filters).await
    }

    /// Reads a durable subscription here, which is made if there is none; what has been read is acknowledged by reading on.
    pub async fn subscribe_as(&self, name: &str, filter: &str) -> Result<Subscriber> {
        let query = format!("filter={filter}&subscription={name}");
        Subscriber::of(&self.zone, &self.http, &query).await
    }
}

/// How to run `up`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Bridges that die are started again.
    pub restart: bool,
    /// What carries the links, if not the default.
    pub transport: Option<&'static str>,
}

#[derive(Debug, Default)]
struct Printed {
    nodes: BTreeMap<String, Node>,
    ready: bool,
    log: String,
    problem: Option<String>,
}

/// A running federation; everything it started is gone when it is dropped.
#[derive(Debug)]
pub struct Federation {
    up: Child,
    printed: Arc<Mutex<Printed>>,
    directory: PathBuf,
    // Held for its Drop: a copy of the federation and the data of its bridges.
    temporary: TempDir,
}

impl Federation {
    /// Runs the example of this name.
    pub async fn example(name: &str) -> Result<Federation> {
        Federation::up(&repository().join("topology-examples").join(name), Options::default()).await
    }

    /// Runs a copy of `directory` (tests may edit it) until all its bridges and links are up.
    pub async fn up(directory: &Path, options: Options) -> Result<Federation> {
        let temporary = tempfile::tempdir()?;
        let copy = temporary.path().join("federation");
        copy_tree(directory, &copy)?;
        let mut command = Command::new(binary());
        command.arg("up").arg(&copy).arg("--data-dir").arg(temporary.path().join("data"));
        if options.restart {
            command.arg("--restart");
        }
        if let Some(transport) = options.transport {
            command.args(["--transport", transport]);
        }
        let mut up = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", binary().display()))?;
        let printed = Arc::new(Mutex::new(Printed::default()));
        let (stdout, stderr) = (up.stdout.take().expect("piped"), up.stderr.take().expect("piped"));
        let lines = Arc::clone(&printed);
        thread::spawn(move || read_lines(stdout, &lines));
        let log = Arc::clone(&printed);
        thread::spawn(move || read_log(stderr, &log));
        let mut federation = Federation { up, printed, directory: copy, temporary };
        federation.wait_until_ready().await.with_context(|| federation.log())?;
        Ok(federation)
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let printed = Arc::clone(&self.printed);
        let up = Mutex::new(&mut self.up);
        eventually("the federation is ready", READY_WITHIN, || async {
            if let Some(status) = up.lock().expect("not poisoned").try_wait()? {
                bail!("`up` ended with {status}");
            }
            let printed = printed.lock().expect("not poisoned");
            ensure!(printed.ready, "bridges so far: {:?}", printed.nodes.keys());
            Ok(())
        })
        .await
    }

    /// The federation directory this one runs from: a copy that the test may change.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A directory for the test's own files.
    pub fn scratch(&self) -> PathBuf {
        self.temporary.path().join("scratch")
    }

    /// The bridge of this id, as last announced.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub fn bridge(&self, id: &str) -> Node {
        self.locked().nodes.get(id).unwrap_or_else(|| panic!("no bridge {id} in the federation")).clone()
    }

    /// The first bridge of a zone; the examples have one per zone.
    ///
    /// # Panics
    ///
    /// When the zone has none.
    pub fn zone(&self, zone: &str) -> Node {
        self.bridges()
            .into_iter()
            .find(|node| node.zone == zone)
            .unwrap_or_else(|| panic!("no bridge in zone {zone}"))
    }

    /// All bridges, by id.
    pub fn bridges(&self) -> Vec<Node> {
        self.locked().nodes.values().cloned().collect()
    }

    /// The pid of `up` itself.
    pub fn pid(&self) -> u32 {
        self.up.id()
    }

    /// Kills a bridge at once, without giving it a chance to say goodbye, and waits until it is gone.
    pub fn kill(&self, id: &str) -> Result<()> {
        let pid = self.bridge(id).pid;
        signal(pid, "KILL")?;
        ensure!(outlived(&[pid], Duration::from_secs(5)).is_empty(), "{id} survived SIGKILL");
        Ok(())
    }

    /// What `up` and its bridges logged.
    pub fn log(&self) -> String {
        let printed = self.locked();
        format!("{}{}", printed.problem.clone().unwrap_or_default(), printed.log)
    }

    /// Waits until every running bridge that may learn it knows that `owner` wants `filter`, and a way there.
    pub async fn knows(&self, owner: &str, filter: &str) -> Result<()> {
        let own = self.bridge(owner).admin();
        let asked = || own.audience_of(owner, filter);
        let audience = eventually(&format!("{owner} wants {filter}"), SETTLED_WITHIN, asked).await?;
        let may_learn = |node: &Node| audience.as_ref().is_none_or(|zones| zones.contains(&node.zone));
        for node in self.bridges().into_iter().filter(|node| is_alive(node.pid) && may_learn(node)) {
            let admin = node.admin();
            eventually(
                &format!("{} knows that {owner} wants {filter}", node.bridge),
                SETTLED_WITHIN,
                || async {
                    let wanted = admin.interest_of(owner).await?;
                    ensure!(wanted.iter().any(|known| known == filter), "{owner} wants {wanted:?}");
                    let reachable = node.bridge == owner || admin.route_to(owner).await?.reachable;
                    ensure!(reachable, "no route to {owner}");
                    Ok(())
                },
            )
            .await
            .with_context(|| self.log())?;
        }
        Ok(())
    }

    /// Waits until no running bridge knows of `filter` as wanted by `owner`.
    pub async fn forgets(&self, owner: &str, filter: &str) -> Result<()> {
        for node in self.bridges().into_iter().filter(|node| is_alive(node.pid)) {
            let admin = node.admin();
            eventually(
                &format!("{} forgets that {owner} wanted {filter}", node.bridge),
                SETTLED_WITHIN,
                || async {
                    let wanted = admin.interest_of(owner).await?;
                    ensure!(!wanted.iter().any(|known| known == filter), "{owner} wants {wanted:?}");
                    Ok(())
                },
            )
            .await?;
        }
        Ok(())
    }

    fn locked(&self) -> MutexGuard<'_, Printed> {
        // A test that has panicked must still end what it started.
        self.printed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Federation {
    fn drop(&mut self) {
        let pids: Vec<u32> = self.locked().nodes.values().map(|node| node.pid).collect();
        drop(signal(self.up.id(), "TERM"));
        let mut left = outlived(&[self.up.id()], Duration::from_secs(10));
        left.extend(outlived(&pids, Duration::from_secs(5)));
        drop(self.up.kill());
        drop(self.up.wait());
        for pid in left.into_iter().filter(|pid| *pid != self.up.id() && is_alive(*pid)) {
            eprintln!("bridge {pid} outlived its federation and is killed");
            drop(signal(pid, "KILL"));
        }
    }
}

fn read_lines(stdout: impl Read, printed: &Mutex<Printed>) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        let value: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
        let mut printed = printed.lock().expect("not poisoned");
        if value["ready"] == true {
            printed.ready = true;
        } else if let Ok(node) = serde_json::from_value::<Node>(value) {
            printed.nodes.insert(node.bridge.clone(), node);
        } else {
            printed.problem =
                Some(format!("`up` printed a line that is neither a bridge nor ready: {line}\n"));
        }
    }
}

fn read_log(stderr: impl Read, printed: &Mutex<Printed>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        let mut printed = printed.lock().expect("not poisoned");
        if printed.log.len() < LOG_BYTES_MAX {
            printed.log.push_str(&line);
            printed.log.push('\n');
        }
    }
}
