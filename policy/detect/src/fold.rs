//! Other ways of writing the same characters, made plain before looking: full-width forms, digits of other scripts,
//! spaces and dashes of typography; characters without width go.

/// What stands for `c`: itself for most.
enum Plain {
    Same,
    Other(char),
    Nothing,
}

fn plain(c: char) -> Plain {
    let code = u32::from(c);
    let digit = |zero: u32| Plain::Other(char::from(b'0' + ((code - zero) % 10) as u8));
    match code {
        0xff01..=0xff5e => Plain::Other(char::from((code - 0xfee0) as u8)),
        0x3000 | 0xa0 | 0x1680 | 0x2000..=0x200a | 0x202f | 0x205f => Plain::Other(' '),
        0x2010..=0x2015 | 0x2212 | 0xfe58 | 0xfe63 => Plain::Other('-'),
        0xad | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x2064 | 0xfeff | 0x180e => Plain::Nothing,
        0x660..=0x669 => digit(0x660),
        0x6f0..=0x6f9 => digit(0x6f0),
        0x966..=0x96f => digit(0x966),
        0x9e6..=0x9ef => digit(0x9e6),
        0xe50..=0xe59 => digit(0xe50),
        0x1d7ce..=0x1d7ff => digit(0x1d7ce),
        _ => Plain::Same,
    }
}

/// Whether folding would change the text.
pub(crate) fn is_needed(text: &str) -> bool {
    !text.is_ascii() && text.chars().any(|c| !c.is_ascii() && !matches!(plain(c), Plain::Same))
}

/// Appends the folded text; `place` hears, for each byte appended and once for the end, which byte of `text` its
/// character begins at.
pub(crate) fn fold(text: &str, folded: &mut String, mut place: impl FnMut(usize)) {
    for (at, c) in text.char_indices() {
        let c = match plain(c) {
            Plain::Same => c,
            Plain::Other(other) => other,
            Plain::Nothing => continue,
        };
        folded.push(c);
        (0..c.len_utf8()).for_each(|_| place(at));
    }
    place(text.len());
}
