//! What events hold that the Classification does not declare is found in samples, and listed without its value.

use std::fs;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Draft, Prepared, Publisher, Setup, Single, eventually, http, meshbridge};
use serde_json::{Value, json};

use super::SOON;

fn classification(fields: &str) -> String {
    format!(
        "apiVersion: meshbridge/v1\nkind: Classification\nmetadata: {{name: data, layer: federation, owner: office}}\nspec: {{topics: [{{match: \"orders.**\"{fields}}}]}}\n"
    )
}

/// Standard output and exit code of the command.
fn drift(bridge: &Single) -> Result<(i32, Value)> {
    let url = bridge.admin().base().to_owned();
    let output = meshbridge(&["policy", "drift", "--admin", &url, "--output", "json"], SOON)?;
    let value = serde_json::from_str(&output.stdout).with_context(|| format!("{output:?}"))?;
    Ok((output.code, value))
}

#[tokio::test(flavor = "multi_thread")]
async fn undeclared_personal_data_are_listed_until_the_classification_knows_them() -> Result<()> {
    let prepared = Prepared::new()?;
    fs::write(prepared.path().join("policies/data.yaml"), classification(", mayHold: [contact.phone]"))?;
    let bridge = prepared.start(Setup::default()).await?;
    let publisher = Publisher::over(http().clone(), &format!("http://{}", bridge.http));
    let mail = "ada.lovelace@example.com";
    let publish = async || {
        // More than every thread of the bridge leaves out between two samples.
        for number in 0..200 {
            let items = json!([{"number": number}, {"note": mail}]);
            publisher.publish("orders.eu.created", &Draft::new(json!({"items": items}))).await?;
        }
        anyhow::Ok(())
    };
    ensure!(drift(&bridge)?.0 == 0, "nothing was published yet");
    let found = eventually("the finding is listed", SOON, async || {
        publish().await?;
        let (code, found) = drift(&bridge)?;
        ensure!(code == 1, "{found}");
        Ok(found)
    })
    .await?;
    let findings = found["findings"].as_array().context("a list")?;
    ensure!(findings.len() == 1, "{found}");
    ensure!(findings[0]["class"] == "contact.email", "{found}");
    ensure!(findings[0]["path"] == "$.data.items[*].note", "elements are alike: {found}");
    ensure!(!found.to_string().contains("example.com"), "never a value: {found}");
    let metrics = bridge.admin().metrics().await?;
    let counted = metrics.get("meshbridge_policy_drift_total{class=\"contact.email\"}");
    ensure!(counted.is_some_and(|count| *count >= 1.0), "{:?}", metrics.keys().collect::<Vec<_>>());

    fs::write(
        bridge.path().join("policies/data.yaml"),
        classification(", mayHold: [contact.phone, contact.email]"),
    )?;
    bridge.hang_up()?;
    let generation = found["generation"].as_u64();
    eventually("a new generation begins anew", SOON, async || {
        publish().await?;
        let (code, now) = drift(&bridge)?;
        ensure!(now["generation"].as_u64() > generation && now["samples"].as_u64() > Some(0), "{now}");
        ensure!(code == 0 && now["findings"] == json!([]), "{now}");
        Ok(())
    })
    .await?;

    // The log of decisions has the first one, and no value either.
    let data = bridge.path().join("data");
    eventually("the finding is on record", SOON, async || {
        let output = meshbridge(&["audit", "export", &data.display().to_string()], SOON)?;
        let line = output.stdout.lines().find(|line| line.contains("classification/drift"));
        let line = line.with_context(|| output.stderr.clone())?;
        ensure!(line.contains("contact.email") && !line.contains("example.com"), "{line}");
        Ok(())
    })
    .await
}
