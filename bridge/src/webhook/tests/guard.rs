//! The rules for addresses by themselves.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::AddressRules;
use crate::webhook::{AddressRefused, InvalidRange};

/// 198.51.100.77 is an address of this machine.
#[track_caller]
fn check(allowed: &[&str], own: &[&str], address: &str, expected: Result<&str, AddressRefused>) {
    let socket = |text: &&str| text.parse::<SocketAddr>().expect("an address with a port");
    let rules = AddressRules::new(allowed, own.iter().map(socket).collect()).expect("good ranges");
    let is_this_machine = |ip: IpAddr| ip == IpAddr::from([198, 51, 100, 77]);
    let found = rules.check(socket(&address), &is_this_machine).map(|checked| checked.get());
    assert_eq!(found, expected.map(|text| socket(&text)), "{address}, allowed {allowed:?}, own {own:?}");
}

#[test]
fn every_first_and_last_address_is_judged_as_the_standard_library_judges_it() {
    let rules = AddressRules::default();
    let mut refused = 0;
    for high in 0..=u16::MAX {
        for low in [0_u16, 1, 0x7fff, u16::MAX] {
            let ip = Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
            let is_special = ip.is_loopback()
                || ip.is_private()
                || ip.is_link_local()
                || ip.is_multicast()
                || ip.is_broadcast()
                || ip.is_documentation()
                || ip.is_unspecified();
            let result = rules.check(SocketAddr::new(ip.into(), 443), &|_| false);
            assert!(!is_special || result.is_err(), "{ip}");
            // The same address inside IPv6 has the same fate.
            for v6 in [ip.to_ipv6_mapped(), nat64(ip), six_to_four(ip)] {
                let inside = rules.check(SocketAddr::new(v6.into(), 443), &|_| false);
                assert_eq!(inside.is_err(), result.is_err(), "{v6} for {ip}");
            }
            refused += usize::from(result.is_err());
        }
    }
    // A rule that refused everything would pass the above.
    assert!(refused < 1 << 16, "{refused}");
}

fn nat64(ip: Ipv4Addr) -> std::net::Ipv6Addr {
    let [a, b, c, d] = ip.octets().map(u16::from);
    [0x64, 0xff9b, 0, 0, 0, 0, a << 8 | b, c << 8 | d].into()
}

fn six_to_four(ip: Ipv4Addr) -> std::net::Ipv6Addr {
    let [a, b, c, d] = ip.octets().map(u16::from);
    [0x2002, a << 8 | b, c << 8 | d, 0, 0, 0, 0, 1].into()
}

#[test]
fn an_operator_may_allow_a_range_and_nothing_around_it() {
    check(&["10.1.0.0/16"], &[], "10.1.2.3:443", Ok("10.1.2.3:443"));
    check(&["10.1.0.0/16"], &[], "10.2.0.0:443", Err(AddressRefused::Private));
    check(&["10.1.0.0/16"], &[], "10.0.255.255:443", Err(AddressRefused::Private));
    check(&["10.1.0.0/16"], &[], "[::ffff:10.1.2.3]:443", Ok("10.1.2.3:443"));
    check(&["10.1.0.0/16"], &[], "[64:ff9b::a01:203]:443", Ok("[64:ff9b::a01:203]:443"));
    check(&["10.1.0.0/16"], &[], "[64:ff9b::a02:203]:443", Err(AddressRefused::Private));
    check(&["fd12::/32"], &[], "[fd12::1]:443", Ok("[fd12::1]:443"));
    check(&["fd12::/32"], &[], "[fd13::1]:443", Err(AddressRefused::Private));
    check(&["169.254.169.254/32"], &[], "169.254.169.254:80", Ok("169.254.169.254:80"));
}

#[test]
fn no_range_allows_what_means_this_machine_or_many() {
    let all = ["0.0.0.0/0", "::/0"];
    check(&all, &[], "0.0.0.0:443", Err(AddressRefused::Unspecified));
    check(&all, &[], "0.1.2.3:443", Err(AddressRefused::Unspecified));
    check(&all, &[], "[::]:443", Err(AddressRefused::Unspecified));
    check(&all, &[], "224.0.0.1:443", Err(AddressRefused::Multicast));
    check(&all, &[], "255.255.255.255:443", Err(AddressRefused::Multicast));
    check(&all, &[], "[ff02::1]:443", Err(AddressRefused::Multicast));
    check(&all, &[], "[::ffff:0.0.0.0]:443", Err(AddressRefused::Unspecified));
    check(&all, &[], "[64:ff9b::]:443", Err(AddressRefused::Unspecified));
}

#[test]
fn an_allowed_outer_range_does_not_allow_the_address_inside() {
    check(&["64:ff9b::/96"], &[], "[64:ff9b::7f00:1]:443", Err(AddressRefused::Loopback));
    check(&["2002::/16"], &[], "[2002:a00:1::]:443", Err(AddressRefused::Private));
}

#[test]
fn our_own_listeners_are_refused_whatever_is_allowed() {
    let all = ["0.0.0.0/0", "::/0"];
    let own = AddressRefused::OwnListener;
    check(&all, &["127.0.0.1:9090"], "127.0.0.1:9090", Err(own));
    check(&all, &["127.0.0.1:9090"], "127.0.0.1:9091", Ok("127.0.0.1:9091"));
    check(&all, &["127.0.0.1:9090"], "[::ffff:127.0.0.1]:9090", Err(own));
    check(&all, &["127.0.0.1:9090"], "[64:ff9b::7f00:1]:9090", Err(own));
    check(&all, &["[::ffff:127.0.0.1]:9090"], "127.0.0.1:9090", Err(own));
    // A listener on every address is reached by each of them, public ones too.
    for any in ["0.0.0.0:8080", "[::]:8080"] {
        check(&all, &[any], "127.9.9.9:8080", Err(own));
        check(&all, &[any], "[::1]:8080", Err(own));
        check(&all, &[any], "198.51.100.77:8080", Err(own));
        check(&all, &[any], "198.51.100.77:8081", Ok("198.51.100.77:8081"));
        check(&all, &[any], "198.51.100.78:8080", Ok("198.51.100.78:8080"));
    }
    // The public address of a machine behind a translator, as its operator gives it.
    check(&[], &["93.184.216.34:443"], "93.184.216.34:443", Err(own));
}

#[tokio::test]
async fn this_machine_knows_its_own_addresses() {
    use crate::webhook::{Network, SystemNetwork};
    let resolver = hickory_resolver::TokioResolver::builder_tokio().and_then(|builder| builder.build());
    let Ok(resolver) = resolver else { return };
    let network = SystemNetwork::new(std::sync::Arc::new(resolver));
    assert!(network.is_this_machine(IpAddr::from([127, 0, 0, 1])));
    assert!(!network.is_this_machine(IpAddr::from([1, 1, 1, 1])));
}

#[test]
fn ranges_say_what_they_mean() {
    let parse = |text: &str| AddressRules::new(&[text], Vec::new()).map(|_| ());
    assert!(matches!(parse("10.0.0.0"), Err(InvalidRange::Syntax(_))));
    assert!(matches!(parse("10.0.0.0/33"), Err(InvalidRange::Syntax(_))));
    assert!(matches!(parse("internal"), Err(InvalidRange::Syntax(_))));
    assert!(matches!(parse("10.1.2.3/8"), Err(InvalidRange::Untidy(..))));
    assert!(matches!(parse("::ffff:10.0.0.0/104"), Err(InvalidRange::Mapped(_))));
    assert!(parse("10.0.0.0/8").is_ok() && parse("::1/128").is_ok());
}
