//! Limits of h2 and gRPC, read from the frames a server sends.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use meshbridge_integration::grpc::io::cloudevents::v1::{CloudEvent, cloud_event::Data};
use meshbridge_integration::grpc::meshbridge::v1::bridge_client::BridgeClient;
use meshbridge_integration::grpc::meshbridge::v1::{PublishBatchRequest, PublishRequest};
use meshbridge_integration::{Setup, Single};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;

use super::{ANSWER_WITHIN, say};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

#[derive(Debug)]
struct Frame {
    kind: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    fn word(&self, at: usize) -> u32 {
        self.payload.get(at..at + 4).map_or(0, |bytes| u32::from_be_bytes(bytes.try_into().expect("four")))
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("frames are small").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header without compression: its name and value as they are.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut out = vec![0];
    for text in [name, value] {
        let length = text.len();
        if length < 127 {
            out.push(u8::try_from(length).expect("below 127"));
        } else {
            out.push(127);
            let mut rest = length - 127;
            while rest >= 128 {
                out.push(u8::try_from(rest % 128 + 128).expect("a byte"));
                rest /= 128;
            }
            out.push(u8::try_from(rest).expect("a byte"));
        }
        out.extend(text.as_bytes());
    }
    out
}

fn head(method: &str, path: &str) -> Vec<u8> {
    [(":method", method), (":scheme", "http"), (":path", path), (":authority", "localhost")]
        .into_iter()
        .flat_map(|(name, value)| literal(name, value))
        .collect()
}

fn call(path: &str) -> Vec<u8> {
    [head("POST", path), literal("content-type", "application/grpc"), literal("te", "trailers")].concat()
}

/// A connection after the preface and our empty settings.
async fn open(address: &str) -> Result<TcpStream> {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice();
    say(address, &[preface, &frame(SETTINGS, 0, 0, &[])].concat()).await
}

async fn read_frame(stream: &mut TcpStream) -> Result<Frame> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; usize::try_from(length)?];
    stream.read_exact(&mut payload).await?;
    let number = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    Ok(Frame { kind: head[3], stream: number, payload })
}

/// The next frame that is wanted; others in between are of no interest.
async fn next(stream: &mut TcpStream, wanted: impl Fn(&Frame) -> bool) -> Result<Frame> {
    loop {
        let frame = tokio::time::timeout(ANSWER_WITHIN, read_frame(stream)).await;
        let frame = frame.context("no frame in time")??;
        if wanted(&frame) {
            return Ok(frame);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_announces_its_limits() -> Result<()> {
    let bridge = Single::start(Setup::default()).await?;
    for (address, streams) in [(&bridge.http, 100), (&bridge.grpc, 64)] {
        let mut stream = open(address).await?;
        let settings = next(&mut stream, |frame| frame.kind == SETTINGS && !frame.payload.is_empty()).await?;
        let of = |id: u16| {
            let mut all = settings.payload.chunks_exact(6);
            all.find(|entry| entry[..2] == id.to_be_bytes())
                .map(|entry| u32::from_be_bytes(entry[2..].try_into().expect("four")))
        };
        ensure!(of(3) == Some(streams), "streams: {settings:?}");
        ensure!(of(4) == Some(64 << 10), "window of a stream: {settings:?}");
        ensure!(of(5).unwrap_or(16 << 10) == 16 << 10, "frames: {settings:?}");
        ensure!(of(6) == Some(32 << 10), "header list: {settings:?}");
        ensure!(of(8).unwrap_or(0) == 0, "extended CONNECT: {settings:?}");
        let window = next(&mut stream, |frame| frame.kind == WINDOW_UPDATE && frame.stream == 0).await?;
        // It begins at 65,535 bytes for every connection.
        ensure!(window.word(0) + 65_535 == 1 << 20, "window of the connection: {window:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sixty_fifth_call_of_a_connection_is_refused() -> Result<()> {
    let bridge = Single::start(Setup::default()).await?;
    let mut stream = open(&bridge.grpc).await?;
    let publish = call("/meshbridge.v1.Bridge/Publish");
    let calls: Vec<u8> = (0..65).flat_map(|at| frame(HEADERS, END_HEADERS, 2 * at + 1, &publish)).collect();
    stream.write_all(&calls).await?;
    let reset = next(&mut stream, |frame| frame.kind == RST_STREAM).await?;
    ensure!(reset.stream == 2 * 64 + 1 && reset.word(0) == REFUSED_STREAM, "{reset:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_resets_ends_the_connection() -> Result<()> {
    let bridge = Single::start(Setup::default()).await?;
    for address in [&bridge.http, &bridge.grpc] {
        let mut stream = open(address).await?;
        next(&mut stream, |frame| frame.kind == SETTINGS).await?;
        let get = head("GET", "/nothing");
        let flood: Vec<u8> = (0..2_000)
            .flat_map(|at| {
                let begun = frame(HEADERS, END_HEADERS | END_STREAM, 2 * at + 1, &get);
                [begun, frame(RST_STREAM, 0, 2 * at + 1, &CANCEL.to_be_bytes())].concat()
            })
            .collect();
        drop(stream.write_all(&flood).await);
        let goaway = next(&mut stream, |frame| frame.kind == GOAWAY).await?;
        ensure!(goaway.word(4) == ENHANCE_YOUR_CALM, "{goaway:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_list_over_32_kib_is_refused() -> Result<()> {
    let bridge = Single::start(Setup::default()).await?;
    for (filling, status) in [(16 << 10, "404"), (33 << 10, "431")] {
        let mut stream = open(&bridge.http).await?;
        let block = [head("GET", "/nothing"), literal("x-large", &"y".repeat(filling))].concat();
        let mut parts = block.chunks(8 << 10).peekable();
        let first = parts.next().context("a block has a part")?;
        let mut frames = frame(HEADERS, END_STREAM, 1, first);
        while let Some(part) = parts.next() {
            let last = if parts.peek().is_none() { END_HEADERS } else { 0 };
            frames.extend(frame(CONTINUATION, last, 1, part));
        }
        stream.write_all(&frames).await?;
        let answer = next(&mut stream, |frame| frame.kind == HEADERS && frame.stream == 1).await?;
        ensure!(status_of(&answer) == Some(status), "{filling} bytes: {answer:?}");
    }
    Ok(())
}

/// The status of an answer's head: an entry of the static table, or a value behind its name.
fn status_of(answer: &Frame) -> Option<&'static str> {
    // A change of the table's size may come first.
    let block = &answer.payload[answer.payload.iter().position(|byte| byte & 0xe0 != 0x20)?..];
    match *block.first()? {
        0x8d => Some("404"),
        // A literal of `:status`, its value in Huffman's code.
        0x48 if block[1..].starts_with(&[0x83, 0x69, 0x90, 0xff]) => Some("431"),
        _ => None,
    }
}

/// A call whose request never ends is answered after this time.
pub(super) async fn endless_call(address: &str, time: Duration, late: Duration) -> Result<()> {
    let mut stream = open(address).await?;
    stream.write_all(&frame(HEADERS, END_HEADERS, 1, &call("/meshbridge.v1.Bridge/Publish"))).await?;
    // The beginning of a message of 16 bytes.
    stream.write_all(&frame(DATA, 0, 1, &[0, 0, 0, 0, 16, 1])).await?;
    let from = Instant::now();
    let answered = async {
        loop {
            // A server that gets no answer to its ping ends the connection.
            let got = read_frame(&mut stream).await?;
            match got.kind {
                PING => stream.write_all(&frame(PING, ACK, 0, &got.payload)).await?,
                HEADERS => return anyhow::Ok(got),
                _ => {}
            }
        }
    };
    let answer =
        tokio::time::timeout(time + late, answered).await.context("the call is waited for still")??;
    let took = from.elapsed();
    ensure!(took + Duration::from_millis(500) > time, "the call was ended after {took:?}: {answer:?}");
    Ok(())
}

fn request(bytes: usize) -> PublishRequest {
    PublishRequest {
        topic: "orders.a".to_owned(),
        event: Some(CloudEvent {
            id: "1".to_owned(),
            source: "/s".to_owned(),
            spec_version: "1.0".to_owned(),
            r#type: "t".to_owned(),
            attributes: Default::default(),
            data: Some(Data::BinaryData(vec![b'x'; bytes])),
        }),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_messages_are_bounded_and_not_compressed() -> Result<()> {
    let bridge = Single::start(Setup::default()).await?;
    let mut client = BridgeClient::connect(format!("http://{}", bridge.grpc)).await?;
    client.publish(request(1 << 19)).await?;
    let event = client.publish(request(1 << 20)).await.err().context("an event over 1 MiB was taken")?;
    ensure!(event.code() == Code::ResourceExhausted, "{event:?}");
    let batch = PublishBatchRequest { requests: vec![request(1 << 20); 5], ..Default::default() };
    let batch = client.publish_batch(batch).await.err().context("a batch over 4 MiB was taken")?;
    ensure!(matches!(batch.code(), Code::ResourceExhausted | Code::OutOfRange), "{batch:?}");
    let many = PublishBatchRequest { requests: vec![request(1); 1_025], ..Default::default() };
    let many = client.publish_batch(many).await.err().context("1,025 events were taken")?;
    ensure!(many.code() == Code::ResourceExhausted && many.message().contains("1024"), "{many:?}");
    let mut compressed = tonic::Request::new(request(1));
    compressed.metadata_mut().insert("grpc-encoding", "gzip".parse()?);
    let compressed = client.publish(compressed).await.err().context("a compressed message was taken")?;
    ensure!(compressed.code() == Code::Unimplemented, "{compressed:?}");
    Ok(())
}
