//! The sender against receivers that consent, refuse, stall and redirect.

mod guard;
mod server;
mod signing;
mod tls;
mod urls;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use meshbridge_event::{AttributeValue, EventBuilder};
use meshbridge_topic::Topic;

use super::{
    AddressRefused, AddressRules, Delivery, Limits, Network, Outcome, RefusedReason, RetryReason, Target,
    TargetUrl, WebhookClient, WebhookSettings,
};
use server::{Reply, Seen, Server, TestNetwork};

const ORIGIN: &str = "eu-1-a.acme.example";

/// Nothing is allowed but the public internet over TLS.
fn settings() -> WebhookSettings {
    WebhookSettings {
        origin: ORIGIN.to_owned(),
        addresses: AddressRules::default(),
        http_hosts: BTreeSet::new(),
        roots: Some(Arc::new(rustls::RootCertStore::empty())),
        limits: Limits {
            connect: Duration::from_secs(2),
            answer: Duration::from_secs(2),
            breaker_wait: Duration::from_millis(600),
            ..Limits::default()
        },
    }
}

/// This machine may be reached, without TLS.
fn local() -> WebhookSettings {
    WebhookSettings {
        addresses: AddressRules::new(&["127.0.0.0/8"], Vec::new()).expect("a range"),
        http_hosts: ["127.0.0.1", "hook.example"].map(str::to_owned).into(),
        ..settings()
    }
}

fn client(settings: WebhookSettings, network: Arc<TestNetwork>) -> WebhookClient {
    let network: Arc<dyn Network> = network;
    WebhookClient::new(settings, network).expect("good settings")
}

fn local_client() -> WebhookClient {
    client(local(), Arc::default())
}

/// Gives up after 300 ms.
fn impatient_client() -> WebhookClient {
    let mut settings = local();
    settings.limits.connect = Duration::from_millis(300);
    settings.limits.answer = Duration::from_millis(300);
    client(settings, Arc::default())
}

fn delivery() -> Delivery {
    let event = EventBuilder::new("a \"b\"", "/source", "order.created")
        .attribute("subject", AttributeValue::String("größe"))
        .data_json(Bytes::from_static(b"{\"n\": 1}"))
        .build()
        .expect("a valid event");
    Delivery {
        key: "eu-1-a:3-00000000000000ff:7:42".parse().expect("a key"),
        topic: Topic::parse("orders.eu.created").expect("a topic"),
        event,
        count: 2,
    }
}

fn target(url: &str) -> Target {
    Target { url: TargetUrl::parse(url).expect(url), keys: None }
}

#[track_caller]
fn header<'a>(seen: &'a Seen, name: &str) -> &'a str {
    seen.headers.get(name).map_or("", String::as_str)
}

#[tokio::test]
async fn a_delivery_is_a_cloudevent_in_binary_mode() {
    let server = Server::consenting(|_| Reply::Status(204, String::new())).await;
    let outcome = local_client().deliver(&target(&server.url("/hook?token=x")), &delivery()).await;
    assert_eq!(outcome, Outcome::Accepted);
    let seen = server.seen();
    assert_eq!(seen[0].method, "OPTIONS");
    assert_eq!(seen[0].path, "/hook?token=x");
    assert_eq!(header(&seen[0], "webhook-request-origin"), ORIGIN);
    let post = &seen[1];
    assert_eq!((post.method.as_str(), post.path.as_str()), ("POST", "/hook?token=x"));
    for (name, value) in [
        ("host", server.address.to_string().as_str()),
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "a%20%22b%22"),
        ("ce-source", "/source"),
        ("ce-type", "order.created"),
        ("ce-subject", "gr%C3%B6%C3%9Fe"),
        ("ce-meshbridgetopic", "orders.eu.created"),
        ("ce-meshbridgekey", "eu-1-a:3-00000000000000ff:7:42"),
        ("idempotency-key", "\"eu-1-a:3-00000000000000ff:7:42\""),
        ("meshbridge-delivery-count", "2"),
    ] {
        assert_eq!(header(post, name), value, "{name}");
    }
    assert_eq!(post.body, b"{\"n\": 1}");
    assert_eq!(header(post, "webhook-signature"), "");
}

#[tokio::test]
async fn connections_are_used_again() {
    let server = Server::consenting(|_| Reply::ok()).await;
    let network = Arc::new(TestNetwork::default());
    let client = client(local(), Arc::clone(&network));
    for _ in 0..3 {
        assert_eq!(client.deliver(&target(&server.url("/")), &delivery()).await, Outcome::Accepted);
    }
    assert_eq!(network.dialled().len(), 1);
}

#[tokio::test]
async fn a_connection_that_the_receiver_closed_is_opened_again() {
    let server = Server::consenting(|_| Reply::ok()).await;
    let client = local_client();
    assert_eq!(client.deliver(&target(&server.url("/")), &delivery()).await, Outcome::Accepted);
    let address = server.address;
    drop(server);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let gone = client.deliver(&target(&format!("http://{address}/")), &delivery()).await;
    assert_eq!(gone, Outcome::Retry(RetryReason::Unreachable));
}

#[tokio::test]
async fn nothing_is_delivered_without_consent() {
    for answer in [
        (200, ""),
        (200, "webhook-allowed-origin: other.example\r\n"),
        (200, "webhook-allowed-origin: *\r\nwebhook-allowed-rate: 0\r\n"),
        (404, "webhook-allowed-origin: *\r\n"),
        (405, ""),
        (302, "webhook-allowed-origin: *\r\nlocation: /other\r\n"),
    ] {
        let server = Server::new(move |seen| match seen.method.as_str() {
            "OPTIONS" => Reply::Status(answer.0, answer.1.to_owned()),
            _ => Reply::ok(),
        })
        .await;
        let client = local_client();
        for _ in 0..3 {
            let outcome = client.deliver(&target(&server.url("/")), &delivery()).await;
            assert_eq!(outcome, Outcome::Refused(RefusedReason::NoConsent), "{answer:?}");
        }
        // And the receiver is not pestered.
        assert_eq!((server.count("OPTIONS"), server.count("POST")), (1, 0), "{answer:?}");
    }
}

#[tokio::test]
async fn a_receiver_that_cannot_say_is_asked_again() {
    for (status, headers, expected) in [
        (500, "", Outcome::Retry(RetryReason::Status(500))),
        (503, "retry-after: 9\r\n", Outcome::RetryAfter(Duration::from_secs(9))),
        (429, "", Outcome::Retry(RetryReason::Status(429))),
        (410, "", Outcome::Gone),
    ] {
        let server = Server::new(move |_| Reply::Status(status, headers.to_owned())).await;
        let outcome = local_client().deliver(&target(&server.url("/")), &delivery()).await;
        assert_eq!(outcome, expected);
        assert_eq!(server.count("POST"), 0);
    }
}

#[tokio::test]
async fn consent_is_renewed_and_may_be_withdrawn() {
    let willing = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&willing);
    let server = Server::new(move |seen| match seen.method.as_str() {
        "OPTIONS" if asked.load(Ordering::Relaxed) => Reply::consent(),
        _ => Reply::ok(),
    })
    .await;
    let mut settings = local();
    assert_eq!(settings.limits.consent_life, Duration::from_secs(24 * 60 * 60));
    settings.limits.consent_life = Duration::from_millis(600);
    let client = client(settings, Arc::default());
    let to = target(&server.url("/"));
    for _ in 0..3 {
        assert_eq!(client.deliver(&to, &delivery()).await, Outcome::Accepted);
    }
    assert_eq!(server.count("OPTIONS"), 1);
    tokio::time::sleep(Duration::from_millis(650)).await;
    assert_eq!(client.deliver(&to, &delivery()).await, Outcome::Accepted);
    assert_eq!(server.count("OPTIONS"), 2);
    willing.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(650)).await;
    assert_eq!(client.deliver(&to, &delivery()).await, Outcome::Refused(RefusedReason::NoConsent));
    assert_eq!(server.count("POST"), 4);
}

#[tokio::test]
async fn another_url_needs_a_consent_of_its_own() {
    let server = Server::new(|seen| match (seen.method.as_str(), seen.path.as_str()) {
        ("OPTIONS", "/a") => Reply::consent(),
        _ => Reply::ok(),
    })
    .await;
    let client = local_client();
    assert_eq!(client.deliver(&target(&server.url("/a")), &delivery()).await, Outcome::Accepted);
    let other = client.deliver(&target(&server.url("/b")), &delivery()).await;
    assert_eq!(other, Outcome::Refused(RefusedReason::NoConsent));
}

#[tokio::test]
async fn consent_can_be_asked_for_before_there_is_an_event() {
    let willing = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&willing);
    let server = Server::new(move |_| match asked.load(Ordering::Relaxed) {
        true => Reply::consent(),
        false => Reply::ok(),
    })
    .await;
    let client = local_client();
    let to = target(&server.url("/"));
    assert_eq!(client.ask_consent(&to).await, Outcome::Refused(RefusedReason::NoConsent));
    willing.store(true, Ordering::Relaxed);
    assert_eq!(client.deliver(&to, &delivery()).await, Outcome::Refused(RefusedReason::NoConsent));
    assert_eq!(client.ask_consent(&to).await, Outcome::Accepted);
    assert_eq!(client.deliver(&to, &delivery()).await, Outcome::Accepted);
}

#[tokio::test]
async fn the_allowed_rate_is_obeyed() {
    let server = Server::new(|seen| match seen.method.as_str() {
        "OPTIONS" => {
            Reply::Status(200, "webhook-allowed-origin: *\r\nwebhook-allowed-rate: 300\r\n".to_owned())
        }
        _ => Reply::ok(),
    })
    .await;
    let client = local_client();
    let (to, event) = (target(&server.url("/")), delivery());
    let began = Instant::now();
    let deliveries = (0..8).map(|_| client.deliver(&to, &event));
    let outcomes = futures_util::future::join_all(deliveries).await;
    let sent = outcomes.iter().filter(|outcome| **outcome == Outcome::Accepted).count();
    assert_eq!(sent, server.count("POST"));
    // 300 a minute are 200 ms apart; six fit into the second that a delivery waits.
    assert!(sent >= 6, "{outcomes:?}");
    assert!(began.elapsed() >= Duration::from_millis(200) * (sent as u32 - 1), "{:?}", began.elapsed());
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Accepted | Outcome::NotSent(_))));
}

#[tokio::test]
async fn a_pause_holds_for_every_delivery_to_the_target() {
    let server = Server::consenting(|_| Reply::Status(429, "retry-after: 30\r\n".to_owned())).await;
    let client = local_client();
    let to = target(&server.url("/"));
    assert_eq!(client.deliver(&to, &delivery()).await, Outcome::RetryAfter(Duration::from_secs(30)));
    let Outcome::NotSent(wait) = client.deliver(&to, &delivery()).await else { panic!("it was sent") };
    assert!(wait > Duration::from_secs(28) && wait <= Duration::from_secs(30), "{wait:?}");
    assert_eq!(server.count("POST"), 1);
}

#[tokio::test]
async fn gone_is_told_at_once() {
    let server = Server::consenting(|_| Reply::Status(410, String::new())).await;
    assert_eq!(local_client().deliver(&target(&server.url("/")), &delivery()).await, Outcome::Gone);
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let trap = Server::new(|_| Reply::consent()).await;
    let to = trap.url("/trap");
    for status in [301, 302, 303, 307, 308] {
        let location = format!("location: {to}\r\n");
        let server = Server::consenting(move |_| Reply::Status(status, location.clone())).await;
        let network = Arc::new(TestNetwork::default());
        let client = client(local(), Arc::clone(&network));
        let outcome = client.deliver(&target(&server.url("/")), &delivery()).await;
        assert_eq!(outcome, Outcome::Retry(RetryReason::Redirect(status)));
        assert_eq!(network.dialled(), [server.address]);
    }
    assert!(trap.seen().is_empty());
}

#[tokio::test]
async fn slow_answers_end_in_time() {
    let server = Server::consenting(|_| Reply::Late(Duration::from_secs(30))).await;
    let began = Instant::now();
    let outcome = impatient_client().deliver(&target(&server.url("/")), &delivery()).await;
    assert_eq!(outcome, Outcome::Retry(RetryReason::Timeout));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_body_that_never_comes_does_not_undo_the_status() {
    let server = Server::consenting(|_| Reply::NoBody).await;
    let began = Instant::now();
    let client = impatient_client();
    assert_eq!(client.deliver(&target(&server.url("/")), &delivery()).await, Outcome::Accepted);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn of_a_huge_answer_only_the_start_is_read() {
    let server = Server::consenting(|_| Reply::Long(200 << 20)).await;
    let network = Arc::new(TestNetwork::default());
    let client = client(local(), Arc::clone(&network));
    for _ in 0..2 {
        assert_eq!(client.deliver(&target(&server.url("/")), &delivery()).await, Outcome::Accepted);
    }
    assert_eq!(network.dialled().len(), 2);
    // The rest is what the sockets of this machine hold.
    assert!(server.body_bytes() < 40 << 20, "{}", server.body_bytes());
}

#[tokio::test]
async fn an_answer_as_long_as_the_limit_is_read_whole() {
    let server = Server::consenting(|_| Reply::Long(64 << 10)).await;
    let network = Arc::new(TestNetwork::default());
    let client = client(local(), Arc::clone(&network));
    for _ in 0..2 {
        assert_eq!(client.deliver(&target(&server.url("/")), &delivery()).await, Outcome::Accepted);
    }
    assert_eq!(network.dialled().len(), 1);
}

#[tokio::test]
async fn endless_heads_and_silent_ends_are_failures() {
    let server = Server::consenting(|_| Reply::EndlessHead(1 << 20)).await;
    let outcome = local_client().deliver(&target(&server.url("/")), &delivery()).await;
    assert_eq!(outcome, Outcome::Retry(RetryReason::ConnectionLost));
    let server = Server::consenting(|_| Reply::Close).await;
    let outcome = local_client().deliver(&target(&server.url("/")), &delivery()).await;
    assert_eq!(outcome, Outcome::Retry(RetryReason::ConnectionLost));
}

#[tokio::test]
async fn a_black_hole_ends_in_time() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    // Accepts on its behalf by the kernel, and never answers the TLS handshake.
    let url = format!("https://{}/", silent.local_addr().expect("bound"));
    let began = Instant::now();
    let outcome = impatient_client().deliver(&target(&url), &delivery()).await;
    assert_eq!(outcome, Outcome::Retry(RetryReason::Timeout));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn no_more_than_sixteen_requests_are_in_flight() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, peak) = (Arc::clone(&now), Arc::clone(&most));
    let server = Server::consenting(move |_| {
        peak.fetch_max(counted.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let counted = Arc::clone(&counted);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(80)).await;
            counted.fetch_sub(1, Ordering::SeqCst);
        });
        Reply::Late(Duration::from_millis(100))
    })
    .await;
    let mut settings = local();
    settings.limits.answer = Duration::from_secs(5);
    let client = client(settings, Arc::default());
    let (to, event) = (target(&server.url("/")), delivery());
    let outcomes = futures_util::future::join_all((0..32).map(|_| client.deliver(&to, &event))).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Accepted), "{outcomes:?}");
    assert_eq!(most.load(Ordering::SeqCst), 16);
    assert_eq!(server.count("OPTIONS"), 1);
}

#[tokio::test]
async fn the_breaker_opens_probes_and_closes() {
    let healthy = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&healthy);
    let server = Server::consenting(move |_| match asked.load(Ordering::Relaxed) {
        true => Reply::ok(),
        false => Reply::Status(500, String::new()),
    })
    .await;
    let client = local_client();
    let (to, event) = (target(&server.url("/")), delivery());
    for _ in 0..5 {
        assert_eq!(client.deliver(&to, &event).await, Outcome::Retry(RetryReason::Status(500)));
    }
    for _ in 0..5 {
        assert!(matches!(client.deliver(&to, &event).await, Outcome::NotSent(_)));
    }
    assert_eq!(server.count("POST"), 5);
    // The probe fails, and the next wait is longer.
    tokio::time::sleep(Duration::from_millis(750)).await;
    assert_eq!(client.deliver(&to, &event).await, Outcome::Retry(RetryReason::Status(500)));
    tokio::time::sleep(Duration::from_millis(740)).await;
    assert!(matches!(client.deliver(&to, &event).await, Outcome::NotSent(_)));
    healthy.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(760)).await;
    // One probe goes, whoever comes meanwhile waits.
    let outcomes = futures_util::future::join_all((0..4).map(|_| client.deliver(&to, &event))).await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Accepted).count(), 1, "{outcomes:?}");
    for _ in 0..5 {
        assert_eq!(client.deliver(&to, &event).await, Outcome::Accepted);
    }
    assert_eq!(server.count("POST"), 5 + 1 + 1 + 5);
}

#[tokio::test]
async fn a_handshake_without_an_answer_is_not_repeated_by_everyone_who_waited() {
    let server = Server::new(|_| Reply::Late(Duration::from_secs(30))).await;
    let client = impatient_client();
    let (to, event) = (target(&server.url("/")), delivery());
    let began = Instant::now();
    let outcomes = futures_util::future::join_all((0..16).map(|_| client.deliver(&to, &event))).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Retry(RetryReason::Timeout)), "{outcomes:?}");
    assert_eq!(server.count("OPTIONS"), 1);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test]
async fn one_bad_event_does_not_open_the_breaker() {
    let server = Server::consenting(|_| Reply::Status(400, String::new())).await;
    let client = local_client();
    for _ in 0..10 {
        let outcome = client.deliver(&target(&server.url("/")), &delivery()).await;
        assert_eq!(outcome, Outcome::Retry(RetryReason::Status(400)));
    }
}

#[tokio::test]
async fn a_rebound_name_leads_to_the_checked_address_or_nowhere() {
    let server = Server::consenting(|_| Reply::Close).await;
    let network = TestNetwork::landing_at(&server)
        .with_name("hook.example", &[&["93.184.216.34"], &["93.184.216.34"], &["127.0.0.1"]]);
    let network = Arc::new(network);
    let mut settings = settings();
    settings.http_hosts = ["hook.example".to_owned()].into();
    let client = client(settings, Arc::clone(&network));
    let to = target("http://hook.example/");
    // One lookup for each connection: what was checked is what is dialled, nobody asks a second time.
    assert_eq!(client.deliver(&to, &delivery()).await, Outcome::Retry(RetryReason::ConnectionLost));
    let public = "93.184.216.34:80".parse().expect("an address");
    assert_eq!(network.dialled(), [public]);
    assert_eq!(network.lookups.lock().expect("not poisoned").len(), 1);
    assert_eq!(client.deliver(&to, &delivery()).await, Outcome::Retry(RetryReason::ConnectionLost));
    assert_eq!(network.dialled(), [public, public]);
    // From now on the name says 127.0.0.1.
    let rebound = client.deliver(&to, &delivery()).await;
    assert_eq!(rebound, Outcome::Refused(RefusedReason::Address(AddressRefused::Loopback)));
    assert_eq!(network.dialled(), [public, public]);
    assert_eq!(server.count("POST"), 2);
}

#[tokio::test]
async fn reserved_names_of_an_event_are_not_repeated() {
    let server = Server::consenting(|_| Reply::ok()).await;
    let mut forged = delivery();
    forged.event = EventBuilder::new("1", "/s", "t")
        .attribute("meshbridgekey", AttributeValue::String("forged"))
        .build()
        .expect("a valid event");
    assert_eq!(local_client().deliver(&target(&server.url("/")), &forged).await, Outcome::Accepted);
    let post = server.seen().remove(1);
    assert_eq!(header(&post, "ce-meshbridgekey"), "eu-1-a:3-00000000000000ff:7:42");
    assert!(!post.headers.contains_key("content-type"));
}

#[tokio::test]
async fn an_event_that_http_cannot_carry_is_refused_and_not_bent() {
    let server = Server::consenting(|_| Reply::ok()).await;
    let mut odd = delivery();
    odd.event = EventBuilder::new("1", "/s", "t")
        .attribute("datacontenttype", AttributeValue::String("text/größe"))
        .build()
        .expect("a valid event");
    let outcome = local_client().deliver(&target(&server.url("/")), &odd).await;
    assert_eq!(outcome, Outcome::Refused(RefusedReason::Unsendable));
    assert_eq!(server.count("POST"), 0);
}

#[tokio::test]
async fn a_delivery_that_is_dropped_frees_its_place() {
    let server = Server::consenting(|_| Reply::Late(Duration::from_secs(30))).await;
    let mut settings = local();
    settings.limits.answer = Duration::from_secs(1);
    let client = client(settings, Arc::default());
    let (to, event) = (target(&server.url("/")), delivery());
    assert_eq!(client.ask_consent(&to).await, Outcome::Accepted);
    for _ in 0..3 {
        let all = futures_util::future::join_all((0..16).map(|_| client.deliver(&to, &event)));
        assert!(tokio::time::timeout(Duration::from_millis(200), all).await.is_err());
    }
    // Nothing was learned of the target either: the breaker is closed.
    assert_eq!(client.deliver(&to, &event).await, Outcome::Retry(RetryReason::Timeout));
}

#[test]
fn the_shipped_limits_are_those_of_the_specification() {
    let limits = Limits::default();
    assert_eq!((limits.connect, limits.answer), (Duration::from_secs(3), Duration::from_secs(10)));
    assert_eq!((limits.answer_bytes, limits.in_flight), (64 << 10, 16));
    assert_eq!(limits.consent_life, Duration::from_secs(86_400));
}
