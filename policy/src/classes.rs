//! Classes of personal data as documents name them: a class, a family of classes, or `*`.

use std::cell::RefCell;

pub(crate) use meshbridge_detect::{Class, ClassSet, Confidence};
use meshbridge_detect::{Finding, Scanner};

use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::yaml::Node;

/// Whether some class has this name, this family, or the name is `*`.
pub fn is_known_class(name: &str) -> bool {
    name == "*" || Class::all().any(|class| class.is_in(name))
}

/// The class or family whose name is most like a misspelled one, if any is like it at all.
pub fn nearest_class(text: &str) -> Option<&'static str> {
    let families = Class::all().flat_map(|class| {
        let name = class.name();
        name.match_indices('.').map(|(at, _)| &name[..at]).chain([name]).collect::<Vec<_>>()
    });
    nearest(text, families)
}

/// The name that is most like a misspelled one, if any is like it at all.
pub(crate) fn nearest<'a>(text: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = names.min_by_key(|name| strsim::damerau_levenshtein(name, text))?;
    (strsim::damerau_levenshtein(near, text) <= 2.max(near.len() / 3)).then_some(near)
}

/// Reports a name that no class has.
pub(crate) fn check_family(node: &Node, problems: &mut Diagnostics) {
    let Some(text) = node.text().filter(|text| !is_known_class(text)) else { return };
    let shown: String = text.chars().take(64).collect();
    let problem = Diagnostic::error("P0406", &node.span, format!("there is no class `{shown}`"));
    problems.push(match nearest_class(text) {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None => problem.help("`meshbridge policy explain P0406` lists them"),
    });
}

/// The one class a field is of.
pub(crate) fn one_class(node: &Node, problems: &mut Diagnostics) -> Option<Class> {
    let text = node.text()?;
    let class = Class::named(text);
    if class.is_none() {
        if is_known_class(text) {
            let problem = Diagnostic::error("P0406", &node.span, format!("`{text}` is a family of classes"));
            problems.push(problem.help("name the one class that the field is of"));
        } else {
            check_family(node, problems);
        }
    }
    class
}

/// All classes of the names in a list.
pub(crate) fn class_set(node: &Node, problems: &mut Diagnostics) -> ClassSet {
    let mut set = ClassSet::default();
    for item in node.items() {
        check_family(item, problems);
        let Some(text) = item.text() else { continue };
        set = set.union(ClassSet::of(text));
    }
    set
}

thread_local! {
    /// For single values. It remembers names, so one is kept.
    static SCANNER: RefCell<Scanner> = RefCell::new(Scanner::new());
}

/// Looks through one value; what was found, or `None` where it cannot be looked through.
fn look<T>(text: &str, key: Option<&str>, then: impl FnOnce(&[Finding]) -> T) -> Option<T> {
    let mut found = Vec::new();
    let scanned = SCANNER.with_borrow_mut(|scanner| {
        scanner.scan_value(text, key, &ClassSet::ALL, Confidence::Medium, &mut found)
    });
    scanned.is_ok().then(|| then(&found))
}

/// The class of something that a text holds, for messages that must not show it. Made where something was stopped, not
/// on the way of every event.
pub(crate) fn first_in(text: &str) -> Option<Class> {
    // What cannot be looked through is not shown either.
    look(text, None, |found| found.first().map(|finding| finding.class))
        .unwrap_or_else(|| Class::all().next())
}

/// Every class that a value may be of, under the name it has. One too long to be looked through has none.
pub(crate) fn all_in(text: &str, key: Option<&str>) -> ClassSet {
    let classes = |found: &[Finding]| {
        found.iter().fold(ClassSet::EMPTY, |mut classes, finding| {
            classes.insert(finding.class);
            classes.union(finding.alternatives)
        })
    };
    look(text, key, classes).unwrap_or(ClassSet::EMPTY)
}
