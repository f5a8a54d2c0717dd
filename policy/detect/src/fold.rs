//! Other ways of writing the same characters, made plain before looking: full-width forms, digits of other scripts,
//! spaces and dashes of typography; characters without width go.

/// What stands for `c`: itself for most.
enum Plain {
    Same,
    Other(char),
    /// Written above or below the line; behind a digit on the line it is an exponent or a note, not a part of a number.
    Raised(char),
    Nothing,
}

/// Where the ten digits of each script begin, but for those of the Basic Latin and of mathematics.
const ZEROS: [u32; 58] = [
    0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50, 0xed0,
    0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40, 0x1c50,
    0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0x104a0, 0x10d30, 0x11066, 0x110f0, 0x11136,
    0x111d0, 0x112f0, 0x11450, 0x114d0, 0x11650, 0x116c0, 0x11730, 0x118e0, 0x11950, 0x11c50, 0x11d50,
    0x11da0, 0x16a60, 0x16b50, 0x1e140, 0x1e2f0, 0x1e950, 0x1fbf0,
];

fn plain(c: char) -> Plain {
    let code = u32::from(c);
    let ascii = |code: u32| char::from(code as u8);
    let digit = |zero: u32| ascii(u32::from(b'0') + (code - zero) % 10);
    match code {
        // Latin, Greek, Cyrillic and Hebrew letters, and the scripts of East Asia.
        0xba..=0x65f | 0x3001..=0xa61f | 0xac00..=0xd7ff => Plain::Same,
        0xff01..=0xff5e => Plain::Other(ascii(code - 0xfee0)),
        0x3000 | 0xa0 | 0x1680 | 0x2000..=0x200a | 0x202f | 0x205f => Plain::Other(' '),
        0x2010..=0x2015 | 0x2212 | 0xfe58 | 0xfe63 => Plain::Other('-'),
        0xad | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x2064 | 0xfeff | 0x180e => Plain::Nothing,
        0xb2 | 0xb3 => Plain::Raised(ascii(code - 0x80)),
        0xb9 => Plain::Raised('1'),
        0x2070 | 0x2074..=0x2079 => Plain::Raised(digit(0x2070)),
        0x2080..=0x2089 => Plain::Raised(digit(0x2080)),
        0x207a | 0x208a => Plain::Raised('+'),
        0x207b | 0x208b => Plain::Raised('-'),
        0x207d | 0x208d => Plain::Raised('('),
        0x207e | 0x208e => Plain::Raised(')'),
        // In circles.
        0x2460..=0x2468 => Plain::Other(ascii(code - 0x2460 + u32::from(b'1'))),
        0x24ea => Plain::Other('0'),
        0x24b6..=0x24cf => Plain::Other(ascii(code - 0x24b6 + u32::from(b'A'))),
        0x24d0..=0x24e9 => Plain::Other(ascii(code - 0x24d0 + u32::from(b'a'))),
        // Letters of mathematics, in thirteen styles of 26 capitals and 26 small ones.
        0x1d400..=0x1d6a3 => match (code - 0x1d400) % 52 {
            letter @ 0..26 => Plain::Other(ascii(letter + u32::from(b'A'))),
            letter => Plain::Other(ascii(letter - 26 + u32::from(b'a'))),
        },
        0x1d7ce..=0x1d7ff => Plain::Other(digit(0x1d7ce)),
        0x660.. => {
            let script = ZEROS.partition_point(|zero| *zero <= code).checked_sub(1).map(|at| ZEROS[at]);
            script.filter(|zero| code - zero < 10).map_or(Plain::Same, |zero| Plain::Other(digit(zero)))
        }
        _ => Plain::Same,
    }
}

/// A character as it is read in the name of a field; `None` for one without width.
#[inline(always)]
pub(crate) fn folded(c: char) -> Option<char> {
    if c.is_ascii() { Some(c) } else { folded_other(c) }
}

#[inline(never)]
fn folded_other(c: char) -> Option<char> {
    match plain(c) {
        Plain::Same => Some(c),
        Plain::Other(other) | Plain::Raised(other) => Some(other),
        Plain::Nothing => None,
    }
}

/// Whether folding would change the text.
pub(crate) fn is_needed(text: &str) -> bool {
    !text.is_ascii() && text.chars().any(|c| !c.is_ascii() && !matches!(plain(c), Plain::Same))
}

/// Appends the folded text; `place` hears, for each byte appended and once for the end, which byte of `text` its
/// character begins at.
pub(crate) fn fold(text: &str, folded: &mut String, mut place: impl FnMut(usize)) {
    let mut is_behind_digit = false;
    for (at, c) in text.char_indices() {
        let c = match plain(c) {
            Plain::Nothing => continue,
            Plain::Raised(_) if is_behind_digit => c,
            Plain::Raised(other) => other,
            Plain::Other(other) => {
                is_behind_digit = other.is_ascii_digit();
                other
            }
            Plain::Same => {
                is_behind_digit = c.is_ascii_digit();
                c
            }
        };
        folded.push(c);
        (0..c.len_utf8()).for_each(|_| place(at));
    }
    place(text.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_read_as_what_they_stand_for() {
        assert!(ZEROS.is_sorted());
        for (text, expected) in [
            ("４１１１", "4111"),
            ("٤١١١ ۴۱۱۱ ४१११ ႔႑႑႑ ᭔᭑᭑᭑ 𑄺𑄷𑄷𑄷", "4111 4111 4111 4111 4111 4111"),
            ("⁴¹¹¹ ₄₁₁₁ ²³", "4111 4111 23"),
            ("⁺⁴⁹ ₍₀₎", "+49 (0)"),
            ("④①①① ⓪ ⓐⓩⒶ", "4111 0 azA"),
            ("𝟒𝟙𝟣𝟷 𝐀𝑧𝙰", "4111 AzA"),
            ("1\u{200b}2\u{a0}3\u{2011}4", "12 3-4"),
            // An exponent, a note.
            ("10⁵ m² 4111³", "10⁵ m2 4111³"),
            ("Größe 東京 Ωμέγα", "Größe 東京 Ωμέγα"),
        ] {
            let mut folded = String::new();
            fold(text, &mut folded, |_| {});
            assert_eq!(folded, expected);
        }
    }
}
