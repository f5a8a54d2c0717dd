//! Subjects of NATS as topics and filters, and back.
//!
//! Tokens are the same, separated by dots. A token of a topic may not hold all characters that a token of a subject may
//! (`/`, `#`, `+`, control characters); these, and `%`, are percent-encoded. `*` is `*`, and `>` at the end, which
//! stands for one token or more, is `*.**`.

use std::borrow::Cow;

use meshbridge_topic::{Topic, TopicFilter};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

const ENCODED: &AsciiSet = &CONTROLS.add(b'/').add(b'#').add(b'+').add(b'%');

/// A subject that is no topic or no filter; the text says why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct InvalidSubject(String);

fn encoded(subject: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte > b' ' && byte < 0x7f && !matches!(byte, b'/' | b'#' | b'+' | b'%');
    if subject.bytes().all(plain) {
        return Cow::Borrowed(subject);
    }
    // What is beyond ASCII stays as it is, where topics take it.
    let mut text = String::with_capacity(subject.len() + 8);
    for c in subject.chars() {
        match c.is_ascii() {
            true => text.extend(utf8_percent_encode(c.encode_utf8(&mut [0; 4]), ENCODED)),
            false => text.push(c),
        }
    }
    Cow::Owned(text)
}

pub(super) fn topic(subject: &str) -> Result<Topic, InvalidSubject> {
    Topic::parse(&encoded(subject)).map_err(|problem| InvalidSubject(problem.to_string()))
}

pub(super) fn filter(subject: &str) -> Result<TopicFilter, InvalidSubject> {
    if subject.split('.').any(|token| token == "**") {
        return Err(InvalidSubject("`**` is no wildcard of NATS".to_owned()));
    }
    let text = encoded(subject);
    let text = match text.strip_suffix('>') {
        Some("") => Cow::Borrowed("*.**"),
        Some(rest) if rest.ends_with('.') => Cow::Owned(format!("{rest}*.**")),
        _ => text,
    };
    TopicFilter::parse(&text).map_err(|problem| InvalidSubject(problem.to_string()))
}

/// The subject of a topic.
pub(super) fn of_topic(topic: &Topic) -> Cow<'_, str> {
    let text = topic.as_str();
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    // A topic from elsewhere may hold what would break a control line: then it stays encoded.
    match percent_decode_str(text).decode_utf8() {
        Ok(decoded) if !decoded.contains(|c: char| c.is_whitespace() || c.is_control()) => decoded,
        _ => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_map_to_topics_and_back() {
        for (subject, expected) in [
            ("orders.eu.created", "orders.eu.created"),
            ("files.a/b", "files.a%2Fb"),
            ("x.100%", "x.100%25"),
            ("orte.münchen", "orte.münchen"),
            ("c.#1", "c.%231"),
        ] {
            let topic = topic(subject).expect("a subject");
            assert_eq!(topic.as_str(), expected);
            assert_eq!(of_topic(&topic), subject);
        }
        for subject in ["", ".a", "a.", "a..b", "a.*", "a.>"] {
            assert!(topic(subject).is_err(), "{subject}");
        }
    }

    #[test]
    fn wildcards_keep_their_meaning() {
        for (subject, expected) in [(">", "*.**"), ("a.>", "a.*.**"), ("a.*.b", "a.*.b"), ("*", "*")] {
            assert_eq!(filter(subject).expect("a filter").as_str(), expected);
        }
        for subject in ["a.>.b", "a>", "a.**", "a*b", "", "a..b"] {
            assert!(filter(subject).is_err(), "{subject}");
        }
        let matches = |f: &str, t: &str| filter(f).expect("a filter").matches(&topic(t).expect("a topic"));
        assert!(matches("a.>", "a.b") && matches("a.>", "a.b.c") && !matches("a.>", "a"));
    }
}
