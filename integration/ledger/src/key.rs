//! Event keys, `origin:epoch-nonce:lane:sequence`, as positions that can be compared.

use crate::intern::Interner;

/// A sequence number in a lane of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Position {
    pub(crate) stream: u32,
    pub(crate) seq: u64,
}

impl Position {
    pub(crate) const NONE: Position = Position { stream: u32::MAX, seq: 0 };
}

/// A lane of a run of an origin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    pub(crate) origin: u32,
    /// The lane of the origin, whatever the run: order is kept across restarts (RELIABILITY P5).
    pub(crate) lane: u32,
    pub(crate) epoch: u64,
}

/// All lanes of all runs that were seen.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    names: Interner,
    lanes: Interner,
    streams: Vec<Stream>,
}

impl Keys {
    /// `None` where the text is no key.
    pub(crate) fn position(&mut self, key: &str, bridges: &mut Interner) -> Option<Position> {
        let (name, seq) = key.rsplit_once(':')?;
        let seq = decimal(seq)?;
        if let Some(stream) = self.names.find(name) {
            return Some(Position { stream, seq });
        }
        let mut parts = name.split(':');
        let (origin, run, lane) = (parts.next()?, parts.next()?, parts.next()?);
        let (epoch, nonce) = run.split_once('-')?;
        let epoch = decimal(epoch)?;
        decimal(lane)?;
        let is_nonce = !nonce.is_empty() && nonce.bytes().all(|byte| byte.is_ascii_hexdigit());
        if parts.next().is_some() || origin.is_empty() || !is_nonce {
            return None;
        }
        let lane = self.lanes.intern(&format!("{origin}:{lane}"));
        let stream = self.names.intern(name);
        self.streams.push(Stream { origin: bridges.intern(origin), lane, epoch });
        Some(Position { stream, seq })
    }

    pub(crate) fn stream(&self, position: Position) -> Stream {
        self.streams[position.stream as usize]
    }

    pub(crate) fn text(&self, position: Position) -> String {
        if position == Position::NONE {
            return "no key".to_owned();
        }
        format!("{}:{}", self.names.text(position.stream), position.seq)
    }
}

fn decimal(text: &str) -> Option<u64> {
    // `parse` would take a sign.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_origin_run_lane_and_sequence() {
        let (mut keys, mut bridges) = (Keys::default(), Interner::default());
        let first = keys.position("a-1:7-00000000000000ff:12:345", &mut bridges).expect("a key");
        let next = keys.position("a-1:7-00000000000000ff:12:346", &mut bridges).expect("a key");
        let later = keys.position("a-1:8-0000000000000001:12:1", &mut bridges).expect("a key");
        assert_eq!(first.stream, next.stream);
        assert_eq!((first.seq, next.seq), (345, 346));
        assert_ne!(first.stream, later.stream);
        assert_eq!(keys.stream(first).lane, keys.stream(later).lane);
        assert_eq!((keys.stream(first).epoch, keys.stream(later).epoch), (7, 8));
        assert_eq!(bridges.text(keys.stream(later).origin), "a-1");
        assert_eq!(keys.text(first), "a-1:7-00000000000000ff:12:345");
    }

    #[test]
    fn anything_else_is_no_key() {
        for text in
            ["", "a", "a:1-f:1", "a:1-f:1:", "a:1-f:1:x", "a:1:1:1", "a:1-:1:1", "a:x-f:1:1", ":1-f:1:1"]
                .into_iter()
                .chain(["a:1-f:1:1:1", "a:1-g:1:1", "a:1-f:x:1", "a:1-f:1:+1", "a:1-f:1:-1"])
        {
            let (mut keys, mut bridges) = (Keys::default(), Interner::default());
            assert_eq!(keys.position(text, &mut bridges), None, "{text:?}");
        }
    }
}
