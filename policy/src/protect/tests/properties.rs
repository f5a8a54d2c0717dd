//! Promises over random data: odd white space, escapes, spellings of numbers, duplicated names.

use proptest::prelude::*;

use super::*;

/// JSON as it is written. Members named `s`, in any spelling, hold secrets.
#[derive(Clone, Debug)]
enum Tree {
    Leaf(&'static str),
    Array(Vec<Tree>),
    Object(Vec<(&'static str, Tree)>),
}

const SPACES: [&str; 4] = ["", " ", "\n\t", "  \r\n"];
const SECRETS: [&str; 6] = [
    r#""zq-marker-1""#,
    r#""\u007aq-marker-2 \"x\" é""#,
    r#""zq-marker-3\/\n""#,
    "7791.25e+1",
    "-779125",
    "false",
];

fn is_secret(name: &str) -> bool {
    matches!(name, r#""s""# | r#""\u0073""#)
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop::sample::select(vec![
        "1",
        "-0.0",
        "1E+2",
        "12345678901234567890123",
        "true",
        "null",
        r#""""#,
        r#""plain""#,
        r#""\u0070\/\"""#,
        r#""号 é""#,
        "{}",
        "[ ]",
        "{\n}",
    ]);
    let name =
        prop::sample::select(vec![r#""a""#, r#""b c""#, r#""\u0061""#, r#""s""#, r#""\u0073""#, r#""""#]);
    leaf.prop_map(Tree::Leaf).prop_recursive(5, 40, 5, move |inner| {
        let secret = prop::sample::select(SECRETS.to_vec()).prop_map(Tree::Leaf);
        let member = (name.clone(), inner.clone(), secret).prop_map(|(name, tree, secret)| {
            let is_plain = matches!(tree, Tree::Leaf(_));
            (name, if is_secret(name) && is_plain { secret } else { tree })
        });
        prop_oneof![
            prop::collection::vec(inner, 0..5).prop_map(Tree::Array),
            prop::collection::vec(member, 0..5).prop_map(Tree::Object),
        ]
    })
}

/// Writes a tree; `spaces` gives the white space in turn, `secret` what is written for a secret, `None` for nothing.
struct Writer<'w> {
    out: String,
    spaces: Vec<usize>,
    at: usize,
    secret: &'w dyn Fn(&Tree, &str) -> Option<String>,
}

impl Writer<'_> {
    fn space(&mut self) {
        let choice = self.spaces.get(self.at % self.spaces.len().max(1)).copied().unwrap_or(0);
        self.out.push_str(SPACES[choice % SPACES.len()]);
        self.at += 1;
    }

    fn write(&mut self, tree: &Tree) {
        match tree {
            Tree::Leaf(text) => self.out.push_str(text),
            Tree::Array(elements) => {
                self.out.push('[');
                self.space();
                for (number, element) in elements.iter().enumerate() {
                    self.comma(number > 0);
                    self.write(element);
                    self.space();
                }
                self.out.push(']');
            }
            Tree::Object(members) => {
                self.out.push('{');
                self.space();
                let mut any = false;
                for (name, value) in members {
                    if !is_secret(name) {
                        self.comma(any);
                        self.out.push_str(name);
                        self.space();
                        self.out.push(':');
                        self.space();
                        self.write(value);
                    } else {
                        // Written aside first, so that white space is used up the same way.
                        let kept = std::mem::take(&mut self.out);
                        self.comma(any);
                        self.out.push_str(name);
                        self.space();
                        self.out.push(':');
                        self.space();
                        let head = std::mem::take(&mut self.out);
                        self.write(value);
                        let raw = std::mem::take(&mut self.out);
                        self.out = kept;
                        let Some(text) = (self.secret)(value, &raw) else { continue };
                        self.out.push_str(&head);
                        self.out.push_str(&text);
                    }
                    any = true;
                    self.space();
                }
                self.out.push('}');
            }
        }
    }

    fn comma(&mut self, needed: bool) {
        if needed {
            self.out.push(',');
            self.space();
        }
    }
}

fn write(tree: &Tree, spaces: &[usize], secret: &dyn Fn(&Tree, &str) -> Option<String>) -> String {
    let mut writer = Writer { out: String::new(), spaces: spaces.to_vec(), at: 0, secret };
    writer.space();
    writer.write(tree);
    writer.space();
    writer.out
}

fn redacted(tree: &Tree, raw: &str) -> String {
    match tree {
        Tree::Leaf(text) if text.starts_with('"') => "\"[redacted]\"".to_owned(),
        // Nothing is in them.
        Tree::Leaf(text) if text.starts_with(['{', '[']) => raw.to_owned(),
        Tree::Leaf(_) => "null".to_owned(),
        Tree::Array(elements) if elements.is_empty() => raw.to_owned(),
        Tree::Object(members) if members.is_empty() => raw.to_owned(),
        Tree::Array(_) => "[]".to_owned(),
        Tree::Object(_) => "{}".to_owned(),
    }
}

fn texts(value: &serde_json::Value, out: &mut Vec<String>) {
    match value {
        serde_json::Value::String(text) => out.push(text.clone()),
        serde_json::Value::Array(elements) => elements.iter().for_each(|element| texts(element, out)),
        serde_json::Value::Object(members) => members.iter().for_each(|(name, value)| {
            out.push(name.clone());
            texts(value, out);
        }),
        other => out.push(other.to_string()),
    }
}

/// Without the white space between its parts.
fn compact(text: &str) -> String {
    let mut buffer = meshbridge_detect::tape::TapeBuffer::new();
    let tape = buffer.parse(text).expect("JSON");
    let mut inside = vec![false; text.len()];
    for node in tape.nodes() {
        use meshbridge_detect::tape::Kind;
        if !matches!(node.kind, Kind::Object | Kind::Array) {
            inside[node.start as usize..node.end as usize].fill(true);
        }
    }
    let kept = text.bytes().zip(inside).filter(|(byte, inside)| *inside || !byte.is_ascii_whitespace());
    String::from_utf8(kept.map(|(byte, _)| byte).collect()).expect("whole characters")
}

fn any_protection() -> impl Strategy<Value = Protection> {
    prop::sample::select(vec![
        Protection::Drop,
        Protection::Redact,
        Protection::Hash,
        LAST_FOUR,
        Protection::Mask { first: 2, last: 0 },
        TOKEN,
        SEALED,
        ladder("year"),
        ladder("1000"),
        ladder("10"),
        ladder("country"),
    ])
}

fn any_demand() -> impl Strategy<Value = Demand> {
    let fields = [
        "$.data",
        "$.data.a",
        "$.data..s",
        "$.data.*",
        "$.data[*]",
        "$.data[1]",
        "$.data.a[0].s",
        "$.data..a",
    ];
    let classes = ["*", "contact", "payment.card"];
    prop_oneof![
        3 => (prop::sample::select(fields.to_vec()), any_protection()).prop_map(|(path, how)| by_field(path, how)),
        2 => (prop::sample::select(classes.to_vec()), any_protection()).prop_map(|(class, how)| by_class(class, how)),
    ]
}

proptest! {
    #[test]
    fn redacting_changes_the_secrets_and_not_a_byte_beside_them(tree in tree(), spaces in prop::collection::vec(0..4_usize, 1..9)) {
        let data = write(&tree, &spaces, &|_, raw| Some(raw.to_owned()));
        let expected = write(&tree, &spaces, &|tree, raw| Some(redacted(tree, raw)));
        let given = World::new().json(&data, &[by_field("$.data..s", Protection::Redact)]);
        prop_assert_eq!(given, expected);
    }

    #[test]
    fn dropping_takes_the_secrets_and_leaves_the_rest_as_it_was_spelled(tree in tree(), spaces in prop::collection::vec(0..4_usize, 1..9)) {
        let data = write(&tree, &spaces, &|_, raw| Some(raw.to_owned()));
        let expected = write(&tree, &[0], &|_, _| None);
        let given = World::new().json(&data, &[by_field("$.data..s", Protection::Drop)]);
        prop_assert_eq!(compact(&given), compact(&expected));
    }

    #[test]
    fn no_secret_is_left_in_any_form(tree in tree(), spaces in prop::collection::vec(0..4_usize, 1..9), how in any_protection()) {
        let how = match how {
            Protection::Mask { .. } => Protection::Mask { first: 0, last: 0 },
            Protection::Generalise { .. } => Protection::Redact,
            other => other,
        };
        let data = write(&tree, &spaces, &|_, raw| Some(raw.to_owned()));
        let given = World::new().json(&data, &[by_field("$.data..s", how)]);
        let mut found = Vec::new();
        texts(&serde_json::from_str(&given).expect("JSON"), &mut found);
        for text in found {
            prop_assert!(!text.contains("marker") && !text.contains("7791"), "{} in {}", text, given);
        }
    }

    /// `World::once` asserts that a second pass changes nothing.
    #[test]
    fn protecting_twice_is_protecting_once(
        tree in tree(),
        spaces in prop::collection::vec(0..4_usize, 1..9),
        demands in prop::collection::vec(any_demand(), 1..5),
        personal in prop::sample::select(vec!["\"x\"", "\"ana@example.com\"", "\"to ana@example.com, 4111 1111 1111 1111!\"", "4111111111111111", "\"+49 30 901820\""]),
    ) {
        let data = write(&Tree::Object(vec![("\"a\"", tree), ("\"p\"", Tree::Leaf(personal)), ("\"a\"", Tree::Array(vec![Tree::Leaf(personal), Tree::Leaf("1")]))]), &spaces, &|_, raw| Some(raw.to_owned()));
        World::new().json(&data, &demands);
    }

    /// What two borders make of an event discloses no more than what either makes of it: no mark of a secret that one
    /// of them hides is there after both, whichever comes first.
    #[test]
    fn a_second_border_shows_nothing_that_it_hides(
        tree in tree(),
        first in prop::collection::vec(any_demand(), 1..4),
        how in prop::sample::select(vec![Protection::Drop, Protection::Redact, TOKEN, SEALED]),
    ) {
        let world = World::new();
        let data = write(&tree, &[1], &|_, raw| Some(raw.to_owned()));
        let hide = [by_field("$.data..s", how)];
        let once = world.once(&json(&data), &first);
        let given = world.once(&once, &hide);
        let text = given.data_text().unwrap_or("null");
        let mut found = Vec::new();
        texts(&serde_json::from_str(text).expect("JSON"), &mut found);
        for text in found {
            prop_assert!(!text.contains("marker") || !text.contains("zq"), "{} in {}", text, show(&given));
        }
    }

    /// Every demand at one border or in two rules of one: the order does not count.
    #[test]
    fn the_order_of_demands_does_not_count(tree in tree(), mut demands in prop::collection::vec(any_demand(), 2..5)) {
        let data = write(&tree, &[1], &|_, raw| Some(raw.to_owned()));
        let world = World::new();
        let forward = world.protect(&json(&data), &demands);
        demands.reverse();
        let backward = world.protect(&json(&data), &demands);
        prop_assert_eq!(forward.ok(), backward.ok());
    }
}
