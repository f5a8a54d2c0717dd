//! Signatures, and that keys stay where they are.

use std::io::Write;
use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::server::{Reply, Server};
use super::{Outcome, Target, TargetUrl, delivery, header, local_client};
use crate::webhook::{LoadKeysError, SigningKeys};

const KEY: &str = "a key of more than sixteen bytes";

fn keys(text: &str) -> Result<SigningKeys, LoadKeysError> {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(text.as_bytes()).expect("written");
    SigningKeys::load(file.path())
}

#[test]
fn the_example_of_standard_webhooks_is_signed_as_it_says() {
    let keys = keys("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").expect("a key");
    let signature = keys.signature("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
    assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

#[tokio::test]
async fn a_receiver_can_verify_key_time_and_body() {
    let server = Server::consenting(|_| Reply::ok()).await;
    let url = TargetUrl::parse(&server.url("/")).expect("a URL");
    let old = "the one before, also long enough";
    let target = Target { url, keys: Some(Arc::new(keys(&format!("{KEY}\n\n{old}\n")).expect("two keys"))) };
    assert_eq!(local_client().deliver(&target, &delivery()).await, Outcome::Accepted);
    let post = server.seen().remove(1);
    let signatures: Vec<&str> = header(&post, "webhook-signature").split(' ').collect();
    assert_eq!(signatures.len(), 2);
    for (key, signature) in [KEY, old].into_iter().zip(signatures) {
        let mut signed = format!("{}.{}.", header(&post, "webhook-id"), header(&post, "webhook-timestamp"));
        signed.push_str(std::str::from_utf8(&post.body).expect("JSON"));
        let tag = STANDARD.decode(signature.trim_start_matches("v1,")).expect("base64");
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
        assert!(hmac::verify(&key, signed.as_bytes(), &tag).is_ok());
        assert!(hmac::verify(&key, signed.replace('1', "2").as_bytes(), &tag).is_err());
    }
    // The handshake is not signed: there is nothing in it yet that somebody could replay.
    assert_eq!(header(&server.seen()[0], "webhook-signature"), "");
}

#[test]
fn keys_that_can_be_guessed_or_misread_are_refused_without_being_shown() {
    for bad in ["", "\n\n", "short", "whsec_???", "whsec_c2hvcnQ=", &format!("{KEY}\nshort")] {
        let problem = keys(bad).expect_err(bad);
        let shown = format!("{problem} {problem:?}");
        assert!(!shown.contains("short") && !shown.contains(KEY) && !shown.contains("???"), "{shown}");
    }
    assert!(matches!(keys(&format!("{KEY}\n").repeat(5)), Err(LoadKeysError::Count(_))));
    assert!(matches!(keys(&"x".repeat(5_000)), Err(LoadKeysError::Count(_))));
    assert!(matches!(SigningKeys::load("/nowhere".as_ref()), Err(LoadKeysError::Unreadable { .. })));
}

#[test]
fn nothing_prints_a_key_or_a_path() {
    let url = TargetUrl::parse("https://hook.example/T0KEN?sig=T0KEN").expect("a URL");
    let target = Target { url, keys: Some(Arc::new(keys(KEY).expect("a key"))) };
    let shown = format!("{target:?}");
    assert!(!shown.contains("T0KEN") && !shown.contains(KEY), "{shown}");
    assert!(!shown.contains(&format!("{:?}", KEY.as_bytes())), "{shown}");
    assert!(shown.contains("hook.example"), "{shown}");
}
