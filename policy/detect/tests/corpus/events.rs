//! Events around values: one lane a way of hiding or showing them.

use base64::Engine as _;
use rand::RngExt as _;

use super::Random;
use super::clean;
use super::values::{self, Value, pick};

/// What stands where, in bytes of the line.
#[derive(Debug)]
pub struct Label {
    pub class: &'static str,
    pub start: usize,
    pub end: usize,
}

#[derive(Debug)]
pub struct Event {
    pub line: String,
    pub labels: Vec<Label>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    Keyed,
    Neutral,
    Prose,
    Number,
    Nested,
    Encoded,
    Escaped,
    Unicode,
    Wide,
    InKey,
}

pub const LANES: [Lane; 10] = [
    Lane::Keyed,
    Lane::Neutral,
    Lane::Prose,
    Lane::Number,
    Lane::Nested,
    Lane::Encoded,
    Lane::Escaped,
    Lane::Unicode,
    Lane::Wide,
    Lane::InKey,
];

const NEUTRAL: &[&str] =
    &["value", "field1", "data", "x", "ref", "content", "attr", "col_b", "payload", "v2", "note"];

pub fn labelled(rng: &mut Random, lane: Lane) -> Event {
    let mut made = values::make(rng, 0);
    // Draw again until the value is one that the lane can show.
    for _ in 0..200 {
        let number = rng.random_range(0..values::COUNT);
        made = values::make(rng, number);
        let is_ascii = made.text.is_ascii();
        let digits_only = made.text.bytes().all(|byte| byte.is_ascii_digit());
        let fits = match lane {
            Lane::Keyed | Lane::Escaped => true,
            Lane::Number => digits_only && !made.text.starts_with('0'),
            Lane::Prose => !made.word.is_empty(),
            Lane::Nested => is_ascii,
            Lane::Encoded => is_ascii && !made.needs_key,
            Lane::Neutral | Lane::InKey => !made.needs_key,
            Lane::Unicode | Lane::Wide => is_ascii && !made.needs_key,
        };
        if fits {
            break;
        }
    }
    let Value { class, text, keys, word, needs_key } = made;
    let key = pick(rng, keys);
    let quoted = |text: &str| serde_json::to_string(text).expect("text");
    let neutral = pick(rng, NEUTRAL);
    // What the line shows, and the part of it that is the value.
    let (member, shown) = match lane {
        Lane::Keyed => (format!("{}:{}", quoted(key), quoted(&text)), text.clone()),
        Lane::Neutral => (format!("{}:{}", quoted(neutral), quoted(&text)), text.clone()),
        Lane::Prose => {
            let sentence = match rng.random_range(0..4) {
                0 => format!("Customer gave {word} {text} on the phone."),
                1 => format!("{word}: {text}"),
                2 => format!("please check {word} {text}, thanks"),
                _ => format!("ticket 4711; {word} = {text}; closed"),
            };
            (format!("{}:{}", quoted("note"), quoted(&sentence)), text.clone())
        }
        Lane::Number => {
            let key = if needs_key || text.len() < 14 { key } else { neutral };
            (format!("{}:{text}", quoted(key)), text.clone())
        }
        Lane::Nested => {
            let key = if needs_key || rng.random_range(0..2) == 0 { key } else { neutral };
            let inner = format!("{{{}:{},\"n\":1}}", quoted(key), quoted(&text));
            let inner =
                if rng.random_range(0..3) == 0 { format!("{{\"body\":{}}}", quoted(&inner)) } else { inner };
            let shown = quoted(&text);
            (format!("\"message\":{}", quoted(&inner)), shown[1..shown.len() - 1].to_owned())
        }
        Lane::Encoded => {
            if rng.random_range(0..2) == 0 {
                let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{word} {text}"));
                (format!("\"blob\":\"{encoded}\""), encoded)
            } else {
                let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
                (format!("\"query\":\"q={encoded}&lang=en\""), encoded)
            }
        }
        Lane::Escaped => {
            let escaped: String = text
                .encode_utf16()
                .map(|unit| {
                    if rng.random_range(0..2) == 0 || unit > 127 || unit == 34 || unit == 92 {
                        format!("\\u{unit:04x}")
                    } else {
                        char::from(unit as u8).to_string()
                    }
                })
                .collect();
            (format!("{}:\"{escaped}\"", quoted(key)), escaped)
        }
        Lane::Unicode => {
            let sentence = match rng.random_range(0..3) {
                0 => format!("编号{text}号"),
                1 => format!("お客様の情報は{text}です。"),
                _ => format!("확인:{text}입니다"),
            };
            (format!("\"备注\":{}", quoted(&sentence)), text.clone())
        }
        Lane::Wide => {
            let wide: String = text
                .chars()
                .map(|c| match c {
                    '0'..='9' => char::from_u32(u32::from(c) + 0xfee0).expect("full-width"),
                    c => c,
                })
                .collect();
            (format!("{}:{}", quoted(neutral), quoted(&wide)), wide)
        }
        Lane::InKey => (format!("{}:{{\"count\":3}}", quoted(&text)), text.clone()),
    };
    let line = clean::around(rng, &member);
    let encoded = quoted(&shown);
    let needles = [shown.as_str(), &encoded[1..encoded.len() - 1]];
    let mut labels = Vec::new();
    // A value quoted twice over has more backslashes; its first and last characters mark it well enough.
    let found =
        needles.iter().find_map(|needle| line.find(*needle).map(|start| (start, start + needle.len())));
    if let Some((start, end)) = found {
        labels.push(Label { class, start, end });
    }
    Event { line, labels }
}
