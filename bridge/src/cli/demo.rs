//! `meshbridge demo`: three zones at work. Real processes, real links; only the events are made up.

use std::collections::{BTreeMap, HashMap};
use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::cert::write_file;
use super::client::SseReader;
use super::federation::LocalFederation;
use super::{Failure, Outcome, block_on, stop_signal};
use crate::link::TransportChoice;

/// Brings up three zones as three processes, publishes orders, payments and HR events, and shows what arrived where,
/// what was redacted, what was denied and by which rule, and what nobody wanted. Ends by itself.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Keep the federation running after the events, until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// How long the stream of events takes
    #[arg(long, default_value_t = 18, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
}

const FEDERATION: &str = include_str!("../../../topology-examples/three-zones/federation.yaml");
const POLICIES: [(&str, &str); 3] = [
    (
        "10-federation.yaml",
        include_str!("../../../topology-examples/three-zones/policies/10-federation.yaml"),
    ),
    (
        "20-region-eu-west.yaml",
        include_str!("../../../topology-examples/three-zones/policies/20-region-eu-west.yaml"),
    ),
    ("30-zone-dmz.yaml", include_str!("../../../topology-examples/three-zones/policies/30-zone-dmz.yaml")),
];
const EVENTS: &str = include_str!("demo/events.jsonl");

/// Who listens to what. `inventory.**` has no subscriber: it must cross no link.
const SUBSCRIPTIONS: [(&str, &[&str]); 3] = [
    ("dmz-1", &["orders.**", "hr.**"]),
    ("internal-1", &["orders.us.**", "payments.**"]),
    // What could never come is not even asked for elsewhere: of these, the topics of hr may not leave the EU.
    ("cloud-us-1", &["orders.eu.**", "payments.**", "*.leave.**"]),
];

#[derive(Debug, serde::Deserialize)]
struct Scripted {
    at: String,
    topic: String,
    event: Value,
}

struct Delivered {
    bridge: String,
    event: Value,
}

#[derive(Default)]
struct Tally {
    published: u64,
    delivered: BTreeMap<String, u64>,
    expected: u64,
    redacted: u64,
    denied: BTreeMap<String, u64>,
    nobody: u64,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let directory = tempfile::Builder::new().prefix("meshbridge-demo-").tempdir();
    let directory = directory.map_err(|problem| Failure::Fault(problem.into()))?;
    block_on(async { show(arguments, directory.path()).await })?.map_err(Failure::Fault)?.map_or(
        Ok(()),
        |missing| {
            eprintln!("error: {missing} deliveries did not arrive");
            Err(Failure::No)
        },
    )
}

/// `Some` number of deliveries that were promised and did not come.
async fn show(arguments: &Arguments, directory: &Path) -> anyhow::Result<Option<u64>> {
    let paint = Paint { colours: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() };
    let source = directory.join("source");
    std::fs::create_dir_all(source.join("policies"))?;
    write_file(&source.join("federation.yaml"), FEDERATION)?;
    for (name, text) in POLICIES {
        write_file(&source.join("policies").join(name), text)?;
    }
    println!(
        "{}",
        paint.bold("Three zones, one bridge each: internal-1 ──► dmz-1 ──► cloud-us-1 (EU, EU, US)")
    );
    let (file, data) = (source.join("federation.yaml"), directory.join("bridges"));
    // One for the whole life: a signal that comes between two waits must not be missed.
    let stopped = stop_signal();
    tokio::pin!(stopped);
    let federation = tokio::select! {
        started = LocalFederation::start(&file, &data, TransportChoice::Auto) => started?,
        () = &mut stopped => return Ok(None),
    };
    let outcome = tokio::select! {
        outcome = play(arguments, &paint, &federation) => outcome,
        () = &mut stopped => Ok(None),
    };
    federation.stop().await;
    outcome
}

async fn play(
    arguments: &Arguments,
    paint: &Paint,
    federation: &LocalFederation,
) -> anyhow::Result<Option<u64>> {
    federation.wait_links().await?;
    for line in federation.lines() {
        println!("  {:<11} zone {:<9} http {}  admin {}", line.bridge, line.zone, line.http, line.admin);
    }
    let http: HashMap<String, String> =
        federation.lines().map(|line| (line.bridge.clone(), line.http.clone())).collect();
    let client = reqwest::Client::builder().no_proxy().build()?;
    let (sender, mut delivered) = mpsc::channel(1_024);
    let mut readers = JoinSet::new();
    for (bridge, filters) in SUBSCRIPTIONS {
        println!("  {bridge:<11} subscribes to {}", filters.join(", "));
        let query: Vec<String> = filters.iter().map(|filter| format!("filter={filter}")).collect();
        let url = format!("{}/v1/stream?{}", http[bridge], query.join("&"));
        let stream = client.get(url).send().await?.error_for_status()?;
        readers.spawn(read(bridge.to_owned(), stream, sender.clone()));
    }
    drop(sender);
    wait_for_interest(federation).await?;
    println!();
    let script: Vec<Scripted> =
        EVENTS.lines().map(serde_json::from_str).collect::<Result<_, _>>().context("the embedded events")?;
    let pause = Duration::from_secs(arguments.seconds) / u32::try_from(script.len().max(1)).unwrap_or(1);
    let mut tally = Tally::default();
    let mut originals: HashMap<String, Value> = HashMap::new();
    for scripted in &script {
        publish(&client, &http, scripted, paint, &mut tally).await?;
        originals.insert(id_of(&scripted.event), scripted.event.clone());
        let next = tokio::time::Instant::now() + pause;
        while let Ok(Some(arrived)) = tokio::time::timeout_at(next, delivered.recv()).await {
            on_delivered(&arrived, &originals, paint, &mut tally);
        }
    }
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    while tally.delivered.values().sum::<u64>() < tally.expected {
        match tokio::time::timeout_at(deadline, delivered.recv()).await {
            Ok(Some(arrived)) => on_delivered(&arrived, &originals, paint, &mut tally),
            _ => break,
        }
    }
    summary(federation, paint, &tally).await?;
    if arguments.keep {
        println!("\nThe federation keeps running; Ctrl-C stops it.");
        while let Some(arrived) = delivered.recv().await {
            on_delivered(&arrived, &originals, paint, &mut tally);
        }
    }
    let arrived: u64 = tally.delivered.values().sum();
    Ok((arrived < tally.expected).then(|| tally.expected - arrived))
}

async fn read(bridge: String, mut stream: reqwest::Response, sender: mpsc::Sender<Delivered>) {
    let mut reader = SseReader::default();
    while let Ok(Some(chunk)) = stream.chunk().await {
        for message in reader.feed(&chunk) {
            if let Ok(event) = serde_json::from_str(&message.data)
                && sender.send(Delivered { bridge: bridge.clone(), event }).await.is_err()
            {
                return;
            }
        }
    }
}

/// Every bridge must know of every filter that it may learn of, or the first events would go nowhere.
async fn wait_for_interest(federation: &LocalFederation) -> anyhow::Result<()> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        let mut views: Vec<(String, Vec<Value>)> = Vec::new();
        for line in federation.lines() {
            let answer = federation.get(&format!("{}/v1/interest", line.admin)).await?;
            views.push((line.bridge.clone(), answer["sets"].as_array().cloned().unwrap_or_default()));
        }
        let of = |sets: &[Value], owner: &str| -> u64 {
            sets.iter().filter(|set| set["bridge"] == owner).filter_map(|set| set["count"].as_u64()).sum()
        };
        let zones: HashMap<&str, &str> =
            federation.lines().map(|line| (line.bridge.as_str(), line.zone.as_str())).collect();
        let told = |owner: &str, own: &[Value], (bridge, sets): &(String, Vec<Value>)| {
            let zone = zones.get(bridge.as_str()).copied().unwrap_or_default();
            let may_learn = |set: &&Value| {
                let listed = |zones: &Vec<Value>| zones.iter().any(|one| one == zone);
                set["bridge"] == owner && set["audience"].as_array().is_none_or(listed)
            };
            let expected: u64 = own.iter().filter(may_learn).filter_map(|set| set["count"].as_u64()).sum();
            of(sets, owner) == expected
        };
        let wanted = |bridge: &str| {
            let own = SUBSCRIPTIONS.iter().find(|(owner, _)| *owner == bridge);
            own.map_or(0, |(_, filters)| filters.len() as u64)
        };
        let missing = views.iter().find(|(owner, own)| {
            of(own, owner) != wanted(owner) || !views.iter().all(|view| told(owner, own, view))
        });
        let Some((owner, _)) = missing else { return Ok(()) };
        if tokio::time::Instant::now() > deadline {
            bail!("what bridge `{owner}` wants is not known after ten seconds");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn publish(
    client: &reqwest::Client,
    http: &HashMap<String, String>,
    scripted: &Scripted,
    paint: &Paint,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let at = http.get(&scripted.at).context("a scripted event names a bridge")?;
    let reply = client
        .post(format!("{at}/v1/topics/{}", scripted.topic))
        .header("content-type", "application/cloudevents+json")
        .body(scripted.event.to_string())
        .send()
        .await?
        .error_for_status()?;
    let reply: Value = reply.json().await?;
    tally.published += 1;
    let destinations: Vec<&str> =
        reply["destinations"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    tally.expected += destinations.len() as u64;
    let denied = reply["denied"].as_array().cloned().unwrap_or_default();
    let to = if destinations.is_empty() { "nobody".to_owned() } else { destinations.join(", ") };
    println!("{} {} at {} → {to}", paint.bold("published"), scripted.topic, scripted.at);
    for denial in &denied {
        let by = denial["by"].as_str().unwrap_or_default();
        let destination = denial["destination"].as_str().unwrap_or_default();
        println!("  {} to {destination} by {by}", paint.red("denied"));
        *tally.denied.entry(by.to_owned()).or_default() += 1;
    }
    if destinations.is_empty() && denied.is_empty() {
        tally.nobody += 1;
        println!("  {} nobody listens, so it crossed no link", paint.dim("not forwarded:"));
    }
    Ok(())
}

fn id_of(event: &Value) -> String {
    event["id"].as_str().unwrap_or_default().to_owned()
}

fn on_delivered(arrived: &Delivered, originals: &HashMap<String, Value>, paint: &Paint, tally: &mut Tally) {
    *tally.delivered.entry(arrived.bridge.clone()).or_default() += 1;
    println!("  {} at {}: {}", paint.green("delivered"), arrived.bridge, id_of(&arrived.event));
    let Some(original) = originals.get(&id_of(&arrived.event)) else { return };
    let mut changes = Vec::new();
    compare("data", &original["data"], &arrived.event["data"], &mut changes);
    tally.redacted += u64::from(!changes.is_empty());
    for (path, before, after) in changes {
        println!(
            "    {} {path}: {} → {}",
            paint.yellow("redacted"),
            paint.dim(&before),
            paint.yellow(&after)
        );
    }
}

fn compare(path: &str, before: &Value, after: &Value, changes: &mut Vec<(String, String, String)>) {
    match (before, after) {
        (Value::Object(members), Value::Object(others)) => {
            for (name, value) in members {
                compare(&format!("{path}.{name}"), value, others.get(name).unwrap_or(&Value::Null), changes);
            }
        }
        (before, after) if before == after => {}
        (before, Value::Null) => changes.push((path.to_owned(), before.to_string(), "(gone)".to_owned())),
        (before, after) => {
            let shown: String = after.to_string().chars().take(48).collect();
            changes.push((path.to_owned(), before.to_string(), shown));
        }
    }
}

async fn summary(federation: &LocalFederation, paint: &Paint, tally: &Tally) -> anyhow::Result<()> {
    println!("\n{}", paint.bold("Summary"));
    println!("  {:<44} {:>6}", "published", tally.published);
    for (bridge, count) in &tally.delivered {
        println!("  {:<44} {count:>6}", format!("delivered at {bridge}"));
    }
    println!("  {:<44} {:>6}", "deliveries with redacted fields", tally.redacted);
    for (rule, count) in &tally.denied {
        println!("  {:<44} {count:>6}", format!("denied by {rule}"));
    }
    println!("  {:<44} {:>6}", "not forwarded, nobody listened", tally.nobody);
    for line in federation.lines() {
        let answer = federation.get(&format!("{}/v1/peers", line.admin)).await?;
        for peer in answer["peers"].as_array().into_iter().flatten() {
            let label =
                format!("frames sent {} → {}", line.bridge, peer["bridge"].as_str().unwrap_or_default());
            println!("  {label:<44} {:>6}", peer["sent"]["events"].to_string());
        }
    }
    Ok(())
}

/// Colours on a terminal, plain text elsewhere.
struct Paint {
    colours: bool,
}

impl Paint {
    fn with(&self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn bold(&self, text: &str) -> String {
        self.with("1", text)
    }

    fn dim(&self, text: &str) -> String {
        self.with("2", text)
    }

    fn red(&self, text: &str) -> String {
        self.with("31", text)
    }

    fn green(&self, text: &str) -> String {
        self.with("32", text)
    }

    fn yellow(&self, text: &str) -> String {
        self.with("33", text)
    }
}
