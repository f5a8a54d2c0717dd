//! `meshbridge policy capture` and `meshbridge policy replay`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Draft, Mesh, Output, Plan, eventually, meshbridge};
use serde_json::{Value, json};

use super::{Running, SOON};

const CARD: &str = "4111 1111 1111 1111";
const OPEN: &str = "{name: open, match: {topics: [\"orders.**\"]}, permit: {}}";
const CARDS: &str = "{name: cards, match: {topics: [\"**\"], at: egress}, protect: [{classes: [payment.card], as: mask, keep: {first: 0, last: 4}}]}";
const RICH: &str = "{name: rich, match: {topics: [\"**\"], at: egress, when: \"event.data.?total.orValue(0) > 1000\"}, deny: {}}";
const MODEST: &str = "{name: modest, match: {topics: [\"**\"], at: egress, when: \"event.data.?total.orValue(0) > 6\"}, deny: {}}";
const VISA: &str = "{name: visa, match: {topics: [\"**\"], at: egress, when: \"event.data.?card.orValue('').startsWith('4')\"}, deny: {}}";

fn policies(directory: &Path, rules: &[&str]) -> Result<()> {
    let head = "apiVersion: meshbridge/v1\nkind: Policy\nmetadata: {name: west, layer: federation}\nspec:\n  rules:\n";
    let rules: String = rules.iter().map(|rule| format!("    - {rule}\n")).collect();
    fs::create_dir_all(directory)?;
    Ok(fs::write(directory.join("open.yaml"), format!("{head}{rules}"))?)
}

/// Two zones, of which the first has a key to seal with, and policies that protect and deny.
async fn mesh() -> Result<Mesh> {
    let mesh = Mesh::start(&Plan::new(&[("west", "east")]), 11).await?;
    let own = mesh.path().join("west");
    let keys = text(&own.join("keys"));
    let made = meshbridge(&["policy", "keygen", "store-west", "--use", "store", "--out", &keys], SOON)?;
    ensure!(made.code == 0, "{made:?}");
    for zone in ["west", "east"] {
        let path = mesh.path().join(zone).join("federation.yaml");
        let key = "  keys: {store-west: {use: store, version: 1, zones: [west]}}\n";
        fs::write(&path, fs::read_to_string(&path)?.trim_end().to_owned() + "\n" + key)?;
    }
    policies(&own.join("policies"), &[OPEN, CARDS, RICH])?;
    let config = own.join("bridge.yaml");
    let with_key = "policy: {directories: [policies], keys: {store-west: {file: keys/store-west.1}}}";
    let changed = fs::read_to_string(&config)?.replace("policy: {directories: [policies]}", with_key);
    ensure!(changed.contains("store-west"), "{changed}");
    fs::write(&config, changed)?;
    for zone in ["west", "east"] {
        mesh.kill(zone)?;
        mesh.restart(zone).await?;
    }
    mesh.connected().await?;
    Ok(mesh)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// A capture that has begun.
async fn capture(admin: &str, out: &Path, more: &[&str]) -> Result<Running> {
    let out_text = text(out);
    let fixed = ["capture", "--admin", admin, "-o", &out_text, "--for", "1m", "--output", "json"];
    let running = Running::start(&[&fixed[..], more].concat())?;
    eventually("the capture has begun", SOON, || async {
        ensure!(out.exists(), "no file yet");
        Ok(())
    })
    .await?;
    Ok(running)
}

/// Three orders: one with a card, one too large to leave, one that nobody edits.
async fn orders(mesh: &Mesh) -> Result<()> {
    let publisher = mesh.zone("west").publisher();
    for data in [
        json!({"card": CARD, "total": 5}),
        json!({"card": CARD, "total": 5_000}),
        json!({"total": 7, "word": "tulip"}),
    ] {
        publisher.publish("orders.new", &Draft::new(data)).await?;
    }
    Ok(())
}

fn lines(path: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(path)?;
    text.lines().map(|line| serde_json::from_str(line).context(line.to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_recorded_is_judged_again_under_other_policies() -> Result<()> {
    let mesh = mesh().await?;
    let subscriber = mesh.zone("east").subscribe(&["orders.**"]).await?;
    mesh.knows("east", "orders.**").await?;
    let (west, east) = (mesh.zone("west").admin(), mesh.zone("east").admin());
    let (protected, sealed) = (mesh.path().join("protected"), mesh.path().join("sealed"));
    let entering = mesh.path().join("entering");
    let first = capture(west.base(), &protected, &["--events", "3", "--topic", "orders.**"]).await?;
    let second = capture(west.base(), &sealed, &["--events", "3", "--sealed"]).await?;
    let third = capture(east.base(), &entering, &["--events", "2"]).await?;
    let crowd = meshbridge(
        &["policy", "capture", "--admin", west.base(), "-o", &text(&mesh.path().join("more"))],
        SOON,
    )?;
    ensure!(crowd.code == 1 && crowd.stderr.contains("2 of them are at work"), "{crowd:?}");

    orders(&mesh).await?;
    for running in [first, second, third] {
        let (code, said) = running.end().await?;
        ensure!(code == 0, "{said}");
    }
    drop(subscriber);

    let shown = lines(&protected)?;
    let [header, masked, stopped, plain, end] = shown.as_slice() else { anyhow::bail!("{shown:#?}") };
    let head = (&header["format"], &header["version"], &header["view"], &header["zone"], &header["bridge"]);
    let expected = ("meshbridge-capture", 1, "protected", "west", "west-1");
    ensure!(
        head == (
            &expected.0.into(),
            &expected.1.into(),
            &expected.2.into(),
            &expected.3.into(),
            &expected.4.into()
        )
    );
    ensure!(masked["event"]["data"]["card"] == "**** **** **** 1111", "{masked}");
    ensure!(masked["altered"]["data"] == json!(["/card"]), "{masked}");
    ensure!(masked["decision"]["verdict"] == "forward" && masked["decision"]["to"] == "east", "{masked}");
    ensure!(stopped["decision"]["by"] == "west/rich" && stopped["outline"]["id"].is_string(), "{stopped}");
    ensure!(stopped.get("event").is_none() && plain.get("altered").is_none(), "{stopped} {plain}");
    ensure!(plain["event"]["data"]["word"] == "tulip", "{plain}");
    ensure!(end["end"] == json!({"events": 3, "missed": 0, "why": "events"}), "{end}");
    let entered = lines(&entering)?;
    ensure!(entered.len() == 4 && entered[1]["decision"]["context"] == "ingress", "{entered:#?}");
    for file in [&protected, &sealed, &entering] {
        let bytes = fs::read_to_string(file)?;
        ensure!(!bytes.contains(CARD), "a card is in {file:?}");
        ensure!(fs::metadata(file)?.permissions().mode() & 0o777 == 0o600, "{file:?} is for its owner");
    }
    ensure!(!fs::read_to_string(&sealed)?.contains("tulip"), "what is sealed is not in clear");

    replays(&mesh, &protected, &sealed)
}

/// Replays of both captures: what each says, and how it ends.
fn replays(mesh: &Mesh, protected: &Path, sealed: &Path) -> Result<()> {
    let own = mesh.path().join("west");
    let keys = text(&own.join("keys"));
    let directory = |name: &str, rules: &[&str]| -> Result<PathBuf> {
        let directory = mesh.path().join(name);
        policies(&directory, rules)?;
        fs::copy(own.join("federation.yaml"), directory.join("federation.yaml"))?;
        let path = directory.join("federation.yaml");
        let named = fs::read_to_string(&path)?.replace("policies: [policies]", "policies: [\".\"]");
        fs::write(path, named)?;
        Ok(directory)
    };
    let old = text(&directory("old", &[OPEN, CARDS, RICH])?);
    let replay = |file: &Path, more: &[&str]| -> Result<(Output, Vec<Value>)> {
        let file = text(file);
        let fixed = ["policy", "replay", "--capture", &file, "--output", "json"];
        let output = meshbridge(&[&fixed[..], more].concat(), SOON)?;
        let lines = output.stdout.lines().map(|line| Ok(serde_json::from_str(line)?));
        let lines = lines.collect::<Result<_>>().with_context(|| format!("{output:?}"))?;
        Ok((output, lines))
    };
    let kinds = |lines: &[Value]| -> Vec<String> {
        let kind = |line: &Value| line["kind"].as_str().map(str::to_owned);
        lines.iter().filter_map(kind).collect()
    };

    for (file, more) in [(sealed, &["--keys", &keys][..]), (protected, &[])] {
        for with_old in [&[][..], &["--old", &old]] {
            let (output, said) = replay(file, &[more, with_old, &[&old]].concat())?;
            let summary = &said.last().context("a summary")?["summary"];
            ensure!(output.code == 0 && summary["same"] == 3 && said.len() == 1, "{output:?}");
        }
    }

    let without_rich = text(&directory("without-rich", &[OPEN, CARDS])?);
    let (output, said) = replay(sealed, &["--keys", &keys, "--old", &old, &without_rich])?;
    ensure!(output.code == 1 && kinds(&said) == ["newlyAllowed"], "{output:?}");
    ensure!(said[0]["rules"] == json!(["west/rich"]) && said[0]["new"]["verdict"] == "forward", "{output:?}");
    // Whether the card of the event that was stopped could be masked is not known.
    let (output, said) = replay(protected, &["--old", &old, &without_rich])?;
    ensure!(output.code == 0 && kinds(&said) == ["unknown"], "{output:?}");

    let modest = text(&directory("modest", &[OPEN, CARDS, RICH, MODEST])?);
    for (file, more) in [(sealed, &["--keys", &keys][..]), (protected, &[])] {
        let (output, said) = replay(file, &[more, &["--old", &old, &modest]].concat())?;
        let blocked: Vec<&Value> = said.iter().filter(|line| line["kind"] == "newlyBlocked").collect();
        ensure!(output.code == 0 && blocked.len() == 1, "{output:?}");
        ensure!(blocked[0]["n"] == 3 && blocked[0]["rules"] == json!(["west/modest"]), "{output:?}");
    }

    let visa = text(&directory("visa", &[OPEN, CARDS, RICH, VISA])?);
    let (output, said) = replay(protected, &["--old", &old, &visa])?;
    ensure!(output.code == 0 && kinds(&said).contains(&"unknown".to_owned()), "{output:?}");
    ensure!(output.stdout.contains("west/visa depends on what was altered"), "{output:?}");
    let (output, said) = replay(sealed, &["--keys", &keys, &visa])?;
    ensure!(output.code == 0 && kinds(&said) == ["newlyBlocked"], "{output:?}");

    let unmasked = text(&directory("unmasked", &[OPEN, RICH])?);
    for (file, more) in [(sealed, &["--keys", &keys][..]), (protected, &[])] {
        let (output, said) = replay(file, &[more, &["--old", &old, &unmasked]].concat())?;
        ensure!(output.code == 1 && kinds(&said).contains(&"weaker".to_owned()), "{output:?}");
    }
    let grouped = meshbridge(
        &["policy", "replay", "--capture", &text(sealed), "--keys", &keys, "--old", &old, &unmasked],
        SOON,
    )?;
    ensure!(grouped.stdout.contains("3 events: 2 the same, 1 changed, 0 unknown"), "{grouped:?}");
    ensure!(grouped.stdout.contains("weaker         west/cards"), "{grouped:?}");

    let (output, _) = replay(sealed, &[&old])?;
    ensure!(output.code == 3 && output.stderr.contains("--keys"), "{output:?}");
    let damaged = mesh.path().join("damaged");
    fs::write(
        &damaged,
        fs::read_to_string(sealed)?.replace("\"total\"", "\"t\"").replacen("orders.new", "orders.old", 1),
    )?;
    let (output, _) = replay(&damaged, &["--keys", &keys, &old])?;
    ensure!(output.code == 3 && output.stderr.contains("does not open"), "{output:?}");
    fs::write(&damaged, "{}\n")?;
    let (output, _) = replay(&damaged, &[&old])?;
    ensure!(output.code == 3 && output.stderr.contains("no capture"), "{output:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_nothing_is_sealed_and_no_file_is_written_over() -> Result<()> {
    let mesh = mesh().await?;
    let (east, west) = (mesh.zone("east").admin(), mesh.zone("west").admin());
    let out = mesh.path().join("out");
    let capture = |admin: &str, more: &[&str]| {
        let out = text(&out);
        let fixed = ["policy", "capture", "--admin", admin, "-o", &out, "--for", "1s"];
        meshbridge(&[&fixed[..], more].concat(), SOON)
    };
    let refused = capture(east.base(), &["--sealed"])?;
    ensure!(refused.code == 1 && refused.stderr.contains("use: store"), "{refused:?}");
    ensure!(!out.exists(), "nothing was made");
    let empty = capture(west.base(), &["--sealed"])?;
    ensure!(empty.code == 0 && empty.stdout.starts_with("0 events in"), "{empty:?}");
    let again = capture(west.base(), &[])?;
    ensure!(again.code == 3 && again.stderr.contains("is there already"), "{again:?}");
    Ok(())
}
