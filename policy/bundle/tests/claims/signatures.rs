//! A bundle counts only if a key that is bound to its layer signed exactly it.

use meshbridge_bundle::{
    KEYS_PER_LAYER_MAX, KeyRing, KeyRingError, Layer, SignedManifest, VerifyError, open, verify,
    verify_manifest,
};

use crate::{bundle, key, layer};

fn ring() -> KeyRing {
    let mut ring = KeyRing::new("acme", key(1).public());
    ring.bind("dpo-eu", layer("region/eu"), key(2).public()).expect("binds");
    ring.bind("ops-cn", layer("zone/cn-1"), key(3).public()).expect("binds");
    ring
}

#[test]
fn each_layer_has_its_own_signer() {
    let names = ["federation", "region/eu", "zone/cn-1", "region/us"];
    for (at, name) in names.into_iter().enumerate() {
        for signer in 1..=4 {
            let opened = open(&bundle(name, 5, &key(signer))).expect("opens");
            let outcome = verify(&opened, &ring());
            let is_bound = at < 3 && usize::from(signer) == at + 1;
            assert_eq!(outcome.is_ok(), is_bound, "{name} signed with key {signer}: {outcome:?}");
        }
    }
}

#[test]
fn a_zones_key_under_federation_policy_is_named() {
    let opened = open(&bundle("federation", 5, &key(3))).expect("opens");
    let expected = VerifyError::OtherLayer {
        layer: Layer::federation(),
        key: "ops-cn".to_owned(),
        bound: layer("zone/cn-1"),
    };
    assert_eq!(verify(&opened, &ring()), Err(expected));
}

#[test]
fn what_is_verified_is_what_was_signed() {
    let opened = open(&bundle("region/eu", 5, &key(2))).expect("opens");
    let verified = verify(&opened, &ring()).expect("verifies");
    assert_eq!((verified.layer(), verified.revision(), verified.key()), (&layer("region/eu"), 5, "dpo-eu"));
    assert_eq!(verified.digest(), opened.signed_manifest().digest());
    let (manifest, signature) = opened.signed_manifest().to_files();
    let shown = SignedManifest::from_files(&manifest, &signature).expect("a peer shows these two");
    assert_eq!(verify_manifest(&shown, &ring()), Ok(verified));
}

#[test]
fn a_signature_does_not_fit_another_manifest() {
    let files = |revision| {
        open(&bundle("federation", revision, &key(1))).expect("opens").signed_manifest().to_files()
    };
    let ((old, old_signature), (new, new_signature)) = (files(5), files(6));
    for (manifest, signature, expected) in
        [(&old, &old_signature, true), (&new, &old_signature, false), (&old, &new_signature, false)]
    {
        let signed = SignedManifest::from_files(manifest, signature).expect("well-formed");
        assert_eq!(verify_manifest(&signed, &ring()).is_ok(), expected);
    }
}

#[test]
fn a_bundle_of_another_federation_is_refused() {
    let opened = open(&bundle("federation", 5, &key(1))).expect("opens");
    let other = KeyRing::new("globex", key(1).public());
    assert!(matches!(verify(&opened, &other), Err(VerifyError::OtherFederation { .. })));
}

#[test]
fn the_federation_document_cannot_bind_its_own_signer_or_share_a_key() {
    let mut ring = ring();
    let refused = ring.bind("mine", Layer::federation(), key(9).public());
    assert_eq!(refused, Err(KeyRingError::Federation("mine".to_owned())));
    let shared = ring.bind("again", layer("zone/eu-1"), key(2).public());
    assert!(matches!(shared, Err(KeyRingError::Shared(..))), "{shared:?}");
    assert!(matches!(ring.bind("again", layer("zone/eu-1"), key(1).public()), Err(KeyRingError::Shared(..))));
}

#[test]
fn a_layer_may_have_a_few_keys_and_no_more() {
    let mut ring = KeyRing::new("acme", key(1).public());
    let max = u8::try_from(KEYS_PER_LAYER_MAX).expect("small");
    for number in 0..max {
        ring.bind(&format!("k{number}"), layer("zone/a"), key(100 + number).public()).expect("binds");
    }
    let more = ring.bind("more", layer("zone/a"), key(99).public());
    assert_eq!(more, Err(KeyRingError::TooManyKeys(layer("zone/a"))));
    let opened = open(&bundle("zone/a", 1, &key(100 + max - 1))).expect("opens");
    assert_eq!(verify(&opened, &ring).expect("the last key counts too").key(), format!("k{}", max - 1));
}

#[test]
fn expiry_is_an_alarm_and_not_an_end() {
    let mut draft = crate::draft("federation", 5);
    draft.expires_unix = Some(draft.created_unix + 60);
    let created = draft.created_unix;
    let archive = meshbridge_bundle::pack(draft, &crate::FILES, &key(1)).expect("packs");
    let verified = verify(&open(&archive).expect("opens"), &ring()).expect("verifies, whatever the time");
    assert!(!verified.is_expired(created + 59) && verified.is_expired(created + 60));
}
