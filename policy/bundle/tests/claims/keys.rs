//! Key files: one way to write them, and no secret in a message.

use meshbridge_bundle::{DataKey, KeyError, PublicKey, SigningKey};

#[test]
fn a_key_survives_its_file() {
    let seed = [9; 32];
    let key = SigningKey::from_seed(&seed);
    let text = key.to_text();
    assert!(text.ends_with('\n') && text.len() == 45, "{} bytes", text.len());
    assert_eq!(SigningKey::from_text(&text).expect("its own text").public(), key.public());
    assert_eq!(SigningKey::from_text(text.trim_end()).expect("without a line feed").public(), key.public());
    assert_eq!(PublicKey::from_text(&key.public().to_string()), Ok(key.public()));
    let data = DataKey::from_bytes(&seed);
    assert_eq!(DataKey::from_text(&data.to_text()).expect("its own text").expose(), &seed);
}

#[test]
fn a_public_key_is_written_as_the_federation_document_writes_it() {
    let text = "7AEtB6pRseWDuPnidG2i4orFJ33rEBv6Tw4W0nu/c1E=";
    assert_eq!(PublicKey::from_text(text).expect("a public key").to_string(), text);
}

#[test]
fn what_is_no_key_is_refused_without_being_repeated() {
    let good = DataKey::from_bytes(&[9; 32]).to_text();
    let short = &good[4..];
    let zeros = "A".repeat(43) + "=";
    // The last character carries two bits that belong to no byte; only zeros are the canonical form.
    let loose = good.trim_end().trim_end_matches('=').to_owned();
    let loose = loose[..42].to_owned() + "l=";
    for (text, expected) in [
        ("", KeyError::Length),
        ("no key", KeyError::NotBase64),
        (short, KeyError::Length),
        (&zeros, KeyError::Zeros),
        (&loose, KeyError::NotBase64),
        (&format!(" {}", *good), KeyError::NotBase64),
        (&format!("{}\n", *good), KeyError::NotBase64),
        (good.trim_end().trim_end_matches('='), KeyError::NotBase64),
    ] {
        for problem in [DataKey::from_text(text).err(), SigningKey::from_text(text).err()] {
            assert_eq!(problem, Some(expected), "{text:?}");
            assert!(text.is_empty() || !expected.to_string().contains(text));
        }
    }
}

#[test]
fn debug_output_shows_no_secret() {
    let key = SigningKey::from_seed(&[9; 32]);
    let shown = format!("{key:?} {:?}", DataKey::from_bytes(&[9; 32]));
    assert!(
        !shown.contains(key.to_text().trim_end()) && shown.contains(&key.public().to_string()),
        "{shown}"
    );
}
