//! Which files make the bundle of a layer.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use aws_lc_rs::digest::{SHA256, digest as hash};
use meshbridge_bundle::Layer;
use meshbridge_policy::{Diagnostics, Node, SourceFile, compile, documents};

use crate::bundles::layers_of;
use crate::cli::policy::sources::{Sources, plain};

/// Paths below `directory` with their texts: the documents of the layer, and the schemas they name.
pub(super) fn of(
    sources: &Sources,
    layer: &Layer,
    directory: &Path,
    federation: Option<&SourceFile>,
) -> anyhow::Result<BTreeMap<String, String>> {
    let wanted = layer.to_string();
    let mut chosen: Vec<&SourceFile> = Vec::new();
    let all = sources.files.iter().filter(|file| !is_schema(file));
    let beside = federation
        .filter(|file| layer.is_federation() && !sources.files.iter().any(|one| one.name == file.name));
    for file in all.chain(beside) {
        let layers = layers_of(file);
        let Some((_, line)) = layers.iter().find(|(of, _)| *of == wanted) else { continue };
        if let Some((other, at)) = layers.iter().find(|(of, _)| *of != wanted) {
            bail!(
                "{}:{line} is of {wanted}, and {at} of {other}: each layer has files of its own",
                file.name
            );
        }
        chosen.push(file);
    }
    ensure!(!chosen.is_empty(), "there is no document of the layer {wanted} here");
    let schemas = schemas(sources, &chosen);
    check_whole(sources, &chosen, &schemas)?;
    let mut contents = BTreeMap::new();
    for file in chosen.into_iter().chain(schemas) {
        contents.insert(below(&file.name, directory)?, file.text.clone());
    }
    Ok(contents)
}

fn is_schema(file: &SourceFile) -> bool {
    file.name.ends_with(".json")
}

/// The schemas that documents name. Where one of them refers to others, all go with it: which they are is only known to
/// the reader of schemas.
fn schemas<'a>(sources: &'a Sources, chosen: &[&SourceFile]) -> Vec<&'a SourceFile> {
    let mut ignored = Diagnostics::default();
    let (mut files, mut digests): (Vec<std::path::PathBuf>, Vec<String>) = (Vec::new(), Vec::new());
    for file in chosen {
        let directory = Path::new(&file.name).parent().unwrap_or(Path::new("."));
        for document in documents(file, &mut ignored) {
            let rules =
                document.get("spec").and_then(|spec| spec.get("rules")).map(Node::items).unwrap_or_default();
            for schema in rules.iter().filter_map(|rule| rule.get("validate")?.get("schema")) {
                let text = |key: &str| schema.get(key).and_then(Node::text);
                files.extend(text("file").map(|path| normal(&directory.join(path))));
                digests.extend(text("sha256").map(str::to_ascii_lowercase));
            }
        }
    }
    let all = || sources.files.iter().filter(|file| is_schema(file));
    let is_named = |file: &&SourceFile| {
        files.contains(&normal(Path::new(&file.name))) || digests.contains(&digest(file))
    };
    let named: Vec<&SourceFile> = all().filter(is_named).collect();
    let refers = |file: &&SourceFile| file.text.contains("\"$ref\"") || file.text.contains("\"$dynamicRef\"");
    if named.iter().any(refers) { all().collect() } else { named }
}

fn digest(file: &SourceFile) -> String {
    hash(&SHA256, file.text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A bundle has every schema that it names: what compiles here with all layers must not lack a file there.
fn check_whole(sources: &Sources, chosen: &[&SourceFile], schemas: &[&SourceFile]) -> anyhow::Result<()> {
    let alone: Vec<SourceFile> = chosen.iter().chain(schemas).map(|file| (*file).clone()).collect();
    let Err(problems) = compile(&alone, &sources.federation, None) else { return Ok(()) };
    // Without the outer layers an inner permit covers nothing, and a waiver may lack its rule: that is no fault here.
    match problems.iter().find(|problem| problem.code == "P0122") {
        Some(problem) => bail!("the documents of this layer alone lack a schema:\n{problem}"),
        None => Ok(()),
    }
}

/// The path in the bundle: relative to the directory that is signed.
fn below(name: &str, directory: &Path) -> anyhow::Result<String> {
    let (file, base) = (normal(Path::new(name)), normal(directory));
    // A federation document one level up has no place below; its name is enough.
    let relative = file.strip_prefix(&base).ok().or_else(|| file.file_name().map(Path::new));
    let relative = relative.with_context(|| format!("`{name}` has no place in a bundle"))?;
    Ok(relative.to_string_lossy().into_owned())
}

/// `a/./b/../c` as `a/c`.
fn normal(path: &Path) -> std::path::PathBuf {
    let mut parts = std::path::PathBuf::new();
    for part in plain(path).components() {
        match part {
            std::path::Component::ParentDir if parts.file_name().is_some() => {
                parts.pop();
            }
            std::path::Component::CurDir => {}
            part => parts.push(part),
        }
    }
    parts
}
