//! Paths to fields: `$.<attribute>`, `$.data` and, below it, `.name`, `['name']`, `[n]`, `[*]`, `.*`, `..name`.

mod cover;

use std::fmt;

use meshbridge_detect::tape::Tape;

use crate::protect::Numbering;

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
                let (name, after) = quoted(after).map_err(fail)?;
                steps.push(Step::Name(name));
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

    /// Whether it is about something in the data.
    pub(crate) fn is_data(&self) -> bool {
        self.attribute().is_none()
    }

    /// Appends the nodes of the data that the pattern is about, each once. Keys are compared unescaped, and every
    /// occurrence of a duplicated key counts. Takes time in proportion to tape and pattern: what a step finds is one
    /// set, so that `..a..a..a` does not multiply.
    pub(crate) fn resolve(&self, tape: &Tape<'_>, numbering: &Numbering, out: &mut Vec<u32>) {
        if !self.is_data() {
            return;
        }
        let mut found: Frontier = Frontier::from_slice(&[0]);
        for step in self.steps.get(1..).unwrap_or_default() {
            let mut next = Frontier::new();
            for &node in &found {
                follow(step, tape, numbering, node, &mut next);
            }
            // Nodes of one set never come twice from one parent, but `..name` may reach one from two.
            next.sort_unstable();
            next.dedup();
            found = next;
            if found.is_empty() {
                return;
            }
        }
        out.extend_from_slice(&found);
    }
}

type Frontier = smallvec::SmallVec<[u32; 16]>;

fn follow(step: &Step, tape: &Tape<'_>, numbering: &Numbering, node: u32, out: &mut Frontier) {
    match step {
        Step::Name(name) => {
            out.extend(
                tape.members(node).filter(|(key, _)| tape.is_named(*key, name)).map(|(_, value)| value),
            );
        }
        Step::AnyMember => out.extend(tape.members(node).map(|(_, value)| value)),
        Step::AnyElement => out.extend(tape.elements(node)),
        Step::Index(index) => {
            out.extend(numbering.current(node, *index).and_then(|index| tape.elements(node).nth(index)));
        }
        Step::Deep(name) => {
            // What is below an earlier node of the set was searched with it.
            let from = node.max(out.last().map_or(0, |last| last + 1));
            let below = from..tape.node(node).next;
            out.extend(below.filter(|at| tape.is_named(*at, name)).map(|key| key + 1));
        }
    }
}

/// A name between `['` and `']`, with the escapes of RFC 9535 undone, and what follows.
fn quoted(text: &str) -> Result<(String, &str), &'static str> {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' => {
                let rest = text[at..].strip_prefix("']").ok_or("`']` is missing")?;
                return Ok((name, rest));
            }
            '\\' => {
                let escaped = chars.next().ok_or("`']` is missing")?.1;
                name.push(match escaped {
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    '\'' | '\\' | '/' => escaped,
                    'u' => {
                        let digits = text.get(at + 2..at + 6).ok_or("four digits must follow `\\u`")?;
                        let code =
                            u32::from_str_radix(digits, 16).map_err(|_| "four digits must follow `\\u`")?;
                        chars.nth(3);
                        char::from_u32(code).ok_or("write this character itself, not its surrogates")?
                    }
                    _ => return Err("unknown escape"),
                });
            }
            c => name.push(c),
        }
    }
    Err("`']` is missing")
}

fn name(text: &str) -> Option<(&str, &str)> {
    let end = text.find(['.', '[']).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use meshbridge_detect::tape::{Kind, TapeBuffer};

    use super::*;

    #[test]
    fn patterns_find_the_places_they_name() {
        let text = r#"{"a": {"b": 1, "b": 2}, "a.b": 3, "l": [{"c": 4}, {"c": 5}], "x": [{"email": 6}], "email": {"x": 7},
            "em\u0061il": 8, "it's": 9}"#;
        check(text, "$.data.a.b", &["1", "2"]);
        check(text, "$.data['a.b']", &["3"]);
        check(text, "$.data.l[0].c", &["4"]);
        check(text, "$.data.l[2].c", &[]);
        check(text, "$.data.l[*].c", &["4", "5"]);
        check(text, "$.data.l.*", &[]);
        check(text, "$.data.a.*", &["1", "2"]);
        check(text, "$.data.*[0].c", &["4"]);
        check(text, "$.data..email", &["6", r#"{"x": 7}"#, "8"]);
        check(text, "$.data.email", &[r#"{"x": 7}"#, "8"]);
        check(text, "$.data..x", &[r#"[{"email": 6}]"#, "7"]);
        check(text, r"$.data['it\'s']", &["9"]);
        check(text, r"$.data['\u0061']['b']", &["1", "2"]);
        check(text, "$.subject", &[]);
        check(r#""root""#, "$.data", &[r#""root""#]);
    }

    #[track_caller]
    fn check(text: &str, path: &str, expected: &[&str]) {
        let mut buffer = TapeBuffer::new();
        let tape = buffer.parse(text).expect("JSON");
        let mut found = Vec::new();
        Path::parse(path).expect("a path").resolve(&tape, &Numbering::default(), &mut found);
        let found: Vec<&str> = found.into_iter().map(|node| tape.raw(node)).collect();
        assert_eq!(found, expected, "{path}");
    }

    #[test]
    fn a_path_that_a_report_prints_finds_its_node() {
        let text = r#"{"it's": {"\\ \u0001": [0, {"x-y": 1}]}, "": 2, "é号": 3, "a.b['c']": 4}"#;
        let mut buffer = TapeBuffer::new();
        let tape = buffer.parse(text).expect("JSON");
        for node in 0..tape.nodes().len() as u32 {
            if tape.node(node).kind == Kind::Key {
                continue;
            }
            let path = format!("$.data{}", &tape.path(node)[1..]);
            let mut found = Vec::new();
            Path::parse(&path).expect(&path).resolve(&tape, &Numbering::default(), &mut found);
            assert_eq!(found, [node], "{path}");
        }
    }

    #[test]
    fn names_at_any_depth_cost_no_more_than_the_tape() {
        let text = format!("{}1{}", r#"{"a":"#.repeat(63), "}".repeat(63));
        let mut buffer = TapeBuffer::new();
        let tape = buffer.parse(&text).expect("JSON");
        let path = Path::parse(&format!("$.data{}", "..a".repeat(30))).expect("a path");
        let mut found = Vec::new();
        path.resolve(&tape, &Numbering::default(), &mut found);
        assert_eq!(found.len(), 34);
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
