//! What comes into force, and what does not, whatever is offered in whatever order.

mod oracle;
mod rules;

use std::fs;
use std::sync::Arc;

use meshbridge_bundle::{Digest, Draft, Offer, PublicKey, SigningKey, open, pack};
use meshbridge_policy::{Federation, SourceFile};
use tempfile::TempDir;

use super::keeper::{Keeper, KeeperParts, Offered, Source};
use super::{AlarmKind, BundleSettings};
use crate::metrics::Metrics;

const ROOT: u8 = 1;
const EU: u8 = 2;
const STRANGER: u8 = 9;

/// Keys of tests are known to everybody.
fn key(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32])
}

fn public(number: u8) -> PublicKey {
    key(number).public()
}

/// Zones `a` in region `eu` and `b` in `us`; `more` goes into the spec.
fn federation_text(eu_key: u8, more: &str) -> String {
    format!(
        "apiVersion: meshbridge/v1\nkind: Federation\nmetadata: {{name: acme}}\nspec:\n  zones: {{a: {{region: eu, jurisdiction: EU}}, b: {{region: us, jurisdiction: US}}}}\n  bridges: [{{id: a-1, zone: a}}, {{id: b-1, zone: b}}]\n  links: [{{from: a-1, to: b-1}}]\n  keys: {{eu: {{use: sign, layer: region/eu, ed25519: \"{}\"}}, us: {{use: sign, layer: region/us, ed25519: \"{}\"}}}}\n{more}",
        public(eu_key),
        public(3)
    )
}

fn policy_text(layer: &str, name: &str, rule: &str) -> String {
    format!(
        "apiVersion: meshbridge/v1\nkind: Policy\nmetadata: {{name: {name}, layer: {layer}}}\nspec:\n  rules:\n    - {rule}\n"
    )
}

const PERMIT: &str = "{name: open, match: {topics: [\"orders.**\"]}, permit: {}}";
const DENY: &str = "{name: closed, match: {topics: [\"orders.secret\"]}, deny: {}}";
const BROKEN: &str = "{name: closed, match: {topics: [\"orders.secret\"]}, denny: {}}";
const UNPROVABLE: &str = "apiVersion: meshbridge/v1\nkind: Invariant\nmetadata: {name: at-home, layer: LAYER}\nspec: {never: {classes: [gov-id], discloses: [value]}, onUnproven: fail}\n---\napiVersion: meshbridge/v1\nkind: Classification\nmetadata: {name: ids, layer: LAYER}\nspec: {topics: [{match: \"orders.**\", fields: {\"$.id\": gov-id.cn.resident-id}}]}\n";

fn sign(layer: &str, revision: u64, expires: Option<i64>, files: &[(&str, &str)], signer: u8) -> Vec<u8> {
    let draft = Draft {
        federation: "acme".to_owned(),
        layer: layer.parse().expect("a layer"),
        revision,
        created_unix: 1_767_225_600,
        expires_unix: expires,
    };
    let files: Vec<(&str, &[u8])> = files.iter().map(|(path, text)| (*path, text.as_bytes())).collect();
    pack(draft, &files, &key(signer)).expect("a bundle")
}

/// A good bundle of the layer federation; `edition` tells those of one revision apart.
fn federal(revision: u64, edition: u8) -> Vec<u8> {
    federal_with(revision, edition, EU, "")
}

fn federal_with(revision: u64, edition: u8, eu_key: u8, more: &str) -> Vec<u8> {
    let document = federation_text(eu_key, more);
    let policy = policy_text("federation", &format!("base-{edition}"), PERMIT);
    sign("federation", revision, None, &[("federation.yaml", &document), ("base.yaml", &policy)], ROOT)
}

fn regional(revision: u64, edition: u8) -> Vec<u8> {
    let policy = policy_text("region/eu", &format!("eu-{edition}"), DENY);
    sign("region/eu", revision, None, &[("eu.yaml", &policy)], EU)
}

fn digest(archive: &[u8]) -> Digest {
    open(archive).expect("a bundle").signed_manifest().digest()
}

/// A bundle as somebody who tells the truth offers it.
fn named(archive: &[u8]) -> Offer {
    let opened = open(archive).expect("a bundle");
    let manifest = opened.manifest();
    Offer { layer: manifest.layer().clone(), revision: manifest.revision(), digest: digest(archive) }
}

/// A bridge `a-1` with a data directory and a directory for bundles.
struct Rig {
    directory: TempDir,
    keeper: Keeper,
}

impl Rig {
    /// As after its first neighbours have said that they hold nothing.
    fn new() -> Rig {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["data", "drop", "plain"] {
            fs::create_dir(directory.path().join(name)).expect("made");
        }
        let keeper = keeper(&directory);
        Rig { directory, keeper }
    }

    fn restart(&mut self) {
        self.keeper = keeper(&self.directory);
        // What was in force is so again: at once, or, while it recovers, when the neighbours have been asked.
        if self.keeper.take_first().is_none() {
            self.keeper.activate(true);
        }
    }

    fn lose_disk(&mut self) {
        fs::remove_dir_all(self.directory.path().join("data")).expect("removed");
        fs::create_dir(self.directory.path().join("data")).expect("made");
        self.restart();
    }

    fn offer(&mut self, archive: &[u8]) -> Offered {
        self.keeper.offer(archive, Source::File("a.bundle"))
    }

    fn peer_offers(&mut self, archive: &[u8]) -> Offered {
        self.keeper.offer(archive, Source::Peer("b-1", &named(archive)))
    }

    /// Offers, and brings into force what can be.
    fn bring(&mut self, archive: &[u8]) -> bool {
        self.offer(archive);
        self.keeper.activate(false).is_some()
    }

    fn revision(&self, layer: &str) -> Option<u64> {
        let layer = layer.parse().expect("a layer");
        Some(self.keeper.in_force.as_ref()?.members.get(&layer)?.revision)
    }

    fn alarms(&self) -> Vec<(AlarmKind, String)> {
        self.keeper.alarms.iter().map(|(kind, about, _)| (kind, about.to_owned())).collect()
    }

    fn has_alarm(&self, kind: AlarmKind, about: &str, words: &str) -> bool {
        self.keeper.alarms.iter().any(|(of, at, what)| of == kind && at == about && what.contains(words))
    }
}

fn keeper(directory: &TempDir) -> Keeper {
    let text = federation_text(EU, "");
    let source = SourceFile { name: "federation.yaml".to_owned(), text };
    let base = directory.path();
    Keeper::open(KeeperParts {
        bridge: "a-1".to_owned(),
        zone: "a".to_owned(),
        settings: BundleSettings { directory: base.join("drop"), root: public(ROOT) },
        unsigned: vec![base.join("plain")],
        federation: Federation::parse(&source).expect("a document"),
        data: base.join("data"),
        metrics: Arc::new(Metrics::new()),
    })
    .expect("the disk can be used")
}
