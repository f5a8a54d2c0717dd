//! Every demand on JSON data, met place by place in one walk, and the edits that fulfil them.
//!
//! ```text
//!  paths, declared fields, findings, list ─► marks on nodes ─► walk in document order ─► edits
//!
//!  a name         gone with its value, or replaced
//!  a container    demanded by drop, redact or encrypt: one range with everything below it
//!                 by anything else: the demand is handed down to each leaf, and to names that hold something
//!  a leaf         all that concerns it, and what was handed down
//! ```

mod names;

use std::collections::BTreeMap;

use meshbridge_detect::tape::{Kind, Tape, Unescaped};
use meshbridge_detect::{Class, Finding};
use smallvec::SmallVec;

use super::asked::Asked;
use super::demand::{Demanded, Label};
use super::edits::{Edits, push_escaped, quoted};
use super::leaf::{Change, Leaf, ListedForm, Outcome, Part, settled};
use super::listed::{Said, forms_within};
use super::pointers::Pointers;
use super::seal;
use super::value::{Made, Maker, MissingKey, can_have};
use crate::protection::{Ladder, Protection, tokens};

/// Why a node is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    /// A claim has a path to it.
    Path(usize),
    /// The Classification says what it is.
    Declared(Class),
    /// Something was found in it, by its position among the findings.
    Finding(usize),
    /// The list says something about it.
    Listed,
}

/// What was done to a node.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    /// Of a name the object, of an element that is gone the array.
    pub(crate) node: u32,
    pub(crate) label: Label,
    pub(crate) said: Said,
}

/// Most events have no more places that something is done to. An event without any costs no allocation.
const PLACES: usize = 8;

/// The walk and what comes of it.
pub(crate) struct Plan<'p, 'a, 'k> {
    asked: &'p mut Asked<'a>,
    tape: Tape<'a>,
    maker: &'p mut Maker<'k>,
    marks: Vec<(u32, Mark)>,
    pub(crate) edits: Edits,
    pub(crate) notes: Vec<Note>,
    pub(crate) pointers: Pointers,
    /// Nodes under which nothing is left that an entry could be about.
    pub(crate) replaced: Vec<u32>,
    names: BTreeMap<u32, names::Names>,
    /// By array the note of its elements that go.
    gone: BTreeMap<u32, usize>,
}

impl<'p, 'a, 'k> Plan<'p, 'a, 'k> {
    pub(crate) fn new(
        asked: &'p mut Asked<'a>,
        tape: Tape<'a>,
        maker: &'p mut Maker<'k>,
    ) -> Plan<'p, 'a, 'k> {
        Plan {
            asked,
            tape,
            maker,
            marks: Vec::new(),
            edits: Edits::default(),
            notes: Vec::new(),
            pointers: Pointers::default(),
            replaced: Vec::new(),
            names: BTreeMap::new(),
            gone: BTreeMap::new(),
        }
    }

    pub(crate) fn run(&mut self) -> Result<(), MissingKey> {
        self.mark();
        let marks = std::mem::take(&mut self.marks);
        // What containers around this node hand down, each with all above it, and where they end.
        let mut inherited: SmallVec<[(u32, Demanded); 8]> = SmallVec::new();
        let (mut mark, mut at) = (0, 0_u32);
        let end = self.tape.nodes().len() as u32;
        while at < end {
            while inherited.last().is_some_and(|(end, _)| *end <= at) {
                inherited.pop();
            }
            mark += marks[mark..].iter().take_while(|(node, _)| *node < at).count();
            if inherited.is_empty() {
                match marks.get(mark) {
                    Some((node, _)) => at = *node,
                    None => break,
                }
            }
            let count = marks[mark..].iter().take_while(|(node, _)| *node == at).count();
            let mine = &marks[mark..mark + count];
            mark += count;
            let above = inherited.last().map(|(_, demanded)| *demanded);
            let node = *self.tape.node(at);
            match node.kind {
                Kind::Key => at = if self.name(at, mine, above)? { at + 1 } else { node.next },
                Kind::Object | Kind::Array => match self.by_place(at, mine) {
                    None => at += 1,
                    Some(own) if own.protection.takes_subtrees() => {
                        let below = marks[mark..].iter().take_while(|(other, _)| *other < node.next).count();
                        self.subtree(at, Demanded::join(Some(own), above), &marks[mark..mark + below])?;
                        at = node.next;
                    }
                    Some(own) => {
                        inherited
                            .extend(Demanded::join(Some(own), above).map(|demanded| (node.next, demanded)));
                        at += 1;
                    }
                },
                Kind::String => {
                    self.string(at, mine, above)?;
                    at += 1;
                }
                _ => {
                    self.scalar(at, mine, above)?;
                    at += 1;
                }
            }
        }
        Ok(())
    }

    fn mark(&mut self) {
        let survey = self.asked.survey;
        let mut nodes = Vec::new();
        for number in 0..self.asked.claims.len() {
            for path in &self.asked.claims[number].demand.fields {
                nodes.clear();
                path.resolve(&self.tape, &survey.listed.numbering, &mut nodes);
                self.marks.extend(nodes.iter().map(|node| (*node, Mark::Path(number))));
            }
        }
        self.marks.extend(survey.fields.iter().map(|(node, class)| (*node, Mark::Declared(*class))));
        let findings = survey.data.iter().enumerate();
        self.marks.extend(findings.filter_map(|(at, finding)| Some((finding.node?, Mark::Finding(at)))));
        self.marks.extend(survey.listed.at.iter().map(|(node, _)| (*node, Mark::Listed)));
        if !survey.listed.anywhere.is_empty() {
            // A list that was too long says only that they are somewhere.
            let nodes = self.tape.nodes().iter().enumerate();
            let leaves =
                nodes.filter(|(_, node)| !matches!(node.kind, Kind::Object | Kind::Array | Kind::Key));
            self.marks.extend(leaves.map(|(at, _)| (at as u32, Mark::Listed)));
        }
        self.marks.sort_unstable();
    }

    /// What paths and the Classification ask of a node.
    fn by_place(&mut self, node: u32, marks: &[(u32, Mark)]) -> Option<Demanded> {
        let mut demanded = None;
        for (_, mark) in marks {
            let one = match *mark {
                Mark::Path(claim) => Some(self.asked.by_claim(claim, Label::FIELD)),
                Mark::Declared(class) => {
                    let undeclared = self.asked.survey.is_undeclared_at_node(class, node);
                    self.asked.by_declared(class, undeclared)
                }
                Mark::Finding(_) | Mark::Listed => None,
            };
            demanded = Demanded::join(demanded, one);
        }
        // A field may be of a class that later rules ask for.
        if let Some(Demanded { label, .. }) = &mut demanded {
            let classes = self.asked.survey.declared_at(node);
            classes.for_each(|class| label.classes.insert(class));
        }
        demanded
    }

    fn by_finding(&mut self, at: usize) -> Option<(&'a Finding, Demanded)> {
        let finding = &self.asked.survey.data[at];
        self.asked.by_finding(finding).map(|demanded| (finding, demanded))
    }

    /// What the list says of a leaf that looks as `text`.
    fn listed(&mut self, node: u32, marks: &[(u32, Mark)], text: &str) -> SmallVec<[ListedForm; 2]> {
        if !marks.iter().any(|(_, mark)| *mark == Mark::Listed) {
            return SmallVec::new();
        }
        let survey = self.asked.survey;
        let values = survey.listed.of_node(node).filter_map(|entry| match entry.said {
            Said::Value(form) => Some((entry.class, form)),
            _ => None,
        });
        let mut listed = SmallVec::new();
        for (class, form) in values.filter(|(_, form)| can_have(*form, text)) {
            let demanded = class
                .and_then(|class| self.asked.by_listed(class, survey.is_undeclared_at_node(class, node)));
            listed.push(ListedForm { form, demanded });
        }
        listed
    }

    /// A container that goes as a whole, with everything that is demanded below it.
    fn subtree(
        &mut self,
        node: u32,
        demanded: Option<Demanded>,
        below: &[(u32, Mark)],
    ) -> Result<(), MissingKey> {
        let Some(mut demanded) = demanded else { return Ok(()) };
        for (at, mark) in below {
            let one = match *mark {
                Mark::Path(claim) => Some(self.asked.by_claim(claim, Label::FIELD)),
                Mark::Declared(class) => {
                    let undeclared = self.asked.survey.is_undeclared_at_node(class, *at);
                    self.asked.by_declared(class, undeclared)
                }
                Mark::Finding(finding) => self.by_finding(finding).map(|(_, demanded)| demanded),
                Mark::Listed => {
                    let text = self.tape.unescape(*at);
                    let mark = [(*at, Mark::Listed)];
                    let listed = self.listed(*at, &mark, &text);
                    listed.iter().filter_map(|listed| listed.demanded).reduce(Demanded::and)
                }
            };
            demanded.label.classes =
                one.map_or(demanded.label.classes, |one| demanded.label.classes.union(one.label.classes));
            demanded.protection =
                one.map_or(demanded.protection, |one| demanded.protection.meet(one.protection));
        }
        let range = self.tape.node(node).start..self.tape.node(node).end;
        let is_empty = self.tape.node(node).next == node + 1;
        if matches!(demanded.protection, Protection::Encrypt { .. }) {
            let known = if is_empty { self.form_of_empty(node) } else { self.forms_below(node) };
            demanded.protection = settled(demanded.protection, known);
        }
        match demanded.protection {
            Protection::Drop => {
                self.drop_value(node, demanded.label);
            }
            Protection::Encrypt { key } => {
                let made = self.maker.seal(key, seal::Kind::Json, self.tape.raw(node))?;
                self.edits.replace(range, |out| quoted(&made.text, out));
                self.note_value(node, demanded.label, made.form);
            }
            // Nothing is in it. What the list says of it, it goes on saying.
            _ if is_empty => return Ok(()),
            _ => {
                let empty = if self.tape.node(node).kind == Kind::Object { "{}" } else { "[]" };
                self.edits.replace(range, |out| out.push_str(empty));
                self.note_value(node, demanded.label, Protection::Redact);
            }
        }
        self.replaced.push(node);
        Ok(())
    }

    /// An object or array without anything in it may be what redacting left.
    fn form_of_empty(&self, node: u32) -> Option<Protection> {
        let mut listed = self.asked.survey.listed.of_node(node);
        listed.any(|entry| entry.said == Said::Value(Protection::Redact)).then_some(Protection::Redact)
    }

    /// The forms of all protected values below a node.
    fn forms_below(&self, node: u32) -> Option<Protection> {
        let nodes = node + 1..self.tape.node(node).next;
        let listed = forms_within(&self.asked.survey.listed, nodes.clone()).map(|(_, form)| form);
        let mut known = listed.reduce(Protection::meet);
        for at in nodes.filter(|at| self.tape.node(*at).kind == Kind::String) {
            for (_, token) in tokens(&self.tape.unescape(at)) {
                let form = token.protection(self.maker.keys());
                known = Some(known.map_or(form, |known| known.meet(form)));
            }
        }
        known
    }

    fn string(
        &mut self,
        node: u32,
        marks: &[(u32, Mark)],
        above: Option<Demanded>,
    ) -> Result<(), MissingKey> {
        let tape = self.tape;
        let unescaped = tape.unescaped(node);
        let inner = tape.node(node).start + 1..tape.node(node).end - 1;
        let mut whole = Demanded::join(above, self.by_place(node, marks));
        let mut parts = SmallVec::new();
        for (_, mark) in marks {
            let Mark::Finding(at) = *mark else { continue };
            let Some((finding, demanded)) = self.by_finding(at) else { continue };
            if finding.nested {
                whole = Demanded::join(whole, Some(demanded));
            } else {
                let start = place_in(&unescaped, finding.range.start.clamp(inner.start, inner.end));
                let end = place_in(&unescaped, finding.range.end.clamp(inner.start, inner.end));
                parts.push(Part { range: start..end, demanded });
            }
        }
        let listed = self.listed(node, marks, &unescaped.text);
        if whole.is_none() && parts.is_empty() && listed.iter().all(|listed| listed.demanded.is_none()) {
            return Ok(());
        }
        let declared = self.asked.survey.declared_at(node).min();
        let leaf = Leaf { text: &unescaped.text, whole, parts, listed, declared };
        let raw = |range: Option<&std::ops::Range<usize>>| match range {
            None => (seal::Kind::Json, tape.raw(node)),
            Some(range) => {
                let range = unescaped.range_of(range);
                (seal::Kind::Inner, &tape.text()[range.start as usize..range.end as usize])
            }
        };
        match leaf.settle(self.maker, &raw)? {
            Outcome::Keep => {}
            Outcome::Remove(label) => self.drop_value(node, label),
            Outcome::Whole(made, label) => {
                let label = self.recognised(node, &unescaped.text, label, made.form);
                self.edits.replace(tape.node(node).start..tape.node(node).end, |out| quoted(&made.text, out));
                self.replaced.push(node);
                self.note_value(node, label, made.form);
            }
            Outcome::Parts(parts) => {
                for Change { range, made, label } in parts {
                    let form = made.as_ref().map_or(Protection::Drop, |made| made.form);
                    let replaced = made.map(|made| made.text).unwrap_or_default();
                    self.edits.replace(unescaped.range_of(&range), |out| push_escaped(&replaced, out));
                    // What is gone from a text leaves a text; the list speaks of forms that are there.
                    if form != Protection::Drop {
                        self.note_value(node, label, form);
                    }
                }
            }
        }
        Ok(())
    }

    /// A number, `true`, `false` or `null`.
    fn scalar(
        &mut self,
        node: u32,
        marks: &[(u32, Mark)],
        above: Option<Demanded>,
    ) -> Result<(), MissingKey> {
        let raw = self.tape.raw(node);
        let mut whole = Demanded::join(above, self.by_place(node, marks));
        for (_, mark) in marks {
            if let Mark::Finding(at) = *mark {
                whole = Demanded::join(whole, self.by_finding(at).map(|(_, demanded)| demanded));
            }
        }
        let listed = self.listed(node, marks, raw);
        let known = listed.iter().map(|listed| listed.form).reduce(Protection::meet);
        for ListedForm { form, demanded } in listed {
            if let Some(demanded) = demanded.filter(|demanded| demanded.protection.meet(form) != form) {
                whole = Demanded::join(whole, Some(demanded));
            }
        }
        let Some(mut whole) = whole else { return Ok(()) };
        let is_number = self.tape.node(node).kind == Kind::Number;
        whole.protection = settled(whole.protection, known);
        let (text, form, is_bare) = match whole.protection {
            Protection::Drop => {
                self.drop_value(node, whole.label);
                return Ok(());
            }
            Protection::Encrypt { key } => {
                let Made { text, form } = self.maker.seal(key, seal::Kind::Json, raw)?;
                (text, form, false)
            }
            Protection::Redact => ("null".to_owned(), Protection::Redact, true),
            _ if !is_number => ("null".to_owned(), Protection::Redact, true),
            _ => {
                let declared = self.asked.survey.declared_at(node).min();
                let canonical = if whole.label.by_field { declared } else { whole.label.class };
                let Made { text, form } = self.maker.make(&whole, canonical, raw)?;
                match form {
                    Protection::Generalise { ladder, .. } => (text, form, Ladder::is_numeric(ladder)),
                    Protection::Redact => ("null".to_owned(), form, true),
                    _ => (text, form, false),
                }
            }
        };
        if is_bare && text == raw {
            return Ok(());
        }
        let label = self.recognised(node, raw, whole.label, form);
        let place = self.tape.node(node);
        self.edits.replace(place.start..place.end, |out| {
            if is_bare { out.push_str(&text) } else { quoted(&text, out) }
        });
        self.replaced.push(node);
        self.note_value(node, label, form);
        Ok(())
    }

    /// What a value was that a field asked about: later rules by class could not see it any more.
    fn recognised(&mut self, node: u32, text: &str, mut label: Label, form: Protection) -> Label {
        if label.by_field && form.hides_its_class() {
            let key = self.tape.key_of(node).map(|key| self.tape.unescape(key));
            label.classes = label.classes.union(self.asked.classes_of(text, key.as_deref()));
        }
        label
    }

    fn drop_value(&mut self, node: u32, label: Label) {
        let parent = self.tape.node(node).parent;
        match self.tape.node(parent).kind {
            _ if node == 0 => {
                self.note(0, label, Said::Value(Protection::Drop));
                self.edits.remove_root();
            }
            Kind::Array => {
                let index = self.pointers.index(&self.tape, parent, node);
                let original = self.asked.survey.listed.numbering.original(parent, index);
                let gone =
                    self.gone.get(&parent).and_then(|note| match &mut self.notes.get_mut(*note)?.said {
                        Said::Elements(gone) => Some(gone),
                        _ => None,
                    });
                match gone {
                    Some(gone) => gone.insert(original),
                    None => {
                        let mut gone =
                            self.asked.survey.listed.numbering.gone(parent).cloned().unwrap_or_default();
                        gone.insert(original);
                        self.gone.insert(parent, self.notes.len());
                        self.note(parent, Label::FIELD, Said::Elements(gone));
                    }
                }
                self.remove(node);
            }
            _ => {
                self.note_value(node, label, Protection::Drop);
                self.remove(parent);
            }
        }
    }

    /// Takes away a member, by its key, or an element.
    fn remove(&mut self, child: u32) {
        self.edits.remove(self.tape.node(child).parent, child);
        self.replaced.push(child);
        self.pointers.removed.push(child);
    }

    fn note_value(&mut self, node: u32, label: Label, form: Protection) {
        self.note(node, label, Said::Value(form));
    }

    fn note(&mut self, node: u32, label: Label, said: Said) {
        if self.notes.is_empty() {
            self.notes.reserve(PLACES);
        }
        self.notes.push(Note { node, label, said });
    }
}

/// Where in the unescaped text a byte of the text as it stands is; between two of its characters the later one.
fn place_in(unescaped: &Unescaped<'_>, raw: u32) -> usize {
    let length = unescaped.text.len();
    let (mut low, mut high) = (0, length);
    while low < high {
        let middle = low.midpoint(high);
        if unescaped.place_of(middle) < raw { low = middle + 1 } else { high = middle }
    }
    low
}
