//! Differences for a review: a table of what changed, and a section for each kind.

use std::fmt::Write as _;

use super::report::{Change, ChangeKind, Diff};

impl Diff {
    /// Markdown that code hosts show. Names and patterns out of policies are quoted as code, so nothing in them is read as
    /// markup.
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        // Writing to a text does not fail.
        let _ = write(&mut out, self);
        out
    }
}

fn write(out: &mut String, diff: &Diff) -> std::fmt::Result {
    writeln!(out, "## Policy changes\n")?;
    if let Some(unknown) = &diff.unknown {
        writeln!(out, "**Cannot be compared:** {}\n", code(&unknown.why))?;
        return unknown.filters.iter().try_for_each(|filter| writeln!(out, "- {}", code(filter)));
    }
    let verdict = if diff.is_no_looser() {
        "Nothing is newly allowed, and nothing is weaker."
    } else {
        "**Something is newly allowed or weaker.**"
    };
    writeln!(out, "{verdict}\n\n| change | entries |\n|---|---|")?;
    for kind in ChangeKind::ALL {
        writeln!(out, "| {} | {} |", kind.title(), diff.count(kind))?;
    }
    for kind in ChangeKind::ALL {
        if diff.count(kind) == 0 {
            continue;
        }
        writeln!(out, "\n### {}\n", kind.title())?;
        diff.changes.iter().filter(|change| change.kind == kind).try_for_each(|change| entry(out, change))?;
    }
    if diff.left_off > 0 {
        writeln!(out, "\n{} further changes are not listed.", diff.left_off)?;
    }
    Ok(())
}

fn entry(out: &mut String, change: &Change) -> std::fmt::Result {
    writeln!(out, "- **{}**: {}", change.certainty(), code(&change.what))?;
    if !change.places.is_empty() {
        writeln!(out, "  - where: {}", change.places.join(", "))?;
    }
    writeln!(out, "  - topics like {}", code(&change.topic_line()))?;
    writeln!(out, "  - zones {}", code(&change.pair_line()))?;
    for (name, lines) in [("old", &change.before), ("new", &change.after)] {
        lines.iter().try_for_each(|line| writeln!(out, "  - {name}: {}", code(&line.to_string())))?;
    }
    change
        .depends_on
        .iter()
        .try_for_each(|one| writeln!(out, "  - depends on {}", code(&one.to_string())))?;
    let example = &change.example;
    let judged = if example.judged { "judged by both editions" } else { "not judged" };
    let text = format!("{} {} -> {} {}", example.topic, example.from, example.to, example.event);
    writeln!(out, "  - example, {judged}: {}", code(&text))
}

/// As code, with as many backticks around it as it takes.
fn code(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let longest = line.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    if longest == 0 { format!("{fence}{line}{fence}") } else { format!("{fence} {line} {fence}") }
}
