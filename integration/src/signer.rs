//! Who signs policy bundles, with the commands of the binary.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::meshbridge;

const WITHIN: Duration = Duration::from_secs(30);

/// The keys of a federation, made for one test.
#[derive(Debug)]
pub struct Signer {
    directory: TempDir,
    root: String,
    region: String,
    document: String,
}

impl Signer {
    /// Keys for the layers `federation` and `region/eu-west`. `document` makes the federation document from the lines that bind the second.
    pub fn new(document: impl FnOnce(&str) -> String) -> Result<Signer> {
        let directory = tempfile::tempdir()?;
        let out = directory.path().join("keys").display().to_string();
        let key = |name: &str| -> Result<String> {
            let made = meshbridge(
                &["policy", "keygen", name, "--use", "sign", "--out", &out, "--output", "json"],
                WITHIN,
            )?;
            ensure!(made.code == 0, "{made:?}");
            let said: Value = serde_json::from_str(&made.stdout)?;
            Ok(said["public"].as_str().context("a public half")?.to_owned())
        };
        let (root, region) = (key("root")?, key("region")?);
        let mut signer = Signer { directory, root, region, document: String::new() };
        signer.document = document(&signer.keys());
        Ok(signer)
    }

    /// The public half that bridges are configured with.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The lines of the federation document that bind the key of the region.
    pub fn keys(&self) -> String {
        format!("  keys: {{region: {{use: sign, layer: region/eu-west, ed25519: \"{}\"}}}}\n", self.region)
    }

    /// Signs the layer `federation`: the document with `more` lines, and these policies. `options` go to `sign`.
    pub fn federation(&self, revision: u64, more: &str, policies: &str, options: &[&str]) -> Result<Bundle> {
        self.sign("federation", "root", revision, more, &[("10-federation.yaml", policies)], options)
    }

    /// Signs the layer `region/eu-west`, beside policies of the federation as the signer believes them to be.
    pub fn region(&self, revision: u64, federation: &str, policies: &str) -> Result<Bundle> {
        let files = [("10-federation.yaml", federation), ("20-region.yaml", policies)];
        self.sign("region/eu-west", "region", revision, "", &files, &[])
    }

    fn sign(
        &self,
        layer: &str,
        key: &str,
        revision: u64,
        more: &str,
        files: &[(&str, &str)],
        options: &[&str],
    ) -> Result<Bundle> {
        let sources = tempfile::tempdir_in(self.directory.path())?;
        fs::write(sources.path().join("federation.yaml"), format!("{}{more}", self.document))?;
        let policies = sources.path().join("policies");
        fs::create_dir(&policies)?;
        for (name, text) in files {
            fs::write(policies.join(name), text)?;
        }
        let name = format!("{}.{revision}.bundle", layer.replace('/', "-"));
        let file = sources.path().join(&name);
        let seed = self.directory.path().join(format!("keys/{key}.seed"));
        let number = revision.to_string();
        let (policies, file, seed) =
            (policies.display().to_string(), file.display().to_string(), seed.display().to_string());
        let mut arguments = vec!["policy", "sign", &policies, "--layer", layer, "--key", &seed];
        arguments.extend(["--revision", &number, "-o", &file]);
        arguments.extend(options);
        let signed = meshbridge(&arguments, WITHIN)?;
        ensure!(signed.code == 0, "{signed:?}");
        Ok(Bundle { name, bytes: fs::read(&file)? })
    }
}

/// A signed bundle, with the name that its file has.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// `federation.3.bundle`
    pub name: String,
    /// The archive.
    pub bytes: Vec<u8>,
}

impl Bundle {
    /// Puts the file into a directory: whole, as an operator should.
    pub fn put(&self, directory: &Path) -> Result<PathBuf> {
        let (part, whole) = (directory.join(format!(".{}", self.name)), directory.join(&self.name));
        fs::write(&part, &self.bytes)?;
        fs::rename(&part, &whole)?;
        Ok(whole)
    }
}
