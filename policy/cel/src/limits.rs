//! The sizes that bound every evaluation, and which variables exist where.

/// Sizes of sources and of what conditions read. The worst case of an expression follows from them, so raise one
/// only with the others in mind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Length of a source.
    pub source_bytes: usize,
    /// Levels of nesting in a source; more than 64 is taken as 64, so that the stack holds.
    pub nesting: usize,
    /// An event; so also its data and everything in them.
    pub event_bytes: u64,
    /// One attribute of an event, the publisher, or one attribute or label of a zone.
    pub attribute_bytes: u64,
    pub topic_bytes: u64,
    pub topic_tokens: u64,
    /// What one operation on strings may look at. Longer strings in data are a run-time error there, but not
    /// where their first bytes decide, as in a comparison with a literal.
    pub text_bytes: u64,
    /// Elements of a list that is iterated, searched, compared or built. More are a run-time error.
    pub items: u64,
    /// Members of an object in which one is looked up. More are a run-time error.
    pub members: u64,
    /// Steps of the worst case, see [`Steps`](crate::Steps).
    pub steps: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            source_bytes: 8 << 10,
            nesting: 48,
            event_bytes: 1 << 20,
            attribute_bytes: 4 << 10,
            topic_bytes: 256,
            topic_tokens: 16,
            text_bytes: 256 << 10,
            items: 1_000,
            members: 4_096,
            steps: 10_000,
        }
    }
}

impl Limits {
    pub(crate) fn bounded(&self) -> Limits {
        Limits { nesting: self.nesting.min(64), ..self.clone() }
    }
}

/// Which variables exist. `topic`, `tokens`, `from`, `to` and `now` always do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    pub(crate) event: bool,
    pub(crate) publisher: bool,
}

impl Scope {
    /// A condition in `when` where the publisher is known: at `publish` and `egress`.
    pub const fn at_origin() -> Scope {
        Scope { event: true, publisher: true }
    }

    /// A condition in `when` elsewhere, or a check of `validate`: the whole event, but no `publisher`.
    pub const fn event() -> Scope {
        Scope { event: true, publisher: false }
    }

    /// Where no event is at hand: at `subscribe` and `interest`.
    pub const fn topic() -> Scope {
        Scope { event: false, publisher: false }
    }
}
