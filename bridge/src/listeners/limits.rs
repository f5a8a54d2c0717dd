//! Numbers of RELIABILITY §5, as the servers are built with them.

use std::num::NonZeroU32;
use std::time::Duration;

/// Connections whose client has not shown who it is.
pub(super) const UNAUTHENTICATED_MAX: usize = 1_024;
/// Connections of one authenticated client.
pub(super) const PER_IDENTITY_MAX: usize = 256;
/// TLS handshakes at once, and how long each may take.
pub(super) const HANDSHAKES_MAX: usize = 256;
pub(super) const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// New connections a second from one IPv4 address or IPv6 /64, and how many at once. Loopback is exempt: everything
/// on this machine shares it.
pub(super) const RATE_PER_SOURCE: NonZeroU32 = NonZeroU32::new(10).expect("ten is not zero");
pub(super) const BURST_PER_SOURCE: NonZeroU32 = NonZeroU32::new(20).expect("twenty is not zero");

/// A request head, from its first byte to its last.
pub(super) const HEADER_READ_MAX: Duration = Duration::from_secs(5);
pub(super) const HEADERS_MAX: usize = 100;
pub(super) const BUFFER_BYTES: usize = 64 << 10;
/// A request body, from its first byte to its last.
pub(super) const BODY_MAX: Duration = Duration::from_secs(30);
/// And the rate it must keep, over all of it; the first seconds are free, for networks that start slowly.
pub(super) const BODY_BYTES_PER_SECOND: u64 = 1 << 10;
pub(super) const BODY_GRACE: Duration = Duration::from_secs(5);
/// An HTTP/1 connection is closed after so many requests, or when none comes for so long.
pub(super) const REQUESTS_PER_CONNECTION: u32 = 1_000;
pub(super) const IDLE_MAX: Duration = Duration::from_secs(60);

pub(super) const H2_STREAMS: u32 = 100;
pub(super) const H2_STREAM_WINDOW: u32 = 64 << 10;
pub(super) const H2_CONNECTION_WINDOW: u32 = 1 << 20;
pub(super) const H2_HEADER_LIST: u32 = 32 << 10;
pub(super) const H2_FRAME: u32 = 16 << 10;
pub(super) const H2_PENDING_RESETS: usize = 20;
pub(super) const H2_LOCAL_RESETS: usize = 100;
pub(super) const H2_SEND_BUFFER: usize = 64 << 10;
pub(super) const H2_PING_EVERY: Duration = Duration::from_secs(20);
pub(super) const H2_PING_ANSWER: Duration = Duration::from_secs(10);

/// Time open requests get after the listener stops.
pub(super) const DRAIN_MAX: Duration = Duration::from_secs(5);

pub(super) const FILTERS_PER_CLIENT: usize = 1_000;
pub(super) const SSE_QUEUE_BYTES: usize = 1 << 20;
pub(super) const STREAM_QUEUE_BYTES: usize = 8 << 20;
pub(super) const WEBSOCKET_MESSAGE_BYTES: usize = 1 << 20;
/// A comment on a silent stream, so that proxies keep it open.
pub(super) const COMMENT_EVERY: Duration = Duration::from_secs(15);
pub(super) const GRPC_MESSAGE_BYTES: usize = (1 << 20) + (64 << 10);
pub(super) const GRPC_CALLS: u32 = 64;
/// A call with one request and one reply, reading the request included.
pub(super) const GRPC_UNARY_MAX: Duration = Duration::from_secs(30);
pub(super) const GRPC_CONNECTION_AGE_MAX: Duration = Duration::from_secs(60 * 60);
