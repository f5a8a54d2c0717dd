//! Rows of JSON whose columns are named once, `{"columns": ["id", "email"], "rows": [[1, "…"]]}`, and rows below a row
//! of titles.

use super::{DESCRIBED_MAX, DESCRIPTION_BYTES_MAX, Scanner, is_candidate};
use crate::class::{Class, ClassSet};
use crate::keys::Hint;
use crate::tape::{Kind, Tape};

/// Columns that are looked at.
pub(super) const COLUMNS_MAX: usize = 64;

/// Members that name the columns of the rows beside them.
const TITLES: [&str; 12] = [
    "columns",
    "column_names",
    "columnNames",
    "cols",
    "header",
    "headers",
    "fields",
    "field_names",
    "fieldNames",
    "titles",
    "keys",
    "schema",
];

/// The names of the columns of an array of arrays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Titles {
    /// The array they stand in; the root, which has nothing around it, where there is none.
    array: u32,
    /// Some of them speak of a person, so `name` is a person's.
    has_person: bool,
}

impl Titles {
    /// The first title for the cells of `row`; none where that is the row of the titles.
    pub(super) fn first(self, row: u32) -> Option<Title> {
        (self.array != 0 && row != self.array).then_some(Title { of: self, at: self.array + 1 })
    }
}

/// The name of the next cell of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Title {
    of: Titles,
    at: u32,
}

/// What a title says of the values below it. A `name` is somebody's where another column is about a person.
pub(super) fn of_column(own: Hint, has_person: bool) -> Hint {
    let mut hint = Hint::NONE.below(own);
    if has_person && own.has(Hint::BARE_NAME) && !own.has(Hint::THING) {
        hint.classes.insert(Class::NAME);
    }
    hint
}

/// Whether a column is about a person.
pub(super) fn is_of_person(hint: Hint) -> bool {
    const PERSONAL: ClassSet = ClassSet::just(Class::EMAIL)
        .union(ClassSet::just(Class::PHONE))
        .union(ClassSet::just(Class::BIRTH_DATE))
        .union(ClassSet::just(Class::NAME));
    !hint.classes.intersection(PERSONAL).is_empty()
}

impl Scanner {
    /// The titles of the rows of `array`, by a member beside it or by its first row.
    #[inline(never)]
    pub(super) fn titles(&mut self, tape: &Tape<'_>, array: u32) -> Titles {
        let first = array + 1;
        let beside = tape.key_of(array).and_then(|key| {
            let object = tape.node(key).parent;
            let mut members = tape.members(object).take(DESCRIBED_MAX);
            members.find(|(key, _)| TITLES.iter().any(|name| tape.inner(*key) == *name))
        });
        let titles = beside.map(|(_, titles)| titles).filter(|titles| tape.node(*titles).kind == Kind::Array);
        let array = titles.unwrap_or(first);
        let is_of_texts =
            || tape.elements(array).take(COLUMNS_MAX).all(|at| tape.node(at).kind == Kind::String);
        if array == first && !is_of_texts() {
            return Titles::default();
        }
        let (mut has_person, mut is_silent) = (false, true);
        for title in tape.elements(array).take(COLUMNS_MAX) {
            let hint = self.title(tape, title);
            has_person |= is_of_person(hint);
            is_silent &= hint.is_silent();
        }
        if is_silent { Titles::default() } else { Titles { array, has_person } }
    }

    /// What the name of the next cell says, and the one behind it.
    #[inline(never)]
    pub(super) fn next_cell(&mut self, tape: &Tape<'_>, around: Hint) -> Hint {
        let Some(above) = self.above.last_mut() else { return around };
        let Some(title) = above.title else { return around };
        let Titles { array, has_person } = title.of;
        if title.at >= tape.node(array).next {
            above.title = None;
            return around;
        }
        above.title = Some(Title { at: tape.node(title.at).next, ..title });
        of_column(self.title(tape, title.at), has_person)
    }

    /// What one title says: a text, or an object that has one.
    fn title(&mut self, tape: &Tape<'_>, title: u32) -> Hint {
        let node = tape.node(title);
        let text = match node.kind {
            Kind::String => title,
            Kind::Object => {
                let mut members = tape.members(title).take(DESCRIBED_MAX);
                let named = members.find(|(key, value)| {
                    tape.node(*value).kind == Kind::String
                        && self.keys.name(tape.inner(*key), is_candidate).hint.has(Hint::DESCRIBES)
                });
                let Some((_, value)) = named else { return Hint::NONE };
                value
            }
            _ => return Hint::NONE,
        };
        if tape.node(text).end - tape.node(text).start > DESCRIPTION_BYTES_MAX {
            return Hint::NONE;
        }
        self.keys.name(tape.inner(text), is_candidate).hint
    }
}
