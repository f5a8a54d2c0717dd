//! Looking through one event, for all classes.

use meshbridge_detect::tape::TapeBuffer;
use meshbridge_detect::{ClassSet, Confidence, Finding, Scanner};

pub fn look(event: &str) -> Vec<Finding> {
    let mut buffer = TapeBuffer::new();
    let tape = buffer.parse(event).expect("JSON");
    let mut found = Vec::new();
    Scanner::new()
        .scan_json(&tape, &ClassSet::ALL, Confidence::Medium, &mut found)
        .expect("no layers to speak of");
    found
}
