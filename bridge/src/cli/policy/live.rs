//! Answers of the admin port that go on: a JSON object a line, for as long as was asked for.

use std::time::Duration;

use anyhow::anyhow;
use serde_json::Value;

use super::super::client::{Credentials, unreachable};
use super::Failure;

/// The longest line that is taken; what a bridge says is bounded, and so is what is believed of it.
const LINE_BYTES_MAX: usize = meshbridge_policy::capture::LINE_BYTES_MAX;

/// Which bridge, and how to show it who is there.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Admin {
    /// Address of the bridge's admin port
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
    admin: String,
    #[command(flatten)]
    credentials: Credentials,
}

/// The lines of an answer.
#[derive(Debug)]
pub(in crate::cli) struct Lines {
    admin: String,
    reply: reqwest::Response,
    rest: Vec<u8>,
}

impl Admin {
    /// Asks; what the bridge refuses goes to stderr, and the answer is no.
    pub(in crate::cli) async fn ask(
        &self,
        path: &str,
        body: &impl serde::Serialize,
    ) -> Result<Lines, Failure> {
        let body = serde_json::to_string(body).map_err(|problem| Failure::Fault(problem.into()))?;
        let base =
            if self.admin.contains("://") { self.admin.clone() } else { format!("http://{}", self.admin) };
        let client = self.credentials.client().map_err(Failure::Input)?;
        let url = format!("{}{path}", base.trim_end_matches('/'));
        let request = self.credentials.authorise(client.post(url).body(body)).map_err(Failure::Input)?;
        let reply = request.send().await.map_err(|problem| unreachable(&base, problem))?;
        if reply.status().is_success() {
            return Ok(Lines { admin: base, reply, rest: Vec::new() });
        }
        let status = reply.status();
        let answer: Value = reply.json().await.unwrap_or_default();
        match answer["error"]["message"].as_str() {
            Some(message) => eprintln!("the bridge refuses: {message}"),
            None => eprintln!("the bridge refuses: {status}"),
        }
        Err(Failure::No)
    }
}

impl Lines {
    /// The next line, without its end; `None` where the answer is over.
    pub(super) async fn next(&mut self) -> Result<Option<String>, Failure> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                let line = String::from_utf8(line).map_err(|_| self.nonsense("a line is no text"))?;
                return Ok(Some(line.trim_end().to_owned()));
            }
            if self.rest.len() > LINE_BYTES_MAX {
                return Err(self.nonsense("a line is longer than any may be"));
            }
            match self.reply.chunk().await.map_err(|problem| unreachable(&self.admin, problem))? {
                Some(chunk) => self.rest.extend_from_slice(&chunk),
                None if self.rest.is_empty() => return Ok(None),
                None => return Err(self.nonsense("the last line is cut")),
            }
        }
    }

    fn nonsense(&self, what: &str) -> Failure {
        Failure::Unreachable(anyhow!("{what}").context(format!("no usable answer from {}", self.admin)))
    }
}

/// What a bridge is told of a duration: whole seconds, and never none.
pub(super) fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
