//! The engines under one trait.

mod cedar;
mod cel;
mod meshbridge;
mod rego;
mod vrl;

use anyhow::Result;

use crate::workload::Workload;

/// Rules that were loaded, and events in the form that the engine wants.
pub(crate) trait Engine {
    /// Whether the event at this place of the workload passes.
    fn passes(&self, event: usize) -> bool;
}

/// One of the engines compared.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// With more it takes minutes to load them.
    pub(crate) rules_max: usize,
    pub(crate) load: fn(&Workload) -> Result<Box<dyn Engine>>,
}

/// Ours first: the others are compared with it.
pub(crate) const ENGINES: [Kind; 5] = [
    Kind { name: "meshbridge", rules_max: usize::MAX, load: meshbridge::load },
    Kind { name: "cedar", rules_max: usize::MAX, load: cedar::load },
    Kind { name: "regorus", rules_max: usize::MAX, load: rego::load },
    Kind { name: "cel", rules_max: usize::MAX, load: cel::load },
    Kind { name: "vrl", rules_max: usize::MAX, load: vrl::load },
];
