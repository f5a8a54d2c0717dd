//! A delivery as an HTTP request: binary mode of the CloudEvents binding, and what is ours beside it.
//!
//! ```text
//! POST <path>                      ce-<attribute>: …            the event, without names that are reserved for us
//! idempotency-key: "<event key>"   ce-meshbridgetopic: …        the topic it was published to
//! meshbridge-delivery-count: 1     ce-meshbridgekey: …          the event key
//! webhook-id, webhook-timestamp    webhook-signature: v1,…      where the target has keys
//! ```

use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, header};
use http_body_util::Full;
use meshbridge_event::http::{binary_headers, encode_value};
use meshbridge_event::{Event, is_reserved_name};
use meshbridge_routing::EventKey;
use meshbridge_topic::Topic;

use super::target::Target;

pub(super) const USER_AGENT: &str = concat!("meshbridge/", env!("CARGO_PKG_VERSION"));

/// One attempt to deliver one event.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    /// The same at every attempt, whichever bridge makes it.
    pub(crate) key: EventKey,
    pub(crate) topic: Topic,
    /// As the policies let the subscriber see it.
    pub(crate) event: Event,
    /// 1 for the first attempt.
    pub(crate) count: u32,
}

/// The request of a delivery. HTTP values are made by the `http` types only, which refuse what would end a header
/// (RELIABILITY G12); `None` where one does.
pub(super) fn delivery(
    target: &Target,
    delivery: &Delivery,
    now: SystemTime,
) -> Option<Request<Full<Bytes>>> {
    let event = &delivery.event;
    let key = delivery.key.to_string();
    let timestamp = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let body = event.data_shared();
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(target.url.path_and_query())
        .header(header::HOST, target.url.authority())
        .header(header::USER_AGENT, USER_AGENT)
        .header("idempotency-key", format!("\"{key}\""))
        .header("meshbridge-delivery-count", delivery.count)
        .header("ce-meshbridgetopic", encode_value(delivery.topic.as_str()).as_ref())
        .header("ce-meshbridgekey", &key)
        .header("webhook-id", &key)
        .header("webhook-timestamp", timestamp);
    if let Some(keys) = &target.keys {
        request = request.header("webhook-signature", keys.signature(&key, timestamp, &body));
    }
    // Data without a content type is JSON in the mesh; over HTTP a receiver would have to guess.
    let content_type = event.datacontenttype().or(event.is_json_data().then_some("application/json"));
    if let Some(content_type) = content_type {
        // Beyond ASCII a value has no one meaning in HTTP, and this header has no encoding of its own.
        if !content_type.is_ascii() {
            return None;
        }
        request = request.header(header::CONTENT_TYPE, content_type);
    }
    for (name, value) in binary_headers(event) {
        if !name.strip_prefix("ce-").is_some_and(is_reserved_name) {
            request = request.header(HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?);
        }
    }
    request.body(Full::new(body)).ok()
}
