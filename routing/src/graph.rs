//! Who is linked with whom, as both ends of each link say.
//!
//! ```text
//! node     0     1   2        starts  0 2 3 4
//! links    1 2 │ 0 │ 0        of 0: links[0..2], of 1: links[2..3], …
//! ```
//!
//! One flat list, because every path computation walks all of it.

use crate::BridgeIndex;

/// A link from one end: the neighbour and the cost.
pub(crate) type Edge = (BridgeIndex, u32);

/// The links of every bridge of the table, those of one in the order of its neighbours.
#[derive(Clone, Debug, Default)]
pub(crate) struct Graph {
    starts: Vec<u32>,
    links: Vec<Edge>,
}

/// The cost of one link, before and after; `None` where it does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EdgeChange {
    pub(crate) ends: [BridgeIndex; 2],
    pub(crate) before: Option<u32>,
    pub(crate) after: Option<u32>,
}

impl Graph {
    pub(crate) fn new(nodes: &[Vec<Edge>]) -> Graph {
        let mut starts = Vec::with_capacity(nodes.len() + 1);
        let mut links = Vec::with_capacity(nodes.iter().map(Vec::len).sum());
        starts.push(0);
        for of_one in nodes {
            links.extend_from_slice(of_one);
            starts.push(u32::try_from(links.len()).expect("4,096 bridges list 64 links each"));
        }
        Graph { starts, links }
    }

    /// Bridges of the table, linked or not.
    pub(crate) fn len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    pub(crate) fn of(&self, bridge: BridgeIndex) -> &[Edge] {
        let place = usize::from(bridge.0);
        match (self.starts.get(place), self.starts.get(place + 1)) {
            (Some(start), Some(end)) => &self.links[*start as usize..*end as usize],
            _ => &[],
        }
    }
}
