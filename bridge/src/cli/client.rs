//! Commands that talk to a running bridge over HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::Value;

use super::{Failure, Outcome, Output, block_on};

/// How to reach a bridge that wants to know who is there.
#[derive(Debug, clap::Args)]
pub(super) struct Credentials {
    /// File with a bearer token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// PEM file with the authorities to trust
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// PEM file with a client certificate and its key
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
}

impl Credentials {
    pub(super) fn client(&self) -> anyhow::Result<reqwest::Client> {
        let mut builder = reqwest::Client::builder().connect_timeout(Duration::from_secs(5)).no_proxy();
        if let Some(path) = &self.ca {
            let pem = std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
            builder = builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(&pem)?);
        }
        if let Some(path) = &self.identity {
            let pem = std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
            builder = builder.identity(reqwest::Identity::from_pem(&pem)?);
        }
        Ok(builder.build()?)
    }

    pub(super) fn authorise(
        &self,
        request: reqwest::RequestBuilder,
    ) -> anyhow::Result<reqwest::RequestBuilder> {
        let Some(path) = &self.token_file else { return Ok(request) };
        let token =
            std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        Ok(request.header(AUTHORIZATION, format!("Bearer {}", token.trim())))
    }
}

/// Publishes an event and prints the bridge's reply: the event's key, its destinations, and who was denied by which
/// rule.
#[derive(Debug, clap::Args)]
pub(super) struct PubArguments {
    /// The topic, such as orders.eu.created
    topic: String,
    /// Address of the bridge's HTTP listener
    #[arg(long, alias = "bridge", value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// The data: text, @FILE, or - for stdin; JSON where it is JSON
    #[arg(long, short, default_value = "")]
    data: String,
    /// Attribute `type`; the topic by default
    #[arg(long = "type", value_name = "TYPE")]
    ty: Option<String>,
    /// Attribute `source`
    #[arg(long, default_value = "/meshbridge/pub")]
    source: String,
    /// Attribute `id`; random by default
    #[arg(long)]
    id: Option<String>,
    /// A further attribute; repeatable
    #[arg(long, short, value_name = "NAME=VALUE")]
    attribute: Vec<String>,
    #[command(flatten)]
    credentials: Credentials,
}

/// Prints events as they come, one JSON object a line, until interrupted.
#[derive(Debug, clap::Args)]
pub(super) struct SubArguments {
    /// Topic filters, such as orders.** or *.eu.created
    #[arg(required = true)]
    filters: Vec<String>,
    /// Address of the bridge's HTTP listener
    #[arg(long, alias = "bridge", value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// Read a subscription with memory, made on first use: what came while nobody read is there
    #[arg(long, value_name = "NAME", conflicts_with = "group")]
    subscription: Option<String>,
    /// Be a member of a consumer group, made on first use: one member of it in the federation gets each event
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// How the members at a bridge share: round-robin, weighted, least-outstanding, random, sticky
    #[arg(long, requires = "group")]
    strategy: Option<String>,
    /// Weight of this member, for --strategy weighted
    #[arg(long, requires = "group")]
    weight: Option<u32>,
    /// End after this many events
    #[arg(long)]
    count: Option<u64>,
    /// End after this many seconds; exit code 1 where `--count` was not reached
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    #[command(flatten)]
    credentials: Credentials,
}

/// Reads the admin port of a bridge.
#[derive(Debug, clap::Args)]
pub(super) struct AdminArguments {
    /// Address of the bridge's admin port
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
    admin: String,
    #[arg(long, value_enum, default_value_t = Output::Table)]
    pub(super) output: Output,
    #[command(flatten)]
    credentials: Credentials,
}

pub(super) fn publish(arguments: &PubArguments) -> Outcome {
    let body = read_data(&arguments.data).map_err(Failure::Input)?;
    let mut event = serde_json::json!({
        "specversion": "1.0",
        "id": arguments.id.clone().unwrap_or_else(|| format!("{:032x}", rand::random::<u128>())),
        "source": arguments.source,
        "type": arguments.ty.as_ref().unwrap_or(&arguments.topic),
    });
    for pair in &arguments.attribute {
        let (name, value) =
            pair.split_once('=').ok_or_else(|| Failure::Input(anyhow!("`{pair}` is not NAME=VALUE")))?;
        event[name] = value.into();
    }
    if !body.is_empty() {
        match serde_json::from_str::<Value>(&body) {
            Ok(json) => event["data"] = json,
            Err(_) => {
                event["datacontenttype"] = "text/plain".into();
                event["data"] = body.into();
            }
        }
    }
    block_on(async {
        let client = arguments.credentials.client().map_err(Failure::Input)?;
        let topic =
            percent_encoding::utf8_percent_encode(&arguments.topic, percent_encoding::NON_ALPHANUMERIC);
        let url = format!("{}/v1/topics/{topic}", arguments.url.trim_end_matches('/'));
        let request = client.post(url).timeout(Duration::from_secs(30)).body(event.to_string());
        let request = request.header(CONTENT_TYPE, "application/cloudevents+json");
        let request = arguments.credentials.authorise(request).map_err(Failure::Input)?;
        let reply = request.send().await.map_err(|problem| unreachable(&arguments.url, problem))?;
        let accepted = reply.status().is_success();
        let text = reply.text().await.map_err(|problem| unreachable(&arguments.url, problem))?;
        if accepted {
            println!("{text}");
            return Ok(());
        }
        eprintln!("{text}");
        Err(Failure::No)
    })?
}

fn read_data(data: &str) -> anyhow::Result<String> {
    match data.strip_prefix('@') {
        Some(path) => std::fs::read_to_string(path).with_context(|| format!("cannot read `{path}`")),
        None if data == "-" => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            Ok(text)
        }
        None => Ok(data.to_owned()),
    }
}

pub(super) fn unreachable(url: &str, problem: reqwest::Error) -> Failure {
    Failure::Unreachable(anyhow!(problem).context(format!("no answer from {url}")))
}

pub(super) fn subscribe(arguments: &SubArguments) -> Outcome {
    let filters = arguments.filters.iter().map(|filter| ("filter", filter.clone()));
    let more = [
        ("subscription", arguments.subscription.clone()),
        ("group", arguments.group.clone()),
        ("strategy", arguments.strategy.clone()),
        ("weight", arguments.weight.map(|weight| weight.to_string())),
    ];
    let more = more.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let encode = |value: &str| {
        percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let query: Vec<String> =
        filters.chain(more).map(|(name, value)| format!("{name}={}", encode(&value))).collect();
    let url = format!("{}/v1/stream?{}", arguments.url.trim_end_matches('/'), query.join("&"));
    block_on(async {
        let read = read_stream(arguments, &url);
        let Some(seconds) = arguments.timeout else { return read.await };
        match tokio::time::timeout(Duration::from_secs(seconds), read).await {
            Ok(outcome) => outcome,
            Err(_) if arguments.count.is_some() => Err(Failure::No),
            Err(_) => Ok(()),
        }
    })?
}

async fn read_stream(arguments: &SubArguments, url: &str) -> Outcome {
    let client = arguments.credentials.client().map_err(Failure::Input)?;
    let request = arguments.credentials.authorise(client.get(url)).map_err(Failure::Input)?;
    let mut reply = request.send().await.map_err(|problem| unreachable(&arguments.url, problem))?;
    if !reply.status().is_success() {
        eprintln!("{}", reply.text().await.unwrap_or_default());
        return Err(Failure::No);
    }
    let mut messages = SseReader::default();
    let mut seen = 0;
    while let Some(chunk) = reply.chunk().await.map_err(|problem| unreachable(&arguments.url, problem))? {
        for message in messages.feed(&chunk) {
            if message.event == "end" {
                eprintln!("the bridge ended the stream: {}", message.data);
                return Err(Failure::No);
            }
            let mut stdout = std::io::stdout().lock();
            if writeln!(stdout, "{}", message.data.replace('\n', " ")).and_then(|()| stdout.flush()).is_err()
            {
                return Ok(());
            }
            seen += 1;
            if arguments.count.is_some_and(|count| seen >= count) {
                return Ok(());
            }
        }
    }
    Err(Failure::Unreachable(anyhow!("the bridge closed the stream")))
}

/// One server-sent message.
#[derive(Debug, Default)]
pub(super) struct SseMessage {
    pub(super) event: String,
    pub(super) data: String,
}

/// Puts server-sent messages together from the bytes as they come.
#[derive(Debug, Default)]
pub(super) struct SseReader {
    rest: Vec<u8>,
}

impl SseReader {
    pub(super) fn feed(&mut self, chunk: &[u8]) -> Vec<SseMessage> {
        self.rest.extend_from_slice(chunk);
        let mut messages = Vec::new();
        while let Some(end) = self.rest.windows(2).position(|pair| pair == b"\n\n") {
            let block: Vec<u8> = self.rest.drain(..end + 2).collect();
            let mut message = SseMessage::default();
            for line in BufReader::new(block.as_slice()).lines().map_while(Result::ok) {
                if let Some(data) = line.strip_prefix("data:") {
                    if !message.data.is_empty() {
                        message.data.push('\n');
                    }
                    message.data.push_str(data.strip_prefix(' ').unwrap_or(data));
                } else if let Some(event) = line.strip_prefix("event:") {
                    message.event = event.trim().to_owned();
                }
            }
            if !message.data.is_empty() {
                messages.push(message);
            }
        }
        messages
    }
}

/// Asks the admin port to do something; what it refuses goes to stderr.
pub(super) fn post(arguments: &AdminArguments, path: &str, body: &Value) -> Result<Value, Failure> {
    block_on(async {
        let client = arguments.credentials.client().map_err(Failure::Input)?;
        let url = format!("{}{path}", arguments.admin.trim_end_matches('/'));
        // A removal with a million events pending takes its time.
        let request = client.post(url).timeout(Duration::from_secs(300)).body(body.to_string());
        let request = arguments.credentials.authorise(request).map_err(Failure::Input)?;
        let failed = |problem| unreachable(&arguments.admin, problem);
        let reply = request.send().await.map_err(failed)?;
        let done = reply.status().is_success();
        let answer: Value = reply.json().await.map_err(failed)?;
        if done {
            return Ok(answer);
        }
        eprintln!("{}", answer["error"]["message"].as_str().unwrap_or("refused"));
        Err(Failure::No)
    })?
}

pub(super) fn fetch(arguments: &AdminArguments, path: &str) -> Result<Value, Failure> {
    block_on(async {
        let client = arguments.credentials.client().map_err(Failure::Input)?;
        let url = format!("{}{path}", arguments.admin.trim_end_matches('/'));
        let request = client.get(url).timeout(Duration::from_secs(10));
        let request = arguments.credentials.authorise(request).map_err(Failure::Input)?;
        let failed = |problem| unreachable(&arguments.admin, problem);
        let reply = request.send().await.map_err(failed)?;
        let status = reply.status();
        if status.is_success() {
            return reply.json().await.map_err(failed);
        }
        let answer: Value = reply.json().await.unwrap_or_default();
        match answer["error"]["message"].as_str() {
            Some(message) => eprintln!("{message}"),
            None => eprintln!("{} answers {status}", arguments.admin),
        }
        Err(Failure::No)
    })?
}

pub(super) fn peers(arguments: &AdminArguments) -> Outcome {
    let columns = [
        "bridge",
        "zone",
        "state",
        "direction",
        "transport",
        "remote",
        "cost",
        "rtt_ms",
        "policy",
        "last_error",
    ];
    show(arguments, &fetch(arguments, "/v1/peers")?, "peers", &columns)
}

pub(super) fn routes(arguments: &AdminArguments) -> Outcome {
    let columns = ["bridge", "zone", "reachable", "cost", "hops", "next_hop", "path", "cut_off"];
    show(arguments, &fetch(arguments, "/v1/routes")?, "routes", &columns)
}

pub(super) fn interest(arguments: &AdminArguments) -> Outcome {
    let columns = ["bridge", "zone", "audience", "version", "count", "filters", "cut_off"];
    show(arguments, &fetch(arguments, "/v1/interest")?, "sets", &columns)
}

/// Reads where one event is and how it ended.
#[derive(Debug, clap::Args)]
pub(super) struct TraceArguments {
    /// The event's key, as the reply to its publication has it
    key: String,
    #[command(flatten)]
    admin: AdminArguments,
}

pub(super) fn delivery(arguments: &AdminArguments) -> Outcome {
    let columns = [
        "destination",
        "sent",
        "delivered",
        "denied",
        "expired",
        "deadLettered",
        "pending",
        "unsettled",
        "inDoubt",
        "balanced",
    ];
    let answer = fetch(arguments, "/v1/delivery")?;
    show(arguments, &answer, "destinations", &columns)?;
    if answer["balanced"] == Value::Bool(true) { Ok(()) } else { Err(Failure::No) }
}

pub(super) fn trace(arguments: &TraceArguments) -> Outcome {
    let key = percent_encoding::utf8_percent_encode(&arguments.key, percent_encoding::NON_ALPHANUMERIC);
    let answer = fetch(&arguments.admin, &format!("/v1/events/{key}"))?;
    show(&arguments.admin, &answer, "destinations", &["destination", "state", "why"])
}

/// As it may stand in a path or a query.
pub(super) fn escaped(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

pub(super) fn show(arguments: &AdminArguments, answer: &Value, list: &str, columns: &[&str]) -> Outcome {
    if arguments.output == Output::Json {
        println!("{answer:#}");
        return Ok(());
    }
    let rows = answer[list].as_array().cloned().unwrap_or_default();
    let mut table: Vec<Vec<String>> = vec![columns.iter().map(|column| column.to_uppercase()).collect()];
    table.extend(rows.iter().map(|row| columns.iter().map(|column| cell(&row[*column])).collect()));
    let widths: Vec<usize> = (0..columns.len())
        .map(|at| table.iter().map(|row| row[at].chars().count()).max().unwrap_or(0))
        .collect();
    for row in table {
        let cells = row.iter().zip(&widths).map(|(text, width)| format!("{text:width$}"));
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    Ok(())
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => format!("{float:.2}"),
            _ => number.to_string(),
        },
        Value::Array(all) => all.iter().map(cell).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}
