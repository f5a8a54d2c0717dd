//! The listener of NATS: clients of that server reach a bridge as they are.
//!
//! A subject is a topic, a message an event ([`message`] has the mapping), a queue group shares what this bridge hands
//! out, an inbox is nobody's interest but finds its reply (`pipeline/replies.rs`). Policies ask about all of it. What is
//! of class durable is on disk before its publisher is answered, on the reply subject of the message.

mod acks;
mod batch;
mod connect;
mod message;
mod outgoing;
mod parser;
mod session;
mod subject;
mod subscriptions;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::{Buf, BytesMut};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::accept::BoundListener;
use super::auth::Shown;
use super::certificates::not_after;
use super::connection::Door;
use super::limits as limit;
use super::places::Place;
use crate::chunks::Chunks;
use crate::identity::wall_reaches;
use crate::pipeline::{Pipeline, Principal, SubscriptionEnd};
use connect::{Connect, Info};
use outgoing::Outgoing;
use parser::{Command, Malformed, Parsed, parse};
use session::{Ended, Session, Shared, quoted};

/// Bytes that wait for one client; what servers of NATS allow, too.
const QUEUE_BYTES_MAX: usize = 64 << 20;
/// Bytes handed to the socket at once, about.
const WRITE_BYTES: usize = 256 << 10;
/// A client that does not read for so long is cut off.
const WRITE_MAX: Duration = Duration::from_secs(10);
/// Time for the first command.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// What all connections of the listener share.
#[derive(Debug)]
struct Server {
    pipeline: Pipeline,
    name: String,
    zone: String,
    payload_max: usize,
    address: SocketAddr,
    mutual: bool,
    clients: AtomicU64,
}

/// Serves clients until `stop`.
pub(super) async fn serve(listener: BoundListener, pipeline: Pipeline, stop: CancellationToken) {
    let settings = listener.settings();
    let (name, zone) = pipeline.names();
    let server = Arc::new(Server {
        payload_max: settings.event_bytes_max,
        address: listener.address().unwrap_or(settings.address),
        mutual: settings.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some()),
        clients: AtomicU64::new(0),
        pipeline,
        name,
        zone,
    });
    listener
        .serve_connections(stop, move |door, stream, remote, place| {
            let server = Arc::clone(&server);
            async move {
                match connection(&server, &door, stream, remote, place).await {
                    Ok(()) => {}
                    Err(problem) => debug!(%remote, %problem, "A connection of NATS ended"),
                }
            }
        })
        .await;
}

async fn connection(
    server: &Server,
    door: &Door,
    mut stream: TcpStream,
    remote: SocketAddr,
    place: Place,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if remote.ip().is_loopback() {
        place.local();
    }
    let mut info = Info::of(&server.name, server.payload_max);
    info.host = server.address.ip().to_string();
    info.port = server.address.port();
    info.client_id = server.clients.fetch_add(1, Ordering::Relaxed) + 1;
    info.client_ip = remote.ip().to_string();
    info.auth_required = !door.authenticator.is_open();
    info.tls_required = door.certificates.is_some();
    info.tls_verify = info.tls_required && server.mutual;
    timeout(WRITE_MAX, stream.write_all(&info.line())).await??;
    let Some(certificates) = &door.certificates else {
        let (reader, writer) = stream.into_split();
        return client(server, door, reader, writer, &place, Shown::Nothing, None).await;
    };
    let acceptor = TlsAcceptor::from(certificates.current());
    let tls = {
        let _turn = door.handshakes.acquire().await.map_err(io::Error::other)?;
        timeout(limit::HANDSHAKE_MAX, acceptor.accept(stream)).await??
    };
    let chain = tls.get_ref().1.peer_certificates().unwrap_or_default();
    let shown = Shown::of_chain(chain);
    let ends = chain.iter().filter_map(not_after).min();
    let (reader, writer) = tokio::io::split(tls);
    client(server, door, reader, writer, &place, shown, ends).await
}

/// Lets the client say who it is, then serves it.
async fn client(
    server: &Server,
    door: &Door,
    mut reader: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin + Send + 'static,
    place: &Place,
    shown: Shown,
    ends: Option<SystemTime>,
) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(4 << 10);
    let first = timeout(CONNECT_MAX, first_command(&mut reader, &mut buffer, door.authenticator.is_open()));
    let connect = match first.await {
        Ok(Ok(connect)) => connect,
        Ok(Err(Ended::Gone)) => return Ok(()),
        Ok(Err(Ended::Told(text))) => return farewell(&mut writer, &text).await,
        Err(_) => return farewell(&mut writer, "Authentication Timeout").await,
    };
    let user = connect.user.as_deref().zip(connect.pass.as_deref());
    let login = door.authenticator.principal_of_login(&shown, connect.auth_token.as_deref(), user);
    let principal = match login {
        Ok(principal) => principal,
        Err(problem) => {
            debug!(%problem, name = connect.name.as_deref().unwrap_or_default(), "A client of NATS was not let in");
            return farewell(&mut writer, "Authorization Violation").await;
        }
    };
    if principal != Principal::anonymous() && place.known(&principal).is_err() {
        return farewell(&mut writer, "maximum account active connections exceeded").await;
    }
    let Some(client) = server.pipeline.attach(&principal, QUEUE_BYTES_MAX) else {
        return farewell(&mut writer, "Server Shutdown").await;
    };
    let name = utf8_percent_encode(&principal.0, NON_ALPHANUMERIC);
    let source = format!("/nats/{}/{name}", server.zone);
    let shared = Arc::new(Shared::new(client));
    let outgoing = Outgoing::new(connect.headers);
    if connect.verbose {
        shared.client.say(bytes::Bytes::from_static(b"+OK\r\n"));
    }
    let writing = tokio::spawn(write(Arc::clone(&shared), writer, outgoing));
    let mut writing = tokio_util::task::AbortOnDropHandle::new(writing);
    let mut session = Session::new(Arc::clone(&shared), connect, source, server.payload_max);
    let over = async {
        match ends {
            Some(end) => wall_reaches(end).await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        ended = session.run(&mut reader, buffer) => ended,
        _ = &mut writing => Ended::Gone,
        // RELIABILITY G2: a certificate is judged for as long as it is relied upon.
        () = over => Ended::Told("User Authentication Expired".to_owned()),
    };
    if let Ended::Told(text) = &ended {
        shared.client.say(bytes::Bytes::from(format!("-ERR '{}'\r\n", quoted(text))));
    }
    shared.client.leave(&shared.take_all(), matches!(ended, Ended::Told(_)));
    // What was said last reaches the client, if it still reads.
    let _ = timeout(Duration::from_secs(1), &mut writing).await;
    Ok(())
}

/// Reads until the client has said who it is. Where nobody has to, it may begin with anything.
async fn first_command(
    reader: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    is_open: bool,
) -> Result<Connect, Ended> {
    loop {
        if !buffer.is_empty() {
            match parse(buffer, 0) {
                Ok(Parsed::Whole(Command::Connect(json), used)) => {
                    let connect = serde_json::from_slice(json).map_err(|_| Malformed::Arguments)?;
                    buffer.advance(used);
                    return Ok(connect);
                }
                Ok(Parsed::Part(_))
                    if !is_open || b"CONNECT".starts_with(buffer.get(..1).unwrap_or_default()) => {}
                _ if is_open => return Ok(Connect::default()),
                Ok(_) => return Err(Ended::Told("Authorization Violation".to_owned())),
                Err(problem) => return Err(problem.into()),
            }
        }
        match reader.read_buf(buffer).await {
            Ok(0) | Err(_) => return Err(Ended::Gone),
            Ok(_) => {}
        }
    }
}

async fn farewell(writer: &mut (impl AsyncWrite + Unpin), text: &str) -> io::Result<()> {
    timeout(WRITE_MAX, writer.write_all(format!("-ERR '{}'\r\n", quoted(text)).as_bytes())).await??;
    writer.shutdown().await
}

/// Writes what waits for the client until there is an end to it.
async fn write(shared: Arc<Shared>, mut writer: impl AsyncWrite + Unpin, mut outgoing: Outgoing) {
    let (mut entries, mut written) = (VecDeque::new(), VecDeque::new());
    let mut out = Chunks::default();
    let mut ended = Vec::new();
    let last = loop {
        if let Err(end) = shared.client.next(&mut entries).await {
            break end;
        }
        while !entries.is_empty() {
            outgoing.write(
                &mut entries,
                &mut written,
                &mut shared.table(),
                &mut out,
                WRITE_BYTES,
                &mut ended,
            );
            let sent = timeout(WRITE_MAX, out.write_to(&mut writer));
            let is_sent = matches!(sent.await, Ok(Ok(())));
            shared.client.finished(&written, is_sent);
            written.clear();
            if !ended.is_empty() {
                shared.client.unsubscribe(&ended);
                ended.clear();
            }
            if !is_sent {
                shared.client.finished(&entries, false);
                return;
            }
        }
        if out.capacity() > 4 * WRITE_BYTES {
            out = Chunks::default();
        }
    };
    let text = match last {
        SubscriptionEnd::Overflow => "Slow Consumer",
        SubscriptionEnd::Draining => return,
    };
    let _ = farewell(&mut writer, text).await;
}

#[cfg(test)]
mod tests;
