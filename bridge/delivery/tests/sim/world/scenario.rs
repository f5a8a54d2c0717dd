//! What goes wrong in a world, and what happened in it.

/// How long a world goes on.
pub(super) const LIFE_MS: u64 = 20_000;

#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Per cent of all packets.
    pub loss: u32,
    /// Per cent of what is no frame, beside it.
    pub message_loss: u32,
    pub repeat: u32,
    pub jitter_ms: u64,
    /// Crashes of any bridge, in a life of the world.
    pub crashes: u32,
    pub partitions: u32,
    /// Disks replaced by blank ones, of bridges that are no origins.
    pub wipes: u32,
    /// Disks replaced by an older copy of themselves, of bridges that are no destinations.
    pub rollbacks: u32,
    /// How old such a copy is at most, where not four seconds.
    pub older_by_ms: u64,
    /// Times that the first bridge, which is nobody's destination, goes on from an image of its memory and disk.
    pub resumes: u32,
    /// The same for the last bridge, which is no origin.
    pub older_destinations: u32,
    /// Crashes after which a batch of taken events cannot be read.
    pub rots: u32,
    /// Times that a bridge has no room for events of others, for a while.
    pub full: u32,
    pub retain: bool,
    /// Per cent of events with a short life.
    pub expiries: u32,
    /// Per cent of events that a consumer group wants, alone or beside others.
    pub groups: u32,
    /// Per cent of frames that somebody keeps back for a while, at the moment when they would be sent.
    pub holds: u32,
    /// Per cent of plain events that a rule of every destination refuses and wants kept.
    pub refusals: u64,
    /// Comings and goings of its members.
    pub members: u32,
    /// Disks of the first bridge, which is nobody's destination, replaced by blank ones.
    pub origin_wipes: u32,
    /// Steps of some bridge's clock on the wall.
    pub clock_jumps: u32,
    /// Of every bridge's clock at most, from its start.
    pub skew_ms: u64,
    /// How long the subscribers of a bridge that starts again take to come back, at most.
    pub slow_ms: u64,
    /// How long the world goes on, where not for twenty seconds.
    pub life_ms: u64,
    /// How long the last bridge is away, from shortly after the beginning.
    pub absent_ms: u64,
}

impl Faults {
    pub(super) fn life_ms(&self) -> u64 {
        if self.life_ms > 0 { self.life_ms } else { LIFE_MS }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub published: u64,
    pub deliveries: u64,
    pub resent: u64,
    pub packets_lost: u64,
    pub crashes: u64,
    pub partitions: u64,
    pub wipes: u64,
    pub rollbacks: u64,
    pub older_destinations: u64,
    pub resumes: u64,
    /// Runs that its core has asked for.
    pub anew: u64,
    /// Pairs of events that went on under other keys, and offers of them beside the first.
    pub rekeyed: u64,
    pub repeated: u64,
    /// Alarms of origins that others know more of than they do.
    pub behind: u64,
    pub full: u64,
    pub rots: u64,
    pub out_of_order: u64,
    pub egress_lost: u64,
    pub expired: u64,
    pub members_left: u64,
    pub moved: u64,
    pub held: u64,
    /// Events that their origins keep as dead letters at the end.
    pub letters: u64,
    pub taken_back: u64,
    pub origin_wipes: u64,
    /// Pairs of these that a destination had, and those that nobody had.
    pub orphans: u64,
    pub lost_with_origin: u64,
    /// Of the lost disks of origins, seen by a destination.
    pub other_disks: u64,
    pub clock_jumps: u64,
    /// Frames that came to a bridge without room.
    pub refused: u64,
    /// Looks at a clock that was in doubt.
    pub doubts: u64,
    /// Events that were pending again after a start, and ended without being offered again: their origin knew better.
    pub cut_short: u64,
    /// Pairs of which nobody knows any more how they ended.
    pub forgotten: u64,
}

impl Report {
    pub fn add(&mut self, other: &Report) {
        self.published += other.published;
        self.deliveries += other.deliveries;
        self.resent += other.resent;
        self.packets_lost += other.packets_lost;
        self.crashes += other.crashes;
        self.partitions += other.partitions;
        self.wipes += other.wipes;
        self.rollbacks += other.rollbacks;
        self.older_destinations += other.older_destinations;
        self.resumes += other.resumes;
        self.anew += other.anew;
        self.rekeyed += other.rekeyed;
        self.repeated += other.repeated;
        self.behind += other.behind;
        self.full += other.full;
        self.rots += other.rots;
        self.out_of_order += other.out_of_order;
        self.egress_lost += other.egress_lost;
        self.expired += other.expired;
        self.members_left += other.members_left;
        self.moved += other.moved;
        self.held += other.held;
        self.letters += other.letters;
        self.taken_back += other.taken_back;
        self.origin_wipes += other.origin_wipes;
        self.orphans += other.orphans;
        self.lost_with_origin += other.lost_with_origin;
        self.other_disks += other.other_disks;
        self.clock_jumps += other.clock_jumps;
        self.refused += other.refused;
        self.doubts += other.doubts;
        self.cut_short += other.cut_short;
        self.forgotten += other.forgotten;
    }
}
