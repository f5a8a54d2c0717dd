//! Publishing over HTTP.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

/// The HTTP client of all tests. Connections are not kept, so that a bridge that was killed leaves no half-open one behind.
pub fn http() -> &'static reqwest::Client {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    CLIENT.get_or_init(|| {
        // Another test may have installed it already.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .connect_timeout(Duration::from_secs(5))
            .build()
            .expect("the client has no options that can fail")
    })
}

/// A client that keeps its connections: what a publisher of many events uses, and what a killed bridge breaks.
pub(crate) fn keeping_connections() -> reqwest::Client {
    // Sees to the provider of TLS.
    http();
    reqwest::Client::builder()
        .no_proxy()
        .connect_timeout(Duration::from_secs(5))
        .build()
        .expect("the client has no options that can fail")
}

/// An event as a test writes it; the id is unique in the run.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Draft {
    pub id: String,
    pub source: String,
    pub ty: String,
    pub attributes: Vec<(String, String)>,
    pub data: Value,
}

impl Draft {
    /// An event with this JSON as data.
    pub fn new(data: Value) -> Draft {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = format!("event-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        Draft {
            id,
            source: "/tests/publisher".to_owned(),
            ty: "example.happened".to_owned(),
            attributes: Vec::new(),
            data,
        }
    }

    /// The same event with one more attribute.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Draft {
        self.attributes.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The event in the JSON format.
    pub fn structured(&self) -> Value {
        let mut event = json!({"specversion": "1.0", "id": self.id, "source": self.source, "type": self.ty,
            "datacontenttype": "application/json", "data": self.data});
        for (name, value) in &self.attributes {
            event[name] = json!(value);
        }
        event
    }
}

/// What a bridge answers to an event it took.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct Reply {
    pub key: String,
    pub destinations: Vec<String>,
    pub denied: Vec<Denied>,
}

/// A destination that a rule took out.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct Denied {
    pub destination: String,
    pub by: String,
    pub disposition: String,
}

/// An HTTP answer, whatever it is.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Answer {
    pub status: u16,
    pub text: String,
}

impl Answer {
    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }
}

/// A client of one HTTP listener.
#[derive(Clone, Debug)]
pub struct Publisher {
    base: String,
    client: reqwest::Client,
    token: Option<String>,
}

impl Publisher {
    pub(crate) fn new(base: &str) -> Publisher {
        Publisher { base: base.to_owned(), client: http().clone(), token: None }
    }

    /// A client with TLS of its own, of the HTTP listener at this base.
    pub fn over(client: reqwest::Client, base: &str) -> Publisher {
        Publisher { base: base.to_owned(), client, token: None }
    }

    /// The same client, with a bearer token in each request.
    #[must_use]
    pub fn with_token(mut self, token: &str) -> Publisher {
        self.token = Some(token.to_owned());
        self
    }

    /// Publishes in binary mode and expects it to be taken.
    pub async fn publish(&self, topic: &str, event: &Draft) -> Result<Reply> {
        let mut headers = vec![
            ("ce-specversion".to_owned(), "1.0".to_owned()),
            ("ce-id".to_owned(), event.id.clone()),
            ("ce-source".to_owned(), event.source.clone()),
            ("ce-type".to_owned(), event.ty.clone()),
            ("content-type".to_owned(), "application/json".to_owned()),
        ];
        headers.extend(event.attributes.iter().map(|(name, value)| (format!("ce-{name}"), value.clone())));
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let answer =
            self.post(&format!("/v1/topics/{topic}"), &headers, event.data.to_string().into_bytes()).await?;
        taken(&answer)
    }

    /// Publishes in structured mode and expects it to be taken.
    pub async fn publish_structured(&self, topic: &str, event: &Draft) -> Result<Reply> {
        let body = event.structured().to_string().into_bytes();
        taken(&self.post(&format!("/v1/topics/{topic}"), &[STRUCTURED], body).await?)
    }

    /// Publishes a batch and expects it to be taken.
    pub async fn publish_batch(&self, topic: &str, events: &[Draft]) -> Result<Vec<Reply>> {
        let body = Value::Array(events.iter().map(Draft::structured).collect()).to_string().into_bytes();
        taken(&self.post(&format!("/v1/topics/{topic}"), &[BATCH], body).await?)
    }

    /// Posts anything.
    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Result<Answer> {
        let url = format!("{}{path}", self.base);
        let mut request = self.client.post(url).timeout(Duration::from_secs(30)).body(body);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        Ok(Answer { status, text: response.text().await? })
    }
}

/// The content type of one event in the JSON format.
pub const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json");
/// The content type of several.
pub const BATCH: (&str, &str) = ("content-type", "application/cloudevents-batch+json");

fn taken<T: for<'a> Deserialize<'a>>(answer: &Answer) -> Result<T> {
    ensure!(answer.status == 202, "status {}: {}", answer.status, answer.text);
    serde_json::from_str(&answer.text).with_context(|| answer.text.clone())
}
