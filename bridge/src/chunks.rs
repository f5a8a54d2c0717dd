//! Bytes on their way to a socket: what was written for it, and payloads where they lie.

use std::io::{self, IoSlice};

use bytes::{Buf, Bytes, BytesMut};
use smallvec::SmallVec;
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// A payload of this size or more is a chunk of its own; below, copying costs less than another part of a write.
pub(crate) const CHUNK_BYTES: usize = 4 << 10;
/// Parts of one system call.
const PARTS_MAX: usize = 64;

/// Collects what is to be written. Large payloads are not copied.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    complete: Vec<Bytes>,
    /// What is written at.
    text: BytesMut,
    /// In `complete`.
    bytes: usize,
}

impl Chunks {
    /// Bytes in all.
    pub(crate) fn len(&self) -> usize {
        self.bytes + self.text.len()
    }

    /// What it keeps allocated.
    pub(crate) fn capacity(&self) -> usize {
        self.text.capacity()
    }

    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.text.reserve(bytes);
    }

    /// Appends a copy of `text`.
    pub(crate) fn copy(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
    }

    /// Appends `payload`, which is part of `owner`.
    pub(crate) fn share(&mut self, payload: &[u8], owner: &Bytes) {
        if payload.len() < CHUNK_BYTES {
            return self.copy(payload);
        }
        self.complete_text();
        self.bytes += payload.len();
        self.complete.push(owner.slice_ref(payload));
    }

    fn complete_text(&mut self) {
        if !self.text.is_empty() {
            self.bytes += self.text.len();
            self.complete.push(self.text.split().freeze());
        }
    }

    /// Everything, as one.
    #[cfg(test)]
    pub(crate) fn concat(mut self) -> Vec<u8> {
        self.complete_text();
        self.complete.concat()
    }

    /// Writes everything, and is empty then.
    pub(crate) async fn write_to(&mut self, stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        self.complete_text();
        self.bytes = 0;
        let written = write_chunks(stream, &mut self.complete).await;
        self.complete.clear();
        written
    }
}

/// Writes all of them, one after the other, as many as possible at once, and flushes.
pub(crate) async fn write_chunks(
    stream: &mut (impl AsyncWrite + Unpin),
    chunks: &mut [Bytes],
) -> io::Result<()> {
    let mut begin = 0;
    loop {
        begin += chunks.iter().skip(begin).take_while(|chunk| chunk.is_empty()).count();
        let Some(rest) = chunks.get_mut(begin..).filter(|rest| !rest.is_empty()) else {
            return stream.flush().await;
        };
        let mut written = {
            let parts: SmallVec<[IoSlice<'_>; PARTS_MAX]> =
                rest.iter().take(PARTS_MAX).map(|chunk| IoSlice::new(chunk)).collect();
            stream.write_vectored(&parts).await?
        };
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        for chunk in rest {
            let taken = written.min(chunk.len());
            chunk.advance(taken);
            written -= taken;
            if written == 0 {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncReadExt;

    use super::*;

    proptest! {
        #[test]
        fn what_was_pushed_is_written_in_order(sizes in prop::collection::vec((0_usize..20_000, any::<bool>()), 0..200)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            runtime.block_on(async {
                let mut chunks = Chunks::default();
                let mut expected = Vec::new();
                for (number, (size, shares)) in sizes.into_iter().enumerate() {
                    let owner = Bytes::from(vec![number as u8; size + 2]);
                    let part = &owner[1..=size];
                    if shares { chunks.share(part, &owner) } else { chunks.copy(part) }
                    expected.extend_from_slice(part);
                }
                assert_eq!(chunks.len(), expected.len());
                // Small, so that writes end within a chunk.
                let (mut near, mut far) = tokio::io::duplex(4_099);
                let reading = async {
                    let mut got = Vec::new();
                    far.read_to_end(&mut got).await.expect("bytes");
                    got
                };
                let writing = async {
                    chunks.write_to(&mut near).await.expect("written");
                    drop(near);
                };
                let (got, ()) = tokio::join!(reading, writing);
                assert!(got == expected);
                assert_eq!(chunks.len(), 0);
            });
        }
    }
}
