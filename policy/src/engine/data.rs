//! The data of an event, as conditions and checks read them.

use meshbridge_detect::tape::{Tape, TapeBuffer};
use meshbridge_event::Event;

use crate::program::Plan;
use crate::protect::{Content, content};

/// What is known of the data. What a publisher calls them decides nothing alone: a condition that saw no data where there
/// are some would be passed by whoever names another content type, or writes JSON that only lenient readers take.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Data<'a> {
    /// There are none, or nobody asks for them.
    None,
    Json(Tape<'a>),
    /// They are something else than JSON, or JSON that cannot be read here.
    Unreadable,
}

impl<'a> Data<'a> {
    pub(crate) fn read(event: &'a Event, buffer: &'a mut TapeBuffer) -> Data<'a> {
        match content(event) {
            Content::None => Data::None,
            Content::Json(text) => buffer.parse(text).map_or(Data::Unreadable, Data::Json),
            Content::Text(_) | Content::Opaque => Data::Unreadable,
        }
    }

    /// Where some rule of the plan looks at them.
    pub(super) fn for_plan(plan: &Plan, event: &'a Event, buffer: &'a mut TapeBuffer) -> Data<'a> {
        if plan.reads_data { Data::read(event, buffer) } else { Data::None }
    }
}

/// The text of data that say they are JSON, or came as a JSON value.
pub(crate) fn json_of(event: &Event) -> Option<&str> {
    match content(event) {
        Content::Json(text) => Some(text),
        Content::None | Content::Text(_) | Content::Opaque => None,
    }
}
