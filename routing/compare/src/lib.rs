//! Structures that find the filters that match a topic, beside each other: see `benches/matching.rs`.
