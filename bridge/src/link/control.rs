//! The control stream of a session: length-prefixed messages, in order, both ways.

use std::sync::PoisonError;

use bytes::{Bytes, BytesMut};
use meshbridge_routing::wire::{self, Addressee, BundleMessage, Notice, Relay, TableAnnounce};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use super::session::{Session, SessionContext};
use super::transport::{CloseCode, RecvStream, SendStream};
use crate::router_task::Command;

/// Messages gathered into one write.
const WRITE_BYTES: usize = 64 << 10;
/// Taken for a message on the word of its sender, who has shown its certificate: a batch of data as it usually is.
const PROMISED_BYTES_MAX: usize = 320 << 10;

/// Writes what is queued until the session ends.
pub(super) async fn write(
    session: &Session,
    stream: &mut SendStream,
    mut queued: mpsc::Receiver<Bytes>,
) -> String {
    let mut buffer = BytesMut::with_capacity(WRITE_BYTES);
    while let Some(message) = queued.recv().await {
        put(&mut buffer, &message);
        while buffer.len() < WRITE_BYTES
            && let Ok(message) = queued.try_recv()
        {
            put(&mut buffer, &message);
        }
        session.metrics.sent_control_bytes.inc_by(buffer.len() as u64);
        if let Err(problem) = stream.write_all(&buffer).await {
            return format!("the control stream cannot be written: {problem}");
        }
        buffer.clear();
    }
    // The session keeps a sender for as long as it lives.
    std::future::pending().await
}

fn put(buffer: &mut BytesMut, message: &Bytes) {
    let length = u32::try_from(message.len()).expect("control messages are at most MESSAGE_BYTES_MAX");
    buffer.extend_from_slice(&length.to_be_bytes());
    buffer.extend_from_slice(message);
}

/// Reads messages and gives each to the part it is for.
pub(super) async fn read(context: &SessionContext, session: &Session, mut stream: RecvStream) -> String {
    loop {
        let length = match stream.read_length().await {
            Ok(length) => length,
            Err(problem) => return format!("the control stream ended: {problem}"),
        };
        if length > wire::MESSAGE_BYTES_MAX {
            session.close(CloseCode::Protocol, "control message too long");
            return format!("the peer sent a control message of {length} bytes");
        }
        let message = match read_exact(&mut stream, length).await {
            Ok(message) => message,
            Err(problem) => return format!("the control stream ended: {problem}"),
        };
        session.metrics.received_control_bytes.inc_by(length as u64 + 4);
        if let Err(problem) = dispatch(context, session, message).await {
            session.close(CloseCode::Protocol, &problem);
            return format!("the peer broke the protocol: {problem}");
        }
    }
}

async fn dispatch(context: &SessionContext, session: &Session, message: Bytes) -> Result<(), String> {
    match wire::addressee(&message).map_err(|problem| problem.to_string())? {
        Addressee::Router => context.router.send(Command::Control { link: session.link, message }).await,
        Addressee::Table => {
            let announce = TableAnnounce::decode(message).map_err(|problem| problem.to_string())?;
            let mut table = session.received_table.lock().unwrap_or_else(PoisonError::into_inner);
            table.apply(announce).map_err(|gap| gap.to_string())?;
            drop(table);
            session.table_grew.notify_waiters();
        }
        Addressee::Notice => {
            context.pipeline.on_notice(Notice::decode(message).map_err(|problem| problem.to_string())?);
        }
        Addressee::Bundles => {
            let message = BundleMessage::decode(message).map_err(|problem| problem.to_string())?;
            context.bundles.on_message(session.link, message);
        }
        Addressee::Relay => {
            context.pipeline.on_relay(Relay::decode(message).map_err(|problem| problem.to_string())?);
        }
    }
    Ok(())
}

/// Reads `length` bytes. Beyond what an honest writer gathers at once, memory is taken as they come and not as they are
/// promised (RELIABILITY G8).
pub(super) async fn read_exact(stream: &mut RecvStream, length: usize) -> std::io::Result<Bytes> {
    let mut buffer = BytesMut::with_capacity(length.min(PROMISED_BYTES_MAX));
    while buffer.len() < length {
        let missing = length - buffer.len();
        let mut limited = (&mut *stream).take(missing as u64);
        if limited.read_buf(&mut buffer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(buffer.freeze())
}
