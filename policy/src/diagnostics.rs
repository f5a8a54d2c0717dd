//! Problems in documents: data first, text second. All problems of all files are reported together.

use std::fmt;
use std::sync::Arc;

/// A place in a file. Lines and columns count from one, in characters; the end is exclusive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Span {
    pub file: Arc<str>,
    pub line: usize,
    pub column: usize,
    /// A span does not go beyond its line.
    pub end_line: usize,
    pub end_column: usize,
    /// The text of the line, for the snippet.
    #[serde(skip)]
    pub source: Arc<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Error,
    Warning,
}

/// Another place that belongs to the problem.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Label {
    #[serde(flatten)]
    pub span: Span,
    pub label: String,
}

/// What the problem is about, in one case that shows it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Example {
    pub topic: String,
    pub from: String,
    pub to: String,
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Diagnostic {
    pub code: &'static str,
    pub severity: Severity,
    pub message: String,
    pub span: Span,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<Label>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub example: Option<Example>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl Diagnostic {
    pub(crate) fn error(code: &'static str, span: &Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            code,
            severity: Severity::Error,
            message: message.into(),
            span: span.clone(),
            label: None,
            related: Vec::new(),
            example: None,
            help: None,
        }
    }

    pub(crate) fn warning(code: &'static str, span: &Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(code, span, message) }
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Diagnostic {
        self.label = Some(label.into());
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn example(mut self, example: Example) -> Diagnostic {
        self.example = Some(example);
        self
    }

    pub(crate) fn related(mut self, span: &Span, label: impl Into<String>) -> Diagnostic {
        self.related.push(Label { span: span.clone(), label: label.into() });
        self
    }
}

fn snippet(f: &mut fmt::Formatter<'_>, span: &Span, mark: char, label: &str, width: usize) -> fmt::Result {
    let length = span.end_column.saturating_sub(span.column).max(1);
    writeln!(f, "{:width$} |", "")?;
    writeln!(f, "{:>width$} | {}", span.line, span.source)?;
    let marks: String = std::iter::repeat_n(mark, length).collect();
    writeln!(f, "{:width$} | {:indent$}{marks} {label}", "", "", indent = span.column - 1)
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let lines = std::iter::once(&self.span).chain(self.related.iter().map(|label| &label.span));
        let width = lines.map(|span| span.line.to_string().len()).max().unwrap_or(1) + 1;
        writeln!(f, "{severity}[{}]: {}", self.code, self.message)?;
        writeln!(f, "{:>width$}--> {}:{}:{}", "", self.span.file, self.span.line, self.span.column)?;
        snippet(f, &self.span, '^', self.label.as_deref().unwrap_or_default(), width)?;
        for related in &self.related {
            let Span { file, line, column, .. } = &related.span;
            writeln!(f, "{:>width$}::: {file}:{line}:{column}", "")?;
            snippet(f, &related.span, '-', &related.label, width)?;
        }
        if let Some(Example { topic, from, to }) = &self.example {
            writeln!(f, "{:width$} = example: topic \"{topic}\" from {from} to {to}", "")?;
        }
        if let Some(help) = &self.help {
            writeln!(f, "{:width$} = help: {help}", "")?;
        }
        Ok(())
    }
}

/// Problems in the order of their places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    pub(crate) fn sort(&mut self) {
        self.0.sort_by(|a, b| (&a.span, a.code).cmp(&(&b.span, b.code)));
    }

    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter()
    }

    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    pub(crate) fn errors(&self) -> usize {
        self.0.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, diagnostic) in self.0.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}
