//! Extension 3 of a frame: the hop limit it left its origin with, so that a bridge on the way knows how many links it has
//! crossed (R19). A frame without it has crossed none as far as policies know.
//!
//! ```text
//! value    limit u8
//! ```

use bytes::Bytes;

/// Type of the extension.
pub const HOPS_EXTENSION: u8 = 3;
const VERSION: u8 = 1;

/// Every value there is, so that none is allocated.
static LIMITS: [u8; 256] = {
    let mut all = [0; 256];
    let mut at = 0;
    while at < all.len() {
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, within the length")]
        {
            all[at] = at as u8;
        }
        at += 1;
    }
    all
};

/// An extension for a frame, as type, version and value.
pub fn encode_hops(limit: u8) -> (u8, u8, Bytes) {
    let at = usize::from(limit);
    (HOPS_EXTENSION, VERSION, Bytes::from_static(LIMITS.get(at..=at).unwrap_or_default()))
}

/// The links that a frame has crossed on arrival, whose limit is `left` now.
pub fn hops_crossed(extensions: &[(u8, u8, Bytes)], left: u8) -> u8 {
    let first = extensions.iter().find(|(kind, version, _)| (*kind, *version) == (HOPS_EXTENSION, VERSION));
    match first.map(|(.., value)| &value[..]) {
        // The origin's link is the first one, and its limit is counted down by those that pass it on.
        Some([limit]) => limit.saturating_sub(left).saturating_add(1),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_counts_its_links() {
        let extension = [encode_hops(16)];
        assert_eq!(hops_crossed(&extension, 16), 1, "from the origin's neighbour");
        assert_eq!(hops_crossed(&extension, 13), 4);
        assert_eq!(hops_crossed(&extension, 20), 1, "a limit that grew on the way");
        assert_eq!(hops_crossed(&[], 13), 0);
    }
}
