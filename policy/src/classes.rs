//! Stand-in for the types of the detector crate, until its scanner is there.

use std::borrow::Cow;
use std::ops::Range;

use meshbridge_detect::tape::{Kind, Tape, TapeBuffer};

const NAMES: [&str; 10] = [
    "contact.email",
    "contact.phone",
    "payment.card",
    "payment.iban",
    "person.name",
    "person.birth-date",
    "network.ip",
    "geo.point",
    "gov-id.cn.resident-id",
    "secret.jwt",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Class(u8);

impl Class {
    pub(crate) fn named(name: &str) -> Option<Class> {
        NAMES.iter().position(|one| *one == name).map(|at| Class(at as u8))
    }

    pub(crate) fn name(self) -> &'static str {
        NAMES[usize::from(self.0)]
    }

    pub(crate) fn is_in(self, family: &str) -> bool {
        family == "*"
            || self.name().strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    pub(crate) fn all() -> impl Iterator<Item = Class> {
        (0..NAMES.len()).map(|at| Class(at as u8))
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct ClassSet(u128);

impl ClassSet {
    pub(crate) const EMPTY: ClassSet = ClassSet(0);

    pub(crate) fn insert(&mut self, class: Class) {
        self.0 |= 1 << class.0;
    }

    pub(crate) fn contains(self, class: Class) -> bool {
        self.0 >> class.0 & 1 == 1
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Class> {
        Class::all().filter(move |class| self.contains(*class))
    }

    pub(crate) fn union(self, other: ClassSet) -> ClassSet {
        ClassSet(self.0 | other.0)
    }

    pub(crate) fn intersection(self, other: ClassSet) -> ClassSet {
        ClassSet(self.0 & other.0)
    }

    pub(crate) fn minus(self, other: ClassSet) -> ClassSet {
        ClassSet(self.0 & !other.0)
    }

    pub(crate) fn of(family: &str) -> ClassSet {
        Class::all().filter(|class| class.is_in(family)).collect()
    }
}

impl FromIterator<Class> for ClassSet {
    fn from_iter<I: IntoIterator<Item = Class>>(classes: I) -> ClassSet {
        let mut set = ClassSet::EMPTY;
        classes.into_iter().for_each(|class| set.insert(class));
        set
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Confidence {
    Low,
    Medium,
    High,
}

#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) class: Class,
    pub(crate) alternatives: ClassSet,
    pub(crate) confidence: Confidence,
    pub(crate) range: Range<u32>,
    pub(crate) node: Option<u32>,
    pub(crate) nested: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ScanError;

#[derive(Debug, Default)]
pub(crate) struct Scanner {
    nested: TapeBuffer,
}

impl Scanner {
    pub(crate) fn scan_json(
        &mut self,
        tape: &Tape<'_>,
        wanted: &ClassSet,
        _least: Confidence,
        out: &mut Vec<Finding>,
    ) -> Result<(), ScanError> {
        if wanted.is_empty() {
            return Ok(());
        }
        for (at, node) in tape.nodes().iter().enumerate() {
            let at = at as u32;
            if !matches!(node.kind, Kind::String | Kind::Number | Kind::Key) {
                continue;
            }
            let unescaped = tape.unescaped(at);
            let key = tape.key_of(at).map(|key| tape.unescape(key));
            let nested = unescaped.text.starts_with(['{', '[']) && self.nested.parse(&unescaped.text).is_ok();
            for found in crate::detect::find(&unescaped.text, key.as_deref()) {
                let class = Class::named(found.class.name()).expect("a class");
                if !wanted.contains(class) {
                    continue;
                }
                let range = match node.kind {
                    Kind::Number => node.start..node.end,
                    _ => unescaped.range_of(&found.range),
                };
                out.push(Finding {
                    class,
                    alternatives: ClassSet::EMPTY,
                    confidence: Confidence::High,
                    range,
                    node: Some(at),
                    nested,
                });
            }
        }
        Ok(())
    }

    pub(crate) fn scan_text(
        &mut self,
        text: &str,
        wanted: &ClassSet,
        least: Confidence,
        out: &mut Vec<Finding>,
    ) -> Result<(), ScanError> {
        self.scan_value(text, None, wanted, least, out)
    }

    pub(crate) fn scan_value(
        &mut self,
        value: &str,
        key: Option<&str>,
        wanted: &ClassSet,
        _least: Confidence,
        out: &mut Vec<Finding>,
    ) -> Result<(), ScanError> {
        for found in crate::detect::find(value, key) {
            let class = Class::named(found.class.name()).expect("a class");
            if wanted.contains(class) {
                out.push(Finding {
                    class,
                    alternatives: ClassSet::EMPTY,
                    confidence: Confidence::High,
                    range: found.range.start as u32..found.range.end as u32,
                    node: None,
                    nested: false,
                });
            }
        }
        Ok(())
    }
}

pub(crate) fn canonical(class: Class, text: &str) -> Cow<'_, str> {
    match class.name() {
        "contact.email" => Cow::Owned(text.to_lowercase()),
        "payment.card" | "payment.iban" => Cow::Owned(
            text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_uppercase(),
        ),
        "contact.phone" => Cow::Owned(text.chars().filter(|c| c.is_ascii_digit() || *c == '+').collect()),
        _ => Cow::Borrowed(text),
    }
}
