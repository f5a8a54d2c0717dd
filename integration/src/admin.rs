//! The admin port, as a client sees it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::http;

/// One entry of `/v1/peers`.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct Peer {
    pub bridge: String,
    pub state: String,
    pub direction: String,
    pub transport: Option<String>,
    pub sent: Traffic,
    pub received: Traffic,
    pub last_error: Option<String>,
}

/// One direction of a link.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct Traffic {
    pub events: u64,
    pub data_bytes: u64,
    pub control_bytes: u64,
}

/// One entry of `/v1/routes`.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct Route {
    pub bridge: String,
    pub reachable: bool,
    pub path: Vec<String>,
}

/// A client of one admin port.
#[derive(Clone, Debug)]
pub struct Admin {
    base: String,
}

impl Admin {
    /// A client of the admin port at this base, `http://host:port`.
    pub fn new(base: &str) -> Admin {
        Admin { base: base.to_owned() }
    }

    /// Its address, as commands take it.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Status and body of a path.
    pub async fn text(&self, path: &str) -> Result<(u16, String)> {
        let response =
            http().get(format!("{}{path}", self.base)).timeout(Duration::from_secs(10)).send().await?;
        let status = response.status().as_u16();
        Ok((status, response.text().await?))
    }

    /// The JSON of a path that answers 200.
    pub async fn json(&self, path: &str) -> Result<Value> {
        let (status, text) = self.text(path).await?;
        ensure!(status == 200, "{path} answers {status}: {text}");
        serde_json::from_str(&text).with_context(|| format!("{path} is not JSON: {text}"))
    }

    /// The links of the bridge.
    pub async fn peers(&self) -> Result<Vec<Peer>> {
        let mut body = self.json("/v1/peers").await?;
        Ok(serde_json::from_value(body["peers"].take())?)
    }

    /// One link.
    pub async fn peer(&self, bridge: &str) -> Result<Peer> {
        self.peers()
            .await?
            .into_iter()
            .find(|peer| peer.bridge == bridge)
            .with_context(|| format!("no peer {bridge}"))
    }

    /// Data bytes and events over all links, both ways.
    pub async fn data_traffic(&self) -> Result<(u64, u64)> {
        let peers = self.peers().await?;
        let both = peers.iter().flat_map(|peer| [&peer.sent, &peer.received]);
        Ok(both.fold((0, 0), |(bytes, events), one| (bytes + one.data_bytes, events + one.events)))
    }

    /// The route to a bridge.
    pub async fn route_to(&self, bridge: &str) -> Result<Route> {
        let mut body = self.json("/v1/routes").await?;
        let routes: Vec<Route> = serde_json::from_value(body["routes"].take())?;
        routes
            .into_iter()
            .find(|route| route.bridge == bridge)
            .with_context(|| format!("no route to {bridge}"))
    }

    /// The filters a bridge is known to want.
    pub async fn interest_of(&self, bridge: &str) -> Result<Vec<String>> {
        let body = self.json("/v1/interest").await?;
        let sets = body["sets"].as_array().context("`sets` is a list")?;
        let sets = sets.iter().filter(|set| set["bridge"] == bridge);
        let filters = sets.filter_map(|set| set["filters"].as_array()).flatten();
        Ok(filters.filter_map(|filter| filter.as_str().map(str::to_owned)).collect())
    }

    /// The zones that may learn that this bridge, `bridge`, wants a filter; `None` for all.
    pub async fn audience_of(&self, bridge: &str, filter: &str) -> Result<Option<Vec<String>>> {
        let body = self.json("/v1/interest").await?;
        let sets = body["sets"].as_array().context("`sets` is a list")?;
        let has = |set: &&Value| {
            set["filters"].as_array().is_some_and(|filters| filters.iter().any(|one| one == filter))
        };
        let set = sets.iter().filter(|set| set["bridge"] == bridge).find(has);
        let audience = &set.with_context(|| format!("{bridge} does not want {filter}: {body}"))?["audience"];
        Ok(audience
            .as_array()
            .map(|zones| zones.iter().filter_map(|zone| zone.as_str().map(str::to_owned)).collect()))
    }

    /// The dead letters, oldest first.
    pub async fn dead_letters(&self) -> Result<Vec<Value>> {
        let mut body = self.json("/v1/deadletters").await?;
        Ok(serde_json::from_value(body["entries"].take())?)
    }

    /// Every sample of `/metrics`, by name and labels as printed.
    pub async fn metrics(&self) -> Result<BTreeMap<String, f64>> {
        let (status, text) = self.text("/metrics").await?;
        ensure!(status == 200, "/metrics answers {status}");
        text.lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .map(|line| {
                let (name, value) = line.rsplit_once(' ').with_context(|| format!("no sample: {line}"))?;
                Ok((name.to_owned(), value.parse()?))
            })
            .collect()
    }
}
