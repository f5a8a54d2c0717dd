//! What an event may measure. A bridge may be configured lower, never higher than the hard limit.

/// An event in its encoding, attributes and data.
pub const EVENT_BYTES_MAX: usize = 1 << 20;
/// What [`crate::Event::decode`] takes from a peer, whatever the local limit is.
pub const EVENT_BYTES_HARD_MAX: usize = 4 << 20;
/// Attributes, the required ones included.
pub const ATTRIBUTES_MAX: usize = 64;
pub const NAME_BYTES_MAX: usize = 64;
pub const VALUE_BYTES_MAX: usize = 4 << 10;
/// Names and values of all attributes together.
pub const ATTRIBUTES_BYTES_MAX: usize = 32 << 10;
/// A batch as it arrives.
pub const BATCH_BYTES_MAX: usize = 4 << 20;
pub const BATCH_EVENTS_MAX: usize = 1_024;
/// Events of one train.
pub const TRAIN_EVENTS_MAX: usize = 4_096;
/// A train as it is encoded; one event of the largest size fits.
pub const TRAIN_BYTES_MAX: usize = EVENT_BYTES_HARD_MAX;
