//! What becomes of quarantined events, and who may release them: the section `quarantine`, and `releasers` of `admin`.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Result, bail};
use meshbridge_policy::{Federation, Key, Node as Yaml, Shape};

use crate::pipeline::QuarantineOptions;

/// 72 hours.
const TIMEOUT_SECS: u64 = 259_200;

pub(super) static SHAPE: Shape = Shape::Map(&[Key::optional(
    "timeoutSecs",
    &Shape::Integer { min: 1, max: 31_536_000 },
    "how long a person may take to release or refuse an event, from its acceptance; then it is a dead letter; 259200 by default",
)]);

pub(super) static RELEASERS: Shape = Shape::Dict(&Shape::List { of: &Shape::Text, non_empty: true });

/// The options; what the sections do not say is as by default: 72 hours, and nobody may release anything.
pub(super) fn lower(
    section: Option<&Yaml>,
    admin: &Yaml,
    federation: &Federation,
) -> Result<QuarantineOptions> {
    let timeout = section.and_then(|section| section.get("timeoutSecs")).and_then(Yaml::integer);
    let timeout = timeout.and_then(|secs| u64::try_from(secs).ok()).unwrap_or(TIMEOUT_SECS);
    let mut releasers = HashMap::new();
    for (principal, layers) in admin.get("releasers").map(Yaml::entries).unwrap_or_default() {
        let principal = principal.text().unwrap_or_default();
        let layers: Vec<String> = layers.items().iter().filter_map(Yaml::text).map(str::to_owned).collect();
        for layer in &layers {
            let of = layer.split_once('/').filter(|(_, value)| !value.is_empty());
            let is_known =
                of.is_some_and(|(attribute, _)| federation.layers().iter().any(|one| one == attribute));
            if layer != "federation" && !is_known {
                let known = federation.layers().iter().map(|attribute| format!(", {attribute}/<value>"));
                bail!(
                    "`admin.releasers`: `{layer}` of `{principal}` is no layer; there are federation{}",
                    known.collect::<String>()
                );
            }
        }
        releasers.insert(principal.to_owned(), layers);
    }
    Ok(QuarantineOptions { timeout: Duration::from_secs(timeout), releasers })
}
