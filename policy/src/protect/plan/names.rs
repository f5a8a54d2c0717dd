//! Names of members that are personal data themselves: because a rule asks for what was found in them, or because they
//! stand in a field that a rule asks for, and would say of it what its values no longer say.

use std::collections::BTreeMap;

use super::{Mark, Plan};
use crate::protect::demand::{Demanded, Label};
use crate::protect::edits::quoted;
use crate::protect::listed::Said;
use crate::protect::value::MissingKey;
use crate::protection::{Protection, is_token_name};

/// The names of an object's members, and how often each new one was given.
pub(super) struct Names {
    taken: BTreeMap<String, u32>,
}

impl Plan<'_, '_, '_> {
    /// A name of a member; `above` is what containers around it hand down to what is in them. Answers whether the member
    /// is still there.
    pub(super) fn name(
        &mut self,
        key: u32,
        marks: &[(u32, Mark)],
        above: Option<Demanded>,
    ) -> Result<bool, MissingKey> {
        let mut demanded = above.and_then(|above| self.handed_down(key, above));
        for (_, mark) in marks {
            if let Mark::Finding(at) = *mark {
                demanded = Demanded::join(demanded, self.by_finding(at).map(|(_, demanded)| demanded));
            }
        }
        let Some(demanded) = demanded else { return Ok(true) };
        let name = self.tape.unescape(key);
        if is_token_name(&name) {
            return Ok(true);
        }
        let object = self.tape.node(key).parent;
        if demanded.protection == Protection::Drop {
            self.note(object, demanded.label, Said::Key(Protection::Drop));
            self.remove(key);
            return Ok(false);
        }
        // A name shows where it stands and is compared as a whole, so what keeps a part of it or can be opened is
        // not for names.
        let kept = match demanded.protection {
            same @ (Protection::Hash | Protection::Pseudonymise { .. }) => same,
            _ => Protection::Redact,
        };
        let kept = Demanded { protection: kept, ..demanded };
        let made = self.maker.make(&kept, demanded.label.class, &name)?;
        let unique = self.unique(object, made.text);
        let node = self.tape.node(key);
        self.edits.replace(node.start..node.end, |out| quoted(&unique, out));
        self.pointers.renamed.push((key, unique));
        self.note(object, demanded.label, Said::Key(made.form));
        Ok(true)
    }

    /// What is handed down reaches a name in which detectors recognise anything at all. Others are names of fields, and
    /// without them nobody could read the rest.
    fn handed_down(&self, key: u32, above: Demanded) -> Option<Demanded> {
        let classes = self.asked.classes_of(&self.tape.unescape(key), None);
        let label = Label { classes: above.label.classes.union(classes), ..above.label };
        (!classes.is_empty()).then_some(Demanded { label, ..above })
    }

    /// The name, or with a number where the object has it already: two members of one name would be one to most
    /// readers.
    fn unique(&mut self, object: u32, name: String) -> String {
        let tape = self.tape;
        let names = self.names.entry(object).or_insert_with(|| {
            let taken = tape.members(object).map(|(key, _)| (tape.unescape(key).into_owned(), 1));
            Names { taken: taken.collect() }
        });
        if !names.taken.contains_key(&name) {
            names.taken.insert(name.clone(), 1);
            return name;
        }
        let mut number = names.taken.get(&name).copied().unwrap_or(1);
        loop {
            number += 1;
            let candidate = format!("{name}#{number}");
            if !names.taken.contains_key(&candidate) {
                names.taken.insert(name, number);
                names.taken.insert(candidate.clone(), 1);
                return candidate;
            }
        }
    }
}
