//! The lattice against sets of atoms, written down from the table of POLICY §4 without a look at the code.

use std::collections::BTreeSet;

use super::*;
use crate::keys::{KeyEntry, KeyTable, KeyUse};

const CHARACTERS_MAX: u8 = 3;
const KEYS: u16 = 3;

/// Everything there is in a small space of parameters; `None` is no protection.
fn all() -> Vec<Option<Protection>> {
    let mut all = vec![None, Some(Protection::Drop), Some(Protection::Redact), Some(Protection::Hash)];
    for first in 0..=CHARACTERS_MAX {
        all.extend((0..=CHARACTERS_MAX).map(|last| Some(Protection::Mask { first, last })));
    }
    for key in (0..KEYS).map(KeyRef) {
        all.push(Some(Protection::Encrypt { key }));
        all.extend(Scope::ALL.map(|scope| Some(Protection::Pseudonymise { key, scope })));
    }
    for ladder in Ladder::ALL {
        let rungs = 0..ladder.rungs().len() as u8;
        all.extend(rungs.map(|rung| Some(Protection::Generalise { ladder, rung })));
    }
    all
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Atom {
    Value,
    Type,
    Guess,
    Shape,
    Link(u16, Scope),
    /// Links that no key makes.
    LinkOtherwise,
    Leading(u8),
    Trailing(u8),
    Rung(Ladder, u8),
    Cipher(u16),
}

/// The table. Confirming a guess is told by [`Atom::Guess`]; that holders of a pseudonym's key can do it too is told
/// by the links under that key.
fn atoms(protection: Option<Protection>) -> BTreeSet<Atom> {
    let scopes_of = |key: u16| Scope::ALL.into_iter().map(move |scope| Atom::Link(key, scope));
    let every_link = (0..KEYS).flat_map(scopes_of).chain([Atom::LinkOtherwise]);
    let Some(protection) = protection else {
        let mut everything: BTreeSet<Atom> = every_link.collect();
        everything.extend([Atom::Value, Atom::Type, Atom::Guess, Atom::Shape]);
        for number in 1..=CHARACTERS_MAX {
            everything.extend([Atom::Leading(number), Atom::Trailing(number)]);
        }
        for ladder in Ladder::ALL {
            everything.extend((0..ladder.rungs().len() as u8).map(|rung| Atom::Rung(ladder, rung)));
        }
        everything.extend((0..KEYS).map(Atom::Cipher));
        return everything;
    };
    let mut atoms = BTreeSet::from([Atom::Type]);
    match protection {
        Protection::Drop => return BTreeSet::new(),
        Protection::Redact => {}
        Protection::Hash => atoms.extend(every_link.chain([Atom::Guess])),
        Protection::Mask { first, last } => {
            atoms.insert(Atom::Shape);
            atoms.extend((1..=first).map(Atom::Leading));
            atoms.extend((1..=last).map(Atom::Trailing));
        }
        Protection::Pseudonymise { key, scope } => {
            let narrower = |other: &Scope| match scope.name() {
                "federation" => true,
                "destination" => other.name().contains("destination"),
                "topic" => other.name().contains("topic"),
                _ => other.name() == "destination+topic",
            };
            atoms.extend(Scope::ALL.into_iter().filter(narrower).map(|scope| Atom::Link(key.0, scope)));
        }
        Protection::Encrypt { key } => _ = atoms.insert(Atom::Cipher(key.0)),
        Protection::Generalise { ladder, rung } => {
            atoms.extend((0..=rung).map(|rung| Atom::Rung(ladder, rung)));
        }
    }
    atoms
}

#[test]
fn the_meet_is_the_intersection_and_the_family_is_closed_under_it() {
    for a in all() {
        for b in all() {
            let met = meet(a, b);
            assert_eq!(atoms(met), &atoms(a) & &atoms(b), "{a:?} and {b:?} gave {met:?}");
            assert!(all().contains(&met), "{met:?} is in the space that {a:?} and {b:?} are of");
        }
    }
}

#[test]
fn the_meet_is_commutative_associative_and_idempotent() {
    let all = all();
    for &a in &all {
        assert_eq!(meet(a, a), a);
        for &b in &all {
            let ab = meet(a, b);
            assert_eq!(ab, meet(b, a));
            assert_eq!(meet(ab, b), ab, "a lower bound");
            for &c in &all {
                assert_eq!(meet(ab, c), meet(a, meet(b, c)));
            }
        }
    }
}

#[test]
fn what_proofs_are_told_orders_protections_as_the_sets_do() {
    let told = |protection: Option<Protection>| match protection {
        Some(protection) => protection.discloses(),
        None => Disclosed::EVERYTHING,
    };
    for a in all() {
        for b in all() {
            let expected = atoms(a).is_subset(&atoms(b));
            assert_eq!(told(a).is_within(&told(b)), expected, "{a:?} within {b:?}");
            assert_eq!(meet(a, b) == a, expected, "{a:?} below {b:?}");
            if let (Some(a), Some(b)) = (a, b) {
                assert_eq!(a.discloses_at_most(b), expected);
            }
        }
    }
}

#[test]
fn a_zone_sees_what_its_keys_open() {
    let key = KeyRef(1);
    let sealed = Protection::Encrypt { key }.discloses();
    assert_eq!(sealed.in_zone(|_| false), Facets::of(&[Facet::Type]));
    assert_eq!(sealed.in_zone(|held| held == key), Facets::ALL);
    let token = Protection::Pseudonymise { key, scope: Scope::TOPIC }.discloses();
    assert!(!token.in_zone(|_| false).contains(Facet::Guess));
    assert!(token.in_zone(|held| held == key).contains(Facet::Guess));
    assert!(!token.in_zone(|held| held == key).intersects(Facets::of(&[Facet::Value, Facet::Partial])));
    assert!(Protection::Hash.discloses().in_zone(|_| false).contains(Facet::Guess));
    assert!(!Protection::Mask { first: 0, last: 0 }.discloses().facets.contains(Facet::Partial));
    assert!(Protection::Mask { first: 0, last: 1 }.discloses().facets.contains(Facet::Partial));
    assert_eq!(Protection::Drop.discloses().in_zone(|_| true), Facets::NONE);
}

#[test]
fn forms_read_as_they_were_written() {
    let mut keys = KeyTable::default();
    for (number, name) in ["k", "eu-tokens", "0-0"].into_iter().enumerate() {
        let version = number as u32 + 1;
        let entry =
            KeyEntry { name: name.into(), version, purpose: KeyUse::Encrypt, zones: Default::default() };
        assert_eq!(keys.add(entry.clone()), Some(KeyRef(number as u16)));
        assert_eq!(keys.add(entry), None, "a name has a version once");
    }
    for protection in all().into_iter().flatten() {
        let form = Form(protection, &keys).to_string();
        assert_eq!(Form::parse(&form, &keys), Some(protection), "{form}");
        assert!(!form.contains([' ', ',']), "{form}");
    }
    let foreign = Some(Protection::Encrypt { key: KeyRef::FOREIGN });
    assert_eq!(Form::parse("encrypt:other.1", &keys), foreign);
    assert_eq!(Form::parse("encrypt:k.2", &keys), foreign);
    for wrong in ["", "keep", "mask", "mask:1", "mask:256:0", "generalise:day", "pseudonymise:k.1", "drop:"] {
        assert!(Form::parse(wrong, &keys).is_none() || wrong == "drop:", "{wrong}");
    }
}

#[test]
fn tokens_are_known_by_their_exact_grammar() {
    let hex = "0123456789abcdef".repeat(4);
    check(&format!("sha256_{hex}"), true);
    check(&format!("sha256_{}", &hex[1..]), false);
    check(&format!("sha256_{hex}0"), false);
    check(&format!("sha256_{}", hex.to_uppercase()), false);
    check("[redacted]", true);
    check("[redacted:payment.card]", true);
    check("[redacted:payment]", false);
    check("[redacted:4111111111111111]", false);
    check("[redacted by hand]", false);
    let body = "abcdefghijklmnopqrstuvwxya";
    check(&format!("tok_k.1_{body}"), true);
    check(&format!("tok_k.1_{body}a"), false);
    check(&format!("tok_k.1_{}b", &body[..25]), false);
    check(&format!("tok_k.01_{body}"), false);
    check(&format!("tok_K.1_{body}"), false);
    check(&format!("tok_k.1_{}", body.replace('a', "1")), false);
    check("tok_k.1_", false);
    check("tok_", false);
}

#[test]
fn readable_text_is_no_sealed_value() {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let readable = URL_SAFE_NO_PAD.encode("card 4111 1111 1111 1111 and more, up to forty-8");
    check(&format!("enc_k.1_{readable}"), false);
    let mut bytes: Vec<u8> = (0..48_u8).map(|byte| byte.wrapping_mul(37) ^ 0xa5).collect();
    bytes[0] = 0xff;
    check(&format!("enc_k.1_{}", URL_SAFE_NO_PAD.encode(&bytes)), true);
    check(&format!("enc_k.1_{}", URL_SAFE_NO_PAD.encode(&bytes[1..])), false);
}

#[track_caller]
fn check(text: &str, expected: bool) {
    assert_eq!(whole_token(text).is_some(), expected, "{text}");
    assert_eq!(tokens(&format!("号{text} x")).count(), usize::from(expected), "{text} in a text");
}

#[test]
fn tokens_are_found_between_words_only() {
    let token = format!("sha256_{}", "0".repeat(64));
    for (text, expected) in [
        (format!("{token} and {token}"), 2),
        (format!("x{token}"), 0),
        (format!("_{token}"), 0),
        (format!("({token})"), 1),
        ("a[redacted]b[redacted]".to_owned(), 2),
        ("tok_tok_enc_[redacted".to_owned(), 0),
    ] {
        assert_eq!(tokens(&text).count(), expected, "{text}");
    }
}
