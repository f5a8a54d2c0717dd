//! The protections of the present engine, on the parts of [`crate::protect`]: no keys, no Classification.

use std::cell::RefCell;

use meshbridge_detect::{Class, ClassSet, Confidence};
use meshbridge_event::Event;

use crate::keys::{KeyTable, MapKeyRing};
use crate::model::Protect;
use crate::protect::{CannotProtect, Claim, Crossing, Declared, Demand, Randomness, Surveyor, apply};

thread_local! {
    /// Buffers from event to event.
    static SURVEYOR: RefCell<Surveyor> = RefCell::new(Surveyor::new());
}

/// The event after `items`, or `None` where it already fulfils them all.
pub(crate) fn transform(event: &Event, items: Vec<&Protect>) -> Result<Option<Event>, CannotProtect> {
    let demands: Vec<Demand> = items.into_iter().map(demand).collect();
    let wanted = demands.iter().fold(ClassSet::EMPTY, |wanted, demand| wanted.union(demand.classes));
    let claims: Vec<Claim<'_>> =
        demands.iter().enumerate().map(|(rule, demand)| Claim { demand, rule, opaque: None }).collect();
    let keys = KeyTable::default();
    SURVEYOR.with_borrow_mut(|surveyor| {
        let survey = surveyor.look(event, "", Declared::default(), &keys, &wanted, Confidence::Medium);
        let crossing = Crossing { to_zone: "", topic: "" };
        apply(&survey, &claims, &keys, &MapKeyRing::new(), &Randomness::new([0; 32]), crossing)
    })
}

fn demand(item: &Protect) -> Demand {
    Demand {
        classes: item.classes.iter().filter_map(|class| Class::named(class.name())).collect(),
        confidence: Confidence::Medium,
        undeclared: false,
        fields: item.fields.clone(),
        protection: item.protection,
        signatures_error: false,
    }
}
