//! What is said on a connection before and after the session's own bytes.
//!
//! ```text
//! who dialled says first       control: 1                   data: 2 | token [32] | slot u8
//! answer on a control one      WELCOME u32
//! who dialled commits          3; control messages follow
//! either, at the end           FAREWELL u32 | code u8 | length u16 | reason
//! ```
//!
//! Control messages begin with their length, which is never as large as the two marks.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::link::transport::{CloseCode, DATA_STREAMS, closed_by_peer};

/// Data connections of a session: those that carry data from who dialled, then those the other way.
pub(super) const SLOTS: usize = 2 * DATA_STREAMS;
/// The peer may have a session.
pub(super) const WELCOME: u32 = u32::MAX - 1;
/// The session ends; the reason follows.
pub(in crate::link) const FAREWELL: u32 = u32::MAX;
/// The dialling side takes this connection and no other one.
pub(super) const COMMIT: u8 = 3;
const CONTROL: u8 = 1;
const DATA: u8 = 2;
const REASON_BYTES_MAX: usize = 512;

/// Names a session towards its data connections. Both ends derive it from the keys of the control connection's TLS
/// session (RFC 8446, section 7.5), so it cannot be guessed, and is that of no other session.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Token(pub(super) [u8; 32]);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// What a connection is for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Preface {
    Control,
    Data { token: Token, slot: usize },
}

impl Preface {
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Preface::Control => vec![CONTROL],
            Preface::Data { token, slot } => {
                let mut bytes = vec![DATA];
                bytes.extend_from_slice(&token.0);
                bytes.push(u8::try_from(*slot).expect("slots are few"));
                bytes
            }
        }
    }

    pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Preface> {
        match stream.read_u8().await? {
            CONTROL => Ok(Preface::Control),
            DATA => {
                let mut token = [0; 32];
                stream.read_exact(&mut token).await?;
                let slot = usize::from(stream.read_u8().await?);
                if slot >= SLOTS {
                    return Err(io::Error::other("a data connection of a number that there is not"));
                }
                Ok(Preface::Data { token: Token(token), slot })
            }
            _ => Err(io::Error::other("a connection that is neither for control nor for data")),
        }
    }
}

pub(super) fn farewell(code: CloseCode, reason: &str) -> Vec<u8> {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let reason = &reason.as_bytes()[..end];
    let mut bytes = FAREWELL.to_be_bytes().to_vec();
    bytes.push(code as u8);
    bytes.extend_from_slice(&u16::try_from(reason.len()).expect("cut above").to_be_bytes());
    bytes.extend_from_slice(reason);
    bytes
}

/// What follows a [`FAREWELL`], as the error that ends the stream.
pub(in crate::link) async fn read_farewell(stream: &mut (impl AsyncRead + Unpin)) -> io::Error {
    match read_reason(stream).await {
        Ok(reason) => io::Error::other(closed_by_peer(&reason)),
        Err(problem) => problem,
    }
}

async fn read_reason(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let _code = stream.read_u8().await?;
    let length = usize::from(stream.read_u16().await?);
    let mut reason = vec![0; length.min(REASON_BYTES_MAX)];
    stream.read_exact(&mut reason).await?;
    Ok(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_is_read() {
        for slot in 0..SLOTS {
            let preface = Preface::Data { token: Token([7; 32]), slot };
            assert_eq!(Preface::read(&mut preface.encode().as_slice()).await.ok(), Some(preface));
        }
        let control = Preface::read(&mut Preface::Control.encode().as_slice()).await;
        assert_eq!(control.ok(), Some(Preface::Control));
    }

    #[tokio::test]
    async fn every_other_beginning_is_refused() {
        let data = Preface::Data { token: Token([7; 32]), slot: 0 }.encode();
        for cut in 0..data.len() {
            assert!(Preface::read(&mut &data[..cut]).await.is_err(), "cut at {cut}");
        }
        for first in (0..=u8::MAX).filter(|first| ![CONTROL, DATA].contains(first)) {
            assert!(Preface::read(&mut [first; 64].as_slice()).await.is_err(), "{first}");
        }
        let mut beyond = data;
        *beyond.last_mut().expect("not empty") = u8::try_from(SLOTS).expect("few");
        assert!(Preface::read(&mut beyond.as_slice()).await.is_err());
    }

    #[tokio::test]
    async fn a_farewell_keeps_its_reason_whatever_its_length() {
        for reason in ["", "replaced by a newer session", &"ü".repeat(400)] {
            let bytes = farewell(CloseCode::Replaced, reason);
            assert_eq!(bytes[..4], FAREWELL.to_be_bytes());
            let told = read_farewell(&mut &bytes[4..]).await.to_string();
            let told = told.strip_prefix("closed by the peer: ").expect("says who closed");
            assert!(reason.starts_with(told) && told.len() >= reason.len().min(500), "{told}");
        }
        let cut = read_farewell(&mut [0, 255].as_slice()).await;
        assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
    }
}
