//! A page for every code that diagnostics carry: what it means, where it comes from, what to do (POLICY §7).
//!
//! A code without a page is a promise that is not kept, so a test reads the sources of this crate and fails where one
//! is missing.

mod conditions;
mod documents;
mod layers;
mod protections;

use std::fmt;

/// The width of a page.
const COLUMNS: usize = 100;

/// What an operator reads who asks for a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Page {
    /// Such as `P0203`.
    pub code: &'static str,
    pub title: &'static str,
    pub meaning: &'static str,
    /// What people did who got it.
    pub cause: &'static str,
    pub remedy: &'static str,
    /// A line that gets the code, where one shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub example: Option<&'static str>,
}

impl Page {
    const fn new(
        code: &'static str,
        title: &'static str,
        meaning: &'static str,
        cause: &'static str,
        remedy: &'static str,
    ) -> Page {
        Page { code, title, meaning, cause, remedy, example: None }
    }

    const fn example(self, example: &'static str) -> Page {
        Page { example: Some(example), ..self }
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.code, self.title)?;
        writeln!(f)?;
        wrapped(f, self.meaning)?;
        writeln!(f)?;
        wrapped(f, &format!("Cause: {}", self.cause))?;
        if let Some(example) = self.example {
            writeln!(f, "\n    {example}")?;
        }
        writeln!(f)?;
        wrapped(f, &format!("What to do: {}", self.remedy))
    }
}

/// Lines of at most [`COLUMNS`] characters, where the words allow it.
fn wrapped(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let mut column = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > COLUMNS {
            writeln!(f)?;
            column = 0;
        } else if column > 0 {
            f.write_str(" ")?;
            column += 1;
        }
        f.write_str(word)?;
        column += length;
    }
    writeln!(f)
}

/// All pages, in the order of their codes.
pub fn pages() -> impl Iterator<Item = &'static Page> {
    [documents::PAGES, layers::PAGES, conditions::PAGES, protections::PAGES].into_iter().flatten()
}

/// The page of a code, however its letter is written.
pub fn page(code: &str) -> Option<&'static Page> {
    pages().find(|page| page.code.eq_ignore_ascii_case(code))
}

#[cfg(test)]
mod tests;
