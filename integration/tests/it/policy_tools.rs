//! `meshbridge policy`: what people do with policies, over the real binary, on the ready-made policies of `policy/gallery`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use meshbridge_integration::{Output, meshbridge, meshbridge_with_input, repository};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(60);

fn policy(arguments: &[&str]) -> Result<Output> {
    meshbridge(&[&["policy"], arguments].concat(), SOON)
}

fn acme() -> PathBuf {
    repository().join("policy/gallery/acme")
}

/// Output with the places of this machine and the version taken out, so that it is the same everywhere.
fn redacted(output: &str) -> String {
    output.replace(&format!("{}/", acme().display()), "").replace(env!("CARGO_PKG_VERSION"), "VERSION")
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn lines(output: &Output) -> Result<Vec<Value>> {
    Ok(output.stdout.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

fn payment() -> Value {
    json!({
        "specversion": "1.0", "id": "e-1", "type": "com.acme.payments.settled.done", "source": "/eu-1/ledger",
        "time": "2026-11-20T10:00:00Z", "dataschema": "https://schemas.acme.example/payment/v1.json",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "data": {"amount": 12.5, "card": "4111 1111 1111 1111", "iban": "DE89 3704 0044 0532 0130 00", "note": "ana@example.com called"}
    })
}

/// A federation with the policies of its two layers, and a test that holds.
fn small(directory: &Path, key: Option<&str>) -> Result<()> {
    let keys = match key {
        Some(public) => format!("  keys: {{eu: {{use: sign, layer: region/eu, ed25519: \"{public}\"}}}}\n"),
        None => String::new(),
    };
    let federation = format!(
        "apiVersion: meshbridge/v1\nkind: Federation\nmetadata: {{name: small}}\nspec:\n  zones: {{a: {{region: eu}}, b: {{region: us}}}}\n  bridges: [{{id: a-1, zone: a}}, {{id: b-1, zone: b}}]\n  policies: [\".\"]\n{keys}"
    );
    fs::write(directory.join("federation.yaml"), federation)?;
    fs::write(
        directory.join("10-federation.yaml"),
        "apiVersion: meshbridge/v1\nkind: Policy\nmetadata: {name: base, layer: federation}\nspec:\n  rules:\n    - {name: open, match: {topics: [\"orders.**\"]}, permit: {}}\n",
    )?;
    fs::write(
        directory.join("20-eu.yaml"),
        "apiVersion: meshbridge/v1\nkind: Policy\nmetadata: {name: eu, layer: region/eu}\nspec:\n  rules:\n    - {name: shape, match: {topics: [\"orders.**\"], at: egress}, validate: {schema: {file: order.json}}}\n",
    )?;
    fs::write(directory.join("order.json"), "{\"type\": \"object\", \"required\": [\"count\"]}\n")?;
    fs::write(
        directory.join("small.test.yaml"),
        "apiVersion: meshbridge/v1\nkind: PolicyTest\nmetadata: {name: small}\nspec:\n  cases:\n    - {name: an order passes, from: a, to: b, topic: orders.new, event: {id: \"1\", source: /a, type: t, data: {count: 1}}, expect: {verdict: forward}}\n    - {name: an empty one does not, from: a, to: b, topic: orders.new, event: {id: \"1\", source: /a, type: t, data: {}}, expect: {verdict: dead-letter, by: eu/shape}}\n",
    )?;
    Ok(())
}

#[test]
fn the_gallery_has_no_problem() -> Result<()> {
    let output = policy(&["check", &text(&acme()), "--deny", "warnings"])?;
    ensure!(output.code == 0 && output.stdout.is_empty(), "{output:?}");
    ensure!(output.stderr.contains("minRevision is 14"), "{output:?}");
    Ok(())
}

#[test]
fn problems_have_the_same_places_in_every_format() -> Result<()> {
    let directory = tempfile::tempdir()?;
    small(directory.path(), None)?;
    let rule = "    - {name: more, match: {topics: [\"billing.**\"], at: ingress}, permit: {}}\n";
    let path = directory.path().join("20-eu.yaml");
    fs::write(&path, fs::read_to_string(&path)? + rule)?;
    let place = text(directory.path());
    let shown = policy(&["check", &place])?;
    ensure!(shown.code == 1 && shown.stdout.contains("20-eu.yaml:7:"), "{shown:?}");
    let found = lines(&policy(&["check", &place, "--output", "json"])?)?;
    let [problem] = found.as_slice() else { anyhow::bail!("one problem is expected: {found:?}") };
    ensure!(problem["code"] == "P0203" && problem["span"]["line"] == 7, "{problem}");
    let output = policy(&["check", &place, "--output", "sarif"])?;
    let log: Value = serde_json::from_str(&output.stdout).with_context(|| output.stdout.clone())?;
    ensure!(output.code == 1 && log["version"] == "2.1.0", "{log}");
    let result = &log["runs"][0]["results"][0];
    let region = &result["locations"][0]["physicalLocation"]["region"];
    ensure!(result["ruleId"] == "P0203" && result["level"] == "error", "{result}");
    ensure!(region["startLine"] == 7 && region["startColumn"] == problem["span"]["column"], "{result}");
    ensure!(result["relatedLocations"][0]["message"]["text"].is_string(), "both spans are told: {result}");
    ensure!(result["fixes"][0]["description"]["text"] == problem["help"], "{result}");
    ensure!(log["runs"][0]["tool"]["driver"]["rules"][0]["id"] == "P0203", "{log}");
    Ok(())
}

#[test]
fn a_test_with_an_error_is_a_problem_of_check_too() -> Result<()> {
    let directory = tempfile::tempdir()?;
    small(directory.path(), None)?;
    let path = directory.path().join("small.test.yaml");
    fs::write(&path, fs::read_to_string(&path)?.replacen("to: b", "to: nowhere", 1))?;
    let found = lines(&policy(&["check", &text(directory.path()), "--output", "json"])?)?;
    ensure!(found.len() == 1 && found[0]["code"] == "P0110", "{found:?}");
    Ok(())
}

#[test]
fn warnings_are_a_no_only_where_they_are_denied() -> Result<()> {
    let directory = tempfile::tempdir()?;
    small(directory.path(), None)?;
    let rule = "    - {name: cards, match: {topics: [\"**\"], at: egress}, protect: [{classes: [payment.card], as: hash}]}\n";
    let path = directory.path().join("10-federation.yaml");
    fs::write(&path, fs::read_to_string(&path)? + rule)?;
    let place = text(directory.path());
    ensure!(policy(&["check", &place])?.code == 0);
    ensure!(policy(&["check", &place, "--deny", "warnings"])?.code == 1);
    Ok(())
}

#[test]
fn every_case_of_the_gallery_passes() -> Result<()> {
    let output = policy(&["test", &text(&acme().join("eu-payments.test.yaml"))])?;
    // What follows the cases depends on what else is proved and tested.
    let cases: Vec<&str> = output.stdout.lines().take_while(|line| !line.contains("proof ")).collect();
    insta::assert_snapshot!("gallery_cases", redacted(&cases.join("\n")));
    let found = lines(&policy(&["test", &text(&acme()), "--no-mutants", "--output", "json"])?)?;
    let [suite] = found.as_slice() else { anyhow::bail!("one suite is expected: {found:?}") };
    ensure!(suite["mutants"].is_null() && suite["rules"]["share"].as_f64() > Some(0.8), "{suite}");
    Ok(())
}

#[test]
fn a_case_that_fails_shows_what_was_expected_and_what_came() -> Result<()> {
    let directory = tempfile::tempdir()?;
    small(directory.path(), None)?;
    let place = text(directory.path());
    ensure!(policy(&["test", &place])?.code == 0);
    let path = directory.path().join("small.test.yaml");
    let good = fs::read_to_string(&path)?;
    fs::write(&path, good.replace("{verdict: forward}", "{verdict: reject, by: base/open}"))?;
    let output = policy(&["test", &place])?;
    ensure!(output.code == 1, "{output:?}");
    insta::assert_snapshot!("failing_case", output.stdout.replace(&format!("{place}/"), ""));
    // A share that is not reached fails as well, with every case as expected.
    let less: Vec<&str> = good.lines().filter(|line| !line.contains("an empty one")).collect();
    fs::write(&path, less.join("\n").replace("spec:\n", "spec:\n  coverage: {mutants: 1.0}\n"))?;
    let output = policy(&["test", &place])?;
    ensure!(output.code == 1 && output.stdout.contains("1 of 1 cases"), "{output:?}");
    ensure!(output.stdout.contains("survived: ") && output.stdout.contains("20-eu.yaml:6"), "{output:?}");
    ensure!(
        policy(&["test", &place, "--no-mutants"])?.code == 0,
        "without mutants their share is not judged"
    );
    Ok(())
}

#[test]
fn a_test_of_policies_with_errors_fails_with_the_errors() -> Result<()> {
    let directory = tempfile::tempdir()?;
    small(directory.path(), None)?;
    fs::write(directory.path().join("order.json"), "{\"type\": 3}")?;
    let output = policy(&["test", &text(directory.path())])?;
    ensure!(output.code == 1 && output.stdout.contains("P0122"), "{output:?}");
    let nothing = tempfile::tempdir()?;
    let output = policy(&["test", &text(nothing.path())])?;
    ensure!(output.code == 3 && output.stdout.is_empty(), "{output:?}");
    Ok(())
}

fn explained(extra: &[&str], event: &Value) -> Result<Output> {
    let place = text(&acme());
    let mut arguments = vec!["policy", "explain", "--policies", &place, "--now", "2026-11-20T10:00:00Z", "-"];
    arguments.extend(extra);
    meshbridge_with_input(&arguments, &event.to_string(), SOON)
}

#[test]
fn a_decision_is_told_rule_by_rule() -> Result<()> {
    let way = ["--from", "eu-1", "--to", "us-1", "--topic", "payments.settled.v1"];
    let output = explained(&way, &payment())?;
    ensure!(output.code == 0, "{output:?}");
    insta::assert_snapshot!("explain_forward", redacted(&output.stdout));
    for value in ["4111 1111", "DE89 3704", "ana@example.com"] {
        ensure!(!output.stdout.contains(value), "{value} is shown");
    }
    let output = explained(&[&way[..], &["--output", "json"]].concat(), &payment())?;
    let told: Value = serde_json::from_str(&output.stdout)?;
    ensure!(
        told["verdict"] == "forward" && told["contexts"][0]["destinationClass"] == json!(["us-1"]),
        "{told}"
    );
    let output = explained(&[&way[..], &["--show-values"]].concat(), &payment())?;
    ensure!(output.stdout.contains("4111 1111 1111 1111"), "{output:?}");
    Ok(())
}

#[test]
fn a_refusal_names_its_rules() -> Result<()> {
    let mut event = payment();
    event["type"] = json!("com.acme.kyc.person.updated");
    let output = explained(&["--from", "eu-1", "--to", "us-1", "--topic", "kyc.person.v1"], &event)?;
    ensure!(output.code == 0, "{output:?}");
    insta::assert_snapshot!("explain_reject", redacted(&output.stdout));
    Ok(())
}

#[test]
fn what_cannot_be_explained_says_why() -> Result<()> {
    let whole = ["--from", "eu-1", "--to", "us-1", "--topic", "kyc.person.v1"];
    ensure!(explained(&whole[..4], &payment())?.code == 2, "no topic");
    ensure!(explained(&[&whole[..5], &["kyc..v1"]].concat(), &payment())?.code == 2, "no topic either");
    let output = explained(&["--from", "eu-1", "--to", "mars", "--topic", "kyc.person.v1"], &payment())?;
    ensure!(output.code == 3 && output.stderr.contains("us-1"), "{output:?}");
    ensure!(explained(&whole, &json!({"id": 1}))?.code == 3, "no event");
    Ok(())
}

#[test]
fn every_code_has_a_page_to_read() -> Result<()> {
    let output = policy(&["explain", "P0203"])?;
    ensure!(output.code == 0, "{output:?}");
    insta::assert_snapshot!("page", output.stdout);
    let page: Value = serde_json::from_str(&policy(&["explain", "p0305", "--output", "json"])?.stdout)?;
    ensure!(page["code"] == "P0305" && page["remedy"].is_string(), "{page}");
    ensure!(policy(&["explain", "P9999"])?.code == 3);
    Ok(())
}

#[test]
fn keys_are_for_their_owner_and_are_never_overwritten() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let keys = text(&directory.path().join("keys"));
    for (arguments, file) in [
        (&["eu", "--use", "sign"][..], "eu.seed"),
        (&["eu-fields", "--use", "encrypt", "--version", "3"], "eu-fields.3"),
    ] {
        let arguments = [&["keygen"], arguments, &["--out", &keys]].concat();
        let output = policy(&arguments)?;
        ensure!(output.code == 0, "{output:?}");
        let path = Path::new(&keys).join(file);
        let (mode, before) = (fs::metadata(&path)?.permissions().mode(), fs::read(&path)?);
        ensure!(mode & 0o777 == 0o600, "{file} has mode {mode:o}");
        let secret = String::from_utf8(before.clone())?;
        ensure!(!format!("{output:?}").contains(secret.trim_end()), "the secret is printed");
        let again = policy(&arguments)?;
        ensure!(again.code == 3 && fs::read(&path)? == before, "{again:?}");
    }
    ensure!(policy(&["keygen", "../x", "--use", "store", "--out", &keys])?.code == 2, "a name is no path");
    ensure!(
        policy(&["keygen", "x", "--use", "store", "--layer", "zone/a", "--out", &keys])?.code == 2,
        "no layer"
    );
    ensure!(
        policy(&["keygen", "x", "--use", "sign", "--version", "2", "--out", &keys])?.code == 2,
        "no version"
    );
    Ok(())
}

/// The public half of a new key.
fn signing_key(keys: &str, name: &str) -> Result<String> {
    let output = policy(&["keygen", name, "--use", "sign", "--out", keys, "--output", "json"])?;
    let made: Value = serde_json::from_str(&output.stdout).with_context(|| format!("{output:?}"))?;
    Ok(made["public"].as_str().context("the public half")?.to_owned())
}

#[test]
fn a_signed_bundle_is_verified_and_a_changed_one_is_not() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let keys = text(&directory.path().join("keys"));
    let (eu, root) = (signing_key(&keys, "eu")?, signing_key(&keys, "root")?);
    let policies = directory.path().join("policies");
    fs::create_dir(&policies)?;
    small(&policies, Some(&eu))?;
    let (place, federation) = (text(&policies), text(&policies.join("federation.yaml")));
    let bundle = text(&directory.path().join("eu.1.bundle"));
    let seed = format!("{keys}/eu.seed");
    let sign = |layer: &str, seed: &str, out: &str| {
        let created = "2026-11-20T10:00:00Z";
        policy(&[
            "sign",
            &place,
            "--layer",
            layer,
            "--key",
            seed,
            "--revision",
            "7",
            "-o",
            out,
            "--created",
            created,
        ])
    };
    let output = sign("region/eu", &seed, &bundle)?;
    ensure!(output.code == 0, "{output:?}");
    let again = sign("region/eu", &seed, &bundle)?;
    ensure!(again.code == 3, "a bundle is not overwritten: {again:?}");

    let verify = ["verify", &bundle, "--root", &root, "--federation", &federation];
    let output = policy(&[&verify[..], &["--output", "json"]].concat())?;
    let manifest: Value = serde_json::from_str(&output.stdout).with_context(|| format!("{output:?}"))?;
    ensure!(
        manifest["layer"] == "region/eu" && manifest["revision"] == 7 && manifest["key"] == "eu",
        "{manifest}"
    );
    let files = manifest["files"].as_array().context("files")?;
    let paths: Vec<&str> = files.iter().filter_map(|file| file["path"].as_str()).collect();
    ensure!(paths == ["20-eu.yaml", "order.json"], "{paths:?}");
    ensure!(policy(&[&verify[..], &["--above", "6"]].concat())?.code == 0);
    ensure!(policy(&[&verify[..], &["--above", "7"]].concat())?.code == 1, "the same revision is no step on");
    let unbound = policy(&["verify", &bundle, "--root", &root])?;
    ensure!(unbound.code == 1 && unbound.stdout.is_empty(), "nobody bound the key: {unbound:?}");

    let outer = text(&directory.path().join("federation.7.bundle"));
    ensure!(sign("federation", &format!("{keys}/root.seed"), &outer)?.code == 0);
    let output = policy(&["verify", &outer, "--root", &root])?;
    ensure!(output.code == 0 && output.stdout.contains("federation.yaml"), "{output:?}");
    ensure!(policy(&["verify", &outer, "--root", &eu])?.code == 1, "another root");

    let mut bytes = fs::read(&bundle)?;
    for at in [bytes.len() / 3, bytes.len() / 2, bytes.len() - 1] {
        bytes[at] ^= 1;
        fs::write(&bundle, &bytes)?;
        let output = policy(&verify)?;
        ensure!(output.code == 1 && output.stdout.is_empty(), "byte {at}: {output:?}");
        bytes[at] ^= 1;
    }
    Ok(())
}

#[test]
fn what_is_not_good_is_not_signed() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let keys = text(&directory.path().join("keys"));
    let (eu, _) = (signing_key(&keys, "eu")?, signing_key(&keys, "other")?);
    let policies = directory.path().join("policies");
    fs::create_dir(&policies)?;
    let place = text(&policies);
    let bundle = directory.path().join("eu.1.bundle");
    let sign = |key: &str, layer: &str| {
        let seed = format!("{keys}/{key}.seed");
        policy(&["sign", &place, "--layer", layer, "--key", &seed, "--revision", "1", "-o", &text(&bundle)])
    };
    let refused = |output: &Output, why: &str| {
        let told = format!("{}{}", output.stdout, output.stderr);
        ensure!(output.code == 1 && told.contains(why) && !bundle.exists(), "{why}: {output:?}");
        Ok(())
    };
    small(&policies, Some(&eu))?;
    refused(&sign("other", "region/eu")?, "does not sign for region/eu")?;
    refused(&sign("eu", "region/us")?, "signs for region/eu")?;
    refused(&sign("other", "region/us")?, "binds no key")?;
    let test = policies.join("small.test.yaml");
    let good = fs::read_to_string(&test)?;
    fs::write(&test, good.replace("verdict: forward", "verdict: reject"))?;
    refused(&sign("eu", "region/eu")?, "the test small fails")?;
    fs::write(&test, good)?;
    let document = policies.join("20-eu.yaml");
    let eu_rules = fs::read_to_string(&document)?;
    let other = eu_rules
        .replace("region/eu", "federation")
        .replace("name: eu,", "name: more,")
        .replace("orders.**", "hr.**");
    fs::write(&document, format!("{eu_rules}---\n{other}"))?;
    refused(&sign("eu", "region/eu")?, "each layer has files of its own")?;
    fs::write(&document, eu_rules.replace("order.json", "gone.json"))?;
    refused(&sign("eu", "region/eu")?, "P0122")?;
    Ok(())
}

#[test]
fn sealed_values_come_back_with_their_key() -> Result<()> {
    let way = ["--from", "eu-1", "--to", "us-1", "--topic", "payments.settled.v1", "--output", "json"];
    let told: Value = serde_json::from_str(&explained(&way, &payment())?.stdout)?;
    let fields = told["contexts"][0]["fields"].as_array().context("fields")?;
    let sealed = fields.iter().find(|field| field["path"] == "$.data.iban").context("the IBAN")?;
    let mut event = payment();
    event["data"]["iban"] = serde_json::from_str(sealed["after"].as_str().context("its form")?)?;
    // Explanations are made with the keys of tests, which anybody can derive from their names.
    let secret = digest(&SHA256, b"meshbridge policy test key eu-fields 1");
    let directory = tempfile::tempdir()?;
    fs::write(directory.path().join("eu-fields.1"), STANDARD.encode(secret.as_ref()))?;
    let arguments = ["policy", "decrypt", "--keys", &text(directory.path()), "-"];
    let output = meshbridge_with_input(&arguments, &event.to_string(), SOON)?;
    let opened: Value = serde_json::from_str(&output.stdout).with_context(|| format!("{output:?}"))?;
    ensure!(output.code == 0 && opened == payment(), "{output:?}");
    // Bound to its event: moved to another one it does not open.
    event["id"] = json!("e-2");
    let output = meshbridge_with_input(&arguments, &event.to_string(), SOON)?;
    ensure!(output.code == 1 && output.stdout.contains("enc_eu-fields.1_"), "{output:?}");
    Ok(())
}

#[test]
fn decrypt_needs_the_key_and_changes_nothing_without() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let keys = text(directory.path());
    ensure!(policy(&["keygen", "eu-fields", "--use", "encrypt", "--out", &keys])?.code == 0);
    let clear = payment().to_string();
    let output = meshbridge_with_input(&["policy", "decrypt", "--keys", &keys, "-"], &clear, SOON)?;
    let event: Value = serde_json::from_str(&output.stdout).with_context(|| format!("{output:?}"))?;
    ensure!(output.code == 0 && event == payment(), "{output:?}");
    // Sealed with the keys of tests, so a key of this name opens nothing, and one of another name is missing.
    let way = ["--from", "eu-1", "--to", "us-1", "--topic", "payments.settled.v1", "--output", "json"];
    let told: Value = serde_json::from_str(&explained(&way, &payment())?.stdout)?;
    let fields = told["contexts"][0]["fields"].as_array().context("fields")?;
    let sealed = fields.iter().find(|field| field["path"] == "$.data.iban").context("the IBAN")?;
    let mut event = payment();
    event["data"]["iban"] = serde_json::from_str(sealed["after"].as_str().context("its form")?)?;
    let decrypt = |keys: &str| {
        let arguments = ["policy", "decrypt", "--keys", keys, "-", "--output", "json"];
        meshbridge_with_input(&arguments, &event.to_string(), SOON)
    };
    let output = decrypt(&keys)?;
    let told: Value = serde_json::from_str(&output.stdout)?;
    ensure!(output.code == 1 && told["failed"] == 1 && told["event"] == event, "{output:?}");
    let others = tempfile::tempdir()?;
    ensure!(policy(&["keygen", "cn-fields", "--use", "encrypt", "--out", &text(others.path())])?.code == 0);
    let output = decrypt(&text(others.path()))?;
    let told: Value = serde_json::from_str(&output.stdout)?;
    ensure!(output.code == 1 && told["missing"] == json!(["eu-fields.1"]), "{output:?}");
    let nothing = tempfile::tempdir()?;
    ensure!(decrypt(&text(nothing.path()))?.code == 3, "no keys");
    Ok(())
}

fn why_not(extra: &[&str], event: &Value) -> Result<Output> {
    let place = text(&acme());
    let mut arguments = vec!["policy", "why-not", "--policies", &place, "--now", "2026-11-20T10:00:00Z", "-"];
    arguments.extend(extra);
    meshbridge_with_input(&arguments, &event.to_string(), SOON)
}

#[test]
fn the_smallest_changes_that_help_are_told() -> Result<()> {
    let way = ["--from", "eu-1", "--to", "us-1", "--topic"];
    let settled = [&way[..], &["payments.settled.v1"]].concat();
    let passing = why_not(&settled, &payment())?;
    ensure!(passing.code == 0 && passing.stdout.contains("passes already"), "{passing:?}");
    let mut event = payment();
    for name in ["traceparent", "dataschema"] {
        event.as_object_mut().context("an object")?.remove(name);
    }
    let output = why_not(&settled, &event)?;
    ensure!(output.code == 0, "{output:?}");
    insta::assert_snapshot!("why_not_event", redacted(&output.stdout));
    let output = why_not(&[&settled[..], &["--output", "json"]].concat(), &event)?;
    insta::assert_snapshot!("why_not_json", redacted(&output.stdout));
    let told: Value = serde_json::from_str(&output.stdout)?;
    ensure!(told["stoppedBy"][0] == "federation-baseline/traceparent-required", "{told}");
    ensure!(told["event"][0]["event"].as_array().is_some_and(|edits| edits.len() == 2), "{told}");
    ensure!(told["policy"][0]["policy"][0]["owner"] == "platform@acme.example", "{told}");
    let mut event = payment();
    event["type"] = json!("com.acme.kyc.person.updated");
    let output = why_not(&[&way[..], &["kyc.person.v1"]].concat(), &event)?;
    ensure!(output.code == 0, "{output:?}");
    insta::assert_snapshot!("why_not_policy", redacted(&output.stdout));
    ensure!(why_not(&way[..4], &event)?.code == 2, "no topic");
    Ok(())
}

/// Three zones, each linked with each, and a rule about the links.
fn linked(directory: &Path, rule: &str) -> Result<()> {
    fs::write(
        directory.join("federation.yaml"),
        "apiVersion: meshbridge/v1\nkind: Federation\nmetadata: {name: linked}\nspec:\n  zones: {office: {region: eu}, cloud: {region: us}, dmz: {region: eu}}\n  bridges: [{id: o, zone: office}, {id: c, zone: cloud}, {id: d, zone: dmz}]\n  links: [{from: o, to: c}, {from: o, to: d}, {from: d, to: c}]\n  policies: [\".\"]\n",
    )?;
    fs::write(
        directory.join("links.yaml"),
        format!(
            "apiVersion: meshbridge/v1\nkind: Policy\nmetadata: {{name: base, layer: federation}}\nspec:\n  rules:\n    - {{name: open, match: {{topics: [\"hr.**\"]}}, permit: {{}}}}\n{rule}"
        ),
    )?;
    Ok(())
}

#[test]
fn a_denied_link_is_checked_explained_and_compared() -> Result<()> {
    let (old, new) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let place = text(new.path());
    let shown = |output: &Output| output.stdout.replace(&format!("{place}/"), "");
    linked(old.path(), "")?;
    linked(
        new.path(),
        "    - {name: no-such, match: {topics: [\"hr.**\"], links: [office/clouds, office, dmz/dmz]}, deny: {}}\n    - {name: stops, match: {topics: [\"hr.**\"], links: [office/cloud]}, deny: {}, onViolation: quarantine}\n    - {name: slow, match: {topics: [\"hr.**\"], links: [office/cloud]}, limit: {rate: {events: 5, per: 1s}}}\n",
    )?;
    let output = policy(&["check", &place])?;
    ensure!(output.code == 1, "{output:?}");
    insta::assert_snapshot!("links_check", shown(&output));

    linked(
        new.path(),
        "    - {name: not-direct, match: {topics: [\"hr.**\"], links: [office/cloud]}, deny: {}}\n",
    )?;
    let event = json!({"specversion": "1.0", "id": "1", "source": "/office", "type": "hr.hired"}).to_string();
    let way = ["--from", "office", "--to", "cloud", "--topic", "hr.hired", "--policies", &place, "-"];
    let output = meshbridge_with_input(&[&["policy", "explain"], &way[..]].concat(), &event, SOON)?;
    insta::assert_snapshot!("links_explain", shown(&output));
    let output = policy(&["diff", &text(old.path()), &place])?;
    ensure!(output.code == 0, "it lets nothing through: {output:?}");
    insta::assert_snapshot!("links_diff", shown(&output).replace(&text(old.path()), "OLD"));
    ensure!(policy(&["diff", &place, &text(old.path())])?.code == 1, "an open link is looser");

    let both = "    - {name: not-direct, match: {topics: [\"hr.**\"], links: [office/cloud, dmz/cloud]}, deny: {}}\n";
    linked(new.path(), both)?;
    let output = meshbridge_with_input(&[&["policy", "why-not"], &way[..]].concat(), &event, SOON)?;
    insta::assert_snapshot!("links_why_not", shown(&output));
    let page = policy(&["explain", "P0124"])?;
    ensure!(page.code == 0 && page.stdout.contains("takes these links off the way"), "{page:?}");
    Ok(())
}
