//! Which addresses a webhook may be sent to (RELIABILITY G10): the public internet, what the operator allows, and
//! never ourselves. Pure: the addresses come in, a [`CheckedAddress`] or the reason comes out.
//!
//! An address is judged in its plainest form. IPv6 addresses that carry an IPv4 address inside (mapped, NAT64, 6to4,
//! ISATAP) go where the inner one goes, so the inner one must pass as well, whatever is allowed of the outer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// An address that has passed the rules. Only [`AddressRules::check`] makes one, and connecting takes nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CheckedAddress(SocketAddr);

impl CheckedAddress {
    pub(crate) fn get(self) -> SocketAddr {
        self.0
    }
}

/// Why an address is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressRefused {
    #[error("the address means no machine, or this one")]
    Unspecified,
    #[error("the address is a loopback address")]
    Loopback,
    #[error("the address belongs to one link")]
    LinkLocal,
    #[error("the address belongs to a private network")]
    Private,
    #[error("the address is shared by the customers of a carrier")]
    SharedByCarrier,
    #[error("the address is a multicast or broadcast address")]
    Multicast,
    #[error("the address is where a cloud tells its machines their secrets")]
    Metadata,
    #[error("the address is reserved")]
    Reserved,
    #[error("the address is a listener of this bridge")]
    OwnListener,
}

/// A range of addresses that is not what it seems.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidRange {
    #[error("`{0}` is no range of addresses, such as 10.20.0.0/16 or fd12::/32")]
    Syntax(String),
    #[error("`{0}` has bits beyond its prefix: write `{1}`")]
    Untidy(String, IpNet),
    #[error("`{0}` holds IPv4 addresses: write the IPv4 range")]
    Mapped(String),
}

use AddressRefused as Refused;

/// First match decides.
const V4: [(Ipv4Net, Refused); 17] = [
    (v4(0, 0, 0, 0, 8), Refused::Unspecified),
    (v4(10, 0, 0, 0, 8), Refused::Private),
    (v4(100, 64, 0, 0, 10), Refused::SharedByCarrier),
    (v4(127, 0, 0, 0, 8), Refused::Loopback),
    (v4(169, 254, 0, 0, 16), Refused::LinkLocal),
    (v4(172, 16, 0, 0, 12), Refused::Private),
    (v4(192, 168, 0, 0, 16), Refused::Private),
    // Azure answers its machines here although the address looks public.
    (v4(168, 63, 129, 16, 32), Refused::Metadata),
    (v4(192, 0, 0, 0, 24), Refused::Reserved),
    (v4(192, 0, 2, 0, 24), Refused::Reserved),
    (v4(192, 88, 99, 0, 24), Refused::Reserved),
    (v4(198, 18, 0, 0, 15), Refused::Reserved),
    (v4(198, 51, 100, 0, 24), Refused::Reserved),
    (v4(203, 0, 113, 0, 24), Refused::Reserved),
    (v4(224, 0, 0, 0, 4), Refused::Multicast),
    (v4(255, 255, 255, 255, 32), Refused::Multicast),
    (v4(240, 0, 0, 0, 4), Refused::Reserved),
];

/// First match decides; what is in none of these must be in `PUBLIC_V6`.
const V6: [(Ipv6Net, Refused); 9] = [
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 128), Refused::Unspecified),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), Refused::Loopback),
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), Refused::Private),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), Refused::LinkLocal),
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), Refused::Private),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), Refused::Multicast),
    // Teredo, ORCHID and other protocols; documentation.
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), Refused::Reserved),
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), Refused::Reserved),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), Refused::Reserved),
];

const PUBLIC_V6: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);
const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);
const SIX_TO_FOUR: Ipv6Net = v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16);

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(s: [u16; 8], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]), prefix)
}

/// What the operator allows beyond the public internet, and where this bridge itself listens.
#[derive(Clone, Debug, Default)]
pub(crate) struct AddressRules {
    allowed: Vec<IpNet>,
    own: Vec<SocketAddr>,
}

impl AddressRules {
    /// `own` are the listeners of this bridge, and the addresses under which others reach them where those differ. An
    /// unspecified address stands for every address of this machine.
    pub(crate) fn new(allowed: &[impl AsRef<str>], own: Vec<SocketAddr>) -> Result<Self, InvalidRange> {
        let allowed = allowed.iter().map(|text| parse_range(text.as_ref())).collect::<Result<_, _>>()?;
        let own = own.into_iter().map(|own| SocketAddr::new(own.ip().to_canonical(), own.port())).collect();
        Ok(AddressRules { allowed, own })
    }

    /// `is_this_machine` says whether an address is one of this machine's.
    pub(crate) fn check(
        &self,
        address: SocketAddr,
        is_this_machine: &dyn Fn(IpAddr) -> bool,
    ) -> Result<CheckedAddress, AddressRefused> {
        let ip = address.ip().to_canonical();
        if let IpAddr::V6(v6) = ip {
            for inner in embedded(v6) {
                self.check(SocketAddr::new(IpAddr::V4(inner), address.port()), is_this_machine)?;
            }
        }
        let is_own = |own: &SocketAddr| {
            own.port() == address.port()
                && (own.ip() == ip || own.ip().is_unspecified() && (ip.is_loopback() || is_this_machine(ip)))
        };
        let reason = refusal(ip);
        // Not even where the operator allows their range: some systems take these for the loopback address.
        if let Some(reason @ (Refused::Unspecified | Refused::Multicast)) = reason {
            return Err(reason);
        }
        if self.own.iter().any(is_own) {
            return Err(Refused::OwnListener);
        }
        match reason {
            Some(reason) if !self.allowed.iter().any(|range| range.contains(&ip)) => Err(reason),
            _ => Ok(CheckedAddress(SocketAddr::new(ip, address.port()))),
        }
    }
}

fn refusal(ip: IpAddr) -> Option<AddressRefused> {
    match ip {
        IpAddr::V4(ip) => V4.iter().find(|(range, _)| range.contains(&ip)).map(|(_, reason)| *reason),
        IpAddr::V6(ip) => match V6.iter().find(|(range, _)| range.contains(&ip)) {
            Some((_, reason)) => Some(*reason),
            None => (!PUBLIC_V6.contains(&ip) && !NAT64.contains(&ip)).then_some(Refused::Reserved),
        },
    }
}

/// The IPv4 addresses that an IPv6 address stands for, or may stand for.
fn embedded(ip: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let words = ip.segments();
    let at = |word: usize| Ipv4Addr::from(u32::from(words[word]) << 16 | u32::from(words[word + 1]));
    let low = NAT64.contains(&ip) || words[..6] == [0; 6] && !ip.is_loopback() && !ip.is_unspecified();
    // ISATAP: the interface id is 0:5efe or 200:5efe before the IPv4 address.
    let isatap = matches!(words[4], 0 | 0x200) && words[5] == 0x5efe;
    let six_to_four = SIX_TO_FOUR.contains(&ip);
    [(low || isatap).then(|| at(6)), six_to_four.then(|| at(1))].into_iter().flatten()
}

fn parse_range(text: &str) -> Result<IpNet, InvalidRange> {
    let range: IpNet = text.parse().map_err(|_| InvalidRange::Syntax(text.to_owned()))?;
    if range.trunc() != range {
        return Err(InvalidRange::Untidy(text.to_owned(), range.trunc()));
    }
    match range {
        IpNet::V6(range) if range.addr().to_ipv4_mapped().is_some() => {
            Err(InvalidRange::Mapped(text.to_owned()))
        }
        range => Ok(range),
    }
}
