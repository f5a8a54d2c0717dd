//! Topics, topic filters, and the trie that finds which filters match a topic.
//!
//! ```text
//! topic   orders.eu.created        tokens, separated by dots
//! filter  orders.*.created         `*`  exactly one token
//! filter  orders.**                `**` zero or more tokens, anywhere
//! ```
//!
//! A [`Topic`] or [`TopicFilter`] is parsed once; whoever holds one needs no further check. A token is printable UTF-8
//! without white space and without `. * > # + /`, so every foreign grammar maps onto this one (`DESIGN` §2);
//! `%XX` has no meaning inside the mesh.

mod atoms;
mod filter;
mod parse;
mod shared_map;
mod topic;
mod trie;

pub use atoms::{Atom, AtomSet, AtomSetIter, Atoms, STATES_MAX, TooManyStates};
pub use filter::TopicFilter;
pub use parse::{ParseError, ParseErrorKind};
pub use topic::Topic;
pub use trie::FilterTrie;

/// Bytes of a topic or filter, dots included.
pub const BYTES_MAX: usize = 256;
/// Tokens of a topic or filter.
pub const TOKENS_MAX: usize = 16;
/// `**` of a filter; each one multiplies the ways in which a topic can match.
pub const MULTI_WILDCARDS_MAX: usize = 2;
