//! From filters to atoms: a trie of the filters, read as an automaton that may be in several nodes at once, made
//! deterministic (the subset construction of Rabin and Scott).
//!
//! States are found in layers, a token at a time, because a topic has at most [`TOKENS_MAX`] tokens and
//! [`BYTES_MAX`] bytes: what lies beyond is no topic, so nothing is said of it. A state that is found again in fewer
//! bytes is looked at again, since more may be in reach of it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::{Atom, AtomSet, Atoms, State, TooManyStates, UNREACHED};
use crate::{BYTES_MAX, TOKENS_MAX, Topic, TopicFilter};

/// Steps of the automaton, and nodes in all its states: what it holds in memory.
const STEPS_MAX: usize = 4_000_000;
const NODES_MAX: usize = 32_000_000;
const BLAMED_MAX: usize = 10;

#[derive(Default)]
struct Node {
    /// Token and child.
    literals: Vec<(u32, u32)>,
    one: Option<u32>,
    many: Option<u32>,
    /// This node is `**`: it reads any token and stays.
    stays: bool,
    /// Number of the filter that ends here.
    filter: Option<u32>,
}

/// A text that leads to a state.
#[derive(Clone, Copy)]
struct Way {
    /// The way without its last token; the empty text is its own.
    before: u32,
    /// `None` is *other*.
    token: Option<u32>,
    state: u32,
    tokens: usize,
    bytes: usize,
}

/// What is known of a state.
struct Known {
    nodes: Box<[u32]>,
    /// The shortest way: fewest tokens, and of these fewest bytes.
    example: u32,
    /// Bytes of the shortest way in bytes; and of the one whose steps were taken.
    bytes: usize,
    expanded: usize,
}

struct Builder {
    nodes: Vec<Node>,
    states_max: usize,
    numbers: HashMap<Box<[u32]>, u32, BuildHasherDefault<Mixed>>,
    known: Vec<Known>,
    states: Vec<State>,
    ways: Vec<Way>,
    sizes: Vec<usize>,
    other_bytes: usize,
    steps: usize,
    nodes_held: usize,
}

pub(super) fn atoms<'a>(
    filters: impl IntoIterator<Item = &'a TopicFilter>,
    states_max: usize,
) -> Result<Atoms, TooManyStates> {
    let mut distinct: Vec<TopicFilter> = Vec::new();
    let mut numbers: HashMap<TopicFilter, u32> = HashMap::new();
    let mut tokens: HashMap<Box<str>, u32> = HashMap::new();
    let mut nodes = vec![Node::default()];
    for filter in filters {
        if numbers.contains_key(filter) {
            continue;
        }
        let number = id(distinct.len());
        numbers.insert(filter.clone(), number);
        distinct.push(filter.clone());
        let mut at = 0;
        for token in filter.tokens() {
            at = child(&mut nodes, at, token, &mut tokens);
        }
        nodes[at].filter = Some(number);
    }
    let other = made_up(&tokens);
    let mut names: Vec<&str> = vec![""; tokens.len()];
    for (token, number) in &tokens {
        names[*number as usize] = token;
    }
    let mut builder = Builder {
        nodes,
        states_max,
        numbers: HashMap::default(),
        known: Vec::new(),
        states: Vec::new(),
        ways: Vec::new(),
        sizes: names.iter().map(|name| name.len()).collect(),
        other_bytes: other.len(),
        steps: 0,
        nodes_held: 0,
    };
    let found = builder.explore().and_then(|()| builder.classes(&names, &other, distinct.len()));
    let Some((atoms, matched)) = found else { return Err(TooManyStates { filters: blamed(&distinct) }) };
    let states = builder.states;
    Ok(Atoms { filters: distinct, numbers, tokens, states, atoms, matched })
}

fn id(at: usize) -> u32 {
    u32::try_from(at).expect("bounded far below by what documents can hold")
}

fn child(nodes: &mut Vec<Node>, at: usize, token: &str, tokens: &mut HashMap<Box<str>, u32>) -> usize {
    let new = id(nodes.len());
    let slot = match token {
        "*" => nodes[at].one.get_or_insert(new),
        "**" => nodes[at].many.get_or_insert(new),
        literal => {
            let next = id(tokens.len());
            let number = match tokens.get(literal) {
                Some(number) => *number,
                None => *tokens.entry(literal.into()).or_insert(next),
            };
            let literals = &mut nodes[at].literals;
            match literals.iter().position(|(token, _)| *token == number) {
                Some(place) => &mut literals[place].1,
                None => {
                    literals.push((number, new));
                    let last = literals.len() - 1;
                    &mut literals[last].1
                }
            }
        }
    };
    let found = *slot;
    if found == new {
        nodes.push(Node { stays: token == "**", ..Node::default() });
    }
    found as usize
}

/// A token that does not occur, as short as can be and readable: `x` if nothing speaks against it.
fn made_up(tokens: &HashMap<Box<str>, u32>) -> String {
    let characters: Vec<char> = "xyzabcdefghijklmnopqrstuvw0123456789"
        .chars()
        .chain(('!'..='~').filter(|c| !c.is_ascii_alphanumeric()))
        .collect();
    let mut level: Vec<String> = vec![String::new()];
    loop {
        let mut longer = Vec::with_capacity(level.len() * characters.len());
        for start in &level {
            for c in &characters {
                let token = format!("{start}{c}");
                if !tokens.contains_key(token.as_str()) && Topic::parse(&token).is_ok() {
                    return token;
                }
                longer.push(token);
            }
        }
        // Only tokens that occur have no room at this length, so the list is no longer than theirs, times a length.
        level = longer.into_iter().filter(|token| Topic::parse(token).is_ok()).collect();
    }
}

/// Filters that make states multiply: wildcards before a literal, `**` above all.
fn blamed(filters: &[TopicFilter]) -> Vec<TopicFilter> {
    let weight = |filter: &TopicFilter| {
        let mut weight = 0;
        let mut pending = 0;
        for token in filter.tokens() {
            match token {
                "**" => pending += 64,
                "*" => pending += 1,
                _ => weight = pending,
            }
        }
        weight
    };
    let mut weighed: Vec<(usize, &TopicFilter)> =
        filters.iter().map(|filter| (weight(filter), filter)).collect();
    weighed.sort_by(|a, b| (b.0, a.1).cmp(&(a.0, b.1)));
    let weighty = weighed.iter().filter(|(weight, _)| *weight > 0).take(BLAMED_MAX);
    let found: Vec<TopicFilter> = weighty.map(|(_, filter)| (*filter).clone()).collect();
    // Without any, there are simply too many.
    if found.is_empty() { filters.iter().take(BLAMED_MAX).cloned().collect() } else { found }
}

impl Builder {
    /// Adds a node, and what is reached from it because `**` may stand for nothing.
    fn enter(&self, node: u32, set: &mut Vec<u32>) {
        let mut next = Some(node);
        while let Some(at) = next {
            set.push(at);
            next = self.nodes[at as usize].many;
        }
    }

    /// The number of the state that is this set of nodes, and whether it is new; `None` where there is no room for it.
    fn state(&mut self, set: &mut Vec<u32>) -> Option<(u32, bool)> {
        set.sort_unstable();
        set.dedup();
        if let Some(number) = self.numbers.get(set.as_slice()) {
            return Some((*number, false));
        }
        self.nodes_held += set.len();
        if self.states.len() == self.states_max || self.nodes_held > NODES_MAX {
            return None;
        }
        let number = id(self.states.len());
        let nodes: Box<[u32]> = set.as_slice().into();
        self.numbers.insert(nodes.clone(), number);
        self.known.push(Known { nodes, example: 0, bytes: usize::MAX, expanded: usize::MAX });
        self.states.push(State { other: UNREACHED, ..State::default() });
        Some((number, true))
    }

    fn explore(&mut self) -> Option<()> {
        let mut set = Vec::new();
        self.enter(0, &mut set);
        self.state(&mut set)?;
        self.ways.push(Way { before: 0, token: None, state: 0, tokens: 0, bytes: 0 });
        let mut layer = vec![0];
        for _ in 0..TOKENS_MAX {
            let mut next = Vec::new();
            for way in layer {
                self.expand(way, &mut next)?;
            }
            layer = next;
        }
        Some(())
    }

    /// Takes every step at the end of a way; those that lead to a new state, or to a known one in fewer bytes, go on.
    fn expand(&mut self, way: u32, next: &mut Vec<u32>) -> Option<()> {
        let Way { state, bytes, .. } = self.ways[way as usize];
        let at = state as usize;
        if bytes >= self.known[at].expanded {
            return Some(());
        }
        self.known[at].expanded = bytes;
        let mut base: Vec<u32> = Vec::new();
        let mut named: Vec<(u32, u32)> = Vec::new();
        for node_at in &self.known[at].nodes {
            let node = &self.nodes[*node_at as usize];
            if node.stays {
                self.enter(*node_at, &mut base);
            }
            if let Some(one) = node.one {
                self.enter(one, &mut base);
            }
            named.extend_from_slice(&node.literals);
        }
        named.sort_unstable();
        let mut literals: Vec<(u32, u32)> = Vec::new();
        let mut set: Vec<u32> = Vec::new();
        for same in named.chunk_by(|a, b| a.0 == b.0) {
            let token = same[0].0;
            set.clear();
            set.extend_from_slice(&base);
            for (_, child) in same {
                self.enter(*child, &mut set);
            }
            let behind = self.step(way, Some(token), &mut set, next)?;
            if behind != UNREACHED {
                literals.push((token, behind));
            }
        }
        let other = self.step(way, None, &mut base, next)?;
        self.steps += literals.len().saturating_sub(self.states[at].literals.len());
        self.states[at].literals = literals.into();
        self.states[at].other = other;
        (self.steps <= STEPS_MAX).then_some(())
    }

    /// The state behind one token, or [`UNREACHED`] where the text is too long for a topic.
    fn step(&mut self, way: u32, token: Option<u32>, set: &mut Vec<u32>, next: &mut Vec<u32>) -> Option<u32> {
        let before = self.ways[way as usize];
        let dot = usize::from(before.tokens > 0);
        let bytes = before.bytes + dot + token.map_or(self.other_bytes, |token| self.sizes[token as usize]);
        if bytes > BYTES_MAX {
            return Some(UNREACHED);
        }
        let (state, is_new) = self.state(set)?;
        let known = &mut self.known[state as usize];
        if bytes < known.bytes {
            let tokens = before.tokens + 1;
            let new = id(self.ways.len());
            if is_new || tokens == self.ways[known.example as usize].tokens {
                known.example = new;
            }
            known.bytes = bytes;
            self.ways.push(Way { before: way, token, state, tokens, bytes });
            next.push(new);
        }
        Some(state)
    }

    /// States with the same filters are one atom. `None` where the sets would not fit into memory.
    fn classes(&mut self, names: &[&str], other: &str, filters: usize) -> Option<(Vec<Atom>, Vec<AtomSet>)> {
        let mut numbers: HashMap<Box<[u32]>, u32, BuildHasherDefault<Mixed>> = HashMap::default();
        let mut atoms: Vec<Atom> = Vec::new();
        // Shortest first, so that the first example of an atom is its shortest. The first state is no topic.
        let mut order: Vec<u32> = (1..id(self.states.len())).collect();
        order.sort_by_key(|at| {
            let way = &self.ways[self.known[*at as usize].example as usize];
            (way.tokens, way.bytes)
        });
        for at in order {
            let nodes = self.known[at as usize].nodes.iter();
            let mut matching: Vec<u32> = nodes.filter_map(|node| self.nodes[*node as usize].filter).collect();
            matching.sort_unstable();
            let number = match numbers.get(matching.as_slice()) {
                Some(number) => *number,
                None => {
                    let number = id(atoms.len());
                    let matching: Box<[u32]> = matching.into();
                    numbers.insert(matching.clone(), number);
                    atoms.push(Atom { filters: matching, example: self.example(at, names, other) });
                    number
                }
            };
            self.states[at as usize].atom = number;
        }
        if filters.saturating_mul(atoms.len()) / 64 > NODES_MAX {
            return None;
        }
        let mut matched = vec![AtomSet::empty(atoms.len()); filters];
        for (atom, one) in atoms.iter().enumerate() {
            one.filters.iter().for_each(|filter| matched[*filter as usize].insert(atom));
        }
        Some((atoms, matched))
    }

    fn example(&self, state: u32, names: &[&str], other: &str) -> Topic {
        let mut tokens: Vec<&str> = Vec::new();
        let mut way = &self.ways[self.known[state as usize].example as usize];
        while way.tokens > 0 {
            tokens.push(way.token.map_or(other, |token| names[token as usize]));
            way = &self.ways[way.before as usize];
        }
        tokens.reverse();
        Topic::parse(&tokens.join(".")).expect("only texts that are topics were followed")
    }
}

/// Mixes words of sets; they come from documents that were checked, and are bounded.
#[derive(Default)]
struct Mixed(u64);

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 29;
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }
}
