//! What people do with held pairs: look at them, release them, refuse them.
//!
//! To release is to waive a rule, so who does it must be of the layer that the rule belongs to: the configuration says
//! which principals of the admin port are (`admin.releasers`). To refuse takes no such right, for it only tightens.

use std::collections::BTreeSet;
use std::time::{Instant, SystemTime};

use meshbridge_delivery::Outcome;
use meshbridge_policy::Context;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::recent::DeadLetter;
use super::super::{Inner, Kept, NamedRefused, Pipeline, Principal, lock};
use super::listed::{HeldId, HeldPair, LISTED_MAX};
use super::rulings::{NotKept, Said, Way};
use crate::audit::{Ruling, Verdict};

/// The longest reason, in bytes.
const REASON_BYTES_MAX: usize = 256;

/// A held pair, as people look at it; never its payload.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HeldView {
    id: String,
    key: String,
    destination: String,
    rule: String,
    /// Whose principals may release it.
    layer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    topic: String,
    event_id: String,
    source: String,
    #[serde(rename = "type")]
    ty: String,
    size_bytes: u32,
    /// When the event was accepted.
    since: String,
    /// When it becomes a dead letter.
    until: String,
}

/// Which held pairs are meant.
#[derive(Clone, Debug)]
pub(crate) enum Which {
    Ids(Vec<String>),
    /// All that are listed and held by this rule.
    Rule(String),
}

/// Why nothing was released or refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RulingRefused {
    #[error("nothing is held as `{0}`; `meshbridge quarantine list` shows what is")]
    Unknown(String),
    #[error("a reason of 1 to {REASON_BYTES_MAX} bytes, without control characters, is required")]
    Reason,
    #[error(
        "`{by}` may not release what rule `{rule}` holds: that takes a principal of layer `{layer}` (`admin.releasers` in the configuration of this bridge)"
    )]
    Forbidden { by: String, rule: String, layer: String },
    #[error("the log of decisions has no room, and a ruling without a record does not count")]
    Unrecorded,
    #[error("{0}")]
    Full(String),
    #[error("{0}")]
    Disk(String),
    #[error("the bridge is stopping")]
    Stopping,
}

impl From<NotKept> for RulingRefused {
    fn from(problem: NotKept) -> RulingRefused {
        match &problem {
            NotKept::Full => RulingRefused::Full(problem.to_string()),
            NotKept::Disk(source) => RulingRefused::Disk(format!("{problem}: {source}")),
        }
    }
}

impl From<NamedRefused> for RulingRefused {
    fn from(_: NamedRefused) -> RulingRefused {
        RulingRefused::Stopping
    }
}

/// How a refused pair ends: by the rule that held it, with what the person said.
pub(super) fn outcome_of(said: &Said) -> Outcome {
    Outcome::Denied(format!("{}: {}", said.rule, said.reason).into())
}

fn rfc3339(unix_ms: u64) -> String {
    let nanos = i128::from(unix_ms).saturating_mul(1_000_000);
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok();
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}

fn view(id: &HeldId, pair: &HeldPair, timeout_ms: u64) -> HeldView {
    HeldView {
        id: id.to_string(),
        key: pair.key.to_string(),
        destination: id.destination.to_string(),
        rule: pair.rule.to_string(),
        layer: pair.layer.clone(),
        message: pair.message.clone(),
        topic: pair.topic.clone(),
        event_id: pair.id.clone(),
        source: pair.source.clone(),
        ty: pair.ty.clone(),
        size_bytes: pair.size_bytes,
        since: rfc3339(pair.since_ms),
        until: rfc3339(pair.since_ms.saturating_add(timeout_ms)),
    }
}

impl Pipeline {
    /// Held pairs after the given id, how many are listed in all, and how many are held beside the list.
    pub(crate) fn quarantined(
        &self,
        rule: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> (usize, usize, Vec<HeldView>) {
        let quarantine = &self.inner.parts.quarantine;
        let timeout = self.patience_ms();
        let after: Option<HeldId> = after.and_then(|text| text.parse().ok());
        let held = self.held_pairs();
        let listed = lock(&quarantine.listed);
        let of_rule = |pair: &HeldPair| rule.is_none_or(|rule| *pair.rule == *rule);
        let total = listed.iter().filter(|(_, pair)| of_rule(pair)).count();
        let all = listed.iter().filter(|(_, pair)| of_rule(pair));
        let page = all.filter(|(id, _)| after.as_ref().is_none_or(|after| *id > after));
        let views = page.take(limit).map(|(id, pair)| view(id, pair, timeout));
        let unlisted = if listed.len() < LISTED_MAX { 0 } else { held.saturating_sub(listed.len()) };
        (total, unlisted, views.collect())
    }

    pub(crate) fn held(&self, id: &str) -> Option<Kept> {
        let id: HeldId = id.parse().ok()?;
        let pair = lock(&self.inner.parts.quarantine.listed).get(&id).cloned()?;
        let view = view(&id, &pair, self.patience_ms());
        Some(Kept::Held(id, Box::new(view)))
    }

    /// Listed pairs that ids name, or all that a rule holds, or all; and how many of the ids name none.
    pub(crate) fn held_to_show(&self, ids: &[String], rule: Option<&str>) -> (Vec<Kept>, u64) {
        let timeout = self.patience_ms();
        let chosen: BTreeSet<HeldId> = ids.iter().filter_map(|id| id.parse().ok()).collect();
        let listed = lock(&self.inner.parts.quarantine.listed);
        let is_chosen = |(id, pair): &(&HeldId, &HeldPair)| match ids.is_empty() {
            true => rule.is_none_or(|rule| *pair.rule == *rule),
            false => chosen.contains(*id),
        };
        let found = listed.iter().filter(is_chosen);
        let found: Vec<Kept> =
            found.map(|(id, pair)| Kept::Held(id.clone(), Box::new(view(id, pair, timeout)))).collect();
        let missed = ids.len().saturating_sub(found.len()) as u64;
        (found, missed)
    }

    /// How long a person may take.
    fn patience_ms(&self) -> u64 {
        let timeout = self.inner.parts.quarantine.options.timeout;
        u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)
    }

    /// Pairs that are held now, listed or not.
    pub(crate) fn held_pairs(&self) -> usize {
        self.inner.durable.view(|core| core.held().map(|(_, bodies)| bodies.len()).sum())
    }

    /// Judges these pairs again without the rules that hold them. All of them or none; durable when this returns.
    pub(crate) fn release(
        &self,
        by: &Principal,
        which: &Which,
        reason: &str,
    ) -> Result<usize, RulingRefused> {
        let inner = &self.inner;
        let quarantine = &inner.parts.quarantine;
        let chosen = self.chosen(which, reason)?;
        let layers = quarantine.options.releasers.get(&*by.0).map(Vec::as_slice).unwrap_or_default();
        for (_, pair) in &chosen {
            if !layers.contains(&pair.layer) {
                let (rule, layer) = (pair.rule.to_string(), pair.layer.clone());
                return Err(RulingRefused::Forbidden { by: by.to_string(), rule, layer });
            }
        }
        self.keep(Way::Release, &chosen, by, reason)?;
        for (id, pair) in &chosen {
            quarantine.unlist(id.body, &id.destination);
            inner.durable.with(|core| core.let_go(id.body, &id.destination, Instant::now()));
            inner.parts.metrics.on_quarantine_ended("released");
            inner.record_ruling("release", Verdict::Forward, id, pair, Some(by), Some(reason));
        }
        Ok(chosen.len())
    }

    /// Ends these pairs as denied. All of them or none; durable when this returns.
    pub(crate) async fn refuse(
        &self,
        by: &Principal,
        which: &Which,
        reason: &str,
    ) -> Result<usize, RulingRefused> {
        let inner = &self.inner;
        let chosen = self.chosen(which, reason)?;
        // In the file too: one that may have been sent ends when its destination says so, perhaps after a restart.
        let said = self.keep(Way::Refuse, &chosen, by, reason)?;
        for ((id, pair), said) in chosen.iter().zip(&said) {
            inner.parts.quarantine.unlist(id.body, &id.destination);
            let outcome = outcome_of(said);
            inner.durable.with(|core| core.end_pair(id.body, &id.destination, outcome, Instant::now()));
            inner.parts.metrics.on_quarantine_ended("refused");
            inner.record_ruling("refuse", Verdict::Reject, id, pair, Some(by), Some(reason));
        }
        self.commit_all().await?;
        Ok(chosen.len())
    }

    fn chosen(&self, which: &Which, reason: &str) -> Result<Vec<(HeldId, HeldPair)>, RulingRefused> {
        if reason.trim().is_empty() || reason.len() > REASON_BYTES_MAX || reason.chars().any(char::is_control)
        {
            return Err(RulingRefused::Reason);
        }
        if !self.inner.parts.audit.has_room() {
            return Err(RulingRefused::Unrecorded);
        }
        let listed = lock(&self.inner.parts.quarantine.listed);
        match which {
            Which::Ids(ids) => {
                let find = |text: &String| {
                    let id: Option<HeldId> = text.parse().ok();
                    let pair = id.as_ref().and_then(|id| listed.get(id)).cloned();
                    id.zip(pair).ok_or_else(|| RulingRefused::Unknown(text.clone()))
                };
                let mut chosen = ids.iter().map(find).collect::<Result<Vec<_>, _>>()?;
                chosen.sort_by(|(one, _), (other, _)| one.cmp(other));
                chosen.dedup_by(|(one, _), (other, _)| one == other);
                Ok(chosen)
            }
            Which::Rule(rule) => {
                let of_rule = listed.iter().filter(|(_, pair)| *pair.rule == **rule);
                let chosen: Vec<_> = of_rule.map(|(id, pair)| (id.clone(), pair.clone())).collect();
                if chosen.is_empty() { Err(RulingRefused::Unknown(rule.clone())) } else { Ok(chosen) }
            }
        }
    }

    fn keep(
        &self,
        way: Way,
        chosen: &[(HeldId, HeldPair)],
        by: &Principal,
        reason: &str,
    ) -> Result<Vec<Said>, RulingRefused> {
        use std::sync::atomic::Ordering;
        let quarantine = &self.inner.parts.quarantine;
        let at = rfc3339(self.inner.durable.wall());
        let said: Vec<Said> = chosen
            .iter()
            .map(|(_, pair)| Said {
                rule: pair.rule.clone(),
                layer: pair.layer.clone(),
                by: by.to_string(),
                reason: reason.to_owned(),
                at: at.clone(),
            })
            .collect();
        let pairs = chosen.iter().map(|(id, pair)| (pair.key.clone(), id.destination.clone()));
        let all = pairs.zip(said.iter().cloned()).collect();
        tokio::task::block_in_place(|| {
            let mut rulings = lock(&quarantine.rulings);
            let kept = rulings.add(way, all);
            quarantine.ruled.store(rulings.len(), Ordering::Release);
            kept
        })?;
        Ok(said)
    }
}

impl Inner {
    /// It is a dead letter now, and on record.
    pub(super) fn on_timed_out(&self, id: &HeldId, pair: &HeldPair) {
        self.record_ruling("timeout", Verdict::DeadLetter, id, pair, None, None);
        lock(&self.dead_letters).push(DeadLetter {
            at: SystemTime::now(),
            key: pair.key.to_string(),
            id: pair.id.clone(),
            source: pair.source.clone(),
            ty: pair.ty.clone(),
            topic: pair.topic.clone(),
            destination: id.destination.to_string(),
            context: Context::Egress.name().to_owned(),
            by: pair.rule.to_string(),
            disposition: "quarantine".to_owned(),
            message: Some("nobody decided about it in time".to_owned()),
        });
    }

    fn record_ruling(
        &self,
        what: &str,
        verdict: Verdict,
        id: &HeldId,
        pair: &HeldPair,
        by: Option<&Principal>,
        reason: Option<&str>,
    ) {
        let ruling =
            Ruling { what, key: &pair.key.to_string(), destination: id.destination.as_str(), reason };
        self.record_ruling_of(verdict, pair, by.map(|by| &*by.0), ruling);
    }
}
