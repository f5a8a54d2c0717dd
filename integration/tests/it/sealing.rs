//! A bridge on the way that was taken over cannot speak for another: what it says for it moves nothing (G4).

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_lc_rs::digest;
use meshbridge_integration::{Admin, Draft, HostilePeer, Mesh, Plan, chain, eventually};
use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;

const WITHIN: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_that_was_taken_over_cannot_say_that_an_event_has_arrived() -> Result<()> {
    let mesh = Mesh::start(&Plan::chain(), 49).await?;
    let west = mesh.zone("west");
    let subscriber = mesh.zone("east").subscribe(&["orders.**"]).await?;
    mesh.knows("east", "orders.**").await?;
    let first = Draft::new(json!({"n": 1}));
    west.publisher().publish("orders.a", &first).await?;
    subscriber.wait_for(&first.id).await?;

    // The carrier is the liar's from now on, and what is for `east` waits.
    mesh.kill("middle")?;
    let event = Draft::new(json!({"n": 2}));
    let reply = west.publisher().publish("orders.a", &event).await?;
    ensure!(reply.destinations == ["east-1"], "{reply:?}");
    let claim = everything_has_arrived(&reply.key)?;
    let stolen = mesh.path().join("middle/tls");
    let before = refused(&west.admin(), "untrusted").await?;
    let heard = west.admin().peer("middle-1").await?.received.control_bytes;
    let mut liar = HostilePeer::dial(&west.peer, &stolen).await?;
    let mut said = 0;
    // As it would have been believed without seals, signed by the wrong bridge, and under a key that nobody has.
    said += liar.relay("east-1", "west-1", &claim).await?;
    said += liar.relay("east-1", "west-1", &signed(&stolen, "east-1", "west-1", &claim)?).await?;
    said += liar.relay("east-1", "west-1", &keyed(&claim)).await?;
    // In its own name the same signature is good, so that the others were refused for the name; but it may be old.
    said += liar.relay("middle-1", "west-1", &signed(&stolen, "middle-1", "west-1", &claim)?).await?;
    eventually("everything was heard", WITHIN, || async {
        let now = west.admin().peer("middle-1").await?.received.control_bytes;
        ensure!(now >= heard + said, "{now} of {}", heard + said);
        Ok(())
    })
    .await
    .with_context(|| mesh.story())?;
    drop(liar);

    mesh.restart("middle").await?;
    subscriber.wait_for_within(&event.id, WITHIN).await.with_context(|| mesh.story())?;
    let admin = west.admin();
    for reason in ["unsealed", "unknown_key", "unproven"] {
        ensure!(refused(&admin, reason).await? >= 1.0, "{reason}: {:?}", admin.metrics().await?);
    }
    let untrusted = refused(&admin, "untrusted").await?;
    ensure!(untrusted == before + 1.0, "{untrusted} were untrusted, {before} before");
    // The true one is believed: the account is closed.
    eventually("the receipts of `east` have come", WITHIN, || async {
        let metrics = admin.metrics().await?;
        let pending = metrics.get(r#"meshbridge_delivery_pending{destination="east-1"}"#);
        ensure!(pending == Some(&0.0), "{pending:?}");
        ensure!(!metrics.keys().any(|name| name.starts_with("meshbridge_alarms_total")), "{metrics:?}");
        Ok(())
    })
    .await
    .with_context(|| mesh.story())
}

/// Counted so far for this reason.
async fn refused(admin: &Admin, reason: &str) -> Result<f64> {
    let name = format!(r#"meshbridge_delivery_refused_total{{reason="{reason}"}}"#);
    Ok(admin.metrics().await?.get(&name).copied().unwrap_or_default())
}

/// An exchange of some run that has everything in the lane of this event, up to and with it.
fn everything_has_arrived(key: &str) -> Result<Vec<u8>> {
    let mut parts = key.split(':').skip(1);
    let mut part = || parts.next().with_context(|| format!("{key} is no key"));
    let (epoch, nonce) = part()?.split_once('-').context("a run")?;
    let (epoch, nonce): (u64, u64) = (epoch.parse()?, u64::from_str_radix(nonce, 16)?);
    let (lane, seq): (u8, u64) = (part()?.parse()?, part()?.parse()?);
    let mut out = vec![1, 3];
    out.extend(77_u128.to_le_bytes());
    run(&mut out, 1_000, 5);
    number(&mut out, 1_000_000);
    number(&mut out, 0);
    number(&mut out, 1);
    run(&mut out, 1_000, 5);
    number(&mut out, 1);
    run(&mut out, epoch, nonce);
    out.push(lane);
    number(&mut out, seq);
    // No ranges above; complete; knows no spool, no closed runs and no outcomes of the listener; no list, no holes; no answer
    // wanted.
    out.extend([0, 1]);
    out.extend(0_u128.to_le_bytes());
    out.extend([0, 0, 0, 0, 0]);
    Ok(out)
}

fn run(out: &mut Vec<u8>, epoch: u64, nonce: u64) {
    number(out, epoch);
    out.extend(nonce.to_le_bytes());
}

/// LEB128.
fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Sealed as an exchange is, with the certificate in this directory.
fn signed(certificate: &Path, from: &str, to: &str, message: &[u8]) -> Result<Vec<u8>> {
    let mut claims = 1_u64.to_be_bytes().to_vec();
    claims.extend(1_u64.to_be_bytes());
    // A public key, a challenge, and none that was heard.
    claims.extend([9; 32]);
    claims.extend([7; 16]);
    claims.extend([0; 32]);
    let mut statement = b"meshbridge delivery exchange 2\0".to_vec();
    for name in [from, to] {
        statement.extend(u16::try_from(name.len())?.to_be_bytes());
        statement.extend(name.as_bytes());
    }
    statement.extend(&claims);
    statement.extend(digest::digest(&digest::SHA256, message).as_ref());
    let key = any_supported_type(&PrivateKeyDer::from_pem_file(certificate.join("key.pem"))?)?;
    let signer = key.choose_scheme(&[SignatureScheme::ECDSA_NISTP256_SHA256]).context("a P-256 key")?;
    let mut signature = u16::from(signer.scheme()).to_be_bytes().to_vec();
    signature.extend(signer.sign(&statement)?);

    let certificates = chain(&certificate.join("cert.pem"))?;
    let mut out = vec![2, 1];
    out.extend(claims);
    out.push(u8::try_from(certificates.len())?);
    for counted in certificates.iter().map(AsRef::as_ref).chain([signature.as_slice()]) {
        out.extend(u16::try_from(counted.len())?.to_be_bytes());
        out.extend(counted);
    }
    out.extend(message);
    Ok(out)
}

/// Sealed as a receipt is, under a key that was never agreed.
fn keyed(message: &[u8]) -> Vec<u8> {
    let mut out = vec![2, 2];
    out.extend([3; 8]);
    out.extend(1_u64.to_be_bytes());
    out.extend([5; 32]);
    out.extend(message);
    out
}
