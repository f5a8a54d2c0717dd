//! What members say of those beside them: `{"name": "iban", "value": "…"}`.

use super::{DESCRIBED_MAX, DESCRIPTION_BYTES_MAX, Scanner, is_candidate};
use crate::class::Class;
use crate::keys::Hint;
use crate::tape::{Kind, Tape};

impl Scanner {
    /// What holds for the value of a member whose name says nothing, where a member beside it says what it is:
    /// `{"name": "iban", "value": "…"}`, `{"question": "date of birth", "answer": "…"}`.
    #[inline(never)]
    pub(super) fn described(&mut self, tape: &Tape<'_>, key: u32, hint: Hint) -> Hint {
        // The innermost open object is the one that the member is of.
        let said = match self.above.last().and_then(|above| above.said) {
            Some(said) => said,
            None => {
                let said = self.description(tape, tape.node(key).parent);
                if let Some(above) = self.above.last_mut() {
                    above.said = Some(said);
                }
                said
            }
        };
        // `v` stands for the value then, and not for its version.
        let own = if said.is_silent() { hint.flags } else { hint.flags & !Hint::VERSION };
        Hint { classes: hint.classes.union(said.classes), flags: own | said.flags }
    }

    /// Whether a `name` is a person's because of what else the object has: `{"nom": "…", "prénom": "…"}`.
    #[inline(never)]
    pub(super) fn is_of_a_person(&mut self, tape: &Tape<'_>, key: u32) -> bool {
        if let Some(is_person) = self.above.last().and_then(|above| above.is_person) {
            return is_person;
        }
        let mut members = tape.members(tape.node(key).parent).take(DESCRIBED_MAX);
        let is_person = members.any(|(sibling, value)| {
            let is_short = tape.node(sibling).end - tape.node(sibling).start <= DESCRIPTION_BYTES_MAX;
            is_short
                && tape.node(value).kind == Kind::String
                && self.keys.name(tape.inner(sibling), is_candidate).hint.says(Class::NAME)
        });
        if let Some(above) = self.above.last_mut() {
            above.is_person = Some(is_person);
        }
        is_person
    }

    /// Whether a `name` is that of the value beside it, in a list of such pairs: `[{"name": "size", "value": "XL"}]`.
    #[inline(never)]
    pub(super) fn is_of_a_pair(&mut self, tape: &Tape<'_>, key: u32) -> bool {
        const MEMBERS_MAX: usize = 4;
        let object = tape.node(key).parent;
        let array = tape.node(object).parent;
        if array != object && tape.node(array).kind != Kind::Array {
            return false;
        }
        // A list of people is one, whatever they are worth.
        let is_of_people = tape
            .key_of(array)
            .is_some_and(|key| self.keys.name(tape.inner(key), is_candidate).hint.has(Hint::PERSON));
        let mut members = tape.members(object);
        let mut has_value = false;
        for (sibling, _) in members.by_ref().take(MEMBERS_MAX) {
            let name = tape.inner(sibling);
            has_value |=
                matches!(name, "val" | "v" | "values") || name.ends_with("value") || name.ends_with("Value");
        }
        has_value && !is_of_people && members.next().is_none()
    }

    /// What the first members of an object say of those that are described. No name is of both kinds, so it is the same
    /// for all of these.
    fn description(&mut self, tape: &Tape<'_>, object: u32) -> Hint {
        for (sibling, value) in tape.members(object).take(DESCRIBED_MAX) {
            let node = tape.node(value);
            let is_description =
                node.kind == Kind::String && (4..=DESCRIPTION_BYTES_MAX).contains(&(node.end - node.start));
            if is_description && self.keys.name(tape.inner(sibling), is_candidate).hint.has(Hint::DESCRIBES) {
                let said = self.keys.name(tape.inner(value), is_candidate).hint.of_description();
                if !said.is_silent() {
                    return said;
                }
            }
        }
        Hint::NONE
    }
}
