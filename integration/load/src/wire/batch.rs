//! Many events in one write: copies of one frame side by side, of which each batch only overwrites the places that differ.

use super::Frame;
use crate::payload::{SEQUENCE_AT, TIME_AT, write_number};

/// As many frames as fit into one write.
#[derive(Debug)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    frame: Frame,
    capacity: usize,
}

impl Batch {
    /// Frames for writes of about `bytes` bytes, one at least.
    pub(crate) fn new(frame: Frame, bytes: usize) -> Batch {
        let capacity = (bytes / frame.bytes.len()).max(1);
        Batch { bytes: frame.bytes.repeat(capacity), frame, capacity }
    }

    /// Events in a full batch.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Events numbered from `first` on, all of this time, ready to be written. At most [`Batch::capacity`] of them.
    pub(crate) fn stamp(&mut self, first: u64, count: usize, at: u64) -> &[u8] {
        let count = count.min(self.capacity);
        let length = self.frame.bytes.len();
        let used = &mut self.bytes[..count * length];
        for (index, frame) in used.chunks_exact_mut(length).enumerate() {
            // A probe is the last number there is, and alone.
            let sequence = first.wrapping_add(index as u64);
            let payload = self.frame.payload_at;
            write_number(&mut frame[payload + SEQUENCE_AT..], sequence);
            write_number(&mut frame[payload + TIME_AT..], at);
            for number_at in &self.frame.numbers_at {
                write_number(&mut frame[*number_at..], sequence);
            }
            if let Some(packet_at) = self.frame.packet_at {
                frame[packet_at..packet_at + 2].copy_from_slice(&packet_of(sequence).to_be_bytes());
            }
        }
        used
    }
}

impl Batch {
    /// The first `length` bytes, as last stamped.
    pub(crate) fn bytes(&self, length: usize) -> &[u8] {
        &self.bytes[..length]
    }
}

/// Packet identifiers go round and are never 0. Windows are far below 65,535, so none is in use twice.
fn packet_of(sequence: u64) -> u16 {
    u16::try_from(sequence % 65_535 + 1).expect("at most 65,535")
}

#[cfg(test)]
mod tests {
    use super::super::{Arrival, Form, Protocol};
    use super::*;
    use crate::payload::{PROBE, stamps};

    #[test]
    fn events_of_a_batch_are_numbered_and_no_stamp_of_the_last_one_is_left() {
        for protocol in [Protocol::Mqtt { qos: 0 }, Protocol::Mqtt { qos: 1 }] {
            let form = Form { topic: "bench.fast.e", bytes: 128, attributes: false, acknowledged: false };
            let mut batch = Batch::new(protocol.frame(form), 4_096);
            assert!(batch.capacity() > 10);
            for first in [PROBE, 0, 65_530] {
                let count = if first == PROBE { 1 } else { batch.capacity() };
                let mut bytes = batch.stamp(first, count, 77);
                let mut seen = 0;
                while let Some((arrival, length)) = protocol.next(bytes).expect("our own frames") {
                    let Arrival::Event { payload, packet } = arrival else { panic!("{arrival:?}") };
                    assert_eq!(stamps(&bytes[payload]), Some((first.wrapping_add(seen), 77)));
                    assert_eq!(packet > 0, protocol == Protocol::Mqtt { qos: 1 });
                    (bytes, seen) = (&bytes[length..], seen + 1);
                }
                assert_eq!((bytes.len(), seen), (0, count as u64));
            }
        }
    }

    #[test]
    fn one_event_larger_than_a_write_is_a_batch_of_one() {
        let form = Form { topic: "t", bytes: 16_384, attributes: true, acknowledged: true };
        let mut batch = Batch::new(Protocol::Nats.frame(form), 1_000);
        assert_eq!(batch.capacity(), 1);
        assert!(batch.stamp(5, 9, 0).len() > 16_384);
    }
}
