//! `meshbridge policy keygen`: keys of both kinds, each in a file of its own that only its owner can read.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::ValueEnum;
use clap::error::ErrorKind;
use meshbridge_bundle::{DataKey, SigningKey};
use serde_json::json;
use zeroize::Zeroizing;

use super::{Failure, Format, Outcome, parse_name, print_json};

#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "A key that signs is written to DIR/NAME.seed, and its public half is printed; a key for data is written to DIR/NAME.VERSION,\nwhere `decrypt --keys DIR` finds it again. No file is ever overwritten: a lost key cannot be made twice.\n\nExamples:\n  meshbridge policy keygen dpo-eu --use sign --layer region/eu --out keys\n  meshbridge policy keygen eu-fields --use encrypt --out keys"
)]
pub(in crate::cli) struct Arguments {
    /// The name of the key in the federation document
    #[arg(value_parser = parse_name)]
    name: String,
    /// What the key is for; a key has one use
    #[arg(long = "use", value_enum, value_name = "USE")]
    usage: Usage,
    /// The layer it signs for, for the lines that are printed
    #[arg(long)]
    layer: Option<meshbridge_bundle::Layer>,
    /// The version of a key for data, a new one for each replacement; 1 where it is not given
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    version: Option<u32>,
    /// The directory of the file; made where there is none
    #[arg(long, value_name = "DIR", default_value = "keys")]
    out: PathBuf,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Usage {
    /// Signs the bundles of a layer
    Sign,
    /// Makes pseudonyms
    Pseudonymise,
    /// Seals fields
    Encrypt,
    /// Seals events that are kept for replay
    Store,
}

impl Usage {
    /// As the federation document spells it.
    fn name(self) -> &'static str {
        match self {
            Usage::Sign => "sign",
            Usage::Pseudonymise => "pseudonymise",
            Usage::Encrypt => "encrypt",
            Usage::Store => "store",
        }
    }
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let idle = match arguments.usage {
        Usage::Sign => arguments.version.map(|_| "a key that signs has no version: remove --version"),
        _ => arguments.layer.as_ref().map(|_| "a key for data has no layer: remove --layer"),
    };
    if let Some(idle) = idle {
        return Err(Failure::Usage(clap::Error::raw(ErrorKind::ArgumentConflict, format!("{idle}\n"))));
    }
    let mut secret = Zeroizing::new([0; 32]);
    aws_lc_rs::rand::fill(&mut *secret)
        .map_err(|_| Failure::Fault(anyhow!("the system has no random numbers")))?;
    match arguments.usage {
        Usage::Sign => sign(arguments, &SigningKey::from_seed(&secret)),
        usage => data(arguments, usage, &DataKey::from_bytes(&secret)),
    }
}

fn sign(arguments: &Arguments, key: &SigningKey) -> Outcome {
    let Arguments { name, layer, .. } = arguments;
    let path = arguments.out.join(format!("{name}.seed"));
    write_new(&path, &key.to_text()).map_err(Failure::Input)?;
    let public = key.public().to_string();
    match arguments.output {
        Format::Json => print_json(&json!({"name": name, "use": "sign", "public": public, "file": path})),
        Format::Text => {
            println!("{public}");
            eprintln!("wrote the seed to {}, for whoever signs; it is not recoverable", path.display());
            match layer {
                Some(layer) if layer.is_federation() => {
                    eprintln!("configuration of each bridge, spec.policy:\n  root: \"{public}\"");
                }
                _ => {
                    let layer = layer
                        .as_ref()
                        .map_or_else(|| "<region/eu, zone/eu-1, ...>".to_owned(), ToString::to_string);
                    eprintln!(
                        "federation document, spec.keys:\n  {name}: {{use: sign, layer: {layer}, ed25519: \"{public}\"}}"
                    );
                }
            }
            Ok(())
        }
    }
}

fn data(arguments: &Arguments, usage: Usage, key: &DataKey) -> Outcome {
    let (name, version) = (&arguments.name, arguments.version.unwrap_or(1));
    let path = arguments.out.join(format!("{name}.{version}"));
    write_new(&path, &key.to_text()).map_err(Failure::Input)?;
    match arguments.output {
        Format::Json => {
            print_json(&json!({"name": name, "use": usage.name(), "version": version, "file": path}))
        }
        Format::Text => {
            println!("{}", path.display());
            eprintln!(
                "federation document, spec.keys:\n  {name}: {{use: {}, version: {version}, zones: [<zones that hold it>]}}",
                usage.name()
            );
            eprintln!(
                "configuration of each bridge of those zones, spec.policy.keys:\n  {name}: {{file: {}}}",
                path.display()
            );
            Ok(())
        }
    }
}

/// Readable by its owner only from the first byte on, and on disk before anybody is told of it.
fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    let shown = path.display();
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot make `{}`", directory.display()))?;
    }
    let open = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = open.with_context(|| format!("cannot write `{shown}`; a key is never overwritten"))?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.with_context(|| format!("cannot write `{shown}`"))
}
