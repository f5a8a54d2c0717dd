//! YAML 1.2 as we accept it: a tree of nodes with their places, and nothing that lets a document mean something else
//! than it seems to. Anchors, aliases, merge keys, tags, duplicate keys and the words that YAML 1.1 took for booleans
//! are refused (POLICY §1).

use std::sync::Arc;

use granit_parser::{Event, Parser, ScalarStyle};

use crate::SourceFile;
use crate::diagnostics::{Diagnostic, Diagnostics, Span};

pub(crate) const FILE_BYTES_MAX: usize = 1 << 20;
const DEPTH_MAX: usize = 32;
const NODES_MAX: usize = 20_000;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    pub kind: NodeKind,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum NodeKind {
    Null,
    Bool(bool),
    Integer(i64),
    /// A plain number with a fraction or exponent, as it is spelled.
    Decimal(String),
    Text(String),
    List(Vec<Node>),
    /// In the order of the file.
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// The text of a scalar that is one.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            NodeKind::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn integer(&self) -> Option<i64> {
        match self.kind {
            NodeKind::Integer(number) => Some(number),
            _ => None,
        }
    }

    pub fn boolean(&self) -> Option<bool> {
        match self.kind {
            NodeKind::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// The elements of a list; a single value counts as a list of one.
    pub fn items(&self) -> &[Node] {
        match &self.kind {
            NodeKind::List(items) => items,
            NodeKind::Null => &[],
            _ => std::slice::from_ref(self),
        }
    }

    pub fn entries(&self) -> &[(Node, Node)] {
        match &self.kind {
            NodeKind::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The value under a key of a map.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
    }

    pub(crate) fn type_name(&self) -> &'static str {
        match &self.kind {
            NodeKind::Null => "nothing",
            NodeKind::Bool(_) => "a boolean",
            NodeKind::Integer(_) | NodeKind::Decimal(_) => "a number",
            NodeKind::Text(_) => "text",
            NodeKind::List(_) => "a list",
            NodeKind::Map(_) => "a mapping",
        }
    }
}

/// Reads the documents of one file. What is refused stands in `problems`; the documents may then have holes.
pub fn documents(file: &SourceFile, problems: &mut Diagnostics) -> Vec<Node> {
    let mut loader = Loader::new(file, problems);
    if file.text.len() > FILE_BYTES_MAX {
        let span = loader.place(1, 1, 2);
        let problem = Diagnostic::error("P0101", &span, "the file has more than 1048576 bytes");
        loader.problems.push(problem.help("split it: several files may hold one layer"));
        return Vec::new();
    }
    loader.load()
}

struct Loader<'a> {
    name: Arc<str>,
    lines: Vec<Arc<str>>,
    text: &'a str,
    problems: &'a mut Diagnostics,
    nodes: usize,
}

/// A collection that is still open: its elements so far. A map has keys and values in turn.
struct Open {
    is_map: bool,
    items: Vec<Node>,
    span: Span,
}

impl<'a> Loader<'a> {
    fn new(file: &'a SourceFile, problems: &'a mut Diagnostics) -> Loader<'a> {
        Loader {
            name: Arc::from(file.name.as_str()),
            lines: file.text.lines().map(Arc::from).collect(),
            text: &file.text,
            problems,
            nodes: 0,
        }
    }

    fn place(&self, line: usize, column: usize, end_column: usize) -> Span {
        let source = self.lines.get(line.saturating_sub(1)).cloned().unwrap_or_default();
        Span { file: Arc::clone(&self.name), line, column, end_line: line, end_column, source }
    }

    fn span(&self, span: &granit_parser::Span) -> Span {
        let line = span.start.line();
        let column = span.start.col() + 1;
        let end = if span.end.line() == line {
            span.end.col() + 1
        } else {
            let length = self.lines.get(line.saturating_sub(1)).map_or(0, |text| text.chars().count());
            length + 1
        };
        self.place(line, column, end.max(column + 1))
    }

    fn refuse(&mut self, span: &Span, message: impl Into<String>, help: &str) {
        self.problems.push(Diagnostic::error("P0102", span, message).help(help));
    }

    fn load(&mut self) -> Vec<Node> {
        let mut documents = Vec::new();
        let mut open: Vec<Open> = Vec::new();
        for step in Parser::new_from_str(self.text) {
            let (event, place) = match step {
                Ok(step) => step,
                Err(problem) => {
                    let marker = problem.marker();
                    let span = self.place(marker.line(), marker.col() + 1, marker.col() + 2);
                    let problem = Diagnostic::error("P0101", &span, format!("this is not YAML: {problem}"));
                    let help = "look here and above for a quote or bracket that is not closed, a tab, or an indentation that does not fit";
                    self.problems.push(problem.help(help));
                    return documents;
                }
            };
            let span = self.span(&place);
            let node = match event {
                Event::SequenceStart(_, anchor, tag) | Event::MappingStart(_, anchor, tag)
                    if self.check_start(&span, anchor, tag.is_some(), open.len()).is_err() =>
                {
                    return documents;
                }
                Event::SequenceStart(..) => {
                    open.push(Open { is_map: false, items: Vec::new(), span });
                    continue;
                }
                Event::MappingStart(..) => {
                    open.push(Open { is_map: true, items: Vec::new(), span });
                    continue;
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    let Some(done) = open.pop() else { continue };
                    self.close(done)
                }
                Event::Scalar(text, style, anchor, tag) => {
                    if self.check_start(&span, anchor, tag.is_some(), 0).is_err() {
                        return documents;
                    }
                    let is_key = open.last().is_some_and(|open| open.is_map && open.items.len() % 2 == 0);
                    self.scalar(&text, style, span, is_key)
                }
                Event::Alias(_) => {
                    self.refuse(&span, "aliases are not allowed", "write the value out where it is needed");
                    Node { kind: NodeKind::Null, span }
                }
                _ => continue,
            };
            match open.last_mut() {
                Some(parent) => parent.items.push(node),
                None => documents.push(node),
            }
        }
        documents
    }

    fn check_start(&mut self, span: &Span, anchor: usize, tagged: bool, depth: usize) -> Result<(), ()> {
        if anchor > 0 {
            self.refuse(span, "anchors are not allowed", "write the value out where it is needed");
        }
        if tagged {
            self.refuse(
                span,
                "tags are not allowed",
                "remove the tag; quote the value if it is meant as text",
            );
        }
        self.nodes += 1;
        if depth >= DEPTH_MAX || self.nodes > NODES_MAX {
            let message =
                format!("the document is deeper than {DEPTH_MAX} or has more than {NODES_MAX} nodes");
            self.refuse(span, message, "split the document into several files");
            return Err(());
        }
        Ok(())
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, span: Span, is_key: bool) -> Node {
        if style != ScalarStyle::Plain {
            return Node { kind: NodeKind::Text(text.to_owned()), span };
        }
        if is_key && text == "<<" {
            self.refuse(&span, "merge keys are not allowed", "write the keys out");
        }
        let lower = text.to_ascii_lowercase();
        if matches!(lower.as_str(), "yes" | "no" | "on" | "off" | "y" | "n") {
            let help = format!("write \"{text}\" if text is meant, true or false if not");
            self.refuse(&span, format!("a plain `{text}` is read differently by different programs"), &help);
        }
        if !is_key && is_read_as_several_numbers(text) {
            let help = format!("write \"{text}\" if text is meant, or the number in plain digits");
            self.refuse(
                &span,
                format!("a plain `{text}` is read as different numbers by different programs"),
                &help,
            );
        }
        let kind = match text {
            "" | "~" | "null" | "Null" | "NULL" => NodeKind::Null,
            "true" | "True" | "TRUE" => NodeKind::Bool(true),
            "false" | "False" | "FALSE" => NodeKind::Bool(false),
            _ => match text.parse::<i64>() {
                Ok(number) if !text.starts_with('+') => NodeKind::Integer(number),
                _ if text.parse::<f64>().is_ok()
                    && text.starts_with(|c: char| c.is_ascii_digit() || c == '-') =>
                {
                    NodeKind::Decimal(text.to_owned())
                }
                _ => NodeKind::Text(text.to_owned()),
            },
        };
        // A key is always text: `1: x` names the key "1".
        let kind = if is_key { NodeKind::Text(text.to_owned()) } else { kind };
        Node { kind, span }
    }

    fn close(&mut self, done: Open) -> Node {
        if !done.is_map {
            return Node { kind: NodeKind::List(done.items), span: done.span };
        }
        let mut entries: Vec<(Node, Node)> = Vec::new();
        let mut items = done.items.into_iter();
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            match key.text() {
                None => self.refuse(&key.span.clone(), "a key must be text", "use a plain word as the key"),
                Some(text) => {
                    if let Some((first, _)) = entries.iter().find(|(known, _)| known.text() == Some(text)) {
                        let problem =
                            Diagnostic::error("P0103", &key.span, format!("key `{text}` occurs twice"))
                                .related(&first.span, "first here")
                                .help("remove one of the two: programs differ in which of them they take");
                        self.problems.push(problem);
                    }
                }
            }
            entries.push((key, value));
        }
        Node { kind: NodeKind::Map(entries), span: done.span }
    }
}

/// Whether programs differ in what the text is: octal or decimal, a number or text (YAML 1.1 and 1.2).
fn is_read_as_several_numbers(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let all = |text: &str, is: fn(&u8) -> bool| !text.is_empty() && text.bytes().all(|byte| is(&byte));
    let of_base =
        |prefix: &str, is: fn(&u8) -> bool| digits.strip_prefix(prefix).is_some_and(|rest| all(rest, is));
    (digits.len() > 1 && digits.starts_with('0') && all(digits, u8::is_ascii_digit))
        || of_base("0o", |byte| (b'0'..=b'7').contains(byte))
        || of_base("0b", |byte| matches!(byte, b'0' | b'1' | b'_'))
        || of_base("0x", |byte| byte.is_ascii_hexdigit() || *byte == b'_')
        || (digits.contains('_')
            && digits.starts_with(|c: char| c.is_ascii_digit())
            && all(digits, |byte| byte.is_ascii_digit() || *byte == b'_'))
}
