use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use regex::Regex;

use super::*;

fn codes_in(directory: &Path, code: &Regex, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).expect("the sources") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        // The pages themselves name every code.
        if name == "codes" || name == "codes.rs" {
            continue;
        }
        if path.is_dir() {
            codes_in(&path, code, found);
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path).expect("text");
            found.extend(code.captures_iter(&text).map(|one| one[1].to_owned()));
        }
    }
}

#[test]
fn every_code_has_a_page() {
    let code = Regex::new(r#""(P0[0-9]{3})""#).expect("a pattern");
    let mut emitted = BTreeSet::new();
    codes_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &code, &mut emitted);
    let written: BTreeSet<String> = pages().map(|page| page.code.to_owned()).collect();
    assert!(emitted.len() > 40, "the sources were not read: {emitted:?}");
    let missing: Vec<_> = emitted.difference(&written).collect();
    assert!(missing.is_empty(), "no page in policy/src/codes/ for {missing:?}");
}

#[test]
fn pages_are_in_order_and_whole() {
    let codes: Vec<&str> = pages().map(|page| page.code).collect();
    assert!(codes.windows(2).all(|pair| pair[0] < pair[1]), "{codes:?}");
    for page in pages() {
        for text in [page.meaning, page.cause, page.remedy] {
            assert!(text.ends_with('.'), "{}: a sentence ends: {text}", page.code);
        }
    }
}

#[test]
fn a_page_is_found_by_its_code_in_any_case() {
    assert_eq!(page("p0203").map(|page| page.code), Some("P0203"));
    assert_eq!(page("P9999"), None);
}
