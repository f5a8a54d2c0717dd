//! One way of a relay, without sockets and clock: packets in, packets out when they are due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// What one way holds at most.
pub const QUEUE_BYTES_MAX: usize = 4 << 20;

/// What happens to packets of one way. The default is a perfect wire.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Weather {
    /// The share of packets that vanish, 0 to 1.
    pub loss: f64,
    /// The share of packets that arrive twice.
    pub duplicate: f64,
    /// The share of packets that are held for up to `jitter` longer and so are overtaken.
    pub reorder: f64,
    /// How long every packet takes.
    pub delay: Duration,
    /// How much longer a reordered one may take.
    pub jitter: Duration,
    /// Nothing gets through, not even what is on its way.
    pub is_cut: bool,
    /// Capacity of the wire.
    pub bytes_per_second: Option<u32>,
    /// Larger packets vanish.
    pub mtu: Option<usize>,
}

impl Weather {
    /// A wire that is cut.
    pub fn cut() -> Weather {
        Weather { is_cut: true, ..Weather::default() }
    }
}

/// What became of the packets so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Traffic {
    pub carried: u64,
    pub lost: u64,
    pub duplicated: u64,
    pub reordered: u64,
    pub cut: u64,
    pub too_large: u64,
    pub overflowed: u64,
}

impl Traffic {
    /// Packets that met with something.
    pub fn struck(&self) -> u64 {
        self.lost + self.duplicated + self.reordered + self.cut + self.too_large + self.overflowed
    }
}

/// Ordered by when it is due, then by when it came.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Packet {
    due: Instant,
    number: u64,
    bytes: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Line {
    weather: Weather,
    random: Pcg64Mcg,
    queue: BinaryHeap<Reverse<Packet>>,
    queued_bytes: usize,
    next_number: u64,
    /// When a throttled wire has finished with the packets before.
    free_at: Option<Instant>,
    traffic: Traffic,
}

impl Line {
    pub(super) fn new(seed: u64) -> Line {
        Line {
            weather: Weather::default(),
            random: Pcg64Mcg::seed_from_u64(seed),
            queue: BinaryHeap::new(),
            queued_bytes: 0,
            next_number: 0,
            free_at: None,
            traffic: Traffic::default(),
        }
    }

    pub(super) fn set(&mut self, weather: Weather) {
        self.weather = weather;
    }

    pub(super) fn traffic(&self) -> Traffic {
        self.traffic
    }

    #[cfg(test)]
    pub(super) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.queue.peek().map(|Reverse(packet)| packet.due)
    }

    pub(super) fn put(&mut self, bytes: &[u8], now: Instant) {
        // Always the same draws for a packet, so that one seed means one fate whatever is switched on.
        let [lost, duplicated, reordered, held] = [(); 4].map(|()| self.random.random::<f64>());
        let weather = self.weather;
        if weather.is_cut {
            self.traffic.cut += 1;
        } else if weather.mtu.is_some_and(|mtu| bytes.len() > mtu) {
            self.traffic.too_large += 1;
        } else if lost < weather.loss {
            self.traffic.lost += 1;
        } else {
            let is_reordered = reordered < weather.reorder;
            self.traffic.reordered += u64::from(is_reordered);
            let extra = if is_reordered { weather.jitter.mul_f64(held) } else { Duration::ZERO };
            let due = self.sent_at(bytes.len(), now) + weather.delay + extra;
            self.queue(bytes, due);
            if duplicated < weather.duplicate {
                self.traffic.duplicated += 1;
                self.queue(bytes, due + weather.jitter.mul_f64(1.0 - held));
            }
        }
    }

    /// When the last bit is on the wire.
    fn sent_at(&mut self, length: usize, now: Instant) -> Instant {
        let Some(rate) = self.weather.bytes_per_second.filter(|rate| *rate > 0) else { return now };
        let takes = Duration::from_secs_f64(length as f64 / f64::from(rate));
        let sent = self.free_at.map_or(now, |free| free.max(now)) + takes;
        self.free_at = Some(sent);
        sent
    }

    fn queue(&mut self, bytes: &[u8], due: Instant) {
        if self.queued_bytes + bytes.len() > QUEUE_BYTES_MAX {
            self.traffic.overflowed += 1;
            return;
        }
        self.queued_bytes += bytes.len();
        let number = self.next_number;
        self.next_number += 1;
        self.queue.push(Reverse(Packet { due, number, bytes: bytes.to_vec() }));
    }

    /// The next packet that has arrived.
    pub(super) fn take(&mut self, now: Instant) -> Option<Vec<u8>> {
        while self.due().is_some_and(|due| due <= now) {
            let Reverse(packet) = self.queue.pop()?;
            self.queued_bytes -= packet.bytes.len();
            if !self.weather.is_cut {
                self.traffic.carried += 1;
                return Some(packet.bytes);
            }
            self.traffic.cut += 1;
        }
        None
    }
}
