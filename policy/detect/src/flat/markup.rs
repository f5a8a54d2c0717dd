//! Tags between a name and its value: `<dt>Born</dt> <dd>12 May 1987</dd>`.

/// Longer tags are not looked over.
const TAG_MAX: usize = 96;
/// Tags beside each other that are looked over.
const TAGS_MAX: usize = 4;

/// Elements that say how a text looks, and nothing about it.
pub(crate) fn is_plain(name: &[u8]) -> bool {
    matches!(
        name,
        b"a" | b"b"
            | b"br"
            | b"code"
            | b"dd"
            | b"div"
            | b"em"
            | b"font"
            | b"i"
            | b"li"
            | b"mark"
            | b"p"
            | b"span"
            | b"strong"
            | b"td"
            | b"tt"
            | b"u"
    )
}

/// Where the text ends that stands before the tags before `start`; without attributes that name spaces of names.
pub(super) fn behind_tags(bytes: &[u8], start: usize) -> usize {
    let mut end = start;
    for _ in 0..TAGS_MAX {
        let head = bytes[..end].trim_ascii_end();
        if head.last() != Some(&b'>') {
            break;
        }
        let from = head.len().saturating_sub(TAG_MAX);
        let Some(open) = memchr::memrchr(b'<', &head[from..]).map(|found| from + found) else { break };
        let tag = &head[open + 1..head.len() - 1];
        let length = tag.iter().take_while(|byte| !matches!(byte, b' ' | b'\n' | b'\t')).count();
        if !tag.starts_with(b"/") && !is_plain(&tag[..length]) {
            let spaces = memchr::memmem::find(tag, b" xmlns");
            return spaces.map_or(end, |spaces| open + 1 + spaces);
        }
        end = open;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stands_behind_its_name_whatever_is_between() {
        for (head, expected) in [
            ("<dt>Born</dt> <dd class=\"x\">", "<dt>Born"),
            ("<th>BSN</th><td><b>", "<th>BSN"),
            ("<phone>", "<phone>"),
            ("<n:phone xmlns:n=\"urn:x\">", "<n:phone"),
            ("a -> ", "a -> "),
            ("x </span", "x </span"),
            ("", ""),
            (">", ">"),
        ] {
            assert_eq!(&head[..behind_tags(head.as_bytes(), head.len())], expected, "{head}");
        }
    }
}
