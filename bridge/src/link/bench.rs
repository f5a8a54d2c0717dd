//! Frames over one connection, as fast as it takes them: transport and framing of a link, without anything before or
//! after. `meshbridge bench` runs the two ends as two processes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use meshbridge_routing::wire::data::{BatchWriter, Carriers, Frame, Target, decode_batch};
use meshbridge_topic::Topic;
use smallvec::smallvec;
use tokio::task::JoinSet;

use super::control::read_exact;
use super::endpoint::{Incoming, PeerEndpoint};
use super::tcp::Arrived;
use super::transport::{CloseCode, Connection, DATA_STREAMS, RecvStream, SendStream, Transport};
use crate::identity::Credentials;

/// As the writers of sessions gather them.
const WRITE_BYTES: usize = 256 << 10;
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// What is sent, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) payload_bytes: usize,
    pub(crate) lasts: Duration,
}

/// Dials and sends; returns when the peer has closed, having read everything.
pub(crate) async fn pump(
    endpoint: &PeerEndpoint,
    credentials: &Credentials,
    transport: Transport,
    address: SocketAddr,
    load: Load,
) -> anyhow::Result<()> {
    let dial = async {
        anyhow::Ok(match transport {
            Transport::Quic => endpoint.quic().dial(address, credentials).await?,
            Transport::Tcp => endpoint.tcp().dial(address, credentials).await?.into(),
        })
    };
    let connection = tokio::time::timeout(CONNECT_MAX, dial).await.context("no connection")??;
    let (mut control, mut answers) = connection.open_control().await?;
    control.write_all(&[1]).await?;
    let mut writers = JoinSet::new();
    for number in 0..DATA_STREAMS {
        let connection = connection.clone();
        writers.spawn(async move { write(&connection, number, load).await });
    }
    let whole = async {
        // Kept until the peer has read it all.
        let mut open = Vec::new();
        while let Some(written) = writers.join_next().await {
            open.push(written??);
        }
        // The answer comes when the other end has read the last of it.
        answers.read_length().await?;
        anyhow::Ok(())
    };
    tokio::select! {
        done = whole => done?,
        reason = connection.drive() => return Err(anyhow!(reason)),
    }
    connection.close(CloseCode::Stopping, "the measurement is over");
    Ok(())
}

async fn write(connection: &Connection, number: usize, load: Load) -> anyhow::Result<SendStream> {
    let mut stream = connection.open_data(number).await?;
    let frame = Frame {
        run: 0,
        lane: u8::try_from(number).expect("few streams"),
        seq: 1,
        destinations: smallvec![Target { bridge: 1, prev: 0 }],
        carriers: Carriers::All,
        denied: smallvec![],
        hop_limit: 16,
        life_ms: 0,
        digest: [0; 16],
        policy: 2,
        topic: Topic::parse("bench.link").map_err(|problem| anyhow!("{problem}"))?,
        extensions: smallvec![],
        payload: Bytes::from(vec![b'x'; load.payload_bytes]),
    };
    let per_write = (WRITE_BYTES / load.payload_bytes.max(1)).max(1);
    let began = Instant::now();
    let mut out = Vec::new();
    let mut is_last = false;
    while !is_last {
        is_last = began.elapsed() >= load.lasts;
        let mut batch = BatchWriter::new();
        for _ in 0..per_write {
            if !batch.push(&frame) {
                out.extend(std::mem::take(&mut batch).finish());
                let _ = batch.push(&frame);
            }
        }
        out.extend(batch.finish());
        if is_last {
            // A batch of no bytes: the end.
            out.push(Bytes::from_static(&[0; 4]));
        }
        stream.write_chunks(&mut out).await?;
        out.clear();
    }
    Ok(stream)
}

/// Accepts one connection, reads what comes, and gives the bytes of payload and the time they took.
pub(crate) async fn swallow(endpoint: &PeerEndpoint) -> anyhow::Result<(u64, Duration)> {
    let connection = loop {
        match endpoint.accept().await.context("the endpoint is closed")? {
            Incoming::Quic(incoming) => break Connection::Quic((*incoming).await?),
            Incoming::Tcp(stream, remote) => {
                if let Arrived::Peer(bundle) = endpoint.tcp().handshake(stream, remote).await? {
                    endpoint.tcp().welcome(&bundle).await?;
                    break Connection::Tcp(bundle);
                }
            }
        }
    };
    let (mut control, mut begun) = connection.accept_control().await?;
    tokio::io::AsyncReadExt::read_u8(&mut begun).await?;
    let payload = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let mut readers = JoinSet::new();
    let whole = async {
        for _ in 0..DATA_STREAMS {
            let (stream, payload) = (connection.accept_data().await?, Arc::clone(&payload));
            readers.spawn(async move { read(stream, &payload).await });
        }
        while let Some(done) = readers.join_next().await {
            done??;
        }
        anyhow::Ok(())
    };
    tokio::select! {
        done = whole => done?,
        failed = attach_data(endpoint) => match failed? {},
    }
    let took = began.elapsed();
    control.write_all(&0_u32.to_be_bytes()).await?;
    // Ends when the other end has closed.
    let _ = begun.read_length().await;
    Ok((payload.load(Ordering::Relaxed), took))
}

async fn attach_data(endpoint: &PeerEndpoint) -> anyhow::Result<Infallible> {
    loop {
        if let Some(Incoming::Tcp(stream, remote)) = endpoint.accept().await {
            endpoint.tcp().handshake(stream, remote).await?;
        }
    }
}

async fn read(mut stream: RecvStream, payload: &AtomicU64) -> anyhow::Result<()> {
    loop {
        let length = stream.read_length().await?;
        if length == 0 {
            return Ok(());
        }
        let batch = read_exact(&mut stream, length).await?;
        let mut bytes = 0;
        for frame in decode_batch(batch)? {
            bytes += frame?.payload.len() as u64;
        }
        payload.fetch_add(bytes, Ordering::Relaxed);
    }
}
