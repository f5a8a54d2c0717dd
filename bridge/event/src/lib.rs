//! A CloudEvent 1.0 as the mesh carries it.
//!
//! An [`Event`] is one buffer in the mesh's own encoding ([`encoding`] draws it). It is parsed once, cloned by
//! reference, and leaves a bridge byte for byte as it came unless a policy edits it: attribute order, the spelling of
//! numbers in JSON data, white space, all stay.
//!
//! Start at [`EventBuilder`] to make one, at [`json`] and [`http`] for the forms clients speak, at [`Event::decode`]
//! for what a link brings. With the feature `sdk` there are conversions to and from `cloudevents_sdk::Event`.
//!
//! This crate knows no topics, no policies and no protocol library.

mod attribute;
mod builder;
pub mod encoding;
mod event;
pub mod http;
pub mod json;
pub mod limits;
#[cfg(feature = "sdk")]
pub mod sdk;
mod train;

pub use attribute::{AttributeKind, AttributeValue, is_reserved_name};
pub use builder::{EventBuilder, InvalidEvent, data_kind};
pub use encoding::DecodeError;
pub use event::{DataKind, Event, is_json_content_type};
pub use train::{EventTrain, TrainItem, TrainWriter};
