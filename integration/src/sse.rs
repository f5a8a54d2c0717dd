//! Server-sent events, byte by byte.

use anyhow::{Result, ensure};

/// A message larger than this is no event of ours.
const MESSAGE_BYTES_MAX: usize = 8 << 20;

/// One message of a stream. Comments are messages without data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) id: Option<String>,
    pub(crate) event: Option<String>,
    pub(crate) data: Option<String>,
}

/// Cuts a stream into messages, however its chunks fall.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    buffer: Vec<u8>,
    /// Up to here no message ends.
    searched: usize,
}

impl Decoder {
    /// The messages that this chunk completes.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<Vec<Message>> {
        self.buffer.extend(chunk.iter().filter(|byte| **byte != b'\r'));
        let mut messages = Vec::new();
        let mut start = 0;
        while let Some(at) = self.buffer[self.searched..].windows(2).position(|pair| pair == b"\n\n") {
            let end = self.searched + at;
            messages.push(parse(std::str::from_utf8(&self.buffer[start..end])?));
            start = end + 2;
            self.searched = start;
        }
        self.buffer.drain(..start);
        self.searched = self.buffer.len().saturating_sub(1);
        ensure!(self.buffer.len() <= MESSAGE_BYTES_MAX, "a message of more than {MESSAGE_BYTES_MAX} bytes");
        Ok(messages)
    }
}

fn parse(text: &str) -> Message {
    let mut message = Message::default();
    for line in text.lines() {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "id" => message.id = Some(value.to_owned()),
            "event" => message.event = Some(value.to_owned()),
            "data" => match &mut message.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => message.data = Some(value.to_owned()),
            },
            _ => {}
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_the_same_however_the_chunks_fall() -> Result<()> {
        let stream = ": hello\n\nid: 7\ndata: {\"a\":\ndata: 1}\n\nevent: end\r\ndata:over\r\n\r\nid: 8\n";
        let text = |text: &str| Some(text.to_owned());
        let expected = [
            Message::default(),
            Message { id: text("7"), data: text("{\"a\":\n1}"), event: None },
            Message { id: None, data: text("over"), event: text("end") },
        ];
        for size in 1..stream.len() {
            let mut decoder = Decoder::default();
            let mut messages = Vec::new();
            for chunk in stream.as_bytes().chunks(size) {
                messages.extend(decoder.push(chunk)?);
            }
            assert_eq!(messages, expected, "chunks of {size}");
        }
        Ok(())
    }
}
