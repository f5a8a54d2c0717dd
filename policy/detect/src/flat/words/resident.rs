//! Chinese resident ids whose check character is X, which makes words of them; the others are runs of digits.

use super::{View, Word, digits};
use crate::checks;
use crate::class::Class;

impl View<'_> {
    pub(super) fn resident_id_with_x(&mut self, word: Word<'_>) {
        if let Some((b'X' | b'x', body)) = word.bytes.split_last()
            && let Some(number) = digits::<17>(body)
            && checks::cn_resident_id(&number, 10)
        {
            self.offer(Class::CN_ID, word.start, word.end, 45);
        }
    }

    /// 110105 19491231 002X; `word` is its last group.
    pub(super) fn spaced_resident_id(&mut self, word: Word<'_>) {
        let Some(start) = word.start.checked_sub(16).filter(|at| !self.continues(at.wrapping_sub(1))) else {
            return;
        };
        let text = &self.bytes[start..word.end];
        let separator = text[6];
        let is_spaced = matches!(separator, b' ' | b'-') && text[15] == separator;
        let number = [&text[..6], &text[7..15], &text[16..19]].concat();
        if is_spaced && digits::<17>(&number).is_some_and(|number| checks::cn_resident_id(&number, 10)) {
            self.offer(Class::CN_ID, start, word.end, 45);
        }
    }
}
