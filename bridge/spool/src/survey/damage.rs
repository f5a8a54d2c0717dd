//! What was durable once and cannot be read, by numbers.

use std::collections::BTreeSet;

use super::Survey;
use crate::format::Lsn;

/// A stretch of the log that was durable once and cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where it was found.
    pub segment: u64,
    /// Numbers of the records in it; some of them may have been read all the same. Unknown when the end of the
    /// log itself is gone: everything from the first number on.
    pub first: Lsn,
    pub last: Option<Lsn>,
    /// Records that could still be read one by one.
    pub salvaged: u64,
}

impl Survey {
    pub(super) fn note_damage(&mut self) {
        for (at, first, last) in &self.gaps {
            let segment = self.chain.get(at.saturating_sub(1)).map_or(0, |link| link.segment);
            let damage = Damage { segment, first: *first, last: Some(*last), salvaged: 0 };
            self.damage.push(damage);
        }
        self.note_lost_end();
        // Below the tip an unreadable file shows as a gap, unless nothing of it was needed for replay. One that no batch
        // speaks of is a spare that an earlier run made and a power cut undid.
        let spoken_of = self.spoken_of();
        let tip_or_zero = self.tip().unwrap_or(0);
        let begin = self.checkpoint.and_then(|(begin, _)| self.segment_of(begin)).unwrap_or(0);
        let retired = self.retired();
        let quiet = self.unreadable.iter().filter(|id| {
            **id < tip_or_zero && **id >= begin && !retired.contains(id) && spoken_of.contains(id)
        });
        let quiet: Vec<u64> = quiet.copied().collect();
        for id in quiet {
            if !self.damage.iter().any(|damage| damage.segment == id) && self.gaps.is_empty() {
                self.damage.push(Damage { segment: id, first: 0, last: Some(0), salvaged: 0 });
            }
        }
    }

    /// Whether the log may have gone on behind the last batch that is left.
    fn note_lost_end(&mut self) {
        let tip = self.tip();
        // The newest file was durable in full size before its first batch: if it is short now, it was cut.
        let cut = tip.filter(|tip| self.pieces.get(tip).is_some_and(|piece| piece.layout.cut));
        // A torn end in a file that has rotted elsewhere may be rot as well: its last commits and what vouched for them.
        let dirty = tip.filter(|tip| {
            let dirty = self.pieces.get(tip).is_some_and(|piece| piece.layout.tail.is_some());
            let gap_before = |at: usize| self.chain.get(at).is_some_and(|link| link.segment == *tip);
            dirty && self.gaps.iter().any(|(at, ..)| gap_before(*at))
        });
        // Another file says that this one was durable in full, and its header or its end is gone.
        let named = self.headers.values().map(|header| header.previous);
        let named: BTreeSet<u64> =
            named.chain(self.pieces.keys().filter_map(|id| self.continues_in(*id))).collect();
        let short = self.pieces.iter().filter(|(_, piece)| piece.layout.cut).map(|(id, _)| id);
        let above = self.unreadable.iter().chain(short).filter(|id| Some(**id) > tip && named.contains(id));
        let above: Vec<u64> = above.copied().collect();
        let end = self.chain.last().map_or(1, |link| link.batch.head.next());
        // A later run may have begun in one that is lost and have written anew what nothing vouches for here.
        let anew = above.iter().any(|id| !tip.is_some_and(|tip| self.same_run(tip, *id)));
        let first = if anew { end.min(self.vouched.saturating_add(1)) } else { end };
        let ends = cut.into_iter().chain(dirty).chain(above);
        self.damage.extend(ends.map(|segment| Damage { segment, first, last: None, salvaged: 0 }));
    }
}
