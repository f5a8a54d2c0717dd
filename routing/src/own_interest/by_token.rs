//! Filters by the literal tokens in them: what a filter covers has all of its tokens, so the rarest of these leads to it.

use std::collections::{HashMap, HashSet};

use meshbridge_topic::TopicFilter;

#[derive(Debug, Default)]
pub(super) struct ByToken {
    sharing: HashMap<Box<str>, Sharing>,
}

/// The filters that have a token. Many tokens are of one filter only, and a set for each would be most of what is held.
#[derive(Debug)]
pub(super) enum Sharing {
    Nobody,
    One(TopicFilter),
    Many(HashSet<TopicFilter>),
}

impl Sharing {
    pub(super) fn len(&self) -> usize {
        match self {
            Sharing::Nobody => 0,
            Sharing::One(_) => 1,
            Sharing::Many(filters) => filters.len(),
        }
    }

    /// In no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &TopicFilter> {
        let (one, many) = match self {
            Sharing::Nobody => (None, None),
            Sharing::One(filter) => (Some(filter), None),
            Sharing::Many(filters) => (None, Some(filters)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

impl ByToken {
    pub(super) fn insert(&mut self, filter: &TopicFilter) {
        for token in literals(filter) {
            match self.sharing.get_mut(token) {
                None => {
                    self.sharing.insert(token.into(), Sharing::One(filter.clone()));
                }
                Some(Sharing::Many(filters)) => {
                    filters.insert(filter.clone());
                }
                Some(sharing) => {
                    let both: HashSet<TopicFilter> = sharing.iter().chain([filter]).cloned().collect();
                    // A filter may have a token twice.
                    if both.len() > 1 {
                        *sharing = Sharing::Many(both);
                    }
                }
            }
        }
    }

    pub(super) fn remove(&mut self, filter: &TopicFilter) {
        for token in literals(filter) {
            let Some(sharing) = self.sharing.get_mut(token) else { continue };
            let is_left = match sharing {
                Sharing::Many(filters) => {
                    filters.remove(filter);
                    !filters.is_empty()
                }
                Sharing::One(one) => one != filter,
                Sharing::Nobody => false,
            };
            if !is_left {
                self.sharing.remove(token);
            }
        }
    }

    /// Those that have the rarest literal token of `filter`; `None` where it has none.
    pub(super) fn rarest(&self, filter: &TopicFilter) -> Option<&Sharing> {
        let sharing = literals(filter).map(|token| self.sharing.get(token).unwrap_or(&Sharing::Nobody));
        sharing.min_by_key(|sharing| sharing.len())
    }
}

fn literals(filter: &TopicFilter) -> impl Iterator<Item = &str> {
    filter.tokens().filter(|token| !matches!(*token, "*" | "**"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_is_not_there_takes_nobody_away() {
        let [one, other, twice] =
            ["a.*", "*.a", "a.*.a"].map(|text| TopicFilter::parse(text).expect("a filter"));
        let mut by_token = ByToken::default();
        by_token.insert(&one);
        by_token.remove(&other);
        by_token.insert(&twice);
        let shared = |by_token: &ByToken| -> Vec<TopicFilter> {
            let mut shared: Vec<_> = by_token.rarest(&other).expect("a token").iter().cloned().collect();
            shared.sort();
            shared
        };
        assert_eq!(shared(&by_token), [one.clone(), twice.clone()]);
        by_token.remove(&twice);
        assert_eq!(shared(&by_token), std::slice::from_ref(&one));
        by_token.remove(&one);
        assert!(by_token.sharing.is_empty());
    }
}
