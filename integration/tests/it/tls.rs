//! TLS on the listeners: who a client is by its token or its certificate, who is refused, and certificates that change under a live listener.

mod rotation;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::grpc::io::cloudevents::v1::{CloudEvent, cloud_event::Data};
use meshbridge_integration::grpc::meshbridge::v1::PublishRequest;
use meshbridge_integration::grpc::meshbridge::v1::bridge_client::BridgeClient;
use meshbridge_integration::{
    Answer, Draft, MUTUAL_TLS, Prepared, Publisher, SERVER_TLS, STRUCTURED, Setup, Shown, Single, eventually,
    grpc_over_tls, https, issue, tls_client,
};
use rcgen::{CertificateParams, Issuer, KeyPair};
use serde_json::json;
use time::OffsetDateTime;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

const SHOP: &str = "spiffe://acme/client/shop";
const KNOWN_WITHIN: Duration = Duration::from_secs(10);

/// A token nobody else has.
fn token() -> String {
    let id = Draft::new(json!({})).id;
    format!("{id}-of-{}-{:?}", std::process::id(), std::time::SystemTime::now()).replace([' ', '{', '}'], "-")
}

fn with_tokens(prepared: &Prepared, tokens: &[(&str, &str)]) -> Result<()> {
    let list: Vec<_> =
        tokens.iter().map(|(token, principal)| json!({"token": token, "principal": principal})).collect();
    Ok(fs::write(prepared.path().join("tokens.yaml"), json!({"tokens": list}).to_string())?)
}

fn publisher(bridge: &Single, shown: Option<&Path>) -> Result<Publisher> {
    let client = https(tls_client(&bridge.authority(), shown.map(Shown))?)?;
    Ok(Publisher::over(client, &format!("https://{}", bridge.http)))
}

async fn post(publisher: &Publisher) -> Result<Answer> {
    let body = Draft::new(json!({"n": 1})).structured().to_string().into_bytes();
    publisher.post("/v1/topics/orders.eu.created", &[STRUCTURED], body).await
}

fn check_refused(answer: &Answer, says: &str) -> Result<()> {
    let error = &answer.json()["error"];
    let clear =
        error["code"] == "unauthorised" && error["message"].as_str().is_some_and(|m| m.contains(says));
    ensure!(answer.status == 401 && clear, "{answer:?}, expected 401 with `{says}`");
    Ok(())
}

async fn channel(bridge: &Single, shown: Option<&Path>) -> Result<Channel> {
    grpc_over_tls(&bridge.grpc, tls_client(&bridge.authority(), shown.map(Shown))?).await
}

/// Publishes over gRPC, with a bearer token or without.
async fn call(channel: Channel, token: Option<&str>) -> Result<(), Status> {
    let event = CloudEvent {
        id: Draft::new(json!({})).id,
        source: "/shop".to_owned(),
        spec_version: "1.0".to_owned(),
        r#type: "orders.eu.created".to_owned(),
        attributes: Default::default(),
        data: Some(Data::TextData("{}".to_owned())),
    };
    let mut request =
        Request::new(PublishRequest { topic: String::new(), event: Some(event), ..Default::default() });
    if let Some(token) = token {
        let value = MetadataValue::try_from(format!("Bearer {token}")).expect("a token is ASCII");
        request.metadata_mut().insert("authorization", value);
    }
    BridgeClient::new(channel).publish(request).await.map(drop)
}

#[track_caller]
fn check_unauthenticated(outcome: Result<(), Status>, says: &str) -> Result<()> {
    let status = outcome.err().context("a stranger was served")?;
    ensure!(status.code() == Code::Unauthenticated && status.message().contains(says), "{status:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_the_file_names_the_client_and_others_are_refused() -> Result<()> {
    let prepared = Prepared::new()?;
    let (shop, till) = (token(), token());
    with_tokens(&prepared, &[(&shop, "shop"), (&till, "till")])?;
    let extra = format!("{SERVER_TLS}, tokens: tokens.yaml");
    let bridge = prepared.start(Setup { http: &extra, grpc: &extra, ..Setup::default() }).await?;

    let stranger = publisher(&bridge, None)?;
    let answer = post(&stranger.clone().with_token(&shop)).await?;
    ensure!(answer.status == 202, "{answer:?}");
    bridge.logs(&["Client is known", "principal=shop"]).await?;
    check_refused(&post(&stranger).await?, "a bearer token or a client certificate is required")?;
    check_refused(&post(&stranger.clone().with_token(&token())).await?, "the bearer token is not known")?;
    check_refused(&post(&stranger.clone().with_token("")).await?, "the bearer token is not known")?;
    let challenge = https(tls_client(&bridge.authority(), None)?)?
        .get(format!("https://{}/v1/stream?filter=orders.**", bridge.http))
        .send()
        .await?;
    ensure!(
        challenge.status() == 401 && challenge.headers()["www-authenticate"] == "Bearer",
        "{challenge:?}"
    );

    call(channel(&bridge, None).await?, Some(&till)).await?;
    bridge.logs(&["Client is known", "principal=till"]).await?;
    check_unauthenticated(call(channel(&bridge, None).await?, None).await, "is required")?;
    check_unauthenticated(call(channel(&bridge, None).await?, Some(&token())).await, "is not known")?;
    ensure!(!bridge.log().contains(&shop), "the log shows a token");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_taken_out_of_the_file_is_refused_soon_after() -> Result<()> {
    let prepared = Prepared::new()?;
    let (old, new) = (token(), token());
    with_tokens(&prepared, &[(&old, "shop")])?;
    let extra = format!("{SERVER_TLS}, tokens: tokens.yaml");
    let bridge = prepared.start(Setup { http: &extra, grpc: &extra, ..Setup::default() }).await?;
    let stranger = publisher(&bridge, None)?;
    ensure!(post(&stranger.clone().with_token(&old)).await?.status == 202, "{}", bridge.log());
    fs::write(
        bridge.path().join("tokens.yaml"),
        json!({"tokens": [{"token": new, "principal": "shop"}]}).to_string(),
    )?;
    eventually("the new token is known", KNOWN_WITHIN, || async {
        let answer = post(&stranger.clone().with_token(&new)).await?;
        ensure!(answer.status == 202, "{answer:?}");
        Ok(())
    })
    .await?;
    check_refused(&post(&stranger.with_token(&old)).await?, "the bearer token is not known")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_of_the_authority_names_the_client() -> Result<()> {
    let bridge = Single::start(Setup { http: MUTUAL_TLS, grpc: MUTUAL_TLS, ..Setup::default() }).await?;
    let shop = bridge.client_certificate("shop")?;
    let answer = post(&publisher(&bridge, Some(&shop))?).await?;
    ensure!(answer.status == 202, "{answer:?}");
    bridge.logs(&["Client is known", &format!("principal={SHOP}")]).await?;
    call(channel(&bridge, Some(&shop)).await?, None).await?;
    // Who shows a token means to be known by it, and here there are none.
    let with_token = publisher(&bridge, Some(&shop))?.with_token(&token());
    check_refused(&post(&with_token).await?, "the bearer token is not known")
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_shows_no_certificate_of_the_authority_gets_no_answer() -> Result<()> {
    let bridge = Single::start(Setup { http: MUTUAL_TLS, grpc: MUTUAL_TLS, ..Setup::default() }).await?;
    let other = Prepared::new()?;
    let foreign = other.path().join("shop");
    issue(&other.path().join("ca"), &foreign, &["--client", "shop"])?;
    for shown in [None, Some(foreign.as_path())] {
        let answer = post(&publisher(&bridge, shown)?).await;
        ensure!(answer.is_err(), "{shown:?}: {answer:?}");
        let outcome = match channel(&bridge, shown).await {
            Ok(channel) => call(channel, None).await,
            Err(_) => continue,
        };
        let status = outcome.err().with_context(|| format!("{shown:?} was served"))?;
        let by_transport = std::error::Error::source(&status).is_some();
        ensure!(by_transport, "an answer came: {status:?}");
    }
    ensure!(!bridge.log().contains("Client is known"), "{}", bridge.log());
    let shop = bridge.client_certificate("shop")?;
    ensure!(post(&publisher(&bridge, Some(&shop))?).await?.status == 202, "the listener serves on");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_or_a_token_will_do_where_both_are_configured() -> Result<()> {
    let prepared = Prepared::new()?;
    let till = token();
    with_tokens(&prepared, &[(&till, "till")])?;
    let extra = format!("{MUTUAL_TLS}, tokens: tokens.yaml");
    let bridge = prepared.start(Setup { http: &extra, grpc: &extra, ..Setup::default() }).await?;
    let shop = bridge.client_certificate("shop")?;
    ensure!(post(&publisher(&bridge, Some(&shop))?).await?.status == 202, "by certificate");
    ensure!(post(&publisher(&bridge, None)?.with_token(&till)).await?.status == 202, "by token");
    check_refused(&post(&publisher(&bridge, None)?).await?, "a bearer token or a client certificate")?;
    call(channel(&bridge, Some(&shop)).await?, None).await?;
    call(channel(&bridge, None).await?, Some(&till)).await?;
    check_unauthenticated(call(channel(&bridge, None).await?, None).await, "is required")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_without_exactly_one_uri_name_is_nobody() -> Result<()> {
    let bridge = Single::start(Setup { http: MUTUAL_TLS, grpc: MUTUAL_TLS, ..Setup::default() }).await?;
    let uri = |name: &str| Ok(rcgen::SanType::URI(name.try_into()?));
    let dns = rcgen::SanType::DnsName("shop.example".try_into()?);
    let none: Result<Vec<_>> = Ok(vec![dns]);
    let two: Result<Vec<_>> = [SHOP, "spiffe://acme/client/till"].into_iter().map(uri).collect();
    for (directory, names) in [("none", none?), ("two", two?)] {
        let out = bridge.path().join(directory);
        sign(&bridge.path().join("ca"), &out, names, OffsetDateTime::now_utc() + KNOWN_WITHIN * 6)?;
        let answer = post(&publisher(&bridge, Some(&out))?).await?;
        check_refused(&answer, "the client certificate must carry exactly one URI name")?;
    }
    Ok(())
}

/// A certificate with the given names and end under the authority of a directory.
fn sign(authority: &Path, out: &Path, names: Vec<rcgen::SanType>, not_after: OffsetDateTime) -> Result<()> {
    let key = KeyPair::from_pem(&fs::read_to_string(authority.join("ca.key"))?)?;
    let issuer = Issuer::from_ca_cert_pem(&fs::read_to_string(authority.join("ca.pem"))?, key)?;
    let mut params = CertificateParams::default();
    params.subject_alt_names = names;
    params.not_before = not_after - Duration::from_secs(600);
    params.not_after = not_after;
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?;
    fs::create_dir_all(out)?;
    fs::write(out.join("cert.pem"), certificate.pem())?;
    Ok(fs::write(out.join("key.pem"), key.serialize_pem())?)
}

#[test]
fn a_listener_that_could_know_no_client_does_not_start() -> Result<()> {
    let prepared = Prepared::new()?;
    for setup in [
        Setup { http: SERVER_TLS, ..Setup::default() },
        Setup { grpc: SERVER_TLS, ..Setup::default() },
        Setup { ip: "0.0.0.0", ..Setup::default() },
        Setup { ip: "[::]", http: SERVER_TLS, grpc: MUTUAL_TLS, ..Setup::default() },
    ] {
        let said = prepared.refuses(setup)?;
        ensure!(said.contains("`tokens`") && said.contains("`clientCa`"), "{setup:?}: {said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn on_an_address_others_can_reach_even_this_machine_needs_a_token() -> Result<()> {
    let prepared = Prepared::new()?;
    let till = token();
    with_tokens(&prepared, &[(&till, "till")])?;
    let extra = ", tokens: tokens.yaml";
    let bridge =
        prepared.start(Setup { ip: "0.0.0.0", http: extra, grpc: extra, ..Setup::default() }).await?;
    let publisher =
        Publisher::over(meshbridge_integration::http().clone(), &format!("http://{}", bridge.http));
    check_refused(&post(&publisher).await?, "is required")?;
    ensure!(post(&publisher.with_token(&till)).await?.status == 202, "{}", bridge.log());
    Ok(())
}
