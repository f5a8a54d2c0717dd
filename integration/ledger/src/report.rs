//! What the judge says.

use std::collections::BTreeMap;
use std::fmt;

/// The promises that can be found broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// An accepted event never reached a subscription that was owed it, and no end is recorded.
    Lost,
    /// An event was offered again with the same or a lower delivery count, or after its acknowledgement was durable.
    Repeated,
    /// A lane's event was offered for the first time after a later one of its lane.
    OutOfOrder,
    /// An event reached a subscription that must not have it, or after its recorded end.
    Unauthorised,
    /// `sent = delivered + denied + expired + dead-lettered + pending` does not hold, or disagrees with what was seen.
    OutOfBalance,
    /// A key that cannot be read, or that names two events.
    BadKey,
    /// The run was too small to prove anything.
    TooLittle,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Lost => "lost",
            Verdict::Repeated => "repeated",
            Verdict::OutOfOrder => "out of order",
            Verdict::Unauthorised => "unauthorised",
            Verdict::OutOfBalance => "out of balance",
            Verdict::BadKey => "bad key",
            Verdict::TooLittle => "too little happened",
        })
    }
}

/// How often a promise was broken, with the first few cases in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// All cases.
    pub count: u64,
    /// The first of them.
    pub examples: Vec<String>,
}

/// Cases by verdict; examples are written only while there is room for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Findings {
    pub(crate) by_verdict: BTreeMap<Verdict, Found>,
    pub(crate) examples_max: usize,
}

impl Findings {
    pub(crate) fn add(&mut self, verdict: Verdict, example: impl FnOnce() -> String) {
        let found = self.by_verdict.entry(verdict).or_default();
        found.count += 1;
        if found.examples.len() < self.examples_max {
            found.examples.push(example());
        }
    }
}

/// What a run consisted of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events a publisher began to send.
    pub submitted: u64,
    /// Events with a positive answer.
    pub accepted: u64,
    /// Submitted, not accepted, and yet delivered somewhere.
    pub surfaced: u64,
    /// Offers to subscriptions, repeated ones too.
    pub offered: u64,
    /// Of those, offers with a delivery count above one.
    pub retried: u64,
    /// Offers whose acknowledgement was durable.
    pub acknowledged: u64,
    /// Faults that struck, by kind.
    pub faults: BTreeMap<String, u64>,
}

/// The findings of one judgement, and what they were drawn from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What was seen.
    pub totals: Totals,
    /// Broken promises; none is missing because there was no room for it.
    pub findings: BTreeMap<Verdict, Found>,
}

impl Report {
    /// Whether nothing was found.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// Cases of one verdict.
    pub fn count(&self, verdict: Verdict) -> u64 {
        self.findings.get(&verdict).map_or(0, |found| found.count)
    }

    /// The report as an error when anything was found.
    pub fn into_result(self) -> Result<Totals, Report> {
        if self.is_clean() { Ok(self.totals) } else { Err(self) }
    }
}

impl std::error::Error for Report {}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { submitted, accepted, surfaced, offered, retried, acknowledged, faults } = &self.totals;
        let verdict = if self.is_clean() { "nothing found" } else { "broken promises" };
        write!(
            f,
            "{verdict}: {submitted} submitted, {accepted} accepted, {surfaced} delivered without an answer, {offered} offered, {retried} of them again, {acknowledged} acknowledged, faults {faults:?}"
        )?;
        for (verdict, Found { count, examples }) in &self.findings {
            write!(f, "\n  {count} {verdict}")?;
            for example in examples {
                write!(f, "\n    {example}")?;
            }
            if *count > examples.len() as u64 {
                write!(f, "\n    and {} more", *count - examples.len() as u64)?;
            }
        }
        Ok(())
    }
}
