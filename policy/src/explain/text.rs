//! An explanation as a tree, for people.

use std::fmt;

use super::{Change, ContextView, Cost, Effect, Explanation, LayerView, RuleView};

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}  {} -> {}", self.verdict, self.topic, self.from, self.to)?;
        match &self.by {
            Some(by) => writeln!(f, "  by {by}")?,
            None => writeln!(f)?,
        }
        for (what, text) in [("message", &self.message), ("help", &self.help)] {
            if let Some(text) = text {
                writeln!(f, "  {what}: {text}")?;
            }
        }
        if !self.also_by.is_empty() {
            writeln!(f, "  also by: {}", self.also_by.join(", "))?;
        }
        if let Some(zone) = &self.held_for {
            writeln!(f, "  {zone} may not carry it: the event waits at its origin for another path")?;
        }
        if let Some(link) = &self.held_at {
            writeln!(f, "  the link {link} is denied to it: the event waits at its origin for another path")?;
        }
        self.contexts.iter().try_for_each(|context| write!(f, "\n{context}"))
    }
}

impl fmt::Display for ContextView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}  {} -> {}  {}", self.context, self.from, self.to, self.verdict)?;
        self.layers.iter().try_for_each(|layer| write!(f, "{layer}"))?;
        if !self.fields.is_empty() {
            writeln!(f, "|- fields")?;
            self.fields.iter().try_for_each(|change| writeln!(f, "|  |- {change}"))?;
        }
        let list = |zones: &[String]| if zones.is_empty() { "none".to_owned() } else { zones.join(", ") };
        if let Some(zones) = &self.destination_class {
            writeln!(f, "|- destination class: {}", list(zones))?;
        }
        if let Some(zones) = &self.carriers {
            writeln!(f, "|- carriers: {}", list(zones))?;
        }
        if let Some(links) = self.denied_links.as_deref().filter(|links| !links.is_empty()) {
            writeln!(f, "|- denied links: {}", list(links))?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "|- note: {note}"))?;
        writeln!(f, "`- cost: {}", self.cost)
    }
}

impl fmt::Display for LayerView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gate = match self.permits {
            Some(true) => "  permits",
            Some(false) => "  does not permit",
            None => "",
        };
        writeln!(f, "|- {}{gate}", self.layer)?;
        self.rules.iter().try_for_each(|rule| writeln!(f, "|  |- {rule}"))
    }
}

impl fmt::Display for RuleView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RuleView { id, action, mode, effect, file, line } = self;
        let sign = match effect {
            Effect::DoesNotApply { .. } => '-',
            Effect::Stops | Effect::Holds | Effect::CannotBeComputed { .. } | Effect::DeniesLinks { .. } => {
                '!'
            }
            Effect::Edits => '~',
            Effect::Reports | Effect::Waived { .. } => '?',
            Effect::Permits | Effect::Passes => '+',
        };
        let mode = if *mode == "enforce" { String::new() } else { format!(" ({mode})") };
        write!(f, "{sign} {id}  {action}{mode}: {effect}  [{file}:{line}]")
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Effect::DoesNotApply { key, why } => write!(f, "does not apply, {key}: {why}"),
            Effect::Waived { waiver, reason } => write!(f, "switched off by the waiver {waiver}: {reason}"),
            Effect::Permits => f.write_str("permits"),
            Effect::Stops => f.write_str("stops"),
            Effect::Edits => f.write_str("edits"),
            Effect::Passes => f.write_str("applies, no objection"),
            Effect::DeniesLinks { links } => write!(f, "denies the links {}", links.join(", ")),
            Effect::Reports => f.write_str("would act, and only tells"),
            Effect::Holds => f.write_str("makes it wait"),
            Effect::CannotBeComputed { key } => write!(f, "does not permit, {key} cannot be computed"),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        write!(f, "{}", self.path)?;
        if !self.classes.is_empty() {
            write!(f, " ({})", self.classes.join(", "))?;
        }
        write!(f, ": {} -> {}", side(&self.before), side(&self.after))
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cost { candidates, conditional, steps_max, classes_searched, evaluations } = self;
        write!(
            f,
            "{candidates} rules by topic and zones, {conditional} with conditions, {steps_max} steps at most"
        )?;
        write!(f, "; {classes_searched} classes searched")?;
        match evaluations {
            Some(evaluations) => write!(f, "; evaluations for all destinations: {evaluations}"),
            None => Ok(()),
        }
    }
}
