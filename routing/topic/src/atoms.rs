//! All topics there can ever be, as finitely many classes.
//!
//! The filters are determinised together over the tokens that occur in them, plus one *other* that stands for every
//! token which does not. Topics that end in states with the same set of matching filters cannot be told apart by these
//! filters: they are one *atom*. Atoms are disjoint and cover every legal topic, also those that do not exist yet.
//!
//! ```text
//! filters         atoms (example: what matches)
//! orders.**       x            nothing
//! *.created       x.created    *.created
//!                 orders       orders.**
//!                 orders.created       both
//! ```
//!
//! A filter with wildcards before a literal can double the states, so there are bounds, and an answer to "full": an
//! error that names the filters to blame.

mod build;
mod set;

use std::collections::HashMap;

use crate::{Topic, TopicFilter};

pub use set::{AtomSet, AtomSetIter};

/// States of the automaton, above which the question has no answer.
pub const STATES_MAX: usize = 100_000;

/// Which topics a set of filters tells apart.
#[derive(Debug)]
pub struct Atoms {
    /// Distinct, in the order of their first appearance.
    filters: Vec<TopicFilter>,
    numbers: HashMap<TopicFilter, u32>,
    tokens: HashMap<Box<str>, u32>,
    /// The first is where every topic begins.
    states: Vec<State>,
    atoms: Vec<Atom>,
    /// For each filter the atoms that it matches.
    matched: Vec<AtomSet>,
}

/// Topics that no filter tells apart.
#[derive(Clone, Debug)]
pub struct Atom {
    /// Numbers of the filters that match, ascending.
    filters: Box<[u32]>,
    example: Topic,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// Token and the state behind it, by token.
    literals: Box<[(u32, u32)]>,
    /// Behind every other token.
    other: u32,
    atom: u32,
}

/// No legal topic leads there.
const UNREACHED: u32 = u32::MAX;

/// The filters have too many states together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the topic filters tell too many classes of topics apart")]
pub struct TooManyStates {
    /// Those that multiply the states, the worst first; at most ten.
    pub filters: Vec<TopicFilter>,
}

impl Atoms {
    /// Filters may occur more than once; they are numbered by their first appearance.
    pub fn new<'a>(filters: impl IntoIterator<Item = &'a TopicFilter>) -> Result<Atoms, TooManyStates> {
        build::atoms(filters, STATES_MAX)
    }

    /// How many atoms there are: numbers below this one are atoms.
    pub fn len(&self) -> usize {
        self.atoms.len()
    }

    pub fn is_empty(&self) -> bool {
        self.atoms.is_empty()
    }

    /// The filters without repetition; a filter's place is its number.
    pub fn filters(&self) -> &[TopicFilter] {
        &self.filters
    }

    /// The number of a filter that the atoms were made of.
    pub fn number(&self, filter: &TopicFilter) -> Option<usize> {
        self.numbers.get(filter).map(|number| *number as usize)
    }

    /// Numbers of the filters that match every topic of the atom, ascending; the others match none of them.
    ///
    /// # Panics
    /// If there is no such atom.
    pub fn matching(&self, atom: usize) -> impl ExactSizeIterator<Item = usize> + '_ {
        self.atoms[atom].filters.iter().map(|number| *number as usize)
    }

    /// A topic of the atom: as few tokens as there can be, and of these as few bytes.
    ///
    /// # Panics
    /// If there is no such atom.
    pub fn example(&self, atom: usize) -> &Topic {
        &self.atoms[atom].example
    }

    /// The atom of a topic.
    ///
    /// `None` only where a topic of nearly [`BYTES_MAX`](crate::BYTES_MAX) bytes is made of shorter made-up tokens than
    /// there seemed to be left: every token of one or two ASCII characters would have to occur in a filter.
    pub fn of(&self, topic: &Topic) -> Option<usize> {
        let mut at = 0;
        for token in topic.tokens() {
            let state = self.states.get(at as usize)?;
            at = state.after(self.tokens.get(token).copied());
        }
        self.states.get(at as usize).map(|state| state.atom as usize)
    }

    /// Atoms of which the filter matches some topic. A filter that the atoms were made of matches all topics of these;
    /// any other may cut through them.
    pub fn intersecting(&self, filter: &TopicFilter) -> AtomSet {
        match self.number(filter) {
            Some(number) => self.matched[number].clone(),
            None => self.walk(filter),
        }
    }

    /// The set of no atoms.
    pub fn none(&self) -> AtomSet {
        AtomSet::empty(self.len())
    }

    /// The set of all.
    pub fn all(&self) -> AtomSet {
        AtomSet::full(self.len())
    }

    /// The automaton and the filter read the same tokens, in step; layer by layer, for a topic's tokens are bounded. Up to the
    /// first wildcard there is one way, and most filters have no other.
    fn walk(&self, filter: &TopicFilter) -> AtomSet {
        let mut found = self.none();
        let (mut at, mut read) = (0_u32, 0);
        for token in filter.tokens().take_while(|token| !matches!(*token, "*" | "**")) {
            let Some(state) = self.states.get(at as usize) else { return found };
            at = state.after(self.tokens.get(token).copied());
            read += 1;
        }
        let Some(state) = self.states.get(at as usize) else { return found };
        let reached = filter.skip_multi(1 << read);
        if read > 0 && reached & (1 << filter.tokens().count()) != 0 {
            found.insert(state.atom as usize);
        }
        if reached != 1 << filter.tokens().count() {
            self.walk_on(filter, (at, reached), read, &mut found);
        }
        found
    }

    /// From where `read` tokens have led.
    fn walk_on(&self, filter: &TopicFilter, from: (u32, u32), read: usize, found: &mut AtomSet) {
        let named: Vec<Option<u32>> = filter.tokens().map(|token| self.tokens.get(token).copied()).collect();
        let wanted: Vec<&str> = filter.tokens().collect();
        let end = 1_u32 << wanted.len();
        let mut seen: std::collections::HashSet<(u32, u32)> = std::collections::HashSet::new();
        let mut layer = vec![from];
        for _ in read..crate::TOKENS_MAX {
            let mut next = Vec::new();
            for (at, positions) in layer {
                let Some(state) = self.states.get(at as usize) else { continue };
                let tokens = state.literals.iter().map(|(token, _)| Some(*token));
                // Tokens of the filter that this state does not name lead where *other* leads, but further in the filter.
                let asked = named
                    .iter()
                    .zip(&wanted)
                    .enumerate()
                    .filter(|(i, (_, text))| positions & (1 << i) != 0 && !matches!(**text, "*" | "**"));
                let asked = asked.map(|(i, (token, _))| (*token, Some(i)));
                for (token, place) in tokens.map(|token| (token, None)).chain(asked).chain([(None, None)]) {
                    let reads = |i: usize| match place {
                        Some(place) => wanted[i] == wanted[place],
                        None => token.is_some() && named[i] == token,
                    };
                    let mut moved = 0;
                    for (i, text) in wanted.iter().enumerate().filter(|(i, _)| positions & (1 << i) != 0) {
                        match *text {
                            "**" => moved |= 1 << i,
                            "*" => moved |= 1 << (i + 1),
                            _ if reads(i) => moved |= 1 << (i + 1),
                            _ => {}
                        }
                    }
                    let moved = filter.skip_multi(moved);
                    let step = (state.after(token), moved);
                    if moved == 0 || step.0 == UNREACHED || !seen.insert(step) {
                        continue;
                    }
                    if moved & end != 0 {
                        found.insert(self.states[step.0 as usize].atom as usize);
                    }
                    next.push(step);
                }
            }
            layer = next;
        }
    }
}

impl State {
    fn after(&self, token: Option<u32>) -> u32 {
        let named =
            token.and_then(|token| self.literals.binary_search_by_key(&token, |(token, _)| *token).ok());
        named.map_or(self.other, |at| self.literals[at].1)
    }
}
