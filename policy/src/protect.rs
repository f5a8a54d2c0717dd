//! What an event holds, and the edit that protects it (POLICY §5).
//!
//! ```text
//!  event ─► Surveyor::look ─► Survey ─┬─► findings: what `forbid` asks
//!                                     └─► apply(survey, claims) ─► edited event, or why not
//! ```
//!
//! All demands are met at every place they share, all on the event as it arrived, and one pass over the data writes
//! the result: what no demand is about is copied byte for byte. Doing it twice is doing it once, because what was
//! protected is known again by its grammar or by the list in `govprotected`.

mod apply;
mod asked;
mod content;
mod decrypt;
mod demand;
mod edits;
mod generalise;
mod leaf;
mod listed;
mod numbering;
mod plan;
mod pointers;
mod seal;
mod survey;
mod value;

pub use decrypt::{DecryptReport, decrypt};
pub use seal::Randomness;

#[cfg(test)]
pub(crate) use apply::Unprotectable;
pub(crate) use apply::{BINDING, BINDING_ATTRIBUTES, CannotProtect, Protected, apply};
pub(crate) use content::{Content, content};
pub(crate) use demand::{Claim, Declared, Demand};
pub use listed::GOVPROTECTED;
pub(crate) use numbering::Numbering;
pub(crate) use seal::{derive, framed, mix};
pub(crate) use survey::{Found, Survey, Surveyor};

/// Where an event goes: what pseudonyms of a narrower scope than the federation are bound to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crossing<'a> {
    pub(crate) to_zone: &'a str,
    pub(crate) topic: &'a str,
}

/// Names of attributes that say what the event is: others rely on them, so no protection can be claimed for them.
pub(crate) const NAMING: [&str; 4] = ["id", "source", "type", "specversion"];

#[cfg(test)]
mod tests;
