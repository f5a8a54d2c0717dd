//! The same wire for TCP. Packets that are lost, repeated or reordered are mended below a byte stream, so of the weather only the cut, the delay and the
//! capacity count here: what is cut off waits, as it would be sent again. What only a stream can suffer is a reset, or the end of one direction.
//!
//! Two tasks carry a way of each connection: one reads and notes when its bytes are due, one waits for that and writes. All end when the relay is dropped.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Traffic, Way, Weather};

const CHUNK_BYTES: usize = 16 << 10;
/// Read and not yet written, for each way of a connection.
const CHUNKS_MAX: usize = 64;

/// What befalls the streams of a relay.
#[derive(Debug)]
pub(super) struct Streams {
    ways: [WayState; 2],
    resets: watch::Sender<u64>,
    connections: AtomicU64,
}

#[derive(Debug, Default)]
struct WayState {
    weather: watch::Sender<Weather>,
    ends: watch::Sender<u64>,
    traffic: Mutex<Traffic>,
}

impl Streams {
    pub(super) fn new() -> Streams {
        Streams { ways: Default::default(), resets: watch::Sender::default(), connections: AtomicU64::new(0) }
    }

    pub(super) fn set(&self, way: Way, weather: Weather) {
        self.ways[way as usize].weather.send_replace(weather);
    }

    pub(super) fn reset(&self) {
        self.resets.send_modify(|number| *number += 1);
    }

    pub(super) fn end(&self, way: Way) {
        self.ways[way as usize].ends.send_modify(|number| *number += 1);
    }

    pub(super) fn traffic(&self, way: Way) -> Traffic {
        *self.ways[way as usize].traffic.lock().expect("nothing panics while it holds the lock")
    }

    /// Connections so far.
    pub(super) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    fn count(&self, way: Way, count: impl FnOnce(&mut Traffic)) {
        count(&mut self.ways[way as usize].traffic.lock().expect("nothing panics while it holds the lock"));
    }
}

pub(super) async fn carry(listener: TcpListener, callee: SocketAddr, streams: Arc<Streams>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((front, _)) = accepted {
                streams.connections.fetch_add(1, Ordering::Relaxed);
                connections.spawn(connection(front, callee, Arc::clone(&streams)));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(front: TcpStream, callee: SocketAddr, streams: Arc<Streams>) {
    let mut resets = streams.resets.subscribe();
    // A wire that is cut brings no connection about.
    let mut weather = streams.ways[Way::Forward as usize].weather.subscribe();
    if weather.borrow().is_cut {
        streams.count(Way::Forward, |traffic| traffic.cut += 1);
    }
    tokio::select! {
        open = weather.wait_for(|weather| !weather.is_cut) => drop(open),
        _ = resets.changed() => return refuse(front),
    }
    // A bridge that is not there refuses, as it would without a relay.
    let Ok(back) = TcpStream::connect(callee).await else { return refuse(front) };
    drop((front.set_nodelay(true), back.set_nodelay(true)));
    let (from_dialler, to_dialler) = front.into_split();
    let (from_callee, to_callee) = back.into_split();
    let broken = watch::Sender::new(false);
    let ((from_dialler, to_callee, one), (from_callee, to_dialler, other)) = tokio::join!(
        way(from_dialler, to_callee, Way::Forward, &streams, &broken),
        way(from_callee, to_dialler, Way::Backward, &streams, &broken)
    );
    if one || other {
        for stream in [from_dialler.reunite(to_dialler).ok(), from_callee.reunite(to_callee).ok()] {
            stream.into_iter().for_each(refuse);
        }
    }
}

/// Ends a connection with a reset.
fn refuse(stream: TcpStream) {
    drop(stream.set_zero_linger());
}

/// Carries one way until it ends; says whether with a reset.
async fn way(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    way: Way,
    streams: &Streams,
    broken: &watch::Sender<bool>,
) -> (OwnedReadHalf, OwnedWriteHalf, bool) {
    let state = &streams.ways[way as usize];
    let (mut ends, mut resets) = (state.ends.subscribe(), streams.resets.subscribe());
    let mut other = broken.subscribe();
    let (due, mut arriving) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_MAX);
    let source = &mut from;
    // Owns its end of the channel, so that the writer ends after the last chunk.
    let read = async move {
        let mut free_at = Instant::now();
        loop {
            let mut chunk = vec![0; CHUNK_BYTES];
            let length = match source.read(&mut chunk).await {
                Ok(0) => break false,
                Ok(length) => length,
                Err(_) => break true,
            };
            chunk.truncate(length);
            let weather = *state.weather.borrow();
            let mut sent = Instant::now();
            if let Some(rate) = weather.bytes_per_second.filter(|rate| *rate > 0) {
                let takes = Duration::from_secs_f64(length as f64 / f64::from(rate));
                free_at = free_at.max(sent) + takes;
                sent = free_at;
            }
            if due.send((sent + weather.delay, chunk)).await.is_err() {
                break false;
            }
        }
    };
    let write = async {
        let mut weather = state.weather.subscribe();
        while let Some((due, chunk)) = arriving.recv().await {
            tokio::time::sleep_until(due).await;
            if weather.borrow().is_cut {
                streams.count(way, |traffic| traffic.cut += 1);
            }
            if weather.wait_for(|weather| !weather.is_cut).await.is_err()
                || to.write_all(&chunk).await.is_err()
            {
                return true;
            }
            streams.count(way, |traffic| traffic.carried += 1);
        }
        to.shutdown().await.is_err()
    };
    let is_reset = tokio::select! {
        (read, written) = async { tokio::join!(read, write) } => read || written,
        _ = resets.changed() => true,
        _ = other.wait_for(|broken| *broken) => true,
        _ = ends.changed() => false,
    };
    if is_reset {
        broken.send_replace(true);
    } else {
        drop(to.shutdown().await);
    }
    (from, to, is_reset)
}
