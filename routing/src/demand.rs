//! Which bridges events go to inside which zones and over which links: what the data path asks for, noted for the router.
//!
//! The data path notes while the router reads, each on a thread of its own. Nothing is ever taken back; the router begins
//! a new list now and then instead (`only_way`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::paths::CLASSES_MAX;
use crate::{DestinationSet, Passage};

/// The destinations that were asked for in each class of events. Full with 64 classes: those that come later are not
/// noted.
#[derive(Debug)]
pub(crate) struct Demand {
    classes: [OnceLock<Arc<Asked>>; CLASSES_MAX],
    /// Rises after something new was noted.
    news: AtomicU64,
}

/// What was asked for in one class.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) passage: Passage,
    /// A bit for each bridge of the table, as in a [`DestinationSet`].
    words: Box<[AtomicU64]>,
}

impl Default for Demand {
    fn default() -> Demand {
        Demand { classes: std::array::from_fn(|_| OnceLock::new()), news: AtomicU64::new(0) }
    }
}

impl Demand {
    /// Where to note what is asked for in a class, in a federation of that many bridges.
    pub(crate) fn of(&self, passage: &Passage, bridges: usize) -> Option<Arc<Asked>> {
        let new = || {
            let words = (0..bridges.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
            Arc::new(Asked { passage: passage.clone(), words })
        };
        let mut classes = self.classes.iter().map(|slot| slot.get_or_init(new));
        classes.find(|asked| asked.passage == *passage).cloned()
    }

    pub(crate) fn note(&self, asked: &Asked, destinations: &DestinationSet) {
        if asked.note(destinations) {
            self.news.fetch_add(1, Ordering::Release);
        }
    }

    /// Another number than before, if something was noted since.
    pub(crate) fn news(&self) -> u64 {
        self.news.load(Ordering::Acquire)
    }

    pub(crate) fn classes(&self) -> impl Iterator<Item = &Asked> {
        self.classes.iter().map_while(OnceLock::get).map(Arc::as_ref)
    }
}

impl Asked {
    /// Tells whether one of them is new.
    fn note(&self, destinations: &DestinationSet) -> bool {
        let mut any = false;
        for (noted, wanted) in self.words.iter().zip(destinations.words()) {
            // Nearly always all are there, and what is only read is shared by the processors.
            if wanted & !noted.load(Ordering::Relaxed) != 0 {
                any |= wanted & !noted.fetch_or(wanted, Ordering::Relaxed) != 0;
            }
        }
        any
    }

    pub(crate) fn destinations(&self) -> DestinationSet {
        DestinationSet::of_words(self.words.iter().map(|word| word.load(Ordering::Relaxed)))
    }
}
