//! Names and sockets, as the sender sees them; tests put another one in its place.

use std::io;
use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hickory_resolver::TokioResolver;
use tokio::net::TcpStream;

use super::address::CheckedAddress;

/// What the sender needs of the world outside.
pub(crate) trait Network: Send + Sync + 'static {
    fn lookup<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;

    /// Connects to exactly this address.
    fn connect(&self, address: CheckedAddress) -> BoxFuture<'_, io::Result<TcpStream>>;

    /// Whether the address is one of this machine's.
    fn is_this_machine(&self, ip: IpAddr) -> bool;
}

/// The network of this machine. No proxy, whatever the environment says.
#[derive(Debug)]
pub(crate) struct SystemNetwork {
    resolver: Arc<TokioResolver>,
}

impl SystemNetwork {
    pub(crate) fn new(resolver: Arc<TokioResolver>) -> SystemNetwork {
        SystemNetwork { resolver }
    }
}

impl Network for SystemNetwork {
    fn lookup<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        async move {
            let answer = self.resolver.lookup_ip(host).await.map_err(io::Error::other)?;
            Ok(answer.iter().collect())
        }
        .boxed()
    }

    fn connect(&self, address: CheckedAddress) -> BoxFuture<'_, io::Result<TcpStream>> {
        async move {
            let stream = TcpStream::connect(address.get()).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        }
        .boxed()
    }

    /// Packets to an address of this machine leave from that very address. Connecting a datagram socket asks the
    /// routing table and sends nothing.
    fn is_this_machine(&self, ip: IpAddr) -> bool {
        let any: IpAddr = if ip.is_ipv4() {
            std::net::Ipv4Addr::UNSPECIFIED.into()
        } else {
            std::net::Ipv6Addr::UNSPECIFIED.into()
        };
        let source = UdpSocket::bind((any, 0)).and_then(|socket| {
            socket.connect((ip, 9))?;
            socket.local_addr()
        });
        source.is_ok_and(|source| source.ip() == ip)
    }
}
