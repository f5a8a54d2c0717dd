//! Characters that make a name another one than it looks like.

/// A character that nobody sees, and its byte.
pub(super) fn unseen(text: &str) -> Option<(String, usize)> {
    let (at, c) = text.char_indices().find(|(_, c)| is_unseen(*c))?;
    Some((format!("the character U+{:04X}, which nobody sees", c as u32), at))
}

/// Controls, spaces that are no space bar, and what has no width or turns the direction of writing.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(
            c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        )
}

/// White space at the beginning or the end of a name of a path that is not in quotes: part of no name that is meant.
pub(super) fn space_beside_a_name(path: &str) -> Option<(String, usize)> {
    let bytes = path.as_bytes();
    let mut is_quoted = false;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'\'' if is_quoted && bytes[at - 1] != b'\\' => is_quoted = false,
            b'\'' if !is_quoted && bytes[..at].ends_with(b"[") => is_quoted = true,
            b' ' if !is_quoted => {
                let ends = |byte: Option<&u8>| matches!(byte, None | Some(b'.' | b'[' | b']' | b' '));
                let before = at.checked_sub(1).map(|before| &bytes[before]);
                if ends(before) || ends(bytes.get(at + 1)) {
                    return Some(("white space at an end of a name".to_owned(), at));
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_is_part_of_a_name_inside_it_or_in_quotes() {
        for (path, at) in [
            ("$.data.a b", None),
            ("$.data[' a']", None),
            ("$.data['it\\'s '].x", None),
            ("$.data. a", Some(7)),
            ("$.data.a .b", Some(8)),
            ("$.data.a [0]", Some(8)),
            ("$.subject ", Some(9)),
            (" $.subject", Some(0)),
        ] {
            assert_eq!(space_beside_a_name(path).map(|(_, at)| at), at, "{path}");
        }
    }

    #[test]
    fn what_nobody_sees_is_named() {
        assert_eq!(unseen("$.data.号 é"), None);
        assert_eq!(
            unseen("a\u{200b}b").map(|(said, _)| said).as_deref(),
            Some("the character U+200B, which nobody sees")
        );
        assert!(unseen("a\u{a0}b").is_some() && unseen("a\tb").is_some());
    }
}
