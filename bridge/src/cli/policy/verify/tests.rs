use meshbridge_bundle::{Draft, SigningKey, pack};

use super::*;

/// What `sign` would never pack, and a signer of another layer might.
fn bundle(layer: &str, document: &str) -> Opened {
    let draft = Draft {
        federation: "acme".to_owned(),
        layer: layer.parse().expect("a layer"),
        revision: 1,
        created_unix: 0,
        expires_unix: None,
    };
    let key = SigningKey::from_seed(&[7; 32]);
    let packed = pack(draft, &[("a.yaml", document.as_bytes()), ("b.json", b"{}")], &key).expect("a bundle");
    open(&packed).expect("what was packed")
}

#[test]
fn a_bundle_holds_documents_of_its_own_layer_only() {
    let document = |layer: &str| format!("kind: Policy\nmetadata: {{name: a, layer: {layer}}}\n");
    for (layer, text, is_good) in [
        ("region/eu", document("region/eu"), true),
        ("region/eu", document("federation"), false),
        ("federation", document("zone/eu-1"), false),
        ("region/eu", format!("{}---\n{}", document("region/eu"), document("zone/eu-1")), false),
        ("region/eu", "kind: Federation\nmetadata: {name: acme}\n".to_owned(), false),
        ("federation", "kind: Federation\nmetadata: {name: acme}\n".to_owned(), true),
    ] {
        let checked = documents_are_of_the_layer(&bundle(layer, &text));
        assert_eq!(checked.is_ok(), is_good, "{layer}: {text} {checked:?}");
    }
}
