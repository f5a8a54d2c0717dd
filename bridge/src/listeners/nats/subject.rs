//! Subjects of NATS as topics and filters, and back.
//!
//! Tokens are the same, separated by dots. A token of a topic may not hold `/`, `#` and `+`, which one of a subject may:
//! these are `%2F`, `%23` and `%2B` there. A subject that holds such a spelling itself gets `25` behind its `%`, so that
//! each subject is one topic and each topic one subject. Nothing else is changed; what no token of a topic may hold
//! (control and invisible characters) is refused. `*` is `*`, and `>` at the end, which stands for one token or more,
//! is `*.**`.

use std::borrow::Cow;

use meshbridge_topic::{Topic, TopicFilter};

/// What a subject may hold and a topic may not, and how it is spelled there, behind a `%`.
const SPELLED: [(char, &str); 3] = [('/', "2F"), ('#', "23"), ('+', "2B")];
/// What stands between a `%` and a spelling that is meant as it stands.
const AS_IT_STANDS: &str = "25";

/// A subject that is no topic or no filter; the text says why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct InvalidSubject(String);

/// Whether what follows a `%` is a spelling, or one that is meant as it stands, once or more.
fn is_spelling(mut rest: &str) -> bool {
    while let Some(inner) = rest.strip_prefix(AS_IT_STANDS) {
        rest = inner;
    }
    SPELLED.iter().any(|(_, code)| rest.starts_with(code))
}

fn encoded(subject: &str) -> Cow<'_, str> {
    if !subject.contains(['/', '#', '+', '%']) {
        return Cow::Borrowed(subject);
    }
    let mut text = String::with_capacity(subject.len() + 8);
    for (at, c) in subject.char_indices() {
        if let Some((_, code)) = SPELLED.iter().find(|(plain, _)| *plain == c) {
            text.push('%');
            text.push_str(code);
            continue;
        }
        text.push(c);
        if c == '%' && is_spelling(subject.get(at + 1..).unwrap_or_default()) {
            text.push_str(AS_IT_STANDS);
        }
    }
    Cow::Owned(text)
}

/// Whether a subject belongs to servers of NATS: their streams, their accounts. It is no topic here.
pub(super) fn is_of_servers(subject: &str) -> bool {
    subject.starts_with('$')
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
    let mut rest = topic.as_str();
    if !rest.contains('%') {
        return Cow::Borrowed(rest);
    }
    let mut text = String::with_capacity(rest.len());
    while let Some((before, behind)) = rest.split_once('%') {
        text.push_str(before);
        rest = behind;
        let spelled = SPELLED.iter().find_map(|(plain, code)| Some((*plain, behind.strip_prefix(code)?)));
        if let Some((plain, behind)) = spelled {
            text.push(plain);
            rest = behind;
            continue;
        }
        text.push('%');
        if let Some(spelling) = behind.strip_prefix(AS_IT_STANDS).filter(|spelling| is_spelling(spelling)) {
            rest = spelling;
        }
    }
    text.push_str(rest);
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn subjects_map_to_topics_and_back() {
        for (subject, expected) in [
            ("orders.eu.created", "orders.eu.created"),
            ("files.a/b", "files.a%2Fb"),
            ("x.100%", "x.100%"),
            ("x.a%2Fb", "x.a%252Fb"),
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

    /// Of the characters and spellings that matter, in any order.
    fn token() -> impl Strategy<Value = String> {
        let part =
            prop::sample::select(vec!["a", "/", "#", "+", "%", "2", "5", "F", "25", "2F", "%2B", "%25"]);
        prop::collection::vec(part, 1..9).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn each_subject_is_one_topic_and_each_topic_one_subject(token in token()) {
            let subject = format!("x.{token}");
            let there = topic(&subject).expect("a subject");
            prop_assert_eq!(of_topic(&there), subject.as_str());
            if let Ok(there) = Topic::parse(&subject) {
                prop_assert_eq!(topic(&of_topic(&there)).expect("a subject"), there);
            }
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
