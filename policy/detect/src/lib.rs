//! Detectors of personal data and secrets in events, and the JSON tape they walk (POLICY §5 and §6).
//!
//! Pure: text in, findings out; no clock, files, sockets or randomness.
//!
//! - [`tape`] parses JSON text once and keeps the place of everything in it.

pub mod tape;
