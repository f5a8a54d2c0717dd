//! What bundles promise, one module per promise.

mod archives;
mod exchange;
mod keys;
mod revisions;
mod signatures;
mod vectors;

use meshbridge_bundle::{Draft, Layer, SigningKey, pack};

/// Keys of tests are known to everybody; each number gives another one.
fn key(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32])
}

fn layer(text: &str) -> Layer {
    text.parse().expect("a layer")
}

fn draft(layer_text: &str, revision: u64) -> Draft {
    Draft {
        federation: "acme".to_owned(),
        layer: layer(layer_text),
        revision,
        created_unix: 1_767_225_600,
        expires_unix: None,
    }
}

const FILES: [(&str, &[u8]); 3] = [
    ("10-baseline.yaml", b"kind: Policy\n"),
    ("schemas/order-v2.json", b"{\"type\":\"object\"}\n"),
    ("classification.yaml", b"kind: Classification\n"),
];

fn bundle(layer_text: &str, revision: u64, signer: &SigningKey) -> Vec<u8> {
    pack(draft(layer_text, revision), &FILES, signer).expect("these files make a bundle")
}
