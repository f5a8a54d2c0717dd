//! Random bundles against a model that knows the rules and nothing of how they are kept.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Good,
    /// Signed, and its documents have an error.
    Broken,
    /// Signed, with a document of another layer inside.
    Mixed,
    /// Signed, and an invariant of its own is not proved.
    Unproved,
    /// Signed by a key that is bound to no layer.
    Stranger,
    /// Signed by the key of another layer.
    OtherLayer,
    Garbage,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Offer { regional: bool, revision: u64, edition: u8, kind: Kind },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![
        5 => Just(Kind::Good),
        1 => Just(Kind::Broken),
        1 => Just(Kind::Mixed),
        1 => Just(Kind::Unproved),
        1 => Just(Kind::Stranger),
        1 => Just(Kind::OtherLayer),
        1 => Just(Kind::Garbage),
    ];
    prop_oneof![
        8 => (any::<bool>(), 1u64..7, 0u8..2, kind)
            .prop_map(|(regional, revision, edition, kind)| Step::Offer { regional, revision, edition, kind }),
        1 => Just(Step::Restart),
    ]
}

fn archive(regional: bool, revision: u64, edition: u8, kind: Kind) -> Vec<u8> {
    let (layer, other, own_key, other_key) = match regional {
        true => ("region/eu", "federation", EU, ROOT),
        false => ("federation", "region/eu", ROOT, EU),
    };
    let name = format!("{}-{edition}", if regional { "eu" } else { "base" });
    let document = federation_text(EU, "");
    let good = policy_text(layer, &name, if regional { DENY } else { PERMIT });
    let (text, signer) = match kind {
        Kind::Broken => (policy_text(layer, &name, BROKEN), own_key),
        Kind::Mixed => (policy_text(other, &name, DENY), own_key),
        Kind::Unproved => (
            format!(
                "{good}---\n{}",
                UNPROVABLE.replace("LAYER", layer).replace("at-home", &name).replace("ids", &name)
            ),
            own_key,
        ),
        Kind::Stranger => (good, STRANGER),
        Kind::OtherLayer => (good, other_key),
        Kind::Good | Kind::Garbage => (good, own_key),
    };
    let mut files = vec![("p.yaml", text.as_str())];
    if !regional {
        files.push(("federation.yaml", &document));
    }
    let mut archive = sign(layer, revision, None, &files, signer);
    if kind == Kind::Garbage {
        let middle = archive.len() / 2;
        archive[middle] ^= 1;
    }
    archive
}

/// One layer of the model: the newest that is signed, and what is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Layered {
    held: Option<(u64, u8, Kind)>,
    active: Option<(u64, u8)>,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_in_force_is_what_the_rules_say(steps in prop::collection::vec(step(), 1..14)) {
        let mut rig = Rig::new();
        let mut model: BTreeMap<bool, Layered> = BTreeMap::from([(false, Layered::default()), (true, Layered::default())]);
        for step in steps {
            match step {
                Step::Offer { regional, revision, edition, kind } => {
                    let offered = rig.offer(&archive(regional, revision, edition, kind));
                    rig.keeper.activate(false);
                    let is_signed = !matches!(kind, Kind::Stranger | Kind::OtherLayer | Kind::Garbage);
                    let layer = model.get_mut(&regional).expect("both are there");
                    let expected = match layer.held {
                        _ if !is_signed => "wrong",
                        _ if layer.active.is_some_and(|(active, of)| {
                            revision == active && (of, Kind::Good) != (edition, kind)
                        }) => "contradicts",
                        Some((held, ..)) if revision < held => "older",
                        Some((held, of, what)) if revision == held && (of, what) != (edition, kind) => "contradicts",
                        Some((held, ..)) if revision == held => "known",
                        _ => "taken",
                    };
                    let said = match offered {
                        Offered::Taken => "taken",
                        Offered::Known => "known",
                        Offered::Older(_) => "older",
                        Offered::Wrong(_) | Offered::Unknown(_) => "wrong",
                        Offered::Contradicts(_) => "contradicts",
                        Offered::NotNow(_) => "not now",
                    };
                    prop_assert_eq!(said, expected, "{:?}", step);
                    if expected == "taken" {
                        layer.held = Some((revision, edition, kind));
                    }
                }
                Step::Restart => rig.restart(),
            }
            // Who has nothing in force begins with all that is held, or not at all.
            let fits = |layer: &Layered| matches!(layer.held, None | Some((.., Kind::Good)));
            let begins = model[&false].active.is_some() || model.values().all(fits);
            // The region speaks only beside a federation.
            for regional in [false, true].into_iter().filter(|_| begins) {
                let has_federation = model[&false].active.is_some();
                let layer = model.get_mut(&regional).expect("both are there");
                if let Some((held, edition, Kind::Good)) = layer.held
                    && (!regional || has_federation)
                {
                    layer.active = Some((held, edition));
                }
            }
            prop_assert_eq!(rig.revision("federation"), model[&false].active.map(|(active, _)| active), "{:?}", step);
            prop_assert_eq!(rig.revision("region/eu"), model[&true].active.map(|(active, _)| active), "{:?}", step);
            let is_refused = |layer: &Layered| layer.held.map(|(held, ..)| held) > layer.active.map(|(active, _)| active);
            prop_assert_eq!(
                rig.alarms().iter().any(|(kind, about)| (*kind, about.as_str()) == (AlarmKind::Refused, "federation")),
                is_refused(&model[&false]),
                "{:?}", step
            );
        }
    }
}
