//! Answers, as data and as people read them.

use std::fmt;

use serde::Serialize;

use crate::diagnostics::Span;
use crate::model::Rule;

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "answer")]
pub enum Proof {
    /// It cannot happen, as far as these things are so.
    Proved {
        #[serde(rename = "restsOn")]
        rests_on: Vec<Basis>,
    },
    Refuted(Box<Refutation>),
    /// Too much to look at; not proved.
    Unknown {
        why: String,
        filters: Vec<String>,
    },
}

impl Proof {
    pub fn is_proved(&self) -> bool {
        matches!(self, Proof::Proved { .. })
    }
}

/// An invariant of the policies, and whether it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InvariantProof {
    pub name: String,
    pub layer: String,
    /// Of its name.
    pub span: Span,
    /// Unproved it refuses the policies; else it is only told of (`onUnproven: warn`).
    pub must_hold: bool,
    pub proof: Proof,
}

/// What a proof takes for granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "basis")]
pub enum Basis {
    /// The documents list all that topics hold.
    Classification { documents: Vec<String> },
    /// Nothing is known of what topics hold at these zones, so all was looked at.
    NothingKnown { zones: Vec<String> },
    /// Values that are somewhere in an event are found, at their measured recall.
    Detectors,
    /// The values asked about stand in declared fields, so that nothing has to be found.
    DeclaredFields,
    /// These keys are held where the Federation says, and nowhere else.
    Keys { keys: Vec<String> },
    /// Every bridge on the way runs this generation or a later one and is not compromised.
    Bridges,
    /// Nobody moves data to another topic by hand.
    SameTopic,
    /// No zone publishes again what it received: the question leaves that out.
    NoRelay,
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Basis::Classification { documents } => {
                write!(f, "the Classification is complete ({})", documents.join(", "))
            }
            Basis::NothingKnown { zones } => {
                write!(f, "nothing is known of topics at {}, so every topic was looked at", zones.join(", "))
            }
            Basis::Detectors => {
                f.write_str("values that are not declared are found, at the detectors' measured recall")
            }
            Basis::DeclaredFields => f.write_str("declared fields only: no detector is needed"),
            Basis::Keys { keys } => write!(f, "keys are where the Federation says ({})", keys.join(", ")),
            Basis::Bridges => {
                f.write_str("every bridge on the way runs this digest or a later one and is not compromised")
            }
            Basis::SameTopic => f.write_str("nobody moves data to another topic by hand"),
            Basis::NoRelay => f.write_str("no zone publishes again what it received"),
        }
    }
}

/// How it can happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refutation {
    pub counterexample: Counterexample,
    /// It happens to every event that passes the checks, see [`Counterexample::is_certain`].
    pub certain: bool,
    /// Only if a zone publishes again what it received; the mesh itself is proved.
    pub relay_only: bool,
    /// What the proof of the mesh itself rests on, with `relay_only`; empty else.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mesh_rests_on: Vec<Basis>,
}

/// A shortest way of a value to where it must not be seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counterexample {
    pub topic: String,
    pub class: String,
    /// The declared field; `None` is somewhere in the event.
    pub field: Option<String>,
    pub steps: Vec<Step>,
    /// What has to be so beside; nothing if it is certain.
    pub depends_on: Vec<Dependency>,
    /// Checks that the event has to pass, as ordinary events do.
    pub checks: Vec<RulePlace>,
    /// Rules that would help but are not relied on.
    pub not_relied_on: Vec<Dependency>,
}

impl Counterexample {
    /// Whether it happens to every event that passes the checks.
    pub fn is_certain(&self) -> bool {
        self.depends_on.is_empty()
    }

    /// The zones in one line.
    pub(crate) fn way(&self) -> String {
        let mut text = self.steps.first().map(|step| step.from.clone()).unwrap_or_default();
        for step in &self.steps {
            text.push_str(" -> ");
            text.push_str(&step.to);
        }
        text
    }
}

/// One crossing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    pub from: String,
    pub to: String,
    pub role: Role,
    /// The form in which the value is seen there.
    pub form: String,
    /// What the form shows there, the keys of the zone considered.
    pub shows: Vec<&'static str>,
    /// Rules that let it through.
    pub permits: Vec<RulePlace>,
    /// Rules that made the form.
    pub protections: Vec<RulePlace>,
}

/// Why a zone sees the event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "as")]
pub enum Role {
    Destination,
    /// It carries the event for another.
    Carrier {
        towards: String,
    },
    /// Its subscribers get it.
    Subscribers,
}

/// A rule and where it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RulePlace {
    pub rule: String,
    pub layer: String,
    pub span: Span,
}

impl RulePlace {
    pub(crate) fn of(rule: &Rule) -> RulePlace {
        RulePlace { rule: rule.id.to_string(), layer: rule.layer.name().to_string(), span: rule.span.clone() }
    }
}

/// A rule, and what has to be so about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Dependency {
    #[serde(flatten)]
    pub place: RulePlace,
    pub why: String,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Proof::Proved { rests_on } => {
                writeln!(f, "proved")?;
                rests_on.iter().try_for_each(|basis| writeln!(f, "  as far as: {basis}"))
            }
            Proof::Unknown { why, filters } => {
                writeln!(f, "unknown, which is not proved: {why}")?;
                filters.iter().try_for_each(|filter| writeln!(f, "  to blame: {filter}"))
            }
            Proof::Refuted(refutation) => refutation.fmt(f),
        }
    }
}

impl fmt::Display for Refutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = &self.counterexample;
        let certainty = if one.is_certain() { "certain" } else { "depends on conditions" };
        writeln!(f, "refuted, {certainty}: {} on topic {}", one.class, one.topic)?;
        if self.relay_only {
            writeln!(
                f,
                "  the mesh itself is proved; this takes a zone that publishes again what it received"
            )?;
            let bases = &self.mesh_rests_on;
            bases.iter().try_for_each(|basis| writeln!(f, "    proved as far as: {basis}"))?;
        }
        if let Some(field) = &one.field {
            writeln!(f, "  at {field}")?;
        }
        for step in &one.steps {
            let role = match &step.role {
                Role::Destination => String::new(),
                Role::Carrier { towards } => format!(", which carries it towards {towards}"),
                Role::Subscribers => ", its subscribers".to_owned(),
            };
            let (from, to, form, shows) = (&step.from, &step.to, &step.form, step.shows.join(", "));
            writeln!(f, "  {from} -> {to}{role}: {form}, which shows {shows}")?;
            for permit in &step.permits {
                writeln!(f, "    let through by {permit}")?;
            }
            for protection in &step.protections {
                writeln!(f, "    protected by {protection}")?;
            }
        }
        one.depends_on.iter().try_for_each(|one| writeln!(f, "  depends on {}: {}", one.place, one.why))?;
        one.checks.iter().try_for_each(|rule| writeln!(f, "  passes the check {rule}"))?;
        one.not_relied_on.iter().try_for_each(|one| writeln!(f, "  not relied on {}: {}", one.place, one.why))
    }
}

impl fmt::Display for RulePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}:{})", self.rule, self.span.file, self.span.line)
    }
}
