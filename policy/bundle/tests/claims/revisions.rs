//! Revisions only ever go up, two bundles of one number are an alarm, and a lost disk does not forget that.

use std::collections::BTreeMap;
use std::sync::Mutex;

use meshbridge_bundle::{
    Digest, Drift, KeyRing, LayerKind, Observation, RevisionError, Revisions, STATE_BYTES_MAX, Standing,
    StateError, Verified, check_min_revision, open, pack, verify,
};
use proptest::prelude::*;

use crate::{draft, key, layer};

/// A verified bundle; `edition` tells bundles of one number apart. Each is made once, for packing costs milliseconds.
fn signed(layer_text: &'static str, revision: u64, edition: u8) -> Verified {
    static MADE: Mutex<BTreeMap<(&str, u64, u8), Verified>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().expect("no test panics while it packs");
    made.entry((layer_text, revision, edition)).or_insert_with(|| sign(layer_text, revision, edition)).clone()
}

fn sign(layer_text: &str, revision: u64, edition: u8) -> Verified {
    let signer = key(if layer_text == "federation" { 1 } else { 2 });
    let archive = pack(draft(layer_text, revision), &[("a.yaml", &[edition])], &signer).expect("packs");
    let mut ring = KeyRing::new("acme", key(1).public());
    if layer_text != "federation" {
        ring.bind("it", layer(layer_text), key(2).public()).expect("binds");
    }
    verify(&open(&archive).expect("opens"), &ring).expect("verifies")
}

fn activate(revisions: &mut Revisions, bundle: &Verified) -> Result<(), RevisionError> {
    let activation = revisions.propose(std::slice::from_ref(bundle))?;
    revisions.commit(activation)
}

#[test]
fn only_a_higher_revision_follows() {
    let mut revisions = Revisions::new();
    activate(&mut revisions, &signed("federation", 5, 0)).expect("the first");
    activate(&mut revisions, &signed("federation", 9, 0)).expect("a higher one, with a gap");
    let back = activate(&mut revisions, &signed("federation", 8, 0));
    assert_eq!(back, Err(RevisionError::Rollback { layer: layer("federation"), offered: 8, active: 9 }));
    let other = activate(&mut revisions, &signed("federation", 9, 1));
    assert!(matches!(other, Err(RevisionError::Equivocation { revision: 9, .. })), "{other:?}");
    assert!(other.expect_err("refused").to_string().starts_with("ALARM"));
    let same = revisions.propose(&[signed("federation", 9, 0)]).expect("the same once more");
    assert!(same.is_unchanged());
    activate(&mut revisions, &signed("zone/a", 1, 0)).expect("layers count for themselves");
}

#[test]
fn several_layers_come_into_force_together_or_not_at_all() {
    let mut revisions = Revisions::new();
    activate(&mut revisions, &signed("zone/a", 4, 0)).expect("the first");
    let before = revisions.clone();
    let mixed = revisions.propose(&[signed("federation", 2, 0), signed("zone/a", 3, 0)]);
    assert!(matches!(mixed, Err(RevisionError::Rollback { .. })));
    let twice = revisions.propose(&[signed("federation", 2, 0), signed("federation", 3, 0)]);
    assert!(matches!(twice, Err(RevisionError::Twice(_))));
    let both =
        revisions.propose(&[signed("federation", 2, 0), signed("zone/a", 5, 0)]).expect("both are newer");
    assert_eq!(revisions, before, "a proposal changes nothing");
    let durable = both.state();
    revisions.commit(both).expect("nothing came in between");
    assert_eq!(Revisions::from_bytes(&durable), Ok(revisions.clone()));
    assert_eq!(revisions.active(&layer("zone/a")).map(|(revision, _)| revision), Some(5));
}

#[test]
fn an_overtaken_activation_is_refused() {
    let mut revisions = Revisions::new();
    let slow = revisions.propose(&[signed("federation", 2, 0)]).expect("newer");
    activate(&mut revisions, &signed("federation", 3, 0)).expect("newer");
    assert_eq!(revisions.commit(slow), Err(RevisionError::Overtaken));
    assert_eq!(revisions.active(&layer("federation")).map(|(revision, _)| revision), Some(3));
}

#[test]
fn after_a_lost_disk_what_peers_show_is_the_floor() {
    let mut revisions = Revisions::recovering();
    assert_eq!(revisions.observe(&signed("federation", 7, 0)), Ok(Observation::Floor));
    assert_eq!(revisions.observe(&signed("federation", 6, 0)), Ok(Observation::Newer), "newer than nothing");
    assert_eq!(revisions.missing().count(), 1);
    revisions = Revisions::from_bytes(&revisions.to_bytes()).expect("a restart in between changes nothing");
    let old = activate(&mut revisions, &signed("federation", 6, 0));
    assert_eq!(old, Err(RevisionError::BelowFloor { layer: layer("federation"), offered: 6, floor: 7 }));
    let forged = activate(&mut revisions, &signed("federation", 7, 1));
    assert!(matches!(forged, Err(RevisionError::Equivocation { .. })));
    revisions.finish_recovery();
    let old = activate(&mut revisions, &signed("federation", 6, 0));
    assert!(matches!(old, Err(RevisionError::BelowFloor { .. })), "the floor stays after recovery");
    activate(&mut revisions, &signed("federation", 7, 0)).expect("what it had before");
    assert_eq!(revisions.missing().count(), 0);
}

#[test]
fn a_peer_raises_no_floor_of_a_bridge_that_kept_its_disk() {
    let mut revisions = Revisions::new();
    activate(&mut revisions, &signed("federation", 5, 0)).expect("the first");
    assert_eq!(revisions.observe(&signed("federation", 5, 0)), Ok(Observation::Same));
    assert_eq!(revisions.observe(&signed("federation", 4, 0)), Ok(Observation::Older));
    assert_eq!(revisions.observe(&signed("federation", 9, 0)), Ok(Observation::Newer));
    assert!(matches!(
        revisions.observe(&signed("federation", 5, 1)),
        Err(RevisionError::Equivocation { .. })
    ));
    activate(&mut revisions, &signed("federation", 6, 0)).expect("9 was seen, but 6 is newer than 5");
}

#[test]
fn min_revision_is_met_from_its_number_on() {
    for (min, has, expected) in [
        (None, 0, true),
        (Some(14), 13, false),
        (Some(14), 14, true),
        (Some(14), 15, true),
        (Some(0), 0, false),
    ] {
        assert_eq!(check_min_revision(min, has).is_ok(), expected, "{min:?} {has}");
    }
    assert!(check_min_revision(Some(14), 0).expect_err("refused").to_string().starts_with("stale-policy"));
}

#[test]
fn the_digest_of_all_layers_is_in_layer_order() {
    let order = [LayerKind::Federation, LayerKind::Region, LayerKind::Zone];
    let bundles = [signed("federation", 3, 0), signed("region/eu", 8, 0), signed("zone/a", 2, 0)];
    let digests = bundles.each_ref().map(|bundle| bundle.digest().0);
    let parts: Vec<&[u8]> = digests.iter().map(|digest| &digest[..]).collect();
    let expected = Digest::of(&parts);
    for indexes in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let mut revisions = Revisions::new();
        for index in indexes {
            activate(&mut revisions, &bundles[index]).expect("the first of its layer");
        }
        assert_eq!(revisions.standing(&order), Standing { federation_revision: 3, digest: expected });
    }
    let reversed = [LayerKind::Zone, LayerKind::Region, LayerKind::Federation];
    let mut revisions = Revisions::new();
    bundles.iter().for_each(|bundle| activate(&mut revisions, bundle).expect("the first of its layer"));
    assert_ne!(revisions.standing(&reversed).digest, expected);
}

#[test]
fn drift_says_who_is_behind() {
    let standing = |federation_revision, byte| Standing { federation_revision, digest: Digest([byte; 32]) };
    for (peer, expected) in [
        (standing(5, 1), Drift::None),
        (standing(5, 2), Drift::Digest),
        (standing(3, 1), Drift::PeerBehind(2)),
        (standing(6, 1), Drift::PeerAhead(1)),
    ] {
        assert_eq!(standing(5, 1).drift(&peer), expected, "{peer:?}");
    }
}

#[test]
fn every_changed_or_missing_byte_of_the_state_is_noticed() {
    let mut revisions = Revisions::recovering();
    activate(&mut revisions, &signed("federation", 5, 0)).expect("the first");
    revisions.observe(&signed("region/eu", 7, 0)).expect("becomes the floor");
    let bytes = revisions.to_bytes();
    assert_eq!(Revisions::from_bytes(&bytes), Ok(revisions));
    for at in 0..bytes.len() {
        assert!(Revisions::from_bytes(&bytes[..at]).is_err(), "cut at {at}");
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            assert!(Revisions::from_bytes(&changed).is_err(), "bit {bit} of byte {at}");
        }
    }
    assert!(Revisions::from_bytes(&[&bytes[..], b"x"].concat()).is_err());
    assert_eq!(Revisions::from_bytes(&vec![0; STATE_BYTES_MAX + 1]), Err(StateError::Damaged));
}

#[derive(Clone, Debug)]
enum Step {
    Activate { layer: usize, revision: u64, edition: u8 },
    Observe { layer: usize, revision: u64, edition: u8 },
    Restart,
    LoseDisk,
    FinishRecovery,
}

fn step() -> impl Strategy<Value = Step> {
    let bundle = (0usize..2, 1u64..6, 0u8..2);
    prop_oneof![
        4 => bundle.clone().prop_map(|(layer, revision, edition)| Step::Activate { layer, revision, edition }),
        3 => bundle.prop_map(|(layer, revision, edition)| Step::Observe { layer, revision, edition }),
        1 => Just(Step::Restart),
        1 => Just(Step::LoseDisk),
        1 => Just(Step::FinishRecovery),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The oracle remembers every bundle that was ever in force or became a floor since the disk was lost, and
    /// answers from that history alone.
    #[test]
    fn no_sequence_of_steps_goes_back_or_accepts_two_bundles_of_one_number(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let layers = ["federation", "zone/a"];
        let mut revisions = Revisions::new();
        let mut history: BTreeMap<&str, Vec<(u64, Digest)>> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Activate { layer: at, revision, edition } => {
                    let bundle = signed(layers[at], revision, edition);
                    let known = history.entry(layers[at]).or_default();
                    let highest = known.iter().map(|(revision, _)| *revision).max().unwrap_or(0);
                    let is_known = known.contains(&(revision, bundle.digest()));
                    let expected = revision > highest || (revision == highest && is_known);
                    let outcome = activate(&mut revisions, &bundle);
                    prop_assert_eq!(outcome.is_ok(), expected, "{:?}", outcome);
                    if expected {
                        known.push((revision, bundle.digest()));
                        prop_assert_eq!(revisions.active(bundle.layer()), Some((revision, bundle.digest())));
                    }
                }
                Step::Observe { layer: at, revision, edition } => {
                    let bundle = signed(layers[at], revision, edition);
                    let known = history.entry(layers[at]).or_default();
                    let highest = known.iter().map(|(revision, _)| *revision).max().unwrap_or(0);
                    let outcome = revisions.observe(&bundle);
                    if revision == highest {
                        let is_known = known.contains(&(revision, bundle.digest()));
                        prop_assert_eq!(outcome.is_ok(), is_known, "{:?}", outcome);
                    }
                    if outcome == Ok(Observation::Floor) {
                        prop_assert!(revisions.is_recovering() && revision > highest);
                        known.push((revision, bundle.digest()));
                    } else if revision > highest {
                        prop_assert_eq!(outcome, Ok(Observation::Newer));
                        prop_assert!(!revisions.is_recovering());
                    }
                }
                Step::Restart => {
                    let bytes = revisions.to_bytes();
                    prop_assert_eq!(Revisions::from_bytes(&bytes), Ok(revisions.clone()));
                }
                Step::LoseDisk => {
                    revisions = Revisions::recovering();
                    history.clear();
                }
                Step::FinishRecovery => revisions.finish_recovery(),
            }
        }
    }

    #[test]
    fn any_bytes_are_read_as_a_state_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Revisions::from_bytes(&bytes);
        let mut closed = [b"MBREVS\x01", &bytes[..]].concat();
        let digest = Digest::of(&[&closed]);
        closed.extend(digest.0);
        if let Ok(revisions) = Revisions::from_bytes(&closed) {
            prop_assert_eq!(revisions.to_bytes(), closed);
        }
    }
}
