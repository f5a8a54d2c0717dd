//! Paths to fields: `$.<attribute>`, `$.data` and, below it, `.name`, `['name']`, `[n]`, `[*]`, `.*`, `..name`.

use std::fmt;

/// One step of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Name(String),
    Index(usize),
    AnyMember,
    AnyElement,
    /// `..name`: the name at any depth.
    Deep(String),
}

/// A pattern over places in an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    text: String,
    steps: Vec<Step>,
}

/// Where a value stands: the names and numbers from `data` down, in unescaped spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    Name(String),
    Index(usize),
}

impl Path {
    /// The error says what is wrong, and at which byte.
    pub(crate) fn parse(text: &str) -> Result<Path, (String, usize)> {
        let mut rest = text.strip_prefix('$').ok_or_else(|| ("a path begins with $".to_owned(), 0))?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let at = text.len() - rest.len();
            let fail = |message: &str| (message.to_owned(), at);
            if let Some(after) = rest.strip_prefix("..") {
                let (name, after) = name(after).ok_or_else(|| fail("a name must follow `..`"))?;
                steps.push(Step::Deep(name.to_owned()));
                rest = after;
            } else if let Some(after) = rest.strip_prefix(".*") {
                steps.push(Step::AnyMember);
                rest = after;
            } else if let Some(after) = rest.strip_prefix('.') {
                let (name, after) = name(after).ok_or_else(|| fail("a name must follow `.`"))?;
                steps.push(Step::Name(name.to_owned()));
                rest = after;
            } else if let Some(after) = rest.strip_prefix("['") {
                let (name, after) = after.split_once("']").ok_or_else(|| fail("`']` is missing"))?;
                steps.push(Step::Name(name.to_owned()));
                rest = after;
            } else if let Some(after) = rest.strip_prefix("[*]") {
                steps.push(Step::AnyElement);
                rest = after;
            } else if let Some(after) = rest.strip_prefix('[') {
                let (number, after) = after.split_once(']').ok_or_else(|| fail("`]` is missing"))?;
                let number =
                    number.parse().map_err(|_| fail("a number, `*` or a quoted name belongs in brackets"))?;
                steps.push(Step::Index(number));
                rest = after;
            } else {
                return Err(fail("expected `.`, `..` or `[`"));
            }
        }
        match steps.as_slice() {
            [] => Err(("a path names an attribute or something in $.data".to_owned(), 1)),
            [Step::Name(first), rest @ ..] if first == "data" || rest.is_empty() => {
                Ok(Path { text: text.to_owned(), steps })
            }
            _ => Err(("a path begins with $.data or names one attribute, as $.subject".to_owned(), 1)),
        }
    }

    /// The attribute this path names; `None` where it is about data.
    pub(crate) fn attribute(&self) -> Option<&str> {
        match self.steps.as_slice() {
            [Step::Name(name)] if name != "data" => Some(name),
            _ => None,
        }
    }

    /// Whether the pattern is about exactly this place of the data.
    pub(crate) fn matches_data(&self, place: &[Segment]) -> bool {
        self.attribute().is_none() && steps_match(self.steps.get(1..).unwrap_or_default(), place)
    }
}

fn name(text: &str) -> Option<(&str, &str)> {
    let end = text.find(['.', '[']).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

fn steps_match(steps: &[Step], place: &[Segment]) -> bool {
    let Some((step, more)) = steps.split_first() else { return place.is_empty() };
    if let Step::Deep(name) = step {
        return (0..place.len()).any(|at| {
            matches!(&place[at], Segment::Name(found) if found == name) && steps_match(more, &place[at + 1..])
        });
    }
    let Some((segment, below)) = place.split_first() else { return false };
    let holds = match (step, segment) {
        (Step::Name(wanted), Segment::Name(found)) => wanted == found,
        (Step::Index(wanted), Segment::Index(found)) => wanted == found,
        (Step::AnyMember, Segment::Name(_)) | (Step::AnyElement, Segment::Index(_)) => true,
        _ => false,
    };
    holds && steps_match(more, below)
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A place as a JSON pointer below the event, `/data/customer/email`, without the characters that separate entries of
/// `govprotected`.
pub(crate) fn pointer(place: &[Segment]) -> String {
    let mut text = String::from("/data");
    for segment in place {
        text.push('/');
        match segment {
            Segment::Index(number) => text.push_str(&number.to_string()),
            Segment::Name(name) => {
                for c in name.chars() {
                    match c {
                        '~' => text.push_str("~0"),
                        '/' => text.push_str("~1"),
                        ' ' => text.push_str("%20"),
                        ',' => text.push_str("%2C"),
                        '%' => text.push_str("%25"),
                        c if c.is_control() => text.push('?'),
                        c => text.push(c),
                    }
                }
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Vec<Segment> {
        text.split('/')
            .filter(|part| !part.is_empty())
            .map(|part| part.parse().map_or_else(|_| Segment::Name(part.to_owned()), Segment::Index))
            .collect()
    }

    #[test]
    fn patterns_match_the_places_they_name() {
        check("$.data", "", true);
        check("$.data.a.b", "a/b", true);
        check("$.data.a.b", "a", false);
        check("$.data['a.b']", "a.b", true);
        check("$.data.a[0]", "a/0", true);
        check("$.data.a[0]", "a/1", false);
        check("$.data.a[*].c", "a/7/c", true);
        check("$.data.*", "x", true);
        check("$.data.*", "0", false);
        check("$.data..email", "x/0/email", true);
        check("$.data..email", "email", true);
        check("$.data..email", "email/x", false);
        check("$.subject", "subject", false);
    }

    #[track_caller]
    fn check(path: &str, at: &str, expected: bool) {
        let path = Path::parse(path).expect("a path");
        assert_eq!(path.matches_data(&place(at)), expected, "{path} at {at}");
    }

    #[test]
    fn malformed_paths_name_the_byte() {
        for (text, at) in
            [("data", 0), ("$", 1), ("$.", 1), ("$.data[", 6), ("$.a.b", 1), ("$.data[x]", 6), ("$data", 1)]
        {
            assert_eq!(Path::parse(text).expect_err(text).1, at, "{text}");
        }
    }
}
