//! Signed bundles travel over the links, come into force everywhere or nowhere, and never go back.

mod distribution;
mod rollback;
mod stale;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Bundle, Mesh, Output, Plan, Rigging, Signer, eventually, meshbridge};
use serde_json::Value;

const WITHIN: Duration = Duration::from_secs(40);
const OPEN: &str = "apiVersion: meshbridge/v1\nkind: Policy\nmetadata: {name: open, layer: federation}\nspec:\n  rules:\n    - {name: orders, match: {topics: [\"orders.**\"]}, permit: {}}\n";
const DENY: &str = "    - {name: no-secrets, match: {topics: [\"orders.secret\"]}, deny: {}}\n";

fn closed() -> String {
    format!("{OPEN}{DENY}")
}

/// `west` – `middle` – `east`, which take bundles from `bundles`; files are there before they start.
struct Chain {
    mesh: Mesh,
    signer: Signer,
}

impl Chain {
    /// `west` begins with revision 1 of the federation, the others with nothing.
    async fn start() -> Result<Chain> {
        Chain::with(OPEN, "", &[]).await
    }

    /// With these policies in revision 1, more in the section `policy`, and more files.
    async fn with(policies: &str, policy: &str, files: &[(&str, &str, &str)]) -> Result<Chain> {
        let plan = Plan::chain();
        let signer = Signer::new(|keys| plan.federation(keys))?;
        let first = signer.federation(1, "", policies, &[])?;
        let mut rigging = Rigging {
            policy: Some(format!("bundles: bundles, root: \"{}\"{policy}", signer.root())),
            federation: signer.keys(),
            ..Rigging::default()
        };
        for zone in plan.zones() {
            rigging.files.push((zone.clone(), PathBuf::from("bundles/.keep"), Vec::new()));
        }
        for (zone, path, text) in files {
            rigging.files.push(((*zone).to_owned(), PathBuf::from(path), text.as_bytes().to_vec()));
        }
        rigging.files.push(("west".to_owned(), Path::new("bundles").join(&first.name), first.bytes));
        let mesh = Mesh::start_rigged(&plan, 7, &rigging).await?;
        Ok(Chain { mesh, signer })
    }

    fn put(&self, zone: &str, bundle: &Bundle) -> Result<PathBuf> {
        bundle.put(&self.mesh.zone(zone).config.with_file_name("bundles"))
    }

    async fn view(&self, zone: &str) -> Result<Value> {
        self.mesh.zone(zone).admin().json("/v1/policy/bundles").await
    }

    /// Waits until the bridge of a zone judges by this revision of the federation.
    async fn reaches(&self, zone: &str, revision: u64) -> Result<Value> {
        eventually(&format!("{zone} judges by revision {revision}"), WITHIN, || async {
            let view = self.view(zone).await?;
            ensure!(view["federationRevision"] == revision, "{view}");
            Ok(view)
        })
        .await
        .with_context(|| self.mesh.story())
    }

    async fn all_reach(&self, revision: u64) -> Result<()> {
        for zone in ["west", "middle", "east"] {
            self.reaches(zone, revision).await?;
        }
        Ok(())
    }

    /// Waits for an alarm, and gives what it says.
    async fn alarms(&self, zone: &str, kind: &str, about: &str) -> Result<String> {
        eventually(&format!("{zone} has the alarm {kind} about {about}"), WITHIN, || async {
            let view = self.view(zone).await?;
            let all = view["alarms"].as_array().context("a list")?;
            let found = all.iter().find(|alarm| alarm["kind"] == kind && alarm["about"] == about);
            Ok(found.with_context(|| view.to_string())?["what"].as_str().unwrap_or_default().to_owned())
        })
        .await
        .with_context(|| self.mesh.story())
    }

    fn command(&self, zone: &str, arguments: &[&str]) -> Result<Output> {
        let admin = self.mesh.zone(zone).admin;
        meshbridge(&[arguments, &["--admin", &admin]].concat(), WITHIN)
    }
}
