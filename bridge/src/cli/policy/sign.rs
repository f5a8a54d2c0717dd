//! `meshbridge policy sign`: the documents of one layer, checked and tested with all others, as a signed bundle.

mod contents;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use meshbridge_bundle::{Draft, Layer, PublicKey, SigningKey, open, pack};
use meshbridge_policy::{Program, compile, testing};
use time::OffsetDateTime;

use super::check::{self, Report};
use super::sources::{self, NoSources, Sources, together};
use super::{Failure, Format, Outcome, parse_time, print_json, verify};

#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "DIR holds the policies of all layers, so that they can be compiled together; into the bundle go the documents of the\nlayer, with the schemas they name, and for the layer federation the federation document. A file with documents of two\nlayers is refused. Nothing is signed where `check` finds an error, a test fails, or the key does not sign for the layer.\n\nTo go back, sign the old content under a new revision.\n\nExample:\n  meshbridge policy sign policies --layer region/eu --key keys/dpo-eu.seed --revision 15 -o region-eu.15.bundle"
)]
pub(in crate::cli) struct Arguments {
    /// Directory with the policies of all layers
    directory: PathBuf,
    /// The layer that is signed: federation, region/eu, zone/eu-1
    #[arg(long)]
    layer: Layer,
    /// The seed that signs for it, as `keygen` wrote it
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Above the one in force; a number is never used twice
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    revision: u64,
    /// The bundle; an existing file is not overwritten
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// When bridges begin to ask for a newer one, as 2027-01-31T00:00:00Z; the policies stay in force after it
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    expires: Option<OffsetDateTime>,
    /// The time of signing; now by default. The same input with the same time gives the same bytes
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    created: Option<OffsetDateTime>,
    /// The federation document, where it is elsewhere
    #[arg(long, value_name = "FILE")]
    federation: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let text = zeroize::Zeroizing::new(sources::read_text(&arguments.key)?);
    let key = SigningKey::from_text(&text)
        .with_context(|| format!("`{}` is no seed of a key", arguments.key.display()))
        .map_err(Failure::Input)?;
    let directories = std::slice::from_ref(&arguments.directory);
    let sources = match sources::read(directories, arguments.federation.as_deref()) {
        Ok(sources) => sources,
        Err(NoSources::Federation(problems)) => return refuse(problems),
        Err(NoSources::Failed(failure)) => return Err(failure),
    };
    let now = arguments.created.unwrap_or_else(OffsetDateTime::now_utc);
    let program = match compile(&sources.files, &sources.federation, Some(now)) {
        Ok(compiled) => compiled.program,
        Err(problems) => return refuse(problems),
    };
    let unproved = program.unproved();
    if unproved.has_errors() {
        return refuse(unproved);
    }
    if !is_tested(&sources, &program)? || !may_sign(&sources, &arguments.layer, key.public()) {
        return Err(Failure::No);
    }
    let federation = sources::federation_file(directories, arguments.federation.as_deref());
    let contents = match contents::of(&sources, &arguments.layer, &arguments.directory, federation.as_ref()) {
        Ok(contents) => contents,
        Err(problem) => {
            eprintln!("error: {problem:#}");
            return Err(Failure::No);
        }
    };
    let draft = Draft {
        federation: sources.federation.name().to_owned(),
        layer: arguments.layer.clone(),
        revision: arguments.revision,
        created_unix: now.unix_timestamp(),
        expires_unix: arguments.expires.map(OffsetDateTime::unix_timestamp),
    };
    let files: Vec<(&str, &[u8])> =
        contents.iter().map(|(path, text)| (path.as_str(), text.as_bytes())).collect();
    let bundle = pack(draft, &files, &key).map_err(|problem| Failure::Input(problem.into()))?;
    // What is handed out is read back first: a bundle that nobody can open must not leave here.
    let opened = open(&bundle).map_err(|problem| Failure::Fault(problem.into()))?;
    write_new(&arguments.out, &bundle).map_err(Failure::Input)?;
    let manifest = verify::manifest_json(&opened, None);
    match arguments.output {
        Format::Json => print_json(&manifest),
        Format::Text => {
            verify::print_manifest(&opened, None);
            eprintln!("signed {}", arguments.out.display());
            Ok(())
        }
    }
}

fn refuse(problems: meshbridge_policy::Diagnostics) -> Outcome {
    check::print(&together(vec![problems]), Report::Text)?;
    Err(Failure::No)
}

/// Whether every test beside the policies holds; those that do not are printed.
fn is_tested(sources: &Sources, program: &Program) -> Result<bool, Failure> {
    let mut all_good = true;
    let mut suites_count = 0;
    for file in sources.tests() {
        let suites = match testing::suites(file, &sources.federation) {
            Ok(suites) => suites,
            Err(problems) => {
                check::print(&together(vec![problems]), Report::Text)?;
                return Ok(false);
            }
        };
        for suite in &suites {
            suites_count += 1;
            let outcome = testing::run(suite, program, true);
            let is_good = outcome.is_good(suite.coverage);
            if !is_good {
                eprintln!("the test {} fails; `meshbridge policy test {}` tells why", suite.name, file.name);
            }
            all_good &= is_good;
        }
    }
    eprintln!("{suites_count} tests");
    Ok(all_good)
}

/// Whether bridges would take the signature: the federation binds a key to each layer, and to the outermost the
/// configuration of each bridge does.
fn may_sign(sources: &Sources, layer: &Layer, key: PublicKey) -> bool {
    if let Err(problem) = sources.federation.may_sign(&layer.to_string(), &key.to_string()) {
        eprintln!("error: {problem}");
        return false;
    }
    if layer.is_federation() {
        eprintln!("bridges take this with `root: \"{key}\"` in their configuration");
    }
    true
}

/// Whole or not at all, and never over another file: a revision is not signed twice.
fn write_new(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let shown = path.display();
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory)
        .with_context(|| format!("cannot write to `{}`", directory.display()))?;
    let written = file.write_all(bytes).and_then(|()| file.as_file().sync_all());
    written.with_context(|| format!("cannot write `{shown}`"))?;
    file.persist_noclobber(path).map_err(|problem| anyhow!("cannot write `{shown}`: {}", problem.error))?;
    Ok(())
}
