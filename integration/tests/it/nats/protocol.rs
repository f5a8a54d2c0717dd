//! The protocol itself, by hand: who is let in, and what is told to who breaks its rules.

use std::fs;

use meshbridge_integration::{Prepared, SERVER_TLS, Setup, Single};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

/// Sends `text` and reads until the server closes, or until `until` comes.
pub(super) async fn talk(address: &str, text: &[u8], until: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address.trim_start_matches("nats://")).await?;
    stream.write_all(text).await?;
    let mut said = Vec::new();
    let reading = async {
        let mut buffer = [0; 4_096];
        loop {
            let read = stream.read(&mut buffer).await?;
            said.extend_from_slice(&buffer[..read]);
            if read == 0 || String::from_utf8_lossy(&said).contains(until) {
                return anyhow::Ok(());
            }
        }
    };
    tokio::time::timeout(WAIT, reading).await.context("the server says nothing more")??;
    Ok(String::from_utf8(said)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_breaks_the_protocol_is_told_why_before_the_end() -> Result<()> {
    let bridge = Single::start(Setup { limits: "eventBytes: 65536", ..Setup::default() }).await?;
    let said = talk(&bridge.nats, b"PING\r\n", "PONG").await?;
    ensure!(said.starts_with("INFO {") && said.contains("\"headers\":true"), "{said}");
    ensure!(said.contains("\"max_payload\":65536"), "{said}");
    for (text, expected) in [
        (&b"GET / HTTP/1.1\r\n"[..], "Unknown Protocol Operation"),
        (b"PUB a 65537\r\n", "Maximum Payload Violation"),
        (b"PUB a b c d\r\n", "Parser Error"),
        (b"CONNECT nonsense\r\n", "Parser Error"),
        (b"SUB a.b x\r\n", "Invalid Subscription ID"),
    ] {
        let said = talk(&bridge.nats, text, "never").await?;
        ensure!(said.contains(expected), "{text:?}: {said}");
    }
    let line = [b"SUB ".to_vec(), vec![b'a'; 5_000]].concat();
    ensure!(talk(&bridge.nats, &line, "never").await?.contains("Maximum Control Line Exceeded"));
    // What is wrong with one message is no reason to end the connection.
    let text = b"CONNECT {\"verbose\":true}\r\nPUB a..b 1\r\nx\r\nSUB a.>.b 1\r\nPING\r\n";
    let said = talk(&bridge.nats, text, "PONG").await?;
    ensure!(said.contains("Invalid Publish Subject") && said.contains("Invalid Subject"), "{said}");
    ensure!(said.contains("+OK"), "{said}");
    Ok(())
}

/// Made at run time: no file holds what looks like a secret.
fn secret(name: &str) -> String {
    format!("{name}-{:032x}", rand::random::<u128>())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_known_by_its_token_or_its_password() -> Result<()> {
    let prepared = Prepared::new()?;
    let (token, password) = (secret("token"), secret("password"));
    let known = serde_json::json!({
        "tokens": [{"token": token, "principal": "shop"}],
        "users": [{"user": "till", "password": password, "principal": "tills"}],
    });
    fs::write(prepared.path().join("tokens.yaml"), known.to_string())?;
    let policy = "apiVersion: meshbridge/v1\nkind: Policy\nmetadata: {name: who, layer: federation}\nspec:\n  rules:\n    - {name: tills-only, match: {at: publish, topics: [\"tills.**\"], publisher: [\"shop\"]}, deny: {}}\n";
    fs::write(prepared.path().join("policies/who.yaml"), policy)?;
    let bridge = prepared.start(Setup { nats: ", tokens: tokens.yaml", ..Setup::default() }).await?;
    let address = format!("nats://{}", bridge.nats);
    let options = async_nats::ConnectOptions::new;
    let by_token = options().token(token.clone()).connect(&address).await?;
    by_token.flush().await?;
    let by_password =
        options().user_and_password("till".to_owned(), password.clone()).connect(&address).await?;
    by_password.flush().await?;
    for (connect, what) in [
        (format!("CONNECT {{\"auth_token\":\"{}\"}}\r\n", secret("other")), "another token"),
        (format!("CONNECT {{\"user\":\"till\",\"pass\":\"{token}\"}}\r\n"), "another password"),
        (format!("CONNECT {{\"user\":\"shop\",\"pass\":\"{password}\"}}\r\n"), "another user"),
        ("CONNECT {}\r\n".to_owned(), "nothing"),
        ("PING\r\n".to_owned(), "no CONNECT"),
    ] {
        let said = talk(&bridge.nats, connect.as_bytes(), "never").await?;
        let is_refused = said.contains("Authorization Violation") && said.contains("\"auth_required\":true");
        ensure!(is_refused, "{what}: {said}");
    }
    let publish = |login: String| {
        let text = format!("CONNECT {{{login}}}\r\nPUB tills.open 1\r\nx\r\nPING\r\n");
        let address = bridge.nats.clone();
        async move { talk(&address, text.as_bytes(), "PONG").await }
    };
    let said = publish(format!("\"auth_token\":\"{token}\"")).await?;
    ensure!(said.contains("Permissions Violation for Publish to \"tills.open\""), "{said}");
    let said = publish(format!("\"user\":\"till\",\"pass\":\"{password}\"")).await?;
    ensure!(!said.contains("Permissions Violation"), "{said}");
    ensure!(!bridge.log().contains(&token) && !bridge.log().contains(&password), "the log shows a secret");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_begins_after_the_first_line() -> Result<()> {
    let prepared = Prepared::new()?;
    let token = secret("token");
    let known = serde_json::json!({"tokens": [{"token": token, "principal": "shop"}]});
    fs::write(prepared.path().join("tokens.yaml"), known.to_string())?;
    let nats = format!("{SERVER_TLS}, tokens: tokens.yaml");
    let bridge = prepared.start(Setup { nats: &nats, ..Setup::default() }).await?;
    let authority = bridge.path().join("ca/ca.pem");
    let client = async_nats::ConnectOptions::new()
        .token(token)
        .add_root_certificates(authority)
        .require_tls(true)
        .connect(format!("nats://{}", bridge.nats))
        .await?;
    let mut subscriber = client.subscribe("orders.tls").await?;
    client.publish("orders.tls", "x".into()).await?;
    ensure!(next(&mut subscriber).await?.payload == "x");
    // Without TLS there is nothing to talk about.
    let said = talk(&bridge.nats, b"CONNECT {}\r\nPING\r\n", "never").await;
    ensure!(said.as_ref().map_or(true, |said| !said.contains("PONG")), "{said:?}");
    Ok(())
}
