//! Certificates are replaced under a live listener: new connections see the new one, old connections go on.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;
use meshbridge_integration::{
    Draft, Prepared, STRUCTURED, Setup, Shown, Single, chain, eventually, https, issue, tls_client,
    tls_connect,
};
use rcgen::SanType;
use rustls::pki_types::CertificateDer;
use serde_json::json;
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::{SHOP, post, publisher, sign};

/// Makes a listener's files unusable.
type Spoil<'a> = Box<dyn Fn() -> Result<()> + 'a>;

const SEEN_WITHIN: Duration = Duration::from_secs(10);
/// Certificate and key in a directory that a test changes, and an authority of clients that it may change too.
const CHANGING: &str =
    ", tls: {certificate: listener/cert.pem, key: listener/key.pem, clientCa: clients.pem}";
const REFUSED: &str = "Listener certificate refused, the running one stays in use";

/// A bridge whose listeners have the certificate in `listener/`, and the client `shop`.
async fn start(arrange: impl Fn(&Path) -> Result<()>) -> Result<(Single, std::path::PathBuf)> {
    let prepared = Prepared::new()?;
    arrange(prepared.path())?;
    fs::copy(prepared.path().join("ca/ca.pem"), prepared.path().join("clients.pem"))?;
    let bridge = prepared.start(Setup { http: CHANGING, grpc: CHANGING, ..Setup::default() }).await?;
    let shop = bridge.client_certificate("shop")?;
    Ok((bridge, shop))
}

fn certificate_in(base: &Path, directory: &str) -> Result<()> {
    let names = ["--zone", "dmz", "--bridge", "dmz-1", "--dns", "localhost", "--dns", "127.0.0.1"];
    issue(&base.join("ca"), &base.join(directory), &names)
}

/// Key and certificate of one directory take the place of those of another, each at once.
fn replace(base: &Path, with: &str) -> Result<()> {
    for name in ["key.pem", "cert.pem"] {
        let next = base.join("listener").join(format!("{name}.next"));
        fs::copy(base.join(with).join(name), &next)?;
        fs::rename(&next, base.join("listener").join(name))?;
    }
    Ok(())
}

fn leaf_in(base: &Path, directory: &str) -> Result<CertificateDer<'static>> {
    chain(&base.join(directory).join("cert.pem"))?.into_iter().next().context("a certificate")
}

async fn connect(
    bridge: &Single,
    address: &str,
    shown: &Path,
    protocol: &[u8],
) -> Result<TlsStream<TcpStream>> {
    tls_connect(address, tls_client(&bridge.authority(), Some(Shown(shown)))?, &[protocol]).await
}

/// What a new connection is shown on both listeners.
async fn shown_now(bridge: &Single, shop: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let mut leaves = Vec::new();
    for (address, protocol) in [(&bridge.http, b"http/1.1".as_slice()), (&bridge.grpc, b"h2")] {
        let connection = connect(bridge, address, shop, protocol).await?;
        let leaf = connection.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        leaves.push(leaf.context("a certificate")?.clone().into_owned());
    }
    Ok(leaves)
}

async fn until_shown(bridge: &Single, shop: &Path, directory: &str) -> Result<()> {
    let wanted = leaf_in(bridge.path(), directory)?;
    eventually(&format!("the certificate of {directory} is shown"), SEEN_WITHIN, || async {
        let leaves = shown_now(bridge, shop).await?;
        ensure!(leaves.iter().all(|leaf| *leaf == wanted), "another is shown; {}", bridge.log());
        Ok(())
    })
    .await
}

/// One request on a connection that stays open; the status line of its answer.
async fn ask(connection: &mut TlsStream<TcpStream>) -> Result<String> {
    connection.write_all(b"GET /nothing HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
    let mut answer = Vec::new();
    // Every answer to this ends with the two braces of the error.
    while !answer.ends_with(b"}}") {
        let read = tokio::time::timeout(SEEN_WITHIN, connection.read_buf(&mut answer)).await??;
        ensure!(read > 0, "the connection ended after {:?}", String::from_utf8_lossy(&answer));
    }
    Ok(String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_file_is_shown_to_new_connections_and_old_ones_go_on() -> Result<()> {
    let (bridge, shop) = start(|base| certificate_in(base, "listener")).await?;
    certificate_in(bridge.path(), "next")?;
    ensure!(leaf_in(bridge.path(), "next")? != leaf_in(bridge.path(), "listener")?, "two certificates");
    let mut old = connect(&bridge, &bridge.http, &shop, b"http/1.1").await?;
    ensure!(ask(&mut old).await?.contains("404"));
    let client = https(tls_client(&bridge.authority(), Some(Shown(&shop)))?)?;
    let stream = client.get(format!("https://{}/v1/stream?filter=orders.**", bridge.http)).send().await?;
    let mut stream = stream.error_for_status()?.bytes_stream();

    replace(bridge.path(), "next")?;
    until_shown(&bridge, &shop, "next").await?;
    ensure!(ask(&mut old).await?.contains("404"), "an old connection is served no more");
    let event = Draft::new(json!({"n": 1}));
    let answer = publisher(&bridge, Some(&shop))?
        .post("/v1/topics/orders.a", &[STRUCTURED], event.structured().to_string().into_bytes())
        .await?;
    ensure!(answer.status == 202, "{answer:?}");
    let delivered = async {
        let mut text = String::new();
        while !text.contains(&event.id) {
            text.push_str(&String::from_utf8_lossy(&stream.next().await.context("the stream ended")??));
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(SEEN_WITHIN, delivered).await.context("the old stream brings no event")?
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_reads_certificates_where_a_directory_was_swapped() -> Result<()> {
    let (bridge, shop) = start(|base| {
        certificate_in(base, "first")?;
        Ok(symlink("first", base.join("listener"))?)
    })
    .await?;
    until_shown(&bridge, &shop, "first").await?;
    certificate_in(bridge.path(), "second")?;
    // Nothing changes in the directory that is watched: another one takes its place.
    symlink("second", bridge.path().join("listener.next"))?;
    fs::rename(bridge.path().join("listener.next"), bridge.path().join("listener"))?;
    bridge.hang_up()?;
    until_shown(&bridge, &shop, "second").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_keeps_the_certificate_in_use() -> Result<()> {
    let (bridge, shop) = start(|base| certificate_in(base, "listener")).await?;
    let base = bridge.path();
    let first = leaf_in(base, "listener")?;
    certificate_in(base, "next")?;
    let names =
        || anyhow::Ok(vec![SanType::URI(SHOP.try_into()?), SanType::DnsName("localhost".try_into()?)]);
    sign(
        &base.join("ca"),
        &base.join("ended"),
        names()?,
        OffsetDateTime::now_utc() - Duration::from_secs(60),
    )?;
    let spoil: [(&str, Spoil<'_>); 4] = [
        (
            "holds no certificate",
            Box::new(|| Ok(fs::write(base.join("listener/cert.pem"), "no certificate")?)),
        ),
        (
            "does not fit",
            Box::new(|| Ok(fs::copy(base.join("next/cert.pem"), base.join("listener/cert.pem")).map(drop)?)),
        ),
        ("cannot read", Box::new(|| Ok(fs::remove_file(base.join("listener/key.pem"))?))),
        ("has ended", Box::new(|| replace(base, "ended"))),
    ];
    for (at, (says, spoil)) in spoil.iter().enumerate() {
        spoil()?;
        // A line of each listener for each broken set, and none of them ends the process.
        eventually(&format!("the refusal of set {at}"), SEEN_WITHIN, || async {
            let log = bridge.log();
            let refusals: Vec<&str> = log.lines().filter(|line| line.contains(REFUSED)).collect();
            let last = refusals.last().is_some_and(|line| line.contains("ERROR") && line.contains(says));
            ensure!(refusals.len() >= 2 * (at + 1) && last, "{says}: {refusals:?}");
            Ok(())
        })
        .await?;
        let leaves = shown_now(&bridge, &shop).await?;
        ensure!(leaves.iter().all(|leaf| *leaf == first), "set {at}: another certificate is shown");
        let answer = post(&publisher(&bridge, Some(&shop))?).await?;
        ensure!(answer.status == 202, "set {at}: {answer:?}");
    }
    replace(base, "next")?;
    until_shown(&bridge, &shop, "next").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_authority_of_clients_replaces_the_old_one() -> Result<()> {
    let (bridge, shop) = start(|base| certificate_in(base, "listener")).await?;
    let other = Prepared::new()?;
    let new_shop = other.path().join("shop");
    issue(&other.path().join("ca"), &new_shop, &["--client", "shop"])?;
    ensure!(post(&publisher(&bridge, Some(&new_shop))?).await.is_err(), "not believed yet");
    fs::copy(other.path().join("ca/ca.pem"), bridge.path().join("clients.pem"))?;
    eventually("the new authority is believed", SEEN_WITHIN, || async {
        let answer = post(&publisher(&bridge, Some(&new_shop))?).await?;
        ensure!(answer.status == 202, "{answer:?}");
        Ok(())
    })
    .await?;
    ensure!(post(&publisher(&bridge, Some(&shop))?).await.is_err(), "the old authority is still believed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_certificate_of_its_client() -> Result<()> {
    let (bridge, _) = start(|base| certificate_in(base, "listener")).await?;
    let out = bridge.path().join("brief");
    let name = vec![SanType::URI(SHOP.try_into()?)];
    let end = OffsetDateTime::now_utc() + Duration::from_secs(4);
    sign(&bridge.path().join("ca"), &out, name, end)?;
    let client = https(tls_client(&bridge.authority(), Some(Shown(&out)))?)?;
    let stream = client.get(format!("https://{}/v1/stream?filter=orders.**", bridge.http)).send().await?;
    let mut stream = stream.error_for_status()?.bytes_stream();
    stream.next().await.context("a stream says something at once")??;
    let ended = async { while stream.next().await.is_some_and(|chunk| chunk.is_ok()) {} };
    tokio::time::timeout(SEEN_WITHIN, ended).await.context("the stream outlives the certificate")?;
    ensure!(OffsetDateTime::now_utc() > end - Duration::from_secs(1), "it ended before");
    Ok(())
}
