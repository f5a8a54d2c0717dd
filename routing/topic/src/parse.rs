//! The grammar that topics and filters share, with the byte at which it was broken.

use crate::{BYTES_MAX, MULTI_WILDCARDS_MAX, TOKENS_MAX};

/// Text that is no topic, or no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct ParseError {
    pub kind: ParseErrorKind,
    /// Where in the text, in bytes from its start.
    pub offset: usize,
}

/// Which rule the text breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseErrorKind {
    #[error("empty token")]
    EmptyToken,
    #[error("`{0}` is not allowed in a token")]
    Character(char),
    #[error("a wildcard must be a token of its own")]
    PartialWildcard,
    #[error("a topic has no wildcards")]
    WildcardInTopic,
    #[error("more than {TOKENS_MAX} tokens")]
    TooManyTokens,
    #[error("more than {BYTES_MAX} bytes")]
    TooLong,
    #[error("more than {MULTI_WILDCARDS_MAX} `**`")]
    TooManyMultiWildcards,
}

/// Checks `text`; wildcards are taken only where `wildcards` says so.
pub(crate) fn check(text: &str, wildcards: bool) -> Result<(), ParseError> {
    let fail = |kind, offset| Err(ParseError { kind, offset });
    if text.len() > BYTES_MAX {
        return fail(ParseErrorKind::TooLong, BYTES_MAX);
    }
    let mut offset = 0;
    let mut multi = 0;
    for (number, token) in text.split('.').enumerate() {
        if number == TOKENS_MAX {
            return fail(ParseErrorKind::TooManyTokens, offset);
        }
        match token {
            "" => return fail(ParseErrorKind::EmptyToken, offset),
            "*" | "**" if !wildcards => return fail(ParseErrorKind::WildcardInTopic, offset),
            "*" => {}
            "**" => {
                multi += 1;
                if multi > MULTI_WILDCARDS_MAX {
                    return fail(ParseErrorKind::TooManyMultiWildcards, offset);
                }
            }
            _ => check_literal(token, wildcards)
                .map_err(|(kind, at)| ParseError { kind, offset: offset + at })?,
        }
        offset += token.len() + 1;
    }
    Ok(())
}

fn check_literal(token: &str, wildcards: bool) -> Result<(), (ParseErrorKind, usize)> {
    for (at, c) in token.char_indices() {
        let kind = match c {
            '*' if wildcards => ParseErrorKind::PartialWildcard,
            '*' | '>' | '#' | '+' | '/' => ParseErrorKind::Character(c),
            c if c.is_whitespace() || c.is_control() || is_invisible(c) => ParseErrorKind::Character(c),
            _ => continue,
        };
        return Err((kind, at));
    }
    Ok(())
}

/// Format characters that print as nothing, so two different topics would look the same: zero-width marks,
/// directional overrides, the byte-order mark, variation tags.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}
