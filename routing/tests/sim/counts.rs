//! What a run has seen. A judge that sees nothing would be content as well, so these have minimums.

#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub delivered: u64,
    pub lost: u64,
    pub cuts: u64,
    pub restarts: u64,
    pub copies: u64,
    pub clones_detected: u64,
    pub jumps: u64,
    pub twins: u64,
    pub subscriptions: u64,
    pub frames: u64,
    pub frames_arrived: u64,
    pub frames_lost: u64,
    pub frames_parked: u64,
    pub frames_at_hop_limit: u64,
    pub frames_twice_at_a_bridge: u64,
    pub gaps_probed: u64,
    pub bulks: u64,
    pub reloads: u64,
    pub filters_told: u64,
    pub held_back: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.delivered += other.delivered;
        self.lost += other.lost;
        self.cuts += other.cuts;
        self.restarts += other.restarts;
        self.copies += other.copies;
        self.clones_detected += other.clones_detected;
        self.jumps += other.jumps;
        self.twins += other.twins;
        self.subscriptions += other.subscriptions;
        self.frames += other.frames;
        self.frames_arrived += other.frames_arrived;
        self.frames_lost += other.frames_lost;
        self.frames_parked += other.frames_parked;
        self.frames_at_hop_limit += other.frames_at_hop_limit;
        self.frames_twice_at_a_bridge += other.frames_twice_at_a_bridge;
        self.bulks += other.bulks;
        self.gaps_probed += other.gaps_probed;
        self.reloads += other.reloads;
        self.filters_told += other.filters_told;
        self.held_back += other.held_back;
    }
}
