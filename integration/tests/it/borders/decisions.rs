//! What the decision log of a bridge says of the borders inside its zone, and of those around it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Draft, Federation, Node, Setup, Single, eventually, http, meshbridge};
use serde_json::{Value, json};

use super::{RULES, WITHIN, bridge, refused, taken, token_of};

/// The decisions in the log of a bridge, once it holds what `until` wants; and that its chain is whole.
async fn decisions(data: &Path, what: &str, until: impl Fn(&[Value]) -> bool) -> Result<Vec<Value>> {
    let data = data.display().to_string();
    eventually(what, WITHIN, || async {
        let export = meshbridge(&["audit", "export", &data], WITHIN)?;
        ensure!(export.code == 0, "{export:?}");
        let lines: Result<Vec<Value>, _> = export.stdout.lines().map(serde_json::from_str).collect();
        let lines = lines.context("a line that is no JSON")?;
        ensure!(until(&lines), "{} lines, such as {:?}", lines.len(), lines.last());
        Ok(lines.into_iter().filter(|line| line["kind"] == "decision").collect())
    })
    .await
}

fn verify(bridge: &Single) -> Result<Value> {
    let data = bridge.path().join("data").display().to_string();
    let output = meshbridge(&["audit", "verify", &data, "--output", "json"], WITHIN)?;
    let report: Value = serde_json::from_str(&output.stdout).with_context(|| format!("{output:?}"))?;
    ensure!(output.code == 0 && report["intact"] == true, "{report}");
    Ok(report)
}

/// How many decisions a record is about.
fn count(record: &Value) -> usize {
    record["events"]["count"].as_u64().map_or(1, |count| count as usize)
}

/// How often each of a kind of decision is in the log.
fn tally(decisions: &[Value]) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    for one in decisions {
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let edited = if one["edited"] == true { " edited" } else { "" };
        let by = text(&one["by"]["rule"]);
        let line = format!(
            "{} {} {}{edited} {by}",
            text(&one["principal"]),
            text(&one["context"]),
            text(&one["verdict"])
        );
        *tally.entry(line).or_insert(0) += count(one);
    }
    tally
}

#[tokio::test(flavor = "multi_thread")]
async fn every_decision_under_traffic_is_in_the_log_with_who_what_where_and_why() -> Result<()> {
    const ROUNDS: usize = 40;
    let bridge = bridge(Setup { audit: "permitsPerSample: 1, segmentMiB: 1", ..Setup::default() }).await?;
    let traffic = async |principal: &str| -> Result<()> {
        for _ in 0..ROUNDS {
            let event = || Draft::new(json!({"name": "Ada Example", "count": 1}));
            refused(&bridge, principal, "gossip.daily", &event(), (403, "inside/no-gossip")).await?;
            taken(&bridge, principal, "kept.one", &event()).await?;
            taken(&bridge, principal, "edited.one", &event()).await?;
            taken(&bridge, principal, "small.one", &event()).await?;
            taken(&bridge, principal, "nobody.rules", &event()).await?;
        }
        Ok(())
    };
    let while_it_runs = async {
        for _ in 0..5 {
            verify(&bridge)?;
        }
        Ok(())
    };
    tokio::try_join!(traffic("shop"), traffic("till"), while_it_runs)?;
    let url = format!("http://{}/v1/stream?filter=secret.a", bridge.http);
    ensure!(http().get(url).bearer_auth(token_of("audit")).send().await?.status() == 403, "{}", bridge.log());

    let mut expected = BTreeMap::from([("audit subscribe reject inside/nobody-asks".to_owned(), 1)]);
    for principal in ["shop", "till"] {
        for line in ["reject inside/no-gossip", "dead-letter inside/kept", "forward edited -", "forward -"] {
            expected.insert(format!("{principal} publish {line}"), ROUNDS);
        }
    }
    bridge.terminate()?;
    let decisions = decisions(&bridge.path().join("data"), "the log is closed", |lines| {
        lines.iter().any(|line| line["kind"] == "stopped")
    })
    .await?;
    ensure!(tally(&decisions) == expected, "{:#?}", tally(&decisions));
    let report = verify(&bridge)?;
    ensure!(report["last"] == decisions.len() + 2 && report["notKept"] == 0, "{report}");

    for one in &decisions {
        ensure!(one["from"] == "dmz" && one["to"] == "dmz", "{one}");
        ensure!(one["generation"].as_str().is_some_and(|digest| digest.len() == 64), "{one}");
        if let Some(rule) = one["by"]["rule"].as_str() {
            let name = rule.trim_start_matches("inside/");
            let written =
                RULES.lines().position(|line| line.contains(&format!("name: {name}"))).context("a line")?;
            let file = one["by"]["file"].as_str().unwrap_or_default();
            ensure!(file.ends_with("inside.yaml") && one["by"]["line"] == written + 1, "{one}");
        }
        let warned = if one["topic"] == "edited.one" { json!(["inside/noted"]) } else { Value::Null };
        ensure!(one["warned"] == warned, "{one}");
    }
    ensure!(!serde_json::to_string(&decisions)?.contains("Ada"), "the log has a value");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_permits_are_left_out_where_the_configuration_says_so_and_nothing_else_is() -> Result<()> {
    let bridge = bridge(Setup { audit: "permitsPerSample: 0", ..Setup::default() }).await?;
    for _ in 0..5 {
        taken(&bridge, "shop", "small.one", &Draft::new(json!({}))).await?;
        taken(&bridge, "shop", "edited.one", &Draft::new(json!({"name": "Ada Example"}))).await?;
        taken(&bridge, "shop", "quiet.one", &Draft::new(json!({"name": "Ada Example"}))).await?;
        refused(&bridge, "shop", "gossip.daily", &Draft::new(json!({})), (403, "inside/no-gossip")).await?;
    }
    let are_there = |lines: &[Value]| {
        lines.iter().filter(|line| line["kind"] == "decision").map(count).sum::<usize>() >= 15
    };
    let decisions = decisions(&bridge.path().join("data"), "fifteen decisions", are_there).await?;
    let expected = [("shop publish forward edited -", 10), ("shop publish reject inside/no-gossip", 5)];
    ensure!(
        tally(&decisions) == expected.map(|(line, count)| (line.to_owned(), count)).into(),
        "{:#?}",
        tally(&decisions)
    );
    let metric = |all: &BTreeMap<String, f64>, name: &str| all.get(name).copied().unwrap_or(-1.0);
    eventually("the figures of the log", WITHIN, || async {
        let metrics = bridge.admin().metrics().await?;
        // The note of the start, and five refusals. What was edited shares records.
        ensure!(metric(&metrics, "meshbridge_audit_records_total") >= 6.0, "{metrics:?}");
        let gathered = metric(&metrics, "meshbridge_audit_gathered_total");
        ensure!((0.0..=10.0).contains(&gathered), "{metrics:?}");
        ensure!(metric(&metrics, "meshbridge_audit_unsampled_total") == 5.0, "{metrics:?}");
        ensure!(metric(&metrics, "meshbridge_audit_state") == 0.0, "{metrics:?}");
        ensure!(metric(&metrics, "meshbridge_audit_lost_total{kind=\"other\"}") == 0.0, "{metrics:?}");
        Ok(())
    })
    .await
}

/// What somebody is asked who has to say what became of one person's event.
#[tokio::test(flavor = "multi_thread")]
async fn whether_one_of_many_events_was_edited_and_by_which_rule_can_be_told_by_its_id() -> Result<()> {
    const EVENTS: usize = 60;
    let bridge = bridge(Setup { audit: "permitsPerSample: 0", ..Setup::default() }).await?;
    let drafts: Vec<Draft> = (0..EVENTS).map(|_| Draft::new(json!({"name": "Ada Example"}))).collect();
    let sent = drafts.iter().map(|draft| taken(&bridge, "shop", "quiet.one", draft));
    futures_util::future::try_join_all(sent).await?;
    let sum = |lines: &[Value]| {
        lines.iter().filter(|line| line["kind"] == "decision").map(count).sum::<usize>() == EVENTS
    };
    let data = bridge.path().join("data");
    let all = decisions(&data, "every event is counted", sum).await?;
    ensure!(all.iter().any(|one| count(one) > 1), "{all:?}");
    bridge.terminate()?;
    let data = data.display().to_string();
    for draft in &drafts {
        let export = meshbridge(&["audit", "export", &data, "--event", &draft.id], WITHIN)?;
        let lines: Result<Vec<Value>, _> = export.stdout.lines().map(serde_json::from_str).collect();
        let lines = lines?;
        // The last line is the checkpoint.
        ensure!(export.code == 0 && lines.len() == 2, "{export:?}");
        let (record, editor) = (&lines[0], &lines[0]["editedBy"][0]);
        ensure!(record["edited"] == true && record["findings"][0]["path"] == "/data/name", "{record}");
        let written = RULES.lines().position(|line| line.contains("quiet.")).context("a line")?;
        ensure!(editor["line"] == written + 1 && editor["rule"].is_string(), "{record}, line {written}");
    }
    let nobody = meshbridge(&["audit", "export", &data, "--event", "nobody"], WITHIN)?;
    ensure!(nobody.code == 0 && nobody.stdout.lines().count() == 1, "{nobody:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_personal_data_is_shown_as_its_class() -> Result<()> {
    let bridge = bridge(Setup { audit: "permitsPerSample: 1", ..Setup::default() }).await?;
    let address = ["ada", "example.com"].join("@");
    let event = Draft { id: address.clone(), source: format!("/people/{address}"), ..Draft::new(json!({})) };
    taken(&bridge, "shop", "kept.one", &event).await?;
    refused(&bridge, "shop", "gossip.daily", &event, (403, "inside/no-gossip")).await?;
    let letters = bridge.admin().dead_letters().await?;
    let letter = letters.first().context("a dead letter")?;
    ensure!(
        letter["id"] == "[redacted:contact.email]" && letter["source"] == "[redacted:contact.email]",
        "{letter}"
    );
    let are_there = |lines: &[Value]| lines.iter().filter(|line| line["kind"] == "decision").count() == 2;
    let decisions = decisions(&bridge.path().join("data"), "two decisions", are_there).await?;
    for one in &decisions {
        ensure!(
            one["event"]["id"] == "[redacted:contact.email]" && !one.to_string().contains(&address),
            "{one}"
        );
    }
    ensure!(!bridge.log().contains(&address), "{}", bridge.log());
    Ok(())
}

const ELSEWHERE: &str = r#"
apiVersion: meshbridge/v1
kind: Policy
metadata: {name: guests, layer: federation}
spec:
  rules:
    - {name: not-here, match: {at: deliver, topics: ["orders.eu.created"], from: {zones: [internal]}}, deny: {}}
"#;

async fn generation(node: &Node) -> Result<u64> {
    node.admin().json("/v1/policy").await?["generation"].as_u64().context("a generation")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_logs_of_both_ends_tell_of_a_border() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let (origin, destination) = (federation.zone("internal"), federation.zone("cloud-us"));
    let before = generation(&destination).await?;
    fs::write(destination.config.with_file_name("policies").join("90-guests.yaml"), ELSEWHERE)?;
    eventually("the rule is in force", WITHIN, || async {
        ensure!(generation(&destination).await? > before, "not yet");
        Ok(())
    })
    .await?;
    let subscriber = destination.subscribe(&["**"]).await?;
    federation.knows(&destination.bridge, "**").await?;
    let person = || Draft::new(json!({"customer": {"email": "ada@example.com"}}));
    let (private, withheld, delivered) = (person(), person(), person());
    let publisher = origin.publisher();
    publisher.publish("hr.leave.requested", &private).await?;
    publisher.publish("orders.eu.created", &withheld).await?;
    publisher.publish("orders.eu.closed", &delivered).await?;
    subscriber.wait_for(&delivered.id).await?;
    ensure!(subscriber.received().iter().all(|one| one.id() == delivered.id), "{:?}", subscriber.received());

    // Who published is known at the origin, who would have had it at the destination.
    for (node, id, context, verdict, rule) in [
        (&origin, &private.id, "egress", "reject", Some("default-deny@federation")),
        (&origin, &withheld.id, "egress", "forward", None),
        (&destination, &withheld.id, "deliver", "reject", Some("guests/not-here")),
    ] {
        let is_it = |line: &Value| {
            line["event"]["id"] == *id
                && line["context"] == context
                && line["verdict"] == verdict
                && line["edited"].as_bool().unwrap_or(false) == rule.is_none()
                && line["by"]["rule"].as_str() == rule
                && line["from"] == "internal"
                && line["to"] == "cloud-us"
                && line["principal"] == "anonymous"
        };
        let data = node.config.with_file_name("data");
        decisions(&data, &format!("{context} of {id} at {}", node.bridge), |lines| lines.iter().any(is_it))
            .await?;
    }
    Ok(())
}
