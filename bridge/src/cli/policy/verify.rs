//! `meshbridge policy verify`: whether somebody entitled signed a bundle, and what is in it.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use meshbridge_bundle::{ARCHIVE_BYTES_MAX, KeyRing, Opened, PublicKey, Verified, open, verify};
use meshbridge_policy::SourceFile;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Failure, Format, Outcome, print_json};
use crate::bundles::{key_ring, layers_of};
use crate::config::read_federation;

#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "The key of the layer federation is the one that bridges have as `root`; keys of inner layers are in the federation\ndocument. Nothing of a bundle is used before its signature holds, so a bundle that fails here prints no manifest.\n\nExamples:\n  meshbridge policy verify federation.15.bundle --root 7AEtB6pRseWD...\n  meshbridge policy verify region-eu.15.bundle --root 7AEtB6pRseWD... --federation federation.yaml --above 14"
)]
pub(in crate::cli) struct Arguments {
    /// The bundle
    file: PathBuf,
    /// The public half of the key that signs for the federation, in Base64
    #[arg(long, value_name = "KEY", value_parser = parse_key)]
    root: PublicKey,
    /// The federation document, which binds keys to inner layers; without it only the layer federation can be verified
    #[arg(long, value_name = "FILE")]
    federation: Option<PathBuf>,
    /// The revision in force: a bundle that is not above it is refused
    #[arg(long, value_name = "REVISION")]
    above: Option<u64>,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

fn parse_key(text: &str) -> Result<PublicKey, String> {
    PublicKey::from_text(text).map_err(|problem| problem.to_string())
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let shown = arguments.file.display();
    let size = std::fs::metadata(&arguments.file).with_context(|| format!("cannot read `{shown}`"));
    if size.map_err(Failure::Input)?.len() > ARCHIVE_BYTES_MAX as u64 {
        return refuse(&anyhow!("`{shown}` is larger than any bundle"));
    }
    let bytes = std::fs::read(&arguments.file).with_context(|| format!("cannot read `{shown}`"));
    let opened = match open(&bytes.map_err(Failure::Input)?) {
        Ok(opened) => opened,
        Err(problem) => return refuse(&anyhow!(problem)),
    };
    let ring = ring(arguments, &opened)?;
    let verified = match verify(&opened, &ring) {
        Ok(verified) => verified,
        Err(problem) => return refuse(&anyhow!(problem)),
    };
    if let Err(problem) = documents_are_of_the_layer(&opened) {
        return refuse(&problem);
    }
    let revision = verified.revision();
    if let Some(active) = arguments.above.filter(|active| revision <= *active) {
        return refuse(&anyhow!("revision {revision} is not above {active}: bridges take no step back"));
    }
    if verified.is_expired(OffsetDateTime::now_utc().unix_timestamp()) {
        eprintln!(
            "note: this bundle is past its end; its policies stay in force, and bridges raise an alarm"
        );
    }
    match arguments.output {
        Format::Json => print_json(&manifest_json(&opened, Some(&verified))),
        Format::Text => {
            print_manifest(&opened, Some(&verified));
            Ok(())
        }
    }
}

fn refuse(problem: &anyhow::Error) -> Outcome {
    eprintln!("refused: {problem:#}");
    Err(Failure::No)
}

/// Who may sign: `root`, and whom the federation document names.
fn ring(arguments: &Arguments, opened: &Opened) -> Result<KeyRing, Failure> {
    let Some(path) = &arguments.federation else {
        // Which federation it should be nobody said, so the one that root vouches for is right.
        return Ok(KeyRing::new(opened.manifest().federation(), arguments.root));
    };
    let federation = read_federation(path)?;
    key_ring(&federation, arguments.root).map_err(Failure::Input)
}

/// A signer of one layer says nothing for another.
fn documents_are_of_the_layer(opened: &Opened) -> anyhow::Result<()> {
    let layer = opened.manifest().layer().to_string();
    for (path, bytes) in opened.files() {
        if path.as_str().ends_with(".json") {
            continue;
        }
        let text = std::str::from_utf8(bytes).map_err(|_| anyhow!("`{path}` is no text"))?;
        let file = SourceFile { name: path.to_string(), text: text.to_owned() };
        if let Some((other, line)) = layers_of(&file).into_iter().find(|(of, _)| *of != layer) {
            return Err(anyhow!("{path}:{line} is of {other}, in a bundle of {layer}"));
        }
    }
    Ok(())
}

/// The manifest, and who signed it where that was verified.
pub(super) fn manifest_json(opened: &Opened, verified: Option<&Verified>) -> Value {
    let manifest = opened.manifest();
    let file = |entry: &meshbridge_bundle::FileEntry| json!({"path": entry.path.as_str(), "size": entry.size, "sha256": entry.sha256.to_string()});
    json!({
        "federation": manifest.federation(),
        "layer": manifest.layer().to_string(),
        "revision": manifest.revision(),
        "created": time_text(manifest.created_unix()),
        "expires": manifest.expires_unix().map(time_text),
        "digest": opened.signed_manifest().digest().to_string(),
        "key": verified.map(Verified::key),
        "files": manifest.files().iter().map(file).collect::<Vec<_>>(),
    })
}

pub(super) fn print_manifest(opened: &Opened, verified: Option<&Verified>) {
    let manifest = opened.manifest();
    println!("federation  {}", manifest.federation());
    println!("layer       {}", manifest.layer());
    println!("revision    {}", manifest.revision());
    println!("created     {}", time_text(manifest.created_unix()));
    if let Some(expires) = manifest.expires_unix() {
        println!("expires     {}", time_text(expires));
    }
    println!("digest      {}", opened.signed_manifest().digest());
    if let Some(verified) = verified {
        println!("signed by   {}", verified.key());
    }
    for entry in manifest.files() {
        println!("file        {}  {} bytes  {}", entry.sha256, entry.size, entry.path);
    }
}

fn time_text(unix: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(unix).ok();
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| unix.to_string())
}

#[cfg(test)]
mod tests;
