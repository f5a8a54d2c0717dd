//! The one name of a bridge, and reading it from a certificate.

use std::fmt;

use meshbridge_routing::{BridgeId, ZoneName};
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// `spiffe://<federation>/zone/<zone>/bridge/<bridge>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BridgeIdentity {
    pub(crate) federation: String,
    pub(crate) zone: ZoneName,
    pub(crate) bridge: BridgeId,
}

/// Why a certificate does not name a bridge.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IdentityProblem {
    /// Not a certificate that can be read.
    #[error("the certificate cannot be parsed")]
    Malformed,
    /// None, or several: which one counts would be a guess.
    #[error("the certificate must carry exactly one URI name, it carries {0}")]
    UriNames(usize),
    /// The URI has another form.
    #[error("`{0}` is not of the form spiffe://<federation>/zone/<zone>/bridge/<id>")]
    Form(String),
}

impl BridgeIdentity {
    pub(crate) fn parse(uri: &str) -> Option<BridgeIdentity> {
        let rest = uri.strip_prefix("spiffe://")?;
        let mut parts = rest.split('/');
        let (federation, zone_key, zone, bridge_key, bridge) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let named = !federation.is_empty() && zone_key == "zone" && bridge_key == "bridge";
        if !named || parts.next().is_some() {
            return None;
        }
        Some(BridgeIdentity {
            federation: federation.to_owned(),
            zone: ZoneName::parse(zone).ok()?,
            bridge: BridgeId::parse(bridge).ok()?,
        })
    }

    pub(crate) fn of_certificate(
        certificate: &CertificateDer<'_>,
    ) -> Result<BridgeIdentity, IdentityProblem> {
        let uri = uri_name(certificate)?;
        // The text of a stranger: cut before it is shown.
        BridgeIdentity::parse(&uri).ok_or_else(|| IdentityProblem::Form(uri.chars().take(256).collect()))
    }
}

impl fmt::Display for BridgeIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/zone/{}/bridge/{}", self.federation, self.zone, self.bridge)
    }
}

fn uri_name(certificate: &CertificateDer<'_>) -> Result<String, IdentityProblem> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| IdentityProblem::Malformed)?;
    let names = parsed.subject_alternative_name().map_err(|_| IdentityProblem::Malformed)?;
    let uris: Vec<&str> = names
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect();
    match uris.as_slice() {
        [uri] => Ok((*uri).to_owned()),
        other => Err(IdentityProblem::UriNames(other.len())),
    }
}

/// The serial of a certificate as lower-case hexadecimal, as a deny-list names it.
pub(super) fn serial_hex(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(parsed.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// When a certificate ends, in seconds since the Unix epoch.
pub(super) fn not_after_unix(certificate: &CertificateDer<'_>) -> Option<u64> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    u64::try_from(parsed.validity().not_after.timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_compared_in_full() {
        check("spiffe://acme/zone/dmz/bridge/dmz-1", true);
        check("spiffe://acme/zone/dmz/bridge/dmz-1/", false);
        check("spiffe://acme/zone/dmz/bridge/dmz-1/x", false);
        check("spiffe://acme/zone/DMZ/bridge/dmz-1", false);
        check("spiffe:///zone/dmz/bridge/dmz-1", false);
        check("https://acme/zone/dmz/bridge/dmz-1", false);
        check("spiffe://acme/bridge/dmz-1/zone/dmz", false);
        check("spiffe://acme/zone//bridge/dmz-1", false);
    }

    #[track_caller]
    fn check(uri: &str, good: bool) {
        let parsed = BridgeIdentity::parse(uri);
        assert_eq!(parsed.is_some(), good, "{uri}");
        if let Some(identity) = parsed {
            assert_eq!(identity.to_string(), uri);
        }
    }

    #[test]
    fn bytes_that_are_no_certificate_are_refused() {
        let garbage = CertificateDer::from(vec![0x30, 0x82, 0xff]);
        assert_eq!(BridgeIdentity::of_certificate(&garbage), Err(IdentityProblem::Malformed));
    }
}
