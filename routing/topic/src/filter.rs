//! Which topics somebody wants, or a rule is about.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::parse::{ParseError, check};
use crate::{TOKENS_MAX, Topic};

/// A topic filter. Cheap to clone. Two filters are equal when their texts are.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter(Arc<str>);

/// A token that no filter can name: stands for "any other token" where languages are compared. A space is not
/// allowed in a token.
pub(crate) const FRESH: &str = " ";

pub(crate) fn is_wildcard(token: &str) -> bool {
    matches!(token, "*" | "**")
}

impl TopicFilter {
    pub fn parse(text: &str) -> Result<TopicFilter, ParseError> {
        check(text, true)?;
        Ok(TopicFilter(Arc::from(text)))
    }

    /// Of the text of a filter that was parsed.
    pub(crate) fn checked_before(text: &str) -> TopicFilter {
        TopicFilter(Arc::from(text))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn tokens(&self) -> impl Iterator<Item = &str> + Clone {
        self.0.split('.')
    }

    /// The text before the first token that is a wildcard, without the dot between: what the filter covers begins so.
    pub fn literal_prefix(&self) -> &str {
        let bytes: usize =
            self.tokens().take_while(|token| !is_wildcard(token)).map(|token| token.len() + 1).sum();
        self.0.get(..bytes.saturating_sub(1)).unwrap_or_default()
    }

    /// Whether the filter has no wildcard, and so matches exactly one topic.
    pub fn is_literal(&self) -> bool {
        self.tokens().all(|token| !is_wildcard(token))
    }

    pub fn matches(&self, topic: &Topic) -> bool {
        self.matches_tokens(topic.tokens())
    }

    /// Matches in one pass over the topic with a set of positions in the filter: bit `i` is set when the first `i`
    /// tokens of the filter account for what was read.
    ///
    /// ```text
    /// filter  a.**.b      positions  0 ─a─► 1 ─(nothing)─► 2 ─b─► 3
    ///                                       └── any, stays ──┘
    /// ```
    fn matches_tokens<'a>(&self, tokens: impl Iterator<Item = &'a str>) -> bool {
        let mut positions = self.skip_multi(1);
        let end = 1_u32 << self.tokens().count();
        for token in tokens {
            let mut next = 0;
            for (i, wanted) in self.tokens().enumerate() {
                if positions & (1 << i) == 0 {
                    continue;
                }
                if wanted == "**" {
                    next |= 1 << i;
                } else if wanted == "*" || wanted == token {
                    next |= 1 << (i + 1);
                }
            }
            positions = self.skip_multi(next);
            if positions == 0 {
                return false;
            }
        }
        positions & end != 0
    }

    /// Adds what is reached because `**` may stand for nothing.
    pub(crate) fn skip_multi(&self, mut positions: u32) -> u32 {
        for (i, wanted) in self.tokens().enumerate() {
            if wanted == "**" && positions & (1 << i) != 0 {
                positions |= 1 << (i + 1);
            }
        }
        positions
    }

    /// Whether every topic that `other` matches is matched by `self`, without regard to the limit on tokens.
    ///
    /// It is enough to look at topics made of a token that `self` does not name: where `self` accepts such a token
    /// it does so by a wildcard, which accepts any other as well. A `**` of `other` needs to be tried up to one token
    /// longer than `self`, because what `self` accepts beyond its own length it accepts by a `**`.
    pub fn covers(&self, other: &TopicFilter) -> bool {
        let longest = self.tokens().count() + 1;
        let multis = other.tokens().filter(|token| *token == "**").count();
        let lengths = |n: usize| if n < multis { 0..=longest } else { 0..=0 };
        lengths(0).all(|first| {
            lengths(1).all(|second| {
                let mut instance: [&str; INSTANCE_MAX] = [""; INSTANCE_MAX];
                let mut length = 0;
                let mut multi = [first, second].into_iter();
                for token in other.tokens() {
                    let (token, times) = match token {
                        "*" => (FRESH, 1),
                        "**" => (FRESH, multi.next().unwrap_or(0)),
                        literal => (literal, 1),
                    };
                    for slot in instance.iter_mut().skip(length).take(times) {
                        *slot = token;
                    }
                    length += times;
                }
                // A topic has at least one token.
                length == 0 || self.matches_tokens(instance.into_iter().take(length))
            })
        })
    }

    /// Whether some topic is matched by both, without regard to the limit on tokens.
    pub fn intersects(&self, other: &TopicFilter) -> bool {
        // `reach` has bit `j` set for row `i` when some text is read by the first `i` tokens of `self` and the first
        // `j` of `other`. Two filters that meet only in the empty text are both all `**`, and so meet elsewhere too.
        let width = other.tokens().count();
        let mut row = other.skip_multi(1);
        for mine in self.tokens() {
            let mut next = if mine == "**" { row } else { 0 };
            for (j, theirs) in other.tokens().enumerate() {
                let from = if mine == "**" { next } else { row };
                let here = from & (1 << j) != 0;
                if theirs == "**" {
                    // Their `**` reads my token and stays, or reads nothing.
                    if row & (1 << j) != 0 {
                        next |= 1 << j;
                    }
                    if next & (1 << j) != 0 {
                        next |= 1 << (j + 1);
                    }
                } else if here && (mine == "**" || mine == "*" || theirs == "*" || mine == theirs) {
                    next |= 1 << (j + 1);
                }
            }
            row = next;
        }
        row & (1 << width) != 0
    }
}

/// Two `**` that stand for up to one token more than the longest filter each, and the other tokens.
const INSTANCE_MAX: usize = 3 * (TOKENS_MAX + 1);

/// Filters compare as their texts do.
impl Borrow<str> for TopicFilter {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for TopicFilter {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<TopicFilter, ParseError> {
        TopicFilter::parse(text)
    }
}

impl From<&Topic> for TopicFilter {
    fn from(topic: &Topic) -> TopicFilter {
        TopicFilter(Arc::from(topic.as_str()))
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopicFilter({})", self.0)
    }
}
