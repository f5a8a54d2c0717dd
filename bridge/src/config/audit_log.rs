//! How the log of decisions is kept: the section `auditLog`.

use meshbridge_policy::{Key, Node as Yaml, Shape};

use crate::audit::Options;

pub(super) static SHAPE: Shape = Shape::Map(&[
    Key::optional("segmentMiB", &Shape::Integer { min: 1, max: 1_024 }, "size of one file; 16 by default"),
    Key::optional(
        "segments",
        &Shape::Integer { min: 2, max: 1 << 20 },
        "files that are kept, the oldest go first; 64 by default",
    ),
    Key::optional(
        "permitsPerSample",
        &Shape::Integer { min: 0, max: 1_000_000_000 },
        "one plain permit in so many is kept, 0 for none, 1 for all; 1000 by default. All else is always kept",
    ),
    Key::optional(
        "required",
        &Shape::Bool,
        "whether nothing is published while the log cannot take what must be kept; false by default: then it is lost, counted and an alarm",
    ),
]);

/// The options; what the section does not say is as by default.
pub(super) fn lower(section: Option<&Yaml>) -> Options {
    let default = Options::default();
    let number = |key: &str| section.and_then(|section| section.get(key)).and_then(Yaml::integer);
    let size = |key: &str| number(key).and_then(|value| u64::try_from(value).ok());
    Options {
        segment_bytes: size("segmentMiB").map_or(default.segment_bytes, |mib| mib << 20),
        segments_max: size("segments").unwrap_or(default.segments_max),
        permits_per_sample: number("permitsPerSample")
            .and_then(|value| u32::try_from(value).ok())
            .unwrap_or(default.permits_per_sample),
        is_required: section
            .and_then(|section| section.get("required"))
            .and_then(Yaml::text)
            .map_or(default.is_required, |text| text == "true"),
        ..default
    }
}
