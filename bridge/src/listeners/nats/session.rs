//! One client: reads its commands, publishes what it sends, and answers.
//!
//! ```text
//!  socket ─► parser ─┬─ PUB, HPUB ─► train or batch ─► pipeline        what one read brought is published together
//!                    └─ SUB, UNSUB ─► table, pipeline
//!  pipeline ─► queue ─► outgoing ─► socket                             a task of its own
//! ```
//!
//! Publications of class best-effort that follow each other on one subject, and differ in id and data only, are written
//! into one train where they lie in the read buffer. Where a link has no room, reading stops: the publisher is held
//! back by its own socket. Publications of class durable are answered on their reply subject once they are on disk.

mod publishing;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::stream::{FuturesUnordered, StreamExt};
use meshbridge_topic::Topic;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::Instant;

use super::acks::Acked;
use super::batch::{Held, Trains};
use super::connect::Connect;

use super::parser::{Command, Malformed, Parsed, parse};
use super::subject;
use super::subscriptions::{Subscribed, Subscriptions};
use crate::pipeline::{Client, SubscribeRefused, Subscribing, Tagged, is_inbox};

/// A read buffer begins so small, and grows with what comes.
const READ_BYTES_MIN: usize = 4 << 10;
const READ_BYTES_MAX: usize = 256 << 10;
/// Batches that wait for the disk; then reading stops.
const WAITING_MAX: usize = 64;
/// A client that says nothing is asked this often whether it is there, and is gone after two questions.
const PING_EVERY: Duration = Duration::from_secs(120);
/// Subscriptions of one connection.
const SUBSCRIPTIONS_MAX: usize = 2_000_000;
/// Subscriptions announced together: each batch is signed here, and verified and made a table of at every other bridge.
const SUBSCRIBE_BATCH: usize = 4_096;

/// Why a connection ended; the text is the last thing its client is told, where there is one.
#[derive(Debug)]
pub(super) enum Ended {
    /// The client left, or its connection broke.
    Gone,
    Told(String),
}

impl From<Malformed> for Ended {
    fn from(problem: Malformed) -> Ended {
        Ended::Told(problem.to_string())
    }
}

/// What the reader and the writer of a connection share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) client: Client,
    table: Mutex<Subscriptions>,
}

impl Shared {
    pub(super) fn new(client: Client) -> Shared {
        Shared { client, table: Mutex::default() }
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Subscriptions> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything it is subscribed to, which it is no more. What nobody was told of is private: withdrawing it would
    /// take away the interest of somebody else.
    pub(super) fn take_all(&self) -> Vec<Tagged> {
        let all = std::mem::take(&mut *self.table()).into_all();
        all.map(|(sid, known)| {
            let is_announced = known.is_announced;
            let tagged = known.into_tagged(sid);
            Tagged { is_private: tagged.is_private || !is_announced, ..tagged }
        })
        .collect()
    }

    fn on_announced(&self, all: &[Tagged]) {
        let mut table = self.table();
        for one in all {
            if let Some(known) = table.get_mut(one.tag) {
                known.is_announced = true;
            }
        }
    }
}

/// The reading side of a connection whose client is known.
pub(super) struct Session {
    shared: Arc<Shared>,
    connect: Connect,
    payload_max: usize,
    /// `/nats/<zone>/<principal>`.
    source: String,
    trains: Trains,
    held: Held,
    /// Batches that wait for the disk.
    waiting: FuturesUnordered<Acked>,
    /// Subscriptions that are not announced yet.
    wanted: Vec<Tagged>,
    /// Those that the core is counting, while more are read.
    announcing: Option<Subscribing>,
    /// Questions without an answer.
    pings: u32,
    topics: HashMap<Box<str>, Topic>,
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>, connect: Connect, source: String, payload_max: usize) -> Session {
        Session {
            shared,
            connect,
            payload_max,
            source,
            trains: Trains::new(),
            held: Held::default(),
            waiting: FuturesUnordered::new(),
            wanted: Vec::new(),
            announcing: None,
            pings: 0,
            topics: HashMap::new(),
        }
    }

    fn client(&self) -> &Client {
        &self.shared.client
    }

    fn say(&self, text: &str) {
        self.client().say(Bytes::copy_from_slice(text.as_bytes()));
    }

    fn ok(&self) {
        if self.connect.verbose {
            self.client().say(Bytes::from_static(b"+OK\r\n"));
        }
    }

    /// Serves the client until it leaves or breaks the protocol. `buffer` holds what was read already.
    pub(super) async fn run(&mut self, reader: &mut (impl AsyncRead + Unpin), mut buffer: BytesMut) -> Ended {
        let mut ping = tokio::time::interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        let mut wanted = READ_BYTES_MIN;
        loop {
            match self.take(&mut buffer).await {
                Ok(needed) => {
                    // A full buffer was used up whole: more may come at once than fits.
                    let needed = needed.max(wanted);
                    buffer.reserve(needed.saturating_sub(buffer.len()).max(1));
                }
                Err(ended) => return ended,
            }
            tokio::select! {
                biased;
                Some(()) = self.waiting.next(), if !self.waiting.is_empty() => {}
                Some(outcome) = counted(&mut self.announcing) => self.on_counted(outcome).await,
                read = reader.read_buf(&mut buffer), if self.waiting.len() < WAITING_MAX => match read {
                    Ok(0) | Err(_) => return Ended::Gone,
                    Ok(read) => {
                        if read >= wanted / 2 {
                            wanted = (wanted * 2).min(READ_BYTES_MAX);
                        } else if read < wanted / 16 {
                            wanted = (wanted / 2).max(READ_BYTES_MIN);
                        }
                    }
                },
                _ = ping.tick() => {
                    if self.pings >= 2 {
                        return Ended::Told("Stale Connection".to_owned());
                    }
                    self.pings += 1;
                    self.say("PING\r\n");
                }
            }
        }
    }

    /// Handles every whole command of the buffer; gives how many bytes the next one needs.
    async fn take(&mut self, buffer: &mut BytesMut) -> Result<usize, Ended> {
        let mut used = 0;
        let needed = loop {
            let rest = buffer.get(used..).unwrap_or_default();
            if rest.is_empty() {
                break Ok(0);
            }
            match parse(rest, self.payload_max) {
                Err(problem) => break Err(problem),
                Ok(Parsed::Part(needed)) => break Ok(needed),
                Ok(Parsed::Whole(command, bytes)) => {
                    self.handle(command).await?;
                    used += bytes;
                }
            }
        };
        buffer.advance(used);
        self.flush().await?;
        self.announce().await;
        // What came before a mistake counts.
        Ok(needed?)
    }

    async fn handle(&mut self, command: Command<'_>) -> Result<(), Ended> {
        if !matches!(command, Command::Subscribe { .. }) {
            self.announce().await;
            self.settle().await;
        }
        match command {
            Command::Publish(publish) => return self.publish(publish).await,
            Command::Subscribe { subject, group, sid } => {
                self.subscribe(subject, group, sid);
                if self.wanted.len() >= SUBSCRIBE_BATCH {
                    self.announce().await;
                }
            }
            Command::Unsubscribe { sid, max } => self.unsubscribe(sid, max),
            Command::Ping => {
                // What came before it is published when the client reads the answer.
                self.flush().await?;
                self.client().say(Bytes::from_static(b"PONG\r\n"));
                return Ok(());
            }
            Command::Pong => {
                self.pings = 0;
                return Ok(());
            }
            Command::Connect(json) => {
                // A second one changes what a client wants, not who it is.
                let connect = serde_json::from_slice(json).map_err(|_| Malformed::Arguments)?;
                self.connect = connect;
            }
            Command::Ignored => return Ok(()),
        }
        self.ok();
        Ok(())
    }

    fn subscribe(&mut self, text: &str, group: Option<&str>, sid: u64) {
        let filter = match subject::filter(text) {
            Ok(filter) => filter,
            Err(problem) => return self.say(&format!("-ERR 'Invalid Subject: {problem}'\r\n")),
        };
        // Whose reply is waited for is named: nobody listens at all inboxes. There is no server to listen to either.
        let at_all_inboxes = is_inbox(text) && matches!(text.split('.').nth(1), Some("*" | ">"));
        if at_all_inboxes || subject::is_of_servers(text) {
            return self.say(&format!("-ERR 'Permissions Violation for Subscription to \"{text}\"'\r\n"));
        }
        let tagged = Tagged { tag: sid, filter, group: group.map(Arc::from), is_private: is_inbox(text) };
        let mut table = self.shared.table();
        if table.len() >= SUBSCRIPTIONS_MAX {
            drop(table);
            return self.say("-ERR 'maximum subscriptions exceeded'\r\n");
        }
        // A sid in use stays with its first subscription, as servers of NATS have it.
        if table.insert(sid, Subscribed::new(&tagged)) {
            drop(table);
            self.wanted.push(tagged);
        }
    }

    /// Tells the pipeline of new subscriptions, once it has counted those before. Reading goes on meanwhile.
    async fn announce(&mut self) {
        if self.wanted.is_empty() {
            return;
        }
        self.settle().await;
        let wanted = std::mem::take(&mut self.wanted);
        match self.client().begin_subscribe(wanted).await {
            Ok(begun) => self.announcing = Some(begun),
            Err((_, wanted)) => self.announce_each(wanted).await,
        }
    }

    /// Until everything that was announced has been counted.
    async fn settle(&mut self) {
        if let Some(outcome) = counted(&mut self.announcing).await {
            self.on_counted(outcome).await;
        }
    }

    async fn on_counted(&mut self, outcome: Result<(), SubscribeRefused>) {
        let Some(counted) = self.announcing.take() else { return };
        match outcome {
            Ok(()) => self.shared.on_announced(&counted.keep()),
            Err(_) => self.announce_each(counted.give_back()).await,
        }
    }

    /// One by one, where together they were refused; each that is refused is answered for.
    async fn announce_each(&mut self, wanted: Vec<Tagged>) {
        for one in wanted {
            let (tag, filter) = (one.tag, one.filter.clone());
            let begun = self.client().begin_subscribe(vec![one]).await;
            let outcome = match begun {
                Ok(mut begun) => begun.outcome().await.map(|()| begun.keep()),
                Err((refused, _)) => Err(refused),
            };
            let refused = match outcome {
                Ok(kept) => {
                    self.shared.on_announced(&kept);
                    continue;
                }
                Err(refused) => refused,
            };
            self.shared.table().remove(tag);
            let subject = filter.as_str();
            match refused {
                SubscribeRefused::Denied(_) => {
                    self.say(&format!("-ERR 'Permissions Violation for Subscription to \"{subject}\"'\r\n"));
                }
                other => self.say(&format!("-ERR '{}'\r\n", quoted(&other.to_string()))),
            }
        }
    }

    fn unsubscribe(&mut self, sid: u64, max: Option<u64>) {
        let mut table = self.shared.table();
        let Some(known) = table.get_mut(sid) else { return };
        known.end_after(max);
        if max.is_some_and(|max| known.sent < max) {
            return;
        }
        let gone = table.remove(sid);
        drop(table);
        if let Some(gone) = gone {
            self.client().unsubscribe(&[gone.into_tagged(sid)]);
        }
    }
}

/// The answer for what is announced; nothing where nothing is. Cancel-safe.
async fn counted(announcing: &mut Option<Subscribing>) -> Option<Result<(), SubscribeRefused>> {
    match announcing {
        Some(announcing) => Some(announcing.outcome().await),
        None => None,
    }
}

/// Text for between single quotes, on one line.
pub(super) fn quoted(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || c == '\'' { ' ' } else { c }).take(512).collect()
}
