//! One neighbour: what it holds, what is pulled from it, and how far it is trusted to waste our time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Message, Offer, PART_BYTES_MAX};
use crate::archive::ARCHIVE_BYTES_MAX;
use crate::digest::Digest;

/// A part that does not come is asked for again after this long.
const PART_WAIT: Duration = Duration::from_secs(5);
/// So often in all.
const ASKS_MAX: u32 = 3;
/// A pull lasts so long at most, and [`PER_64_KIB`] on top for its size.
const PULL_MAX: Duration = Duration::from_secs(30);
const PER_64_KIB: Duration = Duration::from_secs(1);
/// A bundle that was wrong or of no use, or did not come, is not asked for again before. It doubles for what came; a
/// link that loses a third of its packets is no lie, and costs three questions in this time.
const PUT_OFF_MIN: Duration = Duration::from_secs(30);
const PUT_OFF_MAX: Duration = Duration::from_secs(3_600);
/// Wrongs of a neighbour before it is only asked once in [`PUT_OFF_MIN`].
const WRONGS_MAX: u32 = 8;
/// Bundles that were put off, are not offered now, and are remembered.
const PAST_MAX: usize = 1_024;
/// Parts that are sent to a neighbour at once, and then in a second: 1 MiB.
const SERVED_BURST: f64 = 64.0;
const SERVED_PER_SECOND: f64 = 32.0;

/// What a part means.
pub(super) enum Heard {
    Nothing,
    More(Message),
    All(Offer, Vec<u8>),
}

#[derive(Debug)]
struct Offered {
    offer: Offer,
    off: PutOff,
}

#[derive(Clone, Copy, Debug, Default)]
struct PutOff {
    /// Not to be asked for before.
    until: Option<Instant>,
    /// Times that it came for nothing.
    came: u32,
}

impl PutOff {
    fn again(&mut self, came: bool, now: Instant) {
        let pause = PUT_OFF_MIN.saturating_mul(1 << self.came.min(10)).min(PUT_OFF_MAX);
        self.came = self.came.saturating_add(u32::from(came));
        self.until = Some(now + pause);
    }

    fn is_remembered(&self) -> bool {
        self.came > 0 || self.until.is_some()
    }
}

/// A bundle on its way here.
#[derive(Debug)]
struct Pulled {
    offer: Offer,
    /// Known with the first part; never above [`ARCHIVE_BYTES_MAX`].
    total: Option<usize>,
    /// Grows with what comes, not with what was promised.
    archive: Vec<u8>,
    began_at: Instant,
    asked_at: Instant,
    asks: u32,
}

impl Pulled {
    fn ask(&self) -> Message {
        let offset = u32::try_from(self.archive.len()).expect("archives have 8 MiB at most");
        Message::Pull { digest: self.offer.digest, offset }
    }

    /// However slowly it comes, it ends.
    fn deadline(&self) -> Instant {
        let blocks = u32::try_from(self.total.unwrap_or(0) / 65_536).unwrap_or(u32::MAX);
        self.began_at + PULL_MAX + PER_64_KIB * blocks
    }
}

#[derive(Debug)]
pub(super) struct Peer {
    offers: BTreeMap<Digest, Offered>,
    /// What was put off and is not offered now: who offers it again, or calls it something else, gets no fresh start.
    past: BTreeMap<Digest, PutOff>,
    has_spoken: bool,
    pulled: Option<Pulled>,
    asked_at: Option<Instant>,
    tells_at: Instant,
    told_at: Option<Instant>,
    wrongs: u32,
    wrong_at: Option<Instant>,
    served: f64,
    served_at: Instant,
}

impl Peer {
    pub(super) fn new(now: Instant) -> Peer {
        Peer {
            offers: BTreeMap::new(),
            past: BTreeMap::new(),
            has_spoken: false,
            pulled: None,
            asked_at: None,
            tells_at: now,
            told_at: None,
            wrongs: 0,
            wrong_at: None,
            served: SERVED_BURST,
            served_at: now,
        }
    }

    pub(super) fn has_spoken(&self) -> bool {
        self.has_spoken
    }

    pub(super) fn is_pulling(&self) -> bool {
        self.pulled.is_some()
    }

    pub(super) fn pulls(&self) -> Option<Digest> {
        self.pulled.as_ref().map(|pulled| pulled.offer.digest)
    }

    pub(super) fn asked_at(&self) -> Option<Instant> {
        self.asked_at
    }

    pub(super) fn tells_at(&self) -> Instant {
        self.tells_at
    }

    /// What we hold has changed.
    pub(super) fn tell_by(&mut self, now: Instant, pause: Duration) {
        let due = self.told_at.map_or(now, |told| told + pause).max(now);
        self.tells_at = self.tells_at.min(due);
    }

    pub(super) fn on_told(&mut self, now: Instant, repeat: Duration) {
        self.told_at = Some(now);
        self.tells_at = now + repeat;
    }

    /// A list replaces the one before; what was put off stays so, under whatever layer and revision it is offered.
    pub(super) fn on_offers(&mut self, offers: Vec<Offer>) {
        self.has_spoken = true;
        let before = std::mem::take(&mut self.offers).into_iter().map(|(digest, one)| (digest, one.off));
        self.past.extend(before.filter(|(_, off)| off.is_remembered()));
        for offer in offers {
            let off = self.past.remove(&offer.digest).unwrap_or_default();
            self.offers.insert(offer.digest, Offered { offer, off });
        }
        self.forget_past();
    }

    fn forget_past(&mut self) {
        while self.past.len() > PAST_MAX {
            // What may be asked for first is the smallest loss.
            let first = self.past.iter().min_by_key(|(_, off)| off.until).map(|(digest, _)| *digest);
            first.map(|digest| self.past.remove(&digest));
        }
    }

    pub(super) fn forgive(&mut self) {
        for off in self.offers.values_mut().map(|one| &mut one.off).chain(self.past.values_mut()) {
            off.until = None;
        }
    }

    /// Something is offered that is wanted, and may be asked for.
    pub(super) fn wants(&self, wanted: &dyn Fn(&Offer) -> bool) -> bool {
        self.offers.values().any(|one| one.off.until.is_none() && wanted(&one.offer))
    }

    /// Begins to pull, the outermost layer first: it says who signs for the others.
    pub(super) fn begin(
        &mut self,
        wanted: &dyn Fn(&Offer) -> bool,
        now: Instant,
    ) -> Option<(Digest, Message)> {
        if self.pulled.is_some() || !self.is_trusted(now) {
            return None;
        }
        let may = |one: &&Offered| one.off.until.is_none_or(|until| until <= now) && wanted(&one.offer);
        let offer =
            self.offers.values().filter(may).map(|one| &one.offer).min_by_key(|offer| &offer.layer)?;
        let pulled = Pulled {
            offer: offer.clone(),
            total: None,
            archive: Vec::new(),
            began_at: now,
            asked_at: now,
            asks: 1,
        };
        self.asked_at = Some(now);
        let message = pulled.ask();
        let digest = pulled.offer.digest;
        self.pulled = Some(pulled);
        Some((digest, message))
    }

    fn is_trusted(&self, now: Instant) -> bool {
        self.wrongs < WRONGS_MAX || self.wrong_at.is_none_or(|at| at + PUT_OFF_MIN <= now)
    }

    pub(super) fn on_part(
        &mut self,
        digest: Digest,
        total: u32,
        offset: u32,
        bytes: &[u8],
        now: Instant,
    ) -> Heard {
        let Some(pulled) = self.pulled.as_mut().filter(|pulled| pulled.offer.digest == digest) else {
            // Late, or never asked for.
            return Heard::Nothing;
        };
        let total = usize::try_from(total).unwrap_or(usize::MAX);
        if total == 0 {
            self.stop(false, now);
            return Heard::Nothing;
        }
        if usize::try_from(offset) != Ok(pulled.archive.len()) {
            // The answer to a question that was asked twice.
            return Heard::Nothing;
        }
        let end = pulled.archive.len().saturating_add(bytes.len());
        let is_sound = total <= ARCHIVE_BYTES_MAX
            && pulled.total.is_none_or(|known| known == total)
            && (1..=PART_BYTES_MAX).contains(&bytes.len())
            && end <= total;
        if !is_sound || pulled.deadline() <= now {
            self.stop(!is_sound, now);
            return Heard::Nothing;
        }
        pulled.total = Some(total);
        pulled.archive.extend_from_slice(bytes);
        if end < total {
            pulled.asked_at = now;
            pulled.asks = 1;
            return Heard::More(pulled.ask());
        }
        match self.pulled.take() {
            Some(pulled) => Heard::All(pulled.offer, pulled.archive),
            None => Heard::Nothing,
        }
    }

    fn stop(&mut self, is_wrong: bool, now: Instant) {
        if let Some(pulled) = self.pulled.take() {
            self.put_off(pulled.offer.digest, is_wrong, is_wrong, now);
        }
    }

    /// It came whole, and is wrong or of no use now.
    pub(super) fn on_useless(&mut self, digest: Digest, is_wrong: bool, now: Instant) {
        self.put_off(digest, is_wrong, true, now);
    }

    /// Not again for a while.
    fn put_off(&mut self, digest: Digest, is_wrong: bool, came: bool, now: Instant) {
        if is_wrong {
            if self.wrong_at.is_some_and(|at| at + PUT_OFF_MAX <= now) {
                self.wrongs = 0;
            }
            self.wrongs = self.wrongs.saturating_add(1);
            self.wrong_at = Some(now);
        }
        match self.offers.get_mut(&digest) {
            Some(offered) => offered.off.again(came, now),
            // It was offered when it was asked for, and is not now.
            None => {
                self.past.entry(digest).or_default().again(came, now);
                self.forget_past();
            }
        }
    }

    /// Asks for a part again, or gives up.
    pub(super) fn ask_again(&mut self, now: Instant) -> Option<Message> {
        for offered in self.offers.values_mut() {
            offered.off.until = offered.off.until.filter(|until| *until > now);
        }
        let pulled = self.pulled.as_mut()?;
        let is_silent = pulled.asked_at + PART_WAIT <= now;
        if pulled.deadline() <= now || (is_silent && pulled.asks >= ASKS_MAX) {
            self.stop(false, now);
            return None;
        }
        if !is_silent {
            return None;
        }
        pulled.asks += 1;
        pulled.asked_at = now;
        Some(pulled.ask())
    }

    pub(super) fn may_be_served(&mut self, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.served_at).as_secs_f64();
        self.served = (self.served + since * SERVED_PER_SECOND).min(SERVED_BURST);
        self.served_at = now;
        if self.served < 1.0 {
            return false;
        }
        self.served -= 1.0;
        true
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let part = self.pulled.as_ref().map(|pulled| (pulled.asked_at + PART_WAIT).min(pulled.deadline()));
        let off = self.offers.values().filter_map(|offered| offered.off.until).min();
        [Some(self.tells_at), part, off].into_iter().flatten().min()
    }
}
