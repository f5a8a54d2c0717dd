//! A receiver that does as it is told, and a network that notes what was asked of it.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use crate::webhook::{CheckedAddress, Network};

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: HashMap<String, String>,
    pub(super) body: Vec<u8>,
}

pub(super) enum Reply {
    /// Status and further header lines.
    Status(u16, String),
    /// Nothing for this long, then 200.
    Late(Duration),
    /// The head of a 200 at once, its body never.
    NoBody,
    /// A body of this many bytes.
    Long(usize),
    /// This many bytes of header, and no end.
    EndlessHead(usize),
    /// The connection is closed without a word.
    Close,
}

impl Reply {
    pub(super) fn ok() -> Reply {
        Reply::Status(200, String::new())
    }

    /// Consent to everyone.
    pub(super) fn consent() -> Reply {
        Reply::Status(200, "webhook-allowed-origin: *\r\n".to_owned())
    }
}

pub(super) struct Server {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    body_bytes: Arc<AtomicUsize>,
    _task: AbortOnDropHandle<()>,
}

type Answer = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

impl Server {
    /// Consents, and answers events as `answer` says.
    pub(super) async fn consenting(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Server {
        Server::new(move |seen| if seen.method == "OPTIONS" { Reply::consent() } else { answer(seen) }).await
    }

    pub(super) async fn new(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Server {
        Server::start(answer, None).await
    }

    pub(super) async fn start(
        answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
        tls: Option<tokio_rustls::TlsAcceptor>,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (seen, body_bytes) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let written = Arc::clone(&body_bytes);
        let (noted, answer): (_, Answer) = (Arc::clone(&seen), Arc::new(answer));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (noted, answer, tls) = (Arc::clone(&noted), Arc::clone(&answer), tls.clone());
                let written = Arc::clone(&written);
                connections.spawn(async move {
                    let _ = match tls {
                        None => serve(stream, &noted, &written, &answer).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, &noted, &written, &answer).await,
                            Err(problem) => Err(problem),
                        },
                    };
                });
            }
        });
        Server { address, seen, body_bytes, _task: AbortOnDropHandle::new(task) }
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no test panics inside").clone()
    }

    /// Bytes of bodies that were written to sockets.
    pub(super) fn body_bytes(&self) -> usize {
        self.body_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn count(&self, method: &str) -> usize {
        self.seen().iter().filter(|seen| seen.method == method).count()
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    seen: &Mutex<Vec<Seen>>,
    written: &AtomicUsize,
    answer: &Answer,
) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            if line.trim_end().is_empty() {
                break;
            }
            lines.push(line.trim_end().to_owned());
        }
        let mut first = lines[0].split(' ').map(str::to_owned);
        let headers: HashMap<String, String> = lines[1..]
            .iter()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let request = Seen {
            method: first.next().unwrap_or_default(),
            path: first.next().unwrap_or_default(),
            headers,
            body,
        };
        let reply = answer(&request);
        seen.lock().expect("no test panics inside").push(request);
        match reply {
            Reply::Status(status, headers) => {
                let head = format!("HTTP/1.1 {status} x\r\n{headers}content-length: 0\r\n\r\n");
                stream.write_all(head.as_bytes()).await?;
            }
            Reply::Late(wait) => {
                tokio::time::sleep(wait).await;
                stream.write_all(b"HTTP/1.1 200 x\r\ncontent-length: 0\r\n\r\n").await?;
            }
            Reply::NoBody => {
                stream.write_all(b"HTTP/1.1 200 x\r\ncontent-length: 5\r\n\r\n").await?;
                stream.flush().await?;
                std::future::pending::<()>().await;
            }
            Reply::Long(length) => {
                let head = format!("HTTP/1.1 200 x\r\ncontent-length: {length}\r\n\r\n");
                stream.write_all(head.as_bytes()).await?;
                let chunk = vec![b'x'; 8 << 10];
                let mut left = length;
                while left > 0 {
                    let now = left.min(chunk.len());
                    stream.write_all(&chunk[..now]).await?;
                    written.fetch_add(now, Ordering::Relaxed);
                    left -= now;
                }
            }
            Reply::EndlessHead(length) => {
                stream.write_all(b"HTTP/1.1 200 x\r\n").await?;
                for _ in 0..length / 64 {
                    stream.write_all(format!("x: {}\r\n", "y".repeat(59)).as_bytes()).await?;
                }
                std::future::pending::<()>().await;
            }
            Reply::Close => return Ok(()),
        }
        stream.flush().await?;
    }
}

/// A network whose names are a table, and which notes every connection. Where `lands_at` is set, every connection
/// leads there, whatever its address: that is how a test reaches "the internet".
#[derive(Default)]
pub(super) struct TestNetwork {
    names: Mutex<HashMap<String, VecDeque<Vec<IpAddr>>>>,
    pub(super) dialled: Mutex<Vec<SocketAddr>>,
    pub(super) lookups: Mutex<Vec<String>>,
    lands_at: Option<SocketAddr>,
}

impl TestNetwork {
    pub(super) fn landing_at(server: &Server) -> TestNetwork {
        TestNetwork { lands_at: Some(server.address), ..TestNetwork::default() }
    }

    pub(super) fn lands_at(&mut self, address: &str) {
        self.lands_at = Some(address.parse().expect("an address"));
    }

    /// The answers for a name, one after the other; the last is given for ever.
    pub(super) fn with_name(self, name: &str, answers: &[&[&str]]) -> TestNetwork {
        let parse = |ip: &&str| ip.parse().expect("an address");
        let answers = answers.iter().map(|answer| answer.iter().map(parse).collect()).collect();
        self.names.lock().expect("no test panics inside").insert(name.to_owned(), answers);
        self
    }

    pub(super) fn dialled(&self) -> Vec<SocketAddr> {
        self.dialled.lock().expect("no test panics inside").clone()
    }
}

impl Network for TestNetwork {
    fn lookup<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        self.lookups.lock().expect("no test panics inside").push(host.to_owned());
        let mut names = self.names.lock().expect("no test panics inside");
        let answer = names.get_mut(host).and_then(|answers| {
            if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() }
        });
        async move { answer.ok_or_else(|| io::Error::other("no such name")) }.boxed()
    }

    fn connect(&self, address: CheckedAddress) -> BoxFuture<'_, io::Result<TcpStream>> {
        self.dialled.lock().expect("no test panics inside").push(address.get());
        let to = self.lands_at.unwrap_or(address.get());
        TcpStream::connect(to).boxed()
    }

    fn is_this_machine(&self, ip: IpAddr) -> bool {
        ip == IpAddr::from([198, 51, 100, 77])
    }
}
