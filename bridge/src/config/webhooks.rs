//! What an operator decides about webhooks: the section `webhooks`.

use std::path::{Path, PathBuf};

use meshbridge_policy::{Key, Node as Yaml, Shape};

pub(super) static SHAPE: Shape = Shape::Map(&[
    Key::optional("origin", &Shape::Text, "the DNS name under which receivers are asked for their consent"),
    Key::optional(
        "allow",
        &Shape::List { of: &Shape::Text, non_empty: false },
        "ranges such as 10.1.0.0/16 that may be reached although they are private",
    ),
    Key::optional(
        "httpHosts",
        &Shape::List { of: &Shape::Text, non_empty: false },
        "hosts that may be reached without TLS",
    ),
    Key::optional("signingKeys", &Shape::Text, "file with keys that sign what is sent, one a line"),
]);

/// What the section says.
#[derive(Clone, Debug, Default)]
pub(crate) struct WebhookConfig {
    pub(crate) origin: Option<String>,
    pub(crate) allow: Vec<String>,
    pub(crate) http_hosts: Vec<String>,
    pub(crate) signing_keys: Option<PathBuf>,
}

pub(super) fn lower(section: Option<&Yaml>, base: &Path) -> WebhookConfig {
    let Some(section) = section else { return WebhookConfig::default() };
    let text = |key: &str| section.get(key).and_then(Yaml::text);
    let list = |key: &str| {
        let items = section.get(key).map(Yaml::items).unwrap_or_default();
        items.iter().filter_map(Yaml::text).map(str::to_owned).collect()
    };
    WebhookConfig {
        origin: text("origin").map(str::to_owned),
        allow: list("allow"),
        http_hosts: list("httpHosts"),
        signing_keys: text("signingKeys").map(|file| base.join(file)),
    }
}
