//! Reports between bridges about single events. A notice is a hint: it is counted, shown and logged, and settles
//! nothing; it travels hop by hop towards the origin like anything else, and may be lost.

use std::time::{Instant, SystemTime};

use meshbridge_event::Event;
use meshbridge_policy::{Context, shown};
use meshbridge_routing::EventKey;
use meshbridge_routing::wire::{Notice, NoticeKind};
use meshbridge_topic::Topic;
use tracing::{debug, info};

use super::judge::{REJECT, Refusal};
use super::recent::DeadLetter;
use super::{Inner, Pipeline, lock};

/// Hops a notice may take; more than any path.
const NOTICE_HOPS: u8 = 64;

impl Inner {
    /// A rule of our own kept an event from a destination.
    pub(super) fn on_refused_here(
        &self,
        key: &EventKey,
        topic: &Topic,
        event: &Event,
        destination: &str,
        refusal: &Refusal,
    ) {
        let is_here = destination == self.parts.own.as_str();
        let context = if is_here { Context::Publish } else { Context::Egress };
        self.keep_letter(context, key, topic, event, destination, refusal);
    }

    /// Remembers that a rule stopped an event, where its disposition asks for that.
    pub(super) fn keep_letter(
        &self,
        context: Context,
        key: &EventKey,
        topic: &Topic,
        event: &Event,
        destination: &str,
        refusal: &Refusal,
    ) {
        if refusal.keeps() {
            let context = context.name();
            let letter = letter(key, topic, event, destination, context, &refusal.by, refusal.disposition);
            lock(&self.dead_letters).push(DeadLetter { message: refusal.message.clone(), ..letter });
        }
    }

    pub(super) fn notify_origin(&self, key: &EventKey, kind: NoticeKind) {
        let notice = Notice {
            to: key.origin.clone(),
            from: self.parts.own.clone(),
            key: key.clone(),
            kind,
            hop_limit: NOTICE_HOPS,
        };
        self.route_notice(notice);
    }

    pub(super) fn route_notice(&self, notice: Notice) {
        if notice.to == self.parts.own {
            return self.on_notice_for_us(&notice);
        }
        let forwarding = self.parts.forwarding.load();
        let link = forwarding.index_of(&notice.to).and_then(|to| forwarding.next_hop(to));
        match link {
            Some((_, link)) => self.parts.links.send_control(link, notice.encode()),
            None => debug!(to = %notice.to, "Notice has no way to its origin"),
        }
    }

    fn on_notice_for_us(&self, notice: &Notice) {
        match &notice.kind {
            NoticeKind::Dropped { reason } => {
                self.parts.metrics.on_notice("dropped");
                info!(key = %notice.key, at = %notice.from, %reason, "Event was dropped on its way");
            }
            NoticeKind::DeniedLink { rule, context, link: (one, other) } => {
                self.parts.metrics.on_notice("denied-link");
                let forwarding = self.parts.forwarding.load();
                let speaker = forwarding.index_of(&notice.from).map(|index| forwarding.bridge(index).1);
                // Nobody refuses for others.
                if speaker.is_some_and(|zone| zone == one || zone == other) {
                    self.detours.note(notice.key.lane, (one.clone(), other.clone()), Instant::now());
                }
                info!(key = %notice.key, at = %notice.from, %rule, %context, link = %format_args!("{one}/{other}"), "A link was denied to an event by another bridge");
            }
            NoticeKind::Denied { rule, disposition, context } => {
                self.parts.metrics.on_notice("denied");
                info!(key = %notice.key, at = %notice.from, %rule, %context, "Event was refused by another bridge");
                if disposition == REJECT {
                    return;
                }
                let found = lock(&self.recent).find(&notice.key).cloned();
                if let Some((topic, event)) = found {
                    let from = notice.from.as_str();
                    let letter = letter(&notice.key, &topic, &event, from, context, rule, disposition);
                    lock(&self.dead_letters).push(letter);
                }
            }
        }
    }
}

impl Pipeline {
    /// A notice came over a link, for us or to be passed on.
    pub(crate) fn on_notice(&self, mut notice: Notice) {
        // Counted down before it is passed on; one that runs in a circle ends.
        notice.hop_limit = notice.hop_limit.saturating_sub(1);
        if notice.hop_limit > 0 || notice.to == self.inner.parts.own {
            self.inner.route_notice(notice);
        }
    }
}

/// An id or a topic that is itself personal data is shown as its class.
fn letter(
    key: &EventKey,
    topic: &Topic,
    event: &Event,
    destination: &str,
    context: &str,
    by: &str,
    disposition: &str,
) -> DeadLetter {
    DeadLetter {
        at: SystemTime::now(),
        key: key.to_string(),
        id: shown(event.id()),
        source: shown(event.source()),
        ty: shown(event.ty()),
        topic: shown(topic.as_str()),
        destination: destination.to_owned(),
        context: context.to_owned(),
        by: by.to_owned(),
        disposition: disposition.to_owned(),
        message: None,
    }
}
