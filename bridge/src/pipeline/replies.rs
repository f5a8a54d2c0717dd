//! Replies find their way back without interest (DESIGN §8, native clients).
//!
//! A request names where its publisher waits for the reply. Nobody else is told: in its place the event carries a topic
//! made for this one purpose,
//!
//! ```text
//! _REPLY.<topic of the request>.<origin bridge>.<sealed place>
//! ```
//!
//! Who answers publishes to it. The bridge of the answerer reads the origin from it and asks the policies about it as
//! about any other topic (`_REPLY.orders.**` can be permitted or denied); the origin alone can open the place, which is
//! sealed with a key of its run, so nobody can reach a client that has not asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use meshbridge_event::Event;
use meshbridge_routing::{BridgeId, EventKey};
use meshbridge_topic::Topic;

use super::Pipeline;
use super::subscriptions::Delivery;

/// First token of every reply topic.
pub(crate) const REPLY: &str = "_REPLY";

/// Seals and opens places of this run.
#[derive(Debug)]
pub(crate) struct Replies {
    own: BridgeId,
    key: LessSafeKey,
    /// Places that were sealed: each has a nonce of its own.
    sealed: AtomicU64,
}

impl Replies {
    pub(super) fn new(own: BridgeId) -> Replies {
        let secret: [u8; 32] = rand::random();
        let key = UnboundKey::new(&AES_256_GCM, &secret).expect("a key of 32 bytes");
        Replies { own, key: LessSafeKey::new(key), sealed: AtomicU64::new(0) }
    }

    /// The topic that leads back to `place`, for a request to `topic`; `None` where it would be no topic: the request's
    /// is too long.
    fn seal(&self, topic: &Topic, place: &str) -> Option<Topic> {
        let mut nonce = [0; NONCE_LEN];
        let number = self.sealed.fetch_add(1, Ordering::Relaxed);
        nonce.last_chunk_mut::<8>()?.copy_from_slice(&number.to_be_bytes());
        let mut sealed = place.as_bytes().to_vec();
        let nonce_used = Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_append_tag(nonce_used, Aad::from(topic.as_str()), &mut sealed).ok()?;
        let mut token = nonce.to_vec();
        token.extend_from_slice(&sealed);
        let (own, token) = (self.own.as_str(), URL_SAFE_NO_PAD.encode(token));
        Topic::parse(&format!("{REPLY}.{}.{own}.{token}", topic.as_str())).ok()
    }

    /// The place that a reply is for, where this bridge has sealed it.
    pub(super) fn open(&self, reply: &Topic) -> Option<String> {
        let (topic, origin, token) = parts(reply)?;
        if origin != self.own.as_str() {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let place = self.key.open_in_place(nonce, Aad::from(topic), &mut sealed).ok()?;
        std::str::from_utf8(place).ok().map(str::to_owned)
    }
}

impl Pipeline {
    /// The topic that a reply to a request is to be published to, so that it comes to `place` at this bridge; `None` where
    /// the request's topic is too long for one.
    pub(crate) fn reply_topic(&self, topic: &Topic, place: &Topic) -> Option<Topic> {
        self.inner.replies.seal(topic, place.as_str())
    }

    /// Gives who waits at `place` an answer of the bridge itself. It is no event of the mesh and has no number.
    pub(crate) fn answer_here(&self, place: Topic, event: Event) {
        let parts = &self.inner.parts;
        let key = EventKey { origin: parts.own.clone(), run: parts.best_effort_run, lane: 0, seq: 0 };
        self.inner.subscriptions.deliver(&Arc::new(Delivery { body: None, key, topic: place, event }));
    }
}

/// Whether a topic is one of replies.
pub(crate) fn is_reply(topic: &Topic) -> bool {
    topic.as_str().strip_prefix(REPLY).is_some_and(|rest| rest.starts_with('.'))
}

/// The bridge that a reply goes to; `None` where the topic is malformed.
pub(super) fn origin(reply: &Topic) -> Option<BridgeId> {
    BridgeId::parse(parts(reply)?.1).ok()
}

/// Topic of the request, origin, token.
fn parts(reply: &Topic) -> Option<(&str, &str, &str)> {
    let rest = reply.as_str().strip_prefix(REPLY)?.strip_prefix('.')?;
    let (rest, token) = rest.rsplit_once('.')?;
    let (topic, origin) = rest.rsplit_once('.')?;
    Some((topic, origin, token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replies(own: &str) -> Replies {
        Replies::new(BridgeId::parse(own).expect("an id"))
    }

    fn topic(text: &str) -> Topic {
        Topic::parse(text).expect("a topic")
    }

    #[test]
    fn only_the_bridge_that_sealed_a_place_opens_it() {
        let (a, b) = (replies("a"), replies("b"));
        let reply = a.seal(&topic("orders.get"), "_INBOX.x.1").expect("fits");
        assert!(is_reply(&reply));
        assert_eq!(origin(&reply).map(|id| id.to_string()).as_deref(), Some("a"));
        assert_eq!(a.open(&reply).as_deref(), Some("_INBOX.x.1"));
        assert_eq!(b.open(&reply), None);
        assert_eq!(replies("a").open(&reply), None, "another run has another key");
    }

    #[test]
    fn a_place_cannot_be_moved_to_another_topic_or_changed() {
        let a = replies("a");
        let reply = a.seal(&topic("orders.get"), "_INBOX.x.1").expect("fits");
        let moved = reply.as_str().replace("orders.get", "orders.put");
        assert_eq!(a.open(&topic(&moved)), None);
        for cut in [1, 10, 30] {
            let text = reply.as_str();
            assert_eq!(a.open(&topic(&text[..text.len() - cut])), None);
        }
        for other in ["_REPLY.a", "_REPLY.a.b", "_REPLY.x.a.%", "_REPLIES.x.a.AAAA", "orders.get"] {
            assert_eq!(a.open(&topic(other)), None);
        }
    }

    #[test]
    fn the_longest_topics_have_no_room_for_a_reply() {
        assert!(replies("a").seal(&topic(&["t"; 16].join(".")), "_INBOX.1").is_none());
    }
}
