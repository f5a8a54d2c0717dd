//! URLs that try to lead us where we must not go (RELIABILITY G10, T45).

use std::sync::Arc;

use super::server::TestNetwork;
use super::{client, delivery, settings};
use crate::webhook::{InvalidUrl, Outcome, RefusedReason, RetryReason, Target, TargetUrl};

/// Names as an attacker's server would answer for them.
const NAMES: &[(&str, &[&str])] = &[
    ("localhost", &["127.0.0.1", "::1"]),
    ("localhost.", &["127.0.0.1"]),
    ("sub.localhost", &["127.0.0.1"]),
    ("localtest.me", &["127.0.0.1"]),
    ("127.0.0.1.nip.io", &["127.0.0.1"]),
    ("six.example", &["::1"]),
    ("mapped.example", &["::ffff:10.0.0.1"]),
    ("nat64.example", &["64:ff9b::a00:1"]),
    ("six-to-four.example", &["2002:a00:1::"]),
    ("mixed.example", &["93.184.216.34", "10.0.0.1"]),
    ("mixed-late.example", &["93.184.216.34", "2606:4700::1", "1.1.1.1", "1.0.0.1", "9.9.9.9", "fd00::1"]),
    ("metadata.google.internal", &["169.254.169.254"]),
    ("instance-data.ec2.internal", &["169.254.169.254"]),
    ("xn--bcher-kva.example", &["192.168.7.7"]),
    ("carrier.example", &["100.64.9.9"]),
    ("zero.example", &["0.0.0.0"]),
    ("good.example", &["93.184.216.34"]),
];

const TRICKS: &[&str] = &[
    // The loopback address, in every spelling.
    "https://127.0.0.1/",
    "https://127.0.0.1./",
    "https://127.0.0.1:8443/hook",
    "https://127.1/",
    "https://127.0.1/",
    "https://127.255.255.254/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0X7F.1/",
    "https://0x7f.0x0.0x0.0x1/",
    "https://0177.0.0.1/",
    "https://0177.0.0.01/",
    "https://017700000001/",
    "https://00000177.1/",
    "https://127.000.000.001/",
    "https://127.0x0.1/",
    "https://%31%32%37.0.0.1/",
    "https://127%2e0%2e0%2e1/",
    "https://①②⑦.⓪.⓪.①/",
    "https://１２７.０.０.１/",
    "https://127。0。0。1/",
    "https://127.0.0.\u{ad}1/",
    "https://127.0.0.\u{200b}1/",
    "https://localhost/",
    "https://LOCALHOST/",
    "https://localhost./",
    "https://sub.localhost/",
    "https://ⓛocalhost/",
    "https://localtest.me/",
    "https://127.0.0.1.nip.io/",
    "https://six.example/",
    "https://[::1]/",
    "https://[0:0:0:0:0:0:0:1]/",
    "https://[0000::0001]/",
    // This machine, said otherwise.
    "https://0/",
    "https://0.0.0.0/",
    "https://0x0/",
    "https://00/",
    "https://0.1.2.3/",
    "https://[::]/",
    "https://zero.example/",
    // IPv4 inside IPv6.
    "https://[::127.0.0.1]/",
    "https://[::7f00:1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[::FFFF:10.0.0.1]/",
    "https://[0:0:0:0:0:ffff:a00:1]/",
    "https://[::ffff:0.0.0.0]/",
    "https://[::ffff:169.254.169.254]/",
    "https://[::ffff:0:127.0.0.1]/",
    "https://[::a9fe:a9fe]/",
    "https://[64:ff9b::127.0.0.1]/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://[64:ff9b::192.168.1.1]/",
    "https://[64:ff9b:1::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[2002:a00:1::1]/",
    "https://[2002:a9fe:a9fe::]/",
    "https://[2002:c0a8:101::]/",
    "https://[2001:0:7f00:1::]/",
    "https://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
    "https://[2606:4700::5efe:10.0.0.1]/",
    "https://[2606:4700::200:5efe:127.0.0.1]/",
    "https://mapped.example/",
    "https://nat64.example/",
    "https://six-to-four.example/",
    // Networks that are not the internet.
    "https://10.0.0.1/",
    "https://10.255.255.255/",
    "https://167772161/",
    "https://0xa.1/",
    "https://012.0.0.1/",
    "https://172.16.0.1/",
    "https://172.31.255.255/",
    "https://192.168.0.1/",
    "https://192.168.257/",
    "https://3232235777/",
    "https://100.64.0.1/",
    "https://100.127.255.255/",
    "https://carrier.example/",
    "https://bücher.example/",
    "https://[fc00::1]/",
    "https://[fd12:3456::1]/",
    "https://[fec0::1]/",
    "https://[fe80::1]/",
    "https://[febf::1]/",
    "https://[fe80::1%25eth0]/",
    "https://[fe80::1%eth0]/",
    // What clouds tell their machines.
    "https://169.254.169.254/latest/meta-data/",
    "https://169.254.170.2/",
    "https://169.254.43518/",
    "https://2852039166/",
    "https://0xa9fea9fe/",
    "https://0251.0376.0251.0376/",
    "https://0251.254.169.254/",
    "https://168.63.129.16/",
    "https://100.100.100.200/",
    "https://192.0.0.192/",
    "https://[fd00:ec2::254]/",
    "https://[fd20:ce::254]/",
    "https://[fd00:c1::a9fe:a9fe]/",
    "https://metadata.google.internal/",
    "https://instance-data.ec2.internal/",
    // Reserved, multicast, broadcast, documentation.
    "https://224.0.0.1/",
    "https://239.255.255.250/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
    "https://198.18.0.1/",
    "https://192.0.2.1/",
    "https://198.51.100.7/",
    "https://203.0.113.9/",
    "https://192.88.99.1/",
    "https://[ff02::1]/",
    "https://[ff0e::1]/",
    "https://[100::1]/",
    "https://[2001:db8::1]/",
    "https://[3fff::1]/",
    "https://[5f00::1]/",
    "https://[4000::1]/",
    // One good address does not vouch for the others.
    "https://mixed.example/",
    "https://mixed-late.example/",
    // Who is the host?
    "https://good.example@127.0.0.1/",
    "https://good.example:443@127.0.0.1/",
    "https://127.0.0.1@good.example/",
    "https://@127.0.0.1/",
    "https://:@127.0.0.1/",
    "https://@good.example/",
    "https://good.example%2f@127.0.0.1/",
    "https://good.example%23@127.0.0.1/",
    "https://good.example\\@127.0.0.1/",
    "https://good.example\\.127.0.0.1/",
    "https:\\\\127.0.0.1\\",
    "https:/\\127.0.0.1/",
    "https:///127.0.0.1/",
    "https:////127.0.0.1/",
    "https:127.0.0.1",
    "https:/127.0.0.1",
    "//127.0.0.1/",
    "127.0.0.1",
    "https://good.example#@127.0.0.1/",
    "https://good.example/#@127.0.0.1/",
    "https://127.0.0.1#good.example",
    "https://127.0.0.1?good.example",
    "https://127.0.0.1%00.good.example/",
    "https://127.0.0.1%0a.good.example/",
    "https://good.example:443:80/",
    "https://good.example:0/",
    "https://good.example:99999/",
    "https://good.example:-1/",
    "https://good.example:https/",
    "https://[127.0.0.1]/",
    "https://[::1/",
    "https://::1/",
    "https://[::1]@good.example/",
    "https://1.2.3.4.5/",
    "https://256.256.256.256/",
    "https://0x100000000/",
    "https://4294967296/",
    "https://good.example /",
    " https://127.0.0.1/",
    "https://127.0.0.1\t/",
    "https://127.0.0.1\n/",
    "https://good.example/\r\nHost: 127.0.0.1",
    "https://good.example/ HTTP/1.1\r\nX: y",
    "ht\ntps://127.0.0.1/",
    "https://127.0.0.1\0/",
    "https://",
    "https:///",
    "https://?",
    "",
    // Other protocols.
    "http://good.example/",
    "HTTP://good.example/",
    "http://127.0.0.1/",
    "http://[::1]:80/",
    "ftp://good.example/",
    "file:///etc/passwd",
    "file://good.example/etc/passwd",
    "gopher://127.0.0.1:6379/_INFO",
    "dict://127.0.0.1:11211/stat",
    "ldap://127.0.0.1/",
    "ws://good.example/",
    "wss://good.example/",
    "unix:/run/docker.sock",
    "jar:https://good.example!/",
    "data:text/plain,x",
    "javascript:alert(1)",
    "view-source:https://good.example/",
    "httpss://good.example/",
    "https//good.example/",
];

fn network() -> TestNetwork {
    NAMES.iter().fold(TestNetwork::default(), |network, (name, ips)| network.with_name(name, &[*ips]))
}

#[tokio::test]
async fn no_trick_reaches_an_address_that_is_refused() {
    assert!(TRICKS.len() >= 100, "{} tricks", TRICKS.len());
    let mut wrong = Vec::new();
    for trick in TRICKS {
        let network = Arc::new(network());
        let client = client(settings(), Arc::clone(&network));
        let outcome = match TargetUrl::parse(trick) {
            Ok(url) => client.deliver(&Target { url, keys: None }, &delivery()).await,
            Err(_) => Outcome::Refused(RefusedReason::Insecure),
        };
        // "Not reached" for another reason, such as a name nobody knows, would prove nothing.
        if !matches!(outcome, Outcome::Refused(_)) || !network.dialled().is_empty() {
            wrong.push(format!("{trick:?}: {outcome:?}, dialled {:?}", network.dialled()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn good_urls_lead_to_their_addresses() {
    for (url, address) in [
        ("https://good.example/", "93.184.216.34:443"),
        ("https://GOOD.example:8443/a?b=c", "93.184.216.34:8443"),
        ("https://1.1.1.1/", "1.1.1.1:443"),
        ("https://16843009/", "1.1.1.1:443"),
        ("https://[::ffff:1.1.1.1]/", "1.1.1.1:443"),
        ("https://[2606:4700::1111]/", "[2606:4700::1111]:443"),
        ("https://[64:ff9b::101:101]/", "[64:ff9b::101:101]:443"),
        ("https://172.32.0.1/", "172.32.0.1:443"),
        ("https://100.128.0.1/", "100.128.0.1:443"),
    ] {
        let mut network = network();
        // Connections end at a port where nobody listens.
        network.lands_at("127.0.0.1:1");
        let network = Arc::new(network);
        let target = Target { url: TargetUrl::parse(url).expect(url), keys: None };
        let outcome = client(settings(), Arc::clone(&network)).deliver(&target, &delivery()).await;
        assert_eq!(outcome, Outcome::Retry(RetryReason::Unreachable), "{url}");
        assert_eq!(network.dialled(), [address.parse().expect("an address")], "{url}");
    }
}

#[test]
fn what_a_url_says_is_what_is_sent() {
    let url = TargetUrl::parse("https://Hook.Example:8443/a%20b/../c?token=s3cret&x={y}").expect("a URL");
    assert_eq!(url.authority(), "hook.example:8443");
    assert_eq!(url.path_and_query(), "/c?token=s3cret&x={y}");
    assert_eq!(format!("{url:?}"), "https://hook.example:8443");
    assert_eq!(TargetUrl::parse("https://hook.example").expect("a URL").path_and_query(), "/");
}

#[test]
fn who_wrote_a_url_hears_what_is_wrong_with_it() {
    let long = format!("https://hook.example/{}", "a".repeat(3_000));
    for (text, problem) in [
        (long.as_str(), InvalidUrl::TooLong),
        ("hook.example", InvalidUrl::Scheme),
        ("https://hook.example/a b", InvalidUrl::Characters),
        ("https://[::1/", InvalidUrl::Syntax),
        ("https://me@hook.example/", InvalidUrl::Credentials),
        ("https://hook.example/#a", InvalidUrl::Fragment),
        ("https://hook.example:0/", InvalidUrl::Port),
    ] {
        assert_eq!(TargetUrl::parse(text), Err(problem), "{text}");
    }
    // An address in the query is no user name.
    assert!(TargetUrl::parse("https://hook.example?user=a@b").is_ok());
}
