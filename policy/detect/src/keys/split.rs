//! The words that a name or a text is made of.

use crate::flat::{ALNUM, LOWER, UPPER, marks};
use crate::fold;

/// Longer names are cut; what matters stands within it.
const KEY_BYTES_MAX: usize = 192;

/// Calls `then` with `_words_of_the_text_` and `_wordsofthetext_`, in lower case. A word that ends in one or two digits
/// is there twice, with them and without: `_phone2_phone_`.
pub(super) fn with_words(text: &str, then: impl FnOnce(&[u8], &[u8])) {
    // Most are short; on the stack, because names are looked up on the path of events.
    const SHORT_BYTES_MAX: usize = 56;
    let (words, joined): (&mut [u8], &mut [u8]) = if text.len() <= SHORT_BYTES_MAX {
        (&mut [0; 4 * SHORT_BYTES_MAX + 80], &mut [0; SHORT_BYTES_MAX + 32])
    } else {
        (&mut [0; 4 * KEY_BYTES_MAX + 16], &mut [0; KEY_BYTES_MAX + 16])
    };
    (words[0], joined[0]) = (b'_', b'_');
    let (w, j) =
        if text.is_ascii() { ascii_words(text, words, joined) } else { any_words(text, words, joined) };
    let w = end_word(words, w);
    joined[j] = b'_';
    then(&words[..w], &joined[..=j]);
}

/// Writes the words of a text behind the first byte of both; where the next byte of each would be.
fn ascii_words(text: &str, words: &mut [u8], joined: &mut [u8]) -> (usize, usize) {
    let bytes_max = joined.len() - 16;
    let (mut w, mut j) = (1, 1);
    let mut before = 0;
    let bytes = text.as_bytes();
    for (at, &byte) in bytes.iter().enumerate() {
        if j + 8 > bytes_max {
            break;
        }
        let mark = marks(byte);
        let is_next_lower = || bytes.get(at + 1).is_some_and(|next| marks(*next) & LOWER != 0);
        let starts = mark & UPPER != 0 && (before & LOWER != 0 || before & UPPER != 0 && is_next_lower());
        if mark & ALNUM == 0 || starts {
            w = end_word(words, w);
        }
        if mark & ALNUM != 0 {
            let lower = byte.to_ascii_lowercase();
            (words[w], joined[j]) = (lower, lower);
            w += 1;
            j += 1;
        }
        before = mark;
    }
    (w, j)
}

/// The same of a text in any script.
fn any_words(text: &str, words: &mut [u8], joined: &mut [u8]) -> (usize, usize) {
    let bytes_max = joined.len() - 16;
    let (mut w, mut j) = (1, 1);
    let mut before = ' ';
    let mut characters = text.chars().filter_map(fold::folded).peekable();
    while let Some(c) = characters.next() {
        if j + 8 > bytes_max {
            break;
        }
        if is_accent(c) {
            continue;
        }
        let is_word = c.is_alphanumeric() || (!c.is_ascii() && !c.is_whitespace() && !is_punctuation(c));
        let starts = c.is_uppercase()
            && (before.is_lowercase()
                || before.is_uppercase() && characters.peek().is_some_and(|next| next.is_lowercase()))
            || c.is_ascii() != before.is_ascii() && (is_cjk(c) || is_cjk(before));
        if !is_word || starts {
            w = end_word(words, w);
        }
        if is_word && c.is_ascii() {
            let lower = c.to_ascii_lowercase() as u8;
            (words[w], joined[j]) = (lower, lower);
            w += 1;
            j += 1;
        } else if is_word {
            for lower in plain_letter(c).to_lowercase() {
                let length = lower.encode_utf8(&mut joined[j..]).len();
                words[w..w + length].copy_from_slice(&joined[j..j + length]);
                j += length;
                w += length;
                if j > bytes_max {
                    break;
                }
            }
        }
        before = c;
    }
    (w, j)
}

/// Ends the word in front of `end`, if there is one; where the next begins.
fn end_word(words: &mut [u8], mut end: usize) -> usize {
    const LETTERS_MIN: usize = 3;
    if words[end - 1] == b'_' {
        return end;
    }
    let digits = words[..end].iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let bare = end - digits;
    words[end] = b'_';
    end += 1;
    if (1..=2).contains(&digits) {
        let length = words[..bare].iter().rev().take_while(|byte| **byte != b'_').count();
        if length >= LETTERS_MIN {
            words.copy_within(bare - length..bare, end);
            end += length;
            words[end] = b'_';
            end += 1;
        }
    }
    end
}

/// Written behind its letter, as it is in decomposed text.
fn is_accent(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}')
}

/// Of Latin and of East Asian texts. The vowel signs of other scripts are no letters by themselves either, and are parts
/// of words.
fn is_punctuation(c: char) -> bool {
    matches!(u32::from(c), 0xa1..=0xbf | 0x2010..=0x2bff | 0x3001..=0x303f | 0x30fb)
}

fn is_cjk(c: char) -> bool {
    matches!(u32::from(c), 0x3040..=0x30ff | 0x3400..=0x9fff | 0xac00..=0xd7a3)
}

/// Latin letters without their accents, so that `fødselsdato`, `prénom` and `prenom` are one word each.
fn plain_letter(c: char) -> char {
    match c {
        'à'..='å' | 'À'..='Å' | 'ă' | 'Ă' | 'ą' | 'Ą' | 'ā' | '\u{1ea0}'..='\u{1eb7}' => 'a',
        'ç' | 'Ç' | 'ć' | 'Ć' | 'č' | 'Č' => 'c',
        'è'..='ë' | 'È'..='Ë' | 'ę' | 'ě' | 'ē' | '\u{1eb8}'..='\u{1ec7}' => 'e',
        'ì'..='ï' | 'Ì'..='Ï' | 'ı' | 'İ' | 'ī' | 'ĩ' | 'Ĩ' | '\u{1ec8}'..='\u{1ecb}' => 'i',
        'ñ' | 'Ñ' | 'ń' | 'ň' => 'n',
        'ò'..='ö' | 'Ò'..='Ö' | 'ø' | 'Ø' | 'ő' | 'ơ' | 'Ơ' | '\u{1ecc}'..='\u{1ee3}' => 'o',
        'ù'..='ü' | 'Ù'..='Ü' | 'ů' | 'ű' | 'ū' | 'ũ' | 'Ũ' | 'ư' | 'Ư' | '\u{1ee4}'..='\u{1ef1}' => {
            'u'
        }
        'ý' | 'ÿ' | 'Ý' | '\u{1ef2}'..='\u{1ef9}' => 'y',
        'š' | 'ś' | 'ş' | 'ș' | 'Š' | 'Ś' | 'Ş' | 'Ș' => 's',
        'ž' | 'ź' | 'ż' | 'Ž' | 'Ź' | 'Ż' => 'z',
        'ř' | 'Ř' => 'r',
        'ğ' | 'Ğ' => 'g',
        'ł' | 'Ł' => 'l',
        'ț' | 'ţ' | 'ť' | 'Ț' | 'Ť' => 't',
        'ď' | 'đ' | 'Ď' | 'Đ' => 'd',
        // Greek with its tonos.
        'ά' | 'Ά' => 'α',
        'έ' | 'Έ' => 'ε',
        'ή' | 'Ή' => 'η',
        'ί' | 'Ί' => 'ι',
        'ό' | 'Ό' => 'ο',
        'ύ' | 'Ύ' => 'υ',
        'ώ' | 'Ώ' => 'ω',
        c => c,
    }
}
