//! Recorded events under other policies: whose fate changes, and by which rule (POLICY §8, `replay`).
//!
//! Where all of an event is known the engine judges it, once as it was and once as it would be. Where only its protected
//! view is known, what depends on anything that was altered is unknown, and said to be: see [`crate::capture`] for how
//! it is known what was altered, and the engine's `certain` for what is certain all the same.
//!
//! Rates are taken to have room, for what came before is not on record; keys are taken to be there.

mod form;
mod report;

use meshbridge_event::Event;
use meshbridge_topic::Topic;

use crate::capture::{Entry, What};
use crate::decision::Verdict;
use crate::engine::{Certain, CertainForm, InPart, OnRecord, Request, Scratch};
use crate::model::Disposition;
use crate::program::Program;
use crate::protect::Randomness;
use crate::testing::TestKeys;

use form::{Relation, relation};
pub use report::{Counts, Summary};

/// How the fate of an event changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// It was stopped and would go on.
    NewlyAllowed,
    /// It goes on and would show more, or what cannot be compared.
    Weaker,
    /// It went on and would be stopped.
    NewlyBlocked,
    /// It goes on and would show less.
    Stronger,
    /// It is stopped by another rule, or with another disposition.
    OtherRule,
}

impl Kind {
    /// Whether more would pass than did.
    pub fn passes_more(self) -> bool {
        matches!(self, Kind::NewlyAllowed | Kind::Weaker)
    }

    pub fn name(self) -> &'static str {
        match self {
            Kind::NewlyAllowed => "newly allowed",
            Kind::Weaker => "weaker",
            Kind::NewlyBlocked => "newly blocked",
            Kind::Stronger => "stronger",
            Kind::OtherRule => "other rule",
        }
    }
}

/// One side of a comparison.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Side {
    /// `forward`, or the disposition.
    pub verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// What becomes of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Same,
    Changed {
        kind: Kind,
        old: Side,
        new: Side,
        /// The rules that make the change: who stops the event now, or did, or who edits it otherwise.
        rules: Vec<String>,
    },
    Unknown(Why),
}

/// Why nothing can be said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// The rule depends on something that was altered.
    Altered { rule: String },
    /// A rate had a part in the verdict on record, which other policies to compare with would replace.
    Rate,
    /// The topic is not shown, for it holds personal data.
    Topic,
    /// The federation has no such zone any more.
    Zone { name: String },
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Why::Altered { rule } if rule.is_empty() => {
                f.write_str("an obligation depends on what was altered")
            }
            Why::Altered { rule } => write!(f, "{rule} depends on what was altered"),
            Why::Rate => f.write_str("a rate decided, and without --old it cannot be left out"),
            Why::Topic => f.write_str("the topic is not shown"),
            Why::Zone { name } => write!(f, "the federation has no zone {name}"),
        }
    }
}

/// Policies to compare.
#[derive(Debug)]
pub struct Replay<'a> {
    /// `None` for the verdicts on record.
    old: Option<&'a Program>,
    new: &'a Program,
    keys: (TestKeys, TestKeys),
    scratch: Scratch,
}

/// What would become of an event.
#[derive(Debug)]
enum Fate<'a> {
    Forward(Form<'a>),
    Stop { disposition: &'static str, by: Option<String> },
}

#[derive(Debug)]
enum Form<'a> {
    /// Nothing edits it.
    AsItWas,
    /// As on record.
    OnRecord,
    Made(Event),
    Known(&'a Event),
}

impl<'a> Replay<'a> {
    pub fn new(old: Option<&'a Program>, new: &'a Program) -> Replay<'a> {
        let keys = |program: &Program| TestKeys::of(program.federation());
        Replay { old, new, keys: (keys(old.unwrap_or(new)), keys(new)), scratch: Scratch::new() }
    }

    /// Judges an event of a capture, as it was and as it would be.
    pub fn judge(&mut self, entry: &Entry) -> Outcome {
        match self.compare(entry) {
            Ok(outcome) => outcome,
            Err(why) => Outcome::Unknown(why),
        }
    }

    fn compare(&mut self, entry: &Entry) -> Result<Outcome, Why> {
        let topic = entry.topic.as_ref().ok_or(Why::Topic)?;
        let programs = (self.old, self.new);
        let is_of = |program: &Program| crate::capture::hex(&program.digest()) == entry.digest;
        match &entry.what {
            What::Whole { event, form } => {
                let old = match programs.0 {
                    Some(old) => whole(old, &self.keys.0, entry, topic, event, &mut self.scratch)?,
                    None => on_record(entry, form.as_ref())?,
                };
                let new = whole(programs.1, &self.keys.1, entry, topic, event, &mut self.scratch)?;
                let relation = match (&old, &new) {
                    (Fate::Forward(old), Fate::Forward(new)) => relation(event, old.of(event), new.of(event)),
                    _ => Relation::Same,
                };
                let rules = match relation {
                    Relation::Same => Vec::new(),
                    _ => self.editors(entry, topic, event)?,
                };
                Ok(outcome(old, new, relation, rules))
            }
            What::Part { view, altered } => {
                // Where the policies on record are at hand, what they did is known, and helps to tell what others do.
                let then = programs.0.filter(|old| is_of(old) && !entry.is_rate);
                let stopped = Disposition::parse(entry.verdict);
                let record = then.map(|program| OnRecord {
                    program,
                    stopped: stopped
                        .map(|disposition| (disposition, entry.by.as_deref().unwrap_or_default())),
                    also_by: entry.also_by.as_deref(),
                });
                let mut part = |program: &Program, keys: &TestKeys| {
                    let request = request(program, keys, entry, topic, view)?;
                    let part = InPart {
                        request,
                        altered,
                        event_bytes: entry.event_bytes,
                        data_bytes: entry.data_bytes,
                        classified: entry.classified,
                    };
                    fate(program.certain(&part, record.as_ref(), &mut self.scratch))
                };
                let old = match programs.0 {
                    Some(old) if !is_of(old) || entry.is_rate => part(old, &self.keys.0)?,
                    _ => on_record(entry, None)?,
                };
                let new = match is_of(programs.1) && !entry.is_rate {
                    true => on_record(entry, None)?,
                    false => part(programs.1, &self.keys.1)?,
                };
                let relation = match (&old, &new) {
                    (Fate::Forward(Form::OnRecord), Fate::Forward(Form::AsItWas))
                        if altered.is_protected() =>
                    {
                        Relation::Weaker
                    }
                    (Fate::Forward(Form::OnRecord), Fate::Forward(Form::AsItWas)) => {
                        return Err(Why::Altered { rule: String::new() });
                    }
                    (Fate::Forward(Form::AsItWas), Fate::Forward(Form::OnRecord))
                        if altered.is_protected() =>
                    {
                        Relation::Stronger
                    }
                    _ => Relation::Same,
                };
                Ok(outcome(old, new, relation, Vec::new()))
            }
        }
    }

    /// The rules that edit the event in one of the two, and not in the other; where all do, all of them.
    fn editors(&mut self, entry: &Entry, topic: &Topic, event: &Event) -> Result<Vec<String>, Why> {
        let mut editors = |program: &Program, keys: &TestKeys| {
            let request = request(program, keys, entry, topic, event)?;
            let rules = program.editing_rules(&request, &mut self.scratch);
            Ok(rules.into_iter().map(|rule| rule.id().to_owned()).collect::<Vec<_>>())
        };
        let new = editors(self.new, &self.keys.1)?;
        let Some(old) = self.old else { return Ok(new) };
        let old = editors(old, &self.keys.0)?;
        let only = |some: &[String], others: &[String]| -> Vec<String> {
            some.iter().filter(|rule| !others.contains(rule)).cloned().collect()
        };
        let mut rules = [only(&old, &new), only(&new, &old)].concat();
        if rules.is_empty() {
            rules = new;
        }
        rules.sort_unstable();
        rules.dedup();
        Ok(rules)
    }
}

impl Form<'_> {
    fn of<'e>(&'e self, event: &'e Event) -> &'e Event {
        match self {
            // Nothing was edited where there is no other form.
            Form::AsItWas | Form::OnRecord => event,
            Form::Made(form) => form,
            Form::Known(form) => form,
        }
    }
}

/// What is made with it is compared, never shown.
static RANDOMNESS: Randomness = Randomness::new([7; 32]);

fn request<'a>(
    program: &Program,
    keys: &'a TestKeys,
    entry: &'a Entry,
    topic: &'a Topic,
    event: &'a Event,
) -> Result<Request<'a>, Why> {
    let zone = |name: &str| program.zone(name).ok_or_else(|| Why::Zone { name: name.to_owned() });
    Ok(Request {
        context: entry.context,
        from: zone(&entry.from)?,
        to: zone(&entry.to)?,
        topic,
        event,
        publisher: entry.publisher.as_deref(),
        subscriber: None,
        hops: entry.hops,
        now: entry.now,
        tick: 0,
        buckets: None,
        keys,
        randomness: &RANDOMNESS,
        released: &entry.released,
        trace: false,
    })
}

fn whole(
    program: &Program,
    keys: &TestKeys,
    entry: &Entry,
    topic: &Topic,
    event: &Event,
    scratch: &mut Scratch,
) -> Result<Fate<'static>, Why> {
    let request = request(program, keys, entry, topic, event)?;
    Ok(match program.decide(&request, scratch).verdict {
        Verdict::Forward { event: Some(form) } => Fate::Forward(Form::Made(form)),
        // Without buckets nothing waits.
        Verdict::Forward { event: None } | Verdict::Hold { .. } => Fate::Forward(Form::AsItWas),
        Verdict::Stop(stopped) => {
            Fate::Stop { disposition: stopped.disposition.name(), by: Some(stopped.by.id().to_owned()) }
        }
    })
}

fn on_record<'a>(entry: &'a Entry, form: Option<&'a Event>) -> Result<Fate<'a>, Why> {
    if entry.is_rate {
        return Err(Why::Rate);
    }
    Ok(match Disposition::parse(entry.verdict) {
        Some(disposition) => Fate::Stop { disposition: disposition.name(), by: entry.by.clone() },
        None => Fate::Forward(form.map_or(Form::OnRecord, Form::Known)),
    })
}

fn fate(certain: Certain) -> Result<Fate<'static>, Why> {
    match certain {
        Certain::Forward(CertainForm::AsItWas) => Ok(Fate::Forward(Form::AsItWas)),
        Certain::Forward(CertainForm::AsOnRecord) => Ok(Fate::Forward(Form::OnRecord)),
        Certain::Stop { disposition, by } => Ok(Fate::Stop { disposition: disposition.name(), by: Some(by) }),
        Certain::Unknown(rule) => Err(Why::Altered { rule }),
    }
}

fn outcome(old: Fate<'_>, new: Fate<'_>, relation: Relation, editors: Vec<String>) -> Outcome {
    let side = |fate: &Fate<'_>| match fate {
        Fate::Forward(_) => Side { verdict: "forward", by: None },
        Fate::Stop { disposition, by } => Side { verdict: disposition, by: by.clone() },
    };
    let (kind, rules) = match (&old, &new) {
        (Fate::Stop { by, .. }, Fate::Forward(_)) => (Kind::NewlyAllowed, by.iter().cloned().collect()),
        (Fate::Forward(_), Fate::Stop { by, .. }) => (Kind::NewlyBlocked, by.iter().cloned().collect()),
        (Fate::Stop { by: before, .. }, Fate::Stop { by, .. }) => {
            if side(&old) == side(&new) {
                return Outcome::Same;
            }
            (Kind::OtherRule, by.iter().chain(before.iter().filter(|_| by.is_none())).cloned().collect())
        }
        (Fate::Forward(_), Fate::Forward(_)) => match relation {
            Relation::Same => return Outcome::Same,
            Relation::Stronger => (Kind::Stronger, editors),
            Relation::Weaker => (Kind::Weaker, editors),
        },
    };
    Outcome::Changed { kind, old: side(&old), new: side(&new), rules }
}

#[cfg(test)]
mod tests;
