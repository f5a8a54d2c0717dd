//! From what a client sent to what the pipeline takes, and why not; the same for every protocol.

use std::time::Duration;

use meshbridge_event::json::StructuredError;
use meshbridge_event::{Event, is_reserved_name};
use meshbridge_topic::Topic;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::pipeline::{
    Accepted, AckLevel, FilterDenied, Publication, PublishRefused, RejectReason, Rejection, Wish,
};

/// What is wrong with a publication, or with a subscription; the same for HTTP and gRPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) kind: RefusedKind,
    pub(super) message: String,
    pub(super) attribute: Option<String>,
    /// Byte in the body, or in the topic.
    pub(super) offset: Option<usize>,
    /// Which event of a batch.
    pub(super) index: Option<usize>,
    /// The rule that refuses it.
    pub(super) rule: Option<Rule>,
}

/// A rule of the policies in force, as a client may know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) id: String,
    pub(super) help: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RefusedKind {
    Invalid,
    TooLarge,
    TooSlow,
    Busy {
        retry_after_secs: u64,
    },
    /// The client has used up its own share.
    Quota {
        retry_after_secs: u64,
    },
    /// A rule forbids it.
    Forbidden,
    /// A rule wants it to look otherwise.
    Form,
    Stopping,
}

impl Refused {
    pub(super) fn invalid(message: impl Into<String>) -> Refused {
        Refused {
            kind: RefusedKind::Invalid,
            message: message.into(),
            attribute: None,
            offset: None,
            index: None,
            rule: None,
        }
    }

    pub(super) fn too_large(message: impl Into<String>) -> Refused {
        Refused { kind: RefusedKind::TooLarge, ..Refused::invalid(message) }
    }

    pub(super) fn too_slow(message: impl Into<String>) -> Refused {
        Refused { kind: RefusedKind::TooSlow, ..Refused::invalid(message) }
    }

    pub(super) fn of_event(problem: StructuredError) -> Refused {
        Refused { attribute: problem.attribute, offset: problem.offset, ..Refused::invalid(problem.message) }
    }
}

impl From<Box<Rejection>> for Refused {
    fn from(rejection: Box<Rejection>) -> Refused {
        let kind = match rejection.reason {
            RejectReason::Forbidden => RefusedKind::Forbidden,
            RejectReason::Form => RefusedKind::Form,
            RejectReason::TooLarge => RefusedKind::TooLarge,
            RejectReason::TooMany(wait) => {
                RefusedKind::Quota { retry_after_secs: wait.as_millis().div_ceil(1_000).max(1) as u64 }
            }
        };
        let index = Some(rejection.index);
        let message = rejection.to_string();
        let rule = Some(Rule { id: rejection.by, help: rejection.help });
        Refused { kind, rule, index, ..Refused::invalid(message) }
    }
}

impl From<&FilterDenied> for Refused {
    fn from(denied: &FilterDenied) -> Refused {
        let rule = Some(Rule { id: denied.by.clone(), help: None });
        let attribute = Some("filter".to_owned());
        Refused { kind: RefusedKind::Forbidden, attribute, rule, ..Refused::invalid(denied.to_string()) }
    }
}

impl From<PublishRefused> for Refused {
    fn from(refused: PublishRefused) -> Refused {
        let message = refused.to_string();
        let kind = match refused {
            PublishRefused::Full { retry_after }
            | PublishRefused::LettersFull { retry_after }
            | PublishRefused::DestinationFull { retry_after, .. } => {
                RefusedKind::Busy { retry_after_secs: retry_after.as_secs().max(1) }
            }
            PublishRefused::ProducerFull { retry_after, .. } => {
                RefusedKind::Quota { retry_after_secs: retry_after.as_secs().max(1) }
            }
            PublishRefused::Rejected(rejection) => return Refused::from(rejection),
            PublishRefused::Draining => RefusedKind::Stopping,
        };
        Refused { kind, ..Refused::invalid(message) }
    }
}

/// Whether a publisher may set all attributes that an event has.
fn check_names(event: &Event) -> Result<(), StructuredError> {
    match event.attributes().find(|(name, _)| is_reserved_name(name)) {
        Some((name, _)) => {
            Err(StructuredError::about(name, &format!("attribute `{name}`: only bridges may set it")))
        }
        None => Ok(()),
    }
}

/// Whether a publisher may say all that an event says.
pub(super) fn check_attributes(event: &Event) -> Result<(), StructuredError> {
    check_names(event)?;
    check_end(event)
}

/// Whether an `expirytime` is a time: what never ends because of a spelling error must not be taken.
fn check_end(event: &Event) -> Result<(), StructuredError> {
    let Some(end) = event.attribute("expirytime").map(|value| value.to_text().into_owned()) else {
        return Ok(());
    };
    match OffsetDateTime::parse(&end, &Rfc3339) {
        Ok(_) => Ok(()),
        Err(_) => Err(StructuredError::about(
            "expirytime",
            "attribute `expirytime` is no time as RFC 3339 writes it, such as 2026-11-21T10:00:00Z",
        )),
    }
}

/// An event with its topic: the one it was sent to, or else its type.
pub(super) fn publication(
    topic: Option<&Topic>,
    event: Event,
    event_bytes_max: usize,
) -> Result<Publication, Refused> {
    if event.encoded().len() > event_bytes_max {
        let message =
            format!("the event has {} bytes, at most {event_bytes_max} are taken", event.encoded().len());
        return Err(Refused::too_large(message));
    }
    check_attributes(&event).map_err(Refused::of_event)?;
    let topic = match topic {
        Some(topic) => topic.clone(),
        None => Topic::parse(event.ty()).map_err(|problem| Refused {
            attribute: Some("type".to_owned()),
            offset: Some(problem.offset),
            ..Refused::invalid(format!(
                "attribute `type` is no topic: {problem}; publish to /v1/topics/<topic>"
            ))
        })?,
    };
    Ok(Publication { topic, event })
}

/// The reply to one event, as JSON.
pub(super) fn reply(accepted: &Accepted) -> serde_json::Value {
    let denied: Vec<_> = accepted
        .denied
        .iter()
        .map(|denied| {
            serde_json::json!({
                "destination": denied.destination.as_str(), "by": denied.by, "disposition": denied.disposition,
            })
        })
        .collect();
    let destinations: Vec<&str> = accepted.destinations.iter().map(|bridge| bridge.as_str()).collect();
    let mut reply =
        serde_json::json!({"key": accepted.key.to_string(), "destinations": destinations, "denied": denied});
    if !accepted.held.is_empty() {
        let held = accepted
            .held
            .iter()
            .map(|held| serde_json::json!({"destination": held.destination.as_str(), "by": held.by}));
        reply["held"] = held.collect();
    }
    if !accepted.left_out.is_empty() {
        let left_out = accepted.left_out.iter().map(
            |(bridge, reason)| serde_json::json!({"destination": bridge.as_str(), "reason": reason.name()}),
        );
        reply["leftOut"] = left_out.collect();
    }
    if accepted.duplicate {
        reply["duplicate"] = true.into();
    }
    if accepted.expired {
        reply["expired"] = true.into();
    }
    if let Some(reached) = &accepted.reached {
        let outcomes = reached.outcomes.iter().map(|(destination, outcome)| {
            serde_json::json!({"destination": destination.as_str(), "outcome": outcome.name(), "why": outcome.why()})
        });
        reply["ack"] = serde_json::json!({
            "level": reached.level.name(),
            "missing": reached.missing.iter().map(|bridge| bridge.as_str()).collect::<Vec<_>>(),
            "outcomes": outcomes.collect::<Vec<_>>(),
        });
    }
    reply
}

/// The longest that a publisher may let its answer wait.
const PATIENCE_MAX: Duration = Duration::from_secs(25);

/// What the parameters of a publication ask for: `ack` and `timeout` in seconds.
pub(super) fn wish(ack: &str, timeout: &str) -> Result<Wish, Refused> {
    let mut wish = Wish::default();
    if !ack.is_empty() {
        wish.level = AckLevel::parse(ack).ok_or_else(|| {
            let shown: String = ack.chars().take(64).collect();
            Refused::invalid(format!("ack `{shown}` is none of {}", AckLevel::NAMES.join(", ")))
        })?;
    }
    if !timeout.is_empty() {
        let seconds = timeout
            .parse::<f64>()
            .ok()
            .filter(|seconds| (0.0..=PATIENCE_MAX.as_secs_f64()).contains(seconds));
        let seconds = seconds.ok_or_else(|| {
            Refused::invalid(format!(
                "timeout must be a number of seconds, at most {}",
                PATIENCE_MAX.as_secs()
            ))
        })?;
        wish.patience = Duration::from_secs_f64(seconds);
    }
    Ok(wish)
}
