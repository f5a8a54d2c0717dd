//! What attributes must be, and the obligations that some of them bring.

use meshbridge_event::Event;

use super::Request;
use crate::decision::RuleRef;
use crate::federation::{Zone, ZoneIndex};
use crate::model::{CLASSIFYING, Classification, Format, Layer, Presence, Requirement, attribute_text};
use crate::program::Program;

/// Zones that a pattern may name.
pub(crate) type Ends<'a> = ((ZoneIndex, &'a Zone), (ZoneIndex, &'a Zone));

pub(crate) fn is_met(requirement: &Requirement, event: &Event, (from, to): Ends<'_>) -> bool {
    let Some(text) = attribute_text(event, &requirement.attribute) else {
        return requirement.presence != Presence::Required;
    };
    requirement.presence != Presence::Absent
        && requirement.format.is_none_or(|format| has_format(format, &text))
        && requirement.pattern.as_ref().is_none_or(|pattern| pattern.is_match(&text, from, to))
        && (requirement.values.is_empty() || requirement.values.iter().any(|value| *value == text))
}

impl Program {
    /// Whether the event carries an attribute that brings obligations.
    pub(super) fn has_obligations(&self, request: &Request<'_>) -> bool {
        request.context.is_border() && CLASSIFYING.iter().any(|name| request.event.attribute(name).is_some())
    }

    /// The rule that stops the event with an obligation that these policies do not meet: layers intersect what they
    /// list. Where the outermost lists nothing it lists `public`, for what it closes no inner layer opens.
    pub(crate) fn unmet_obligation(&self, request: &Request<'_>) -> Option<RuleRef> {
        if !request.context.is_border() {
            return None;
        }
        for name in CLASSIFYING {
            let Some(text) = attribute_text(request.event, name) else { continue };
            let is_met_by =
                |known: &[String]| text.split(',').all(|value| known.iter().any(|one| one == value.trim()));
            if !self.lists(request, name).any(|(one, _)| one.layer.depth == 0)
                && text.split(',').any(|value| value.trim() != "public")
            {
                let federation = Layer::federation();
                return Some(RuleRef::unmet_obligation("federation", federation.name()));
            }
            if let Some((one, _)) = self.lists(request, name).find(|(_, values)| !is_met_by(values)) {
                return Some(RuleRef::unmet_obligation(&one.name, one.layer.name()));
            }
        }
        None
    }

    /// What each layer that speaks lists of one attribute, outer ones first.
    fn lists<'a>(
        &'a self,
        request: &Request<'_>,
        name: &'a str,
    ) -> impl Iterator<Item = (&'a Classification, &'a [String])> + use<'a> {
        let (from, to) = (self.federation.zone_at(request.from), self.federation.zone_at(request.to));
        let context = request.context;
        let speak = self.classifications.iter().filter(move |one| one.layer.speaks_at(context, from, to));
        speak.filter_map(move |one| {
            let (_, values) = one.attributes.iter().find(|(known, _)| known == name)?;
            Some((one, values.as_slice()))
        })
    }
}

fn has_format(format: Format, text: &str) -> bool {
    match format {
        Format::Traceparent => is_traceparent(text),
        Format::Rfc3339 => {
            time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).is_ok()
        }
        Format::Uri => text.split_once(':').is_some_and(|(scheme, rest)| {
            let good = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
            scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.bytes().all(good)
                && !rest.is_empty()
                && is_uri_text(rest)
        }),
        Format::UriReference => !text.is_empty() && is_uri_text(text),
        Format::Uuid => {
            let mut lengths = text.split('-').map(str::len);
            lengths.by_ref().take(5).eq([8, 4, 4, 4, 12])
                && lengths.next().is_none()
                && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
        }
        Format::MediaType => {
            let token = |part: &str| {
                !part.is_empty()
                    && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
            };
            let essence = text.split(';').next().unwrap_or_default().trim();
            essence.split_once('/').is_some_and(|(kind, sub)| token(kind) && token(sub))
        }
    }
}

/// W3C Trace Context, section 3.2: 00-<32 hex>-<16 hex>-<2 hex>, ids not zero, version not ff.
fn is_traceparent(text: &str) -> bool {
    let is_hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let is_id = |part: &str, length: usize| is_hex(part, length) && part.bytes().any(|b| b != b'0');
    let mut parts = text.splitn(5, '-');
    let mut next = || parts.next().unwrap_or_default();
    let version = next();
    is_hex(version, 2)
        && version != "ff"
        && is_id(next(), 32)
        && is_id(next(), 16)
        && is_hex(next(), 2)
        && (version != "00" || parts.next().is_none())
}

fn is_uri_text(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"{}|\\^`".contains(&b))
}
