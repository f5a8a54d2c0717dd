//! `meshbridge cert`: an authority and certificates for development.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use time::{Duration, OffsetDateTime};

use super::{Failure, Outcome};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make a certificate authority: ca.pem and ca.key
    Init(InitArguments),
    /// Make the certificate of a bridge or a client, signed by the authority: cert.pem and key.pem
    Issue(IssueArguments),
}

#[derive(Debug, clap::Args)]
pub(super) struct InitArguments {
    /// Directory for ca.pem and ca.key
    #[arg(long, value_name = "DIR", default_value = "ca")]
    out: PathBuf,
    /// Name of the federation
    #[arg(long)]
    federation: String,
    /// Days the authority is valid
    #[arg(long, default_value_t = 365)]
    days: u32,
}

#[derive(Debug, clap::Args)]
pub(super) struct IssueArguments {
    /// Directory with ca.pem and ca.key
    #[arg(long, value_name = "DIR", default_value = "ca")]
    ca: PathBuf,
    /// Name of the federation
    #[arg(long)]
    federation: String,
    /// Zone of the bridge
    #[arg(long, requires = "bridge")]
    zone: Option<String>,
    /// Id of the bridge
    #[arg(long, requires = "zone", conflicts_with = "client")]
    bridge: Option<String>,
    /// Name of a client instead of a bridge
    #[arg(long, required_unless_present = "bridge")]
    client: Option<String>,
    /// Further DNS names or addresses, for a server's certificate
    #[arg(long, value_name = "NAME")]
    dns: Vec<String>,
    /// Hours the certificate is valid
    #[arg(long, default_value_t = 24)]
    hours: u32,
    /// Directory for cert.pem and key.pem
    #[arg(long, value_name = "DIR", default_value = "tls")]
    out: PathBuf,
}

pub(super) fn run(command: &Command) -> Outcome {
    match command {
        Command::Init(arguments) => init(arguments),
        Command::Issue(arguments) => issue(arguments),
    }
    .map_err(Failure::Input)
}

fn init(arguments: &InitArguments) -> anyhow::Result<()> {
    let authority = Authority::generate(&arguments.federation, arguments.days)?;
    authority.write(&arguments.out)?;
    println!("{}", arguments.out.join("ca.pem").display());
    Ok(())
}

fn issue(arguments: &IssueArguments) -> anyhow::Result<()> {
    let authority = Authority::read(&arguments.ca)?;
    let federation = &arguments.federation;
    let uri = match (&arguments.zone, &arguments.bridge, &arguments.client) {
        (Some(zone), Some(bridge), _) => bridge_uri(federation, zone, bridge),
        (_, _, Some(client)) => format!("spiffe://{federation}/client/{client}"),
        _ => anyhow::bail!("give --zone and --bridge, or --client"),
    };
    let leaf = authority.issue(&uri, &arguments.dns, arguments.hours)?;
    leaf.write(&arguments.out)?;
    println!("{}", arguments.out.join("cert.pem").display());
    Ok(())
}

pub(super) fn bridge_uri(federation: &str, zone: &str, bridge: &str) -> String {
    format!("spiffe://{federation}/zone/{zone}/bridge/{bridge}")
}

/// An authority with its key.
pub(super) struct Authority {
    certificate: String,
    key: String,
}

/// A certificate with its key.
pub(super) struct Leaf {
    certificate: String,
    key: String,
}

impl Authority {
    pub(super) fn generate(federation: &str, days: u32) -> anyhow::Result<Authority> {
        let mut params =
            parameters(&format!("{federation} development authority"), Duration::days(i64::from(days)));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.self_signed(&key)?;
        Ok(Authority { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    fn read(directory: &Path) -> anyhow::Result<Authority> {
        let read = |name: &str| {
            let path = directory.join(name);
            std::fs::read_to_string(&path).with_context(|| {
                format!("cannot read `{}`, make it with `meshbridge cert init`", path.display())
            })
        };
        Ok(Authority { certificate: read("ca.pem")?, key: read("ca.key")? })
    }

    fn write(&self, directory: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot make `{}`", directory.display()))?;
        write_secret(&directory.join("ca.key"), &self.key)?;
        write_file(&directory.join("ca.pem"), &self.certificate)
    }

    pub(super) fn certificate(&self) -> &str {
        &self.certificate
    }

    pub(super) fn issue(&self, uri: &str, dns: &[String], hours: u32) -> anyhow::Result<Leaf> {
        let issuer = Issuer::from_ca_cert_pem(&self.certificate, KeyPair::from_pem(&self.key)?)
            .context("the authority cannot be used")?;
        let mut params =
            parameters(uri.rsplit('/').next().unwrap_or_default(), Duration::hours(i64::from(hours)));
        params.subject_alt_names = vec![SanType::URI(uri.try_into().context("the name is not ASCII")?)];
        for name in dns {
            let san = match name.parse() {
                Ok(ip) => SanType::IpAddress(ip),
                Err(_) => SanType::DnsName(name.as_str().try_into().context("the name is not ASCII")?),
            };
            params.subject_alt_names.push(san);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.signed_by(&key, &issuer)?;
        Ok(Leaf { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

impl Leaf {
    pub(super) fn write(&self, directory: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot make `{}`", directory.display()))?;
        write_secret(&directory.join("key.pem"), &self.key)?;
        write_file(&directory.join("cert.pem"), &self.certificate)
    }
}

fn parameters(name: &str, lives: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    params.distinguished_name = subject;
    // A little into the past, for clocks that are behind.
    let now = OffsetDateTime::now_utc();
    params.not_before = now - Duration::minutes(5);
    params.not_after = now + lives;
    params
}

pub(super) fn write_file(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))
}

/// Readable by its owner only, from the first byte on.
fn write_secret(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let open = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    open.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write `{}`", path.display()))
}
