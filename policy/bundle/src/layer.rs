//! Whose rules a bundle holds.

use std::fmt;
use std::str::FromStr;

/// Longest value of a zone attribute, in bytes; as names in documents (POLICY §1).
const VALUE_BYTES_MAX: usize = 63;

/// What a layer is bound to. The order between kinds is the Federation's to say, not this type's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LayerKind {
    Federation,
    Region,
    Cloud,
    Jurisdiction,
    Zone,
}

impl LayerKind {
    /// As documents write it.
    pub const fn name(self) -> &'static str {
        match self {
            LayerKind::Federation => "federation",
            LayerKind::Region => "region",
            LayerKind::Cloud => "cloud",
            LayerKind::Jurisdiction => "jurisdiction",
            LayerKind::Zone => "zone",
        }
    }
}

/// A layer of policies: `federation`, or `<zone attribute>/<value>` such as `region/eu`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Layer {
    kind: LayerKind,
    /// Empty for the federation.
    value: Box<str>,
}

/// A text that names no layer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no layer; write `federation`, or region, cloud, jurisdiction or zone with a value, as in `region/eu`"
)]
pub struct LayerError {
    text: String,
}

impl Layer {
    pub fn federation() -> Layer {
        Layer { kind: LayerKind::Federation, value: "".into() }
    }

    pub fn kind(&self) -> LayerKind {
        self.kind
    }

    /// The value of the zone attribute; `None` for the federation.
    pub fn value(&self) -> Option<&str> {
        (!self.value.is_empty()).then_some(&*self.value)
    }

    pub fn is_federation(&self) -> bool {
        self.kind == LayerKind::Federation
    }
}

impl FromStr for Layer {
    type Err = LayerError;

    fn from_str(text: &str) -> Result<Layer, LayerError> {
        let wrong = || LayerError { text: text.chars().take(2 * VALUE_BYTES_MAX).collect() };
        if text == LayerKind::Federation.name() {
            return Ok(Layer::federation());
        }
        let (attribute, value) = text.split_once('/').ok_or_else(wrong)?;
        let kinds = [LayerKind::Region, LayerKind::Cloud, LayerKind::Jurisdiction, LayerKind::Zone];
        let kind = kinds.into_iter().find(|kind| kind.name() == attribute).ok_or_else(wrong)?;
        let is_plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if value.is_empty() || value.len() > VALUE_BYTES_MAX || !is_plain {
            return Err(wrong());
        }
        Ok(Layer { kind, value: value.into() })
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value() {
            None => f.write_str(self.kind.name()),
            Some(value) => write!(f, "{}/{value}", self.kind.name()),
        }
    }
}
