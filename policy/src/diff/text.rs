//! Differences as a list, for people.

use std::fmt;

use super::report::{Change, ChangeKind, Diff, Effect};

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(unknown) = &self.unknown {
            writeln!(f, "cannot be compared: {}", unknown.why)?;
            return unknown.filters.iter().try_for_each(|filter| writeln!(f, "  to blame: {filter}"));
        }
        if self.changes.is_empty() {
            return writeln!(
                f,
                "no difference in what passes, what is seen, what is checked and what is kept"
            );
        }
        let mut is_first = true;
        for kind in ChangeKind::ALL {
            let changes: Vec<&Change> = self.changes.iter().filter(|change| change.kind == kind).collect();
            if changes.is_empty() {
                continue;
            }
            if !std::mem::take(&mut is_first) {
                writeln!(f)?;
            }
            writeln!(f, "{}: {}", kind.title(), changes.len())?;
            changes.iter().try_for_each(|change| write!(f, "{change}"))?;
        }
        if self.left_off > 0 {
            writeln!(f, "\n{} further changes are not listed", self.left_off)?;
        }
        Ok(())
    }
}

impl Change {
    pub(super) fn certainty(&self) -> &'static str {
        match (self.effect, self.depends_on.is_empty()) {
            (Some(Effect::Tighter), _) => "tighter",
            (Some(Effect::Looser), _) => "looser",
            (Some(Effect::Either), _) => "may let more through, or less",
            (None, true) if self.is_certain => "certain",
            (None, true) => "possible",
            (None, false) => "depends on conditions",
        }
    }

    pub(super) fn topic_line(&self) -> String {
        listed(&self.topics, self.topic_count)
    }

    pub(super) fn pair_line(&self) -> String {
        let pairs: Vec<String> = self.pairs.iter().map(ToString::to_string).collect();
        listed(&pairs, self.pair_count)
    }
}

/// The first few, and how many there are beside them.
fn listed(items: &[String], count: usize) -> String {
    let more = count.saturating_sub(items.len());
    let list = items.join(", ");
    if more == 0 { list } else { format!("{list} and {more} more") }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "- {} ({})", self.what, self.certainty())?;
        match self.places.as_slice() {
            [] => writeln!(f)?,
            places => writeln!(f, ", {}", places.join(", "))?,
        }
        writeln!(f, "    topics like {}", self.topic_line())?;
        writeln!(f, "    zones {}", self.pair_line())?;
        for (sign, lines) in [('-', &self.before), ('+', &self.after)] {
            lines.iter().try_for_each(|line| writeln!(f, "    {sign} {line}"))?;
        }
        self.depends_on.iter().try_for_each(|one| writeln!(f, "    depends on {one}"))?;
        let example = &self.example;
        let judged = if example.judged { "judged by both" } else { "not judged" };
        writeln!(
            f,
            "    example, {judged}: {} {} -> {} {}",
            example.topic, example.from, example.to, example.event
        )
    }
}
