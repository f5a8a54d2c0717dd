//! How much may be wanted: the section `interest`. Bridges of one federation should agree: a set of filters that is beyond
//! what a bridge takes is not taken by it, nor passed on.

use meshbridge_policy::{Key, Node as Yaml, Shape};
use meshbridge_routing::Limits;

/// `./integration/bench interest` measures what a filter costs: some 300 bytes where a client of NATS holds it, some 190 to
/// 260 at a neighbour (a million of them, 2026-11).
pub(super) static SHAPE: Shape = Shape::Map(&[
    Key::optional(
        "filtersPerBridge",
        &Shape::Integer { min: 1, max: 10_000_000 },
        "distinct filters that one bridge may want, this one or another; beyond them a subscription is refused; 100000 by default",
    ),
    Key::optional(
        "filters",
        &Shape::Integer { min: 1, max: 40_000_000 },
        "and all bridges together; 2000000 by default",
    ),
]);

/// The limits; what the section does not say is as by default.
pub(super) fn lower(section: Option<&Yaml>) -> Limits {
    let limits = Limits::default();
    let given = |key: &str, default: usize| {
        let value = section.and_then(|section| section.get(key)).and_then(Yaml::integer);
        value.and_then(|value| usize::try_from(value).ok()).unwrap_or(default)
    };
    Limits {
        filters_per_owner_max: given("filtersPerBridge", limits.filters_per_owner_max),
        filters_total_max: given("filters", limits.filters_total_max),
        ..limits
    }
}
