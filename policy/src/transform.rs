//! Applies protections to an event, in one pass over its data.

use bytes::Bytes;
use meshbridge_event::{AttributeValue, DataKind, Event};

use crate::json;
use crate::model::Protect;
use crate::protect::{Demands, GOVPROTECTED, attributes, splice, write_entries};

/// Attributes that vouch for the data; after an edit they would lie.
const BINDING: [&str; 4] = ["dssematerial", "datahash", "digest", "signature"];

/// Why protection cannot be claimed; the rule's `onError` decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CannotProtect {
    /// Neither JSON nor text, or not what it says.
    Unreadable,
    /// A path rule on data that has no paths.
    NoPaths,
    /// The edited event would be larger than an event may be.
    TooLarge,
}

/// The event after `items`, or `None` where it already fulfils them all.
pub(crate) fn transform(event: &Event, items: Vec<&Protect>) -> Result<Option<Event>, CannotProtect> {
    let mut demands = Demands::new(items, event);
    let mut data = None;
    if demands.concern_data() {
        match event.data_kind() {
            DataKind::None => {}
            DataKind::Json => {
                let text = event.data_text().ok_or(CannotProtect::Unreadable)?;
                data = json::edit(text, &mut demands).map_err(|_| CannotProtect::Unreadable)?;
            }
            DataKind::Text => {
                if demands.concern_data_fields() {
                    return Err(CannotProtect::NoPaths);
                }
                let text = event.data_text().ok_or(CannotProtect::Unreadable)?;
                data = splice(text, demands.parts("/data", text, None));
            }
            DataKind::Binary => return Err(CannotProtect::Unreadable),
        }
    }
    let edited_attributes = attributes(&mut demands, event);
    if data.is_none() && edited_attributes.is_empty() {
        return Ok(None);
    }
    let mut builder = event.to_builder();
    for (name, text) in edited_attributes {
        builder = match text {
            Some(text) => builder.set_attribute(&name, AttributeValue::String(&text)),
            None => builder.remove_attribute(&name),
        };
    }
    if let Some(data) = data {
        builder = builder.data(event.data_kind(), Bytes::from(data));
        for name in BINDING {
            builder = builder.remove_attribute(name);
        }
    }
    let mut entries = demands.known;
    for entry in demands.done {
        entries.retain(|known| known.pointer != entry.pointer || known.class != entry.class);
        entries.push(entry);
    }
    let mut listed = write_entries(&entries);
    // The list is bounded by what an attribute may hold; the newest entries are the ones that go.
    while listed.len() > 4_000 {
        listed.truncate(listed.rfind(',').unwrap_or(0));
    }
    builder = builder.set_attribute(GOVPROTECTED, AttributeValue::String(&listed));
    builder.build().map(Some).map_err(|_| CannotProtect::TooLarge)
}
