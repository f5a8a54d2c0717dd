//! Bytes that do not change from version to version. The manifest's digest and signature were computed with other
//! tools (OpenSSL's `pkeyutl -rawin`, a SHA-256 of the text), not with this crate.

use meshbridge_bundle::{Digest, KeyRing, LayerKind, Revisions, SignedManifest, open, pack, verify};

use crate::{FILES, draft, key, layer};

const MANIFEST: &str = concat!(
    r#"{"federation":"acme","layer":"region/eu","revision":15,"created":"2026-01-01T00:00:00Z","#,
    r#""expires":"2027-01-01T00:00:00Z","files":["#,
    r#"{"path":"10-baseline.yaml","size":13,"#,
    r#""sha256":"6aeae0c2ca02c71f6bf36bb3d155a3522e246bcacda215c991fa8228d3167fce"},"#,
    r#"{"path":"classification.yaml","size":21,"#,
    r#""sha256":"f5a15a9c928d3ce2c0670bcb4e74d70a991e5f740985948edd39f239116d1330"},"#,
    r#"{"path":"schemas/order-v2.json","size":18,"#,
    r#""sha256":"9091a8164f97eaca182b3d06d0e5a59e923c880ebc0148056c453c651f5b46cb"}]}"#,
);
const DIGEST: &str = "fb80b2358c9af4364c37c1cce72349c339be1977fde4a30e326bb81e2fdacef6";
const SIGNATURE: &str =
    "urvK0PRSWJ+qY3cGhhHmqB6JVyFpEUM53XvDf8oHdN3iMh2o7uENbNJEcwTH7xiZDgnO4XpdX8gjxsr3GLfDAA==\n";
/// Of the seed of 32 bytes 7.
const PUBLIC: &str = "6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=";
/// An archive of version 1 of the format, as it was first written.
const ARCHIVE: &[u8] = include_bytes!("../fixtures/region-eu-15.bundle");

fn packed() -> Vec<u8> {
    let mut draft = draft("region/eu", 15);
    draft.expires_unix = Some(1_798_761_600);
    pack(draft, &FILES, &key(7)).expect("these files make a bundle")
}

#[test]
fn manifest_digest_key_and_signature_are_those_of_other_tools() {
    assert_eq!(key(7).public().to_string(), PUBLIC);
    for archive in [&packed()[..], ARCHIVE] {
        let opened = open(archive).expect("opens");
        let signed = opened.signed_manifest();
        let (manifest, signature) = signed.to_files();
        assert_eq!(String::from_utf8(manifest).expect("JSON is UTF-8"), MANIFEST);
        assert_eq!(String::from_utf8(signature).expect("Base64 is ASCII"), SIGNATURE);
        assert_eq!(signed.digest().to_string(), DIGEST);
        let mut ring = KeyRing::new("acme", key(1).public());
        ring.bind("dpo-eu", layer("region/eu"), key(7).public()).expect("binds");
        assert_eq!(verify(&opened, &ring).expect("verifies").key(), "dpo-eu");
    }
}

#[test]
fn the_state_on_disk_is_read_as_it_was_first_written() {
    let signed = SignedManifest::from_files(MANIFEST.as_bytes(), SIGNATURE.as_bytes()).expect("well-formed");
    let mut ring = KeyRing::new("acme", key(1).public());
    ring.bind("dpo-eu", layer("region/eu"), key(7).public()).expect("binds");
    let verified = meshbridge_bundle::verify_manifest(&signed, &ring).expect("verifies");
    let mut revisions = Revisions::new();
    let activation = revisions.propose(&[verified]).expect("the first");
    revisions.commit(activation).expect("nothing came in between");

    let mark = [&[0, 0, 0, 0, 0, 0, 0, 15][..], &Digest::from_hex(DIGEST).expect("a digest").0].concat();
    let content = [b"MBREVS\x01\x00\x00\x01\x09region/eu\x01", &mark[..], &mark].concat();
    let written = [&content[..], &Digest::of(&[&content]).0].concat();
    assert_eq!(revisions.to_bytes(), written);
    assert_eq!(Revisions::from_bytes(&written), Ok(revisions.clone()));

    let order = [LayerKind::Federation, LayerKind::Region, LayerKind::Zone];
    let digest = Digest::of(&[&Digest::from_hex(DIGEST).expect("a digest").0]);
    assert_eq!(revisions.standing(&order).digest, digest);
}
