//! One case: an event on its way, in a world of its own.

use meshbridge_event::Event;
use meshbridge_topic::Topic;
use time::OffsetDateTime;

use crate::diagnostics::Span;
use crate::federation::ZoneIndex;
use crate::model::Context;

/// Where a case is written.
#[derive(Clone, Debug)]
pub struct Origin {
    pub name: String,
    pub span: Span,
}

/// An event, where it comes from and where it goes.
#[derive(Clone, Debug)]
pub struct Case {
    pub from: ZoneIndex,
    pub to: ZoneIndex,
    /// Zones that carry it, in order.
    pub via: Vec<ZoneIndex>,
    /// Judge only here; empty for the whole crossing.
    pub at: Vec<Context>,
    pub publisher: Option<String>,
    pub subscriber: Option<String>,
    /// On arrival; where not given, one more than the zones that carry it.
    pub hops: Option<u8>,
    pub now: OffsetDateTime,
    pub topic: Topic,
    pub event: Event,
}
