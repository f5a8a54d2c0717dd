//! Why events end on their way.

/// Why an event, or a copy of it, went no further. Each is counted with `intentional`: `true` where a rule or a
/// promise asked for it, `false` where something was full or broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DropReason {
    /// A second copy of an event key reached its egress bridge.
    Duplicate,
    /// `expirytime` passed, or the remaining life ran out on the way.
    Expired,
    /// The queue towards the next hop was full.
    QueueFull,
    /// It waited five seconds for a path or for its turn on a link.
    Waited,
    /// The hop limit was used up.
    HopLimit,
    /// A policy refused it here, on its way or on arrival.
    Denied,
    /// The bridge that judged it has older policies of the federation than this one takes.
    StalePolicy,
    /// A policy keeps it from a subscriber here.
    Withheld,
    /// The bytes did not agree with their digest, or were no event.
    Damaged,
    /// A subscriber was too slow and its queue full; its subscription ended.
    SlowSubscriber,
}

impl DropReason {
    /// Of the metric: reason, and whether it was meant to be.
    pub(super) const fn labels(self) -> [&'static str; 2] {
        match self {
            DropReason::Duplicate => ["duplicate", "true"],
            DropReason::Expired => ["expired", "true"],
            DropReason::QueueFull => ["queue_full", "false"],
            DropReason::Waited => ["waited", "false"],
            DropReason::HopLimit => ["hop_limit", "false"],
            DropReason::Denied => ["denied", "true"],
            DropReason::StalePolicy => ["stale_policy", "true"],
            DropReason::Withheld => ["withheld", "true"],
            DropReason::Damaged => ["damaged", "false"],
            DropReason::SlowSubscriber => ["slow_subscriber", "false"],
        }
    }

    /// As the metric and the notices name it.
    pub(crate) const fn name(self) -> &'static str {
        self.labels()[0]
    }
}
