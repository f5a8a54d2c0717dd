//! Texts that a rule accepts: the shortest that comes to mind, judged like any other.

use meshbridge_topic::{Topic, TopicFilter};
use regex_syntax::hir::{Class, Hir, HirKind};

use crate::federation::Zone;
use crate::model::{Format, Requirement, Segment};
use crate::pattern::Pattern;

/// Characters of a text that a pattern asks for.
const CHARS_MAX: usize = 256;

/// Values that an attribute may have.
pub(super) fn of_requirement(one: &Requirement, from: &Zone, to: &Zone) -> Vec<String> {
    let mut samples: Vec<String> = one.values.iter().take(4).cloned().collect();
    samples.extend(one.pattern.as_ref().and_then(|pattern| of_pattern(pattern, from, to)));
    samples.extend(one.format.map(|format| of_format(format).to_owned()));
    if samples.is_empty() {
        samples.push("x".to_owned());
    }
    samples
}

/// A token that a segment of a topic may be; the one it has, where that is good.
pub(super) fn of_segment(
    segment: &Segment,
    token: Option<&str>,
    (from, to): crate::engine::Ends<'_>,
) -> Option<String> {
    let is_good = |token: &str| {
        (segment.values.is_empty() || segment.values.iter().any(|value| value == token))
            && segment.pattern.as_ref().is_none_or(|pattern| pattern.is_match(token, from, to))
    };
    if let Some(token) = token.filter(|token| is_good(token)) {
        return Some(token.to_owned());
    }
    let of_pattern = segment.pattern.as_ref().and_then(|pattern| of_pattern(pattern, from.1, to.1));
    let plain = std::iter::once("x".to_owned());
    segment.values.iter().cloned().chain(of_pattern).chain(plain).find(|token| is_good(token))
}

fn of_format(format: Format) -> &'static str {
    match format {
        Format::Traceparent => "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01",
        Format::Rfc3339 => "2026-01-31T12:00:00Z",
        Format::Uri => "https://example.com/x",
        Format::UriReference => "/x",
        Format::Uuid => "01234567-89ab-cdef-0123-456789abcdef",
        Format::MediaType => "application/json",
    }
}

fn of_pattern(pattern: &Pattern, from: &Zone, to: &Zone) -> Option<String> {
    let hir = regex_syntax::parse(&pattern.between(from, to)?).ok()?;
    let mut text = String::new();
    spell(&hir, &mut text)?;
    Some(text)
}

/// The shortest text of an expression, its first alternatives taken.
fn spell(hir: &Hir, text: &mut String) -> Option<()> {
    if text.len() > CHARS_MAX {
        return None;
    }
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => text.push_str(std::str::from_utf8(&literal.0).ok()?),
        HirKind::Class(Class::Unicode(class)) => {
            let readable = ['a', 'x', 'A', '0', '1', '-'];
            let holds = |c: &char| class.iter().any(|range| (range.start()..=range.end()).contains(c));
            text.push(
                readable
                    .into_iter()
                    .find(holds)
                    .or_else(|| class.iter().next().map(|range| range.start()))?,
            );
        }
        HirKind::Class(Class::Bytes(class)) => text.push(char::from(class.iter().next()?.start())),
        HirKind::Repetition(repetition) => {
            for _ in 0..repetition.min {
                spell(&repetition.sub, text)?;
            }
        }
        HirKind::Capture(capture) => spell(&capture.sub, text)?,
        HirKind::Concat(all) => all.iter().try_for_each(|one| spell(one, text))?,
        HirKind::Alternation(all) => spell(all.first()?, text)?,
    }
    Some(())
}

/// A topic of a filter that has as much of another topic as it can.
pub(super) fn of_filter(filter: &TopicFilter, near: &Topic) -> Option<Topic> {
    let mut own = near.tokens();
    let mut tokens: Vec<String> = Vec::new();
    for token in filter.tokens() {
        let known = own.next();
        match token {
            "*" => tokens.push(known.unwrap_or("x").to_owned()),
            // What stands for any number of tokens stands for the rest of the topic.
            "**" => {
                tokens.extend(known.map(str::to_owned));
                tokens.extend(own.by_ref().map(str::to_owned));
            }
            literal => tokens.push(literal.to_owned()),
        }
    }
    if tokens.is_empty() {
        tokens.push("x".to_owned());
    }
    Topic::parse(&tokens.join(".")).ok().filter(|topic| filter.matches(topic))
}
