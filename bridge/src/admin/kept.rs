//! What people see of dead letters and of what is held: one after the other, or all of them, as views or sealed.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use meshbridge_policy::capture::{Begin, End, Writer};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::live::{CHUNK_BYTES, Source, lines, push, read};
use super::{AdminState, error};
use crate::pipeline::Kept;

/// Which, and how. Of subscriptions and rules only one goes with either list.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ExportParameters {
    pub(crate) ids: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subscription: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rule: Option<String>,
    pub(crate) all: bool,
    /// The events themselves, under the `store` key of the zone.
    pub(crate) sealed: bool,
}

pub(super) async fn letter(State(state): State<Arc<AdminState>>, Path(id): Path<String>) -> Response {
    show(&state, state.pipeline.dead_letter(&id), "there is no dead letter of this id")
}

pub(super) async fn held(State(state): State<Arc<AdminState>>, Path(id): Path<String>) -> Response {
    show(&state, state.pipeline.held(&id), "nothing is held under this id, or it is not listed")
}

fn show(state: &AdminState, kept: Option<Kept>, missing: &str) -> Response {
    match kept {
        Some(kept) => Json(state.pipeline.kept_view(&kept)).into_response(),
        None => error(StatusCode::NOT_FOUND, "not_found", missing),
    }
}

pub(super) async fn export_letters(State(state): State<Arc<AdminState>>, body: Bytes) -> Response {
    let wish: ExportParameters = match read(&body) {
        Ok(wish) => wish,
        Err(response) => return response,
    };
    if wish.rule.is_some() || (wish.ids.is_empty() && wish.subscription.is_none() && !wish.all) {
        return error(StatusCode::BAD_REQUEST, "invalid", "give ids, subscription or all");
    }
    let chosen = state.pipeline.dead_letters_to_show(&wish.ids, wish.subscription.as_deref());
    export(state, chosen, wish.sealed)
}

pub(super) async fn export_held(State(state): State<Arc<AdminState>>, body: Bytes) -> Response {
    let wish: ExportParameters = match read(&body) {
        Ok(wish) => wish,
        Err(response) => return response,
    };
    if wish.subscription.is_some() || (wish.ids.is_empty() && wish.rule.is_none() && !wish.all) {
        return error(StatusCode::BAD_REQUEST, "invalid", "give ids, rule or all");
    }
    let chosen = state.pipeline.held_to_show(&wish.ids, wish.rule.as_deref());
    export(state, chosen, wish.sealed)
}

fn export(state: Arc<AdminState>, chosen: (Vec<Kept>, u64), sealed: bool) -> Response {
    let (chosen, missed) = chosen;
    let writer = sealed.then(|| {
        let begin = Begin {
            capture: rand::random(),
            bridge: &state.bridge,
            zone: state.zone_index,
            topics: Vec::new(),
            now: OffsetDateTime::now_utc(),
            sealed: true,
        };
        Writer::begin(&begin, &state.policies.active().program, &*state.keys)
    });
    let writer = match writer.transpose() {
        Ok(writer) => writer,
        Err(refused) => return error(StatusCode::CONFLICT, "no_store_key", &refused.to_string()),
    };
    let begun = writer.is_none();
    lines(Export { state, left: chosen.into(), writer, begun, written: 0, missed })
}

/// Sealed, it is a capture; else a view a line. The last line says how many there were.
struct Export {
    state: Arc<AdminState>,
    left: VecDeque<Kept>,
    writer: Option<Writer>,
    /// The first line has been sent, or there is none.
    begun: bool,
    written: u64,
    /// Asked for, and not there, or not to be read any more.
    missed: u64,
}

impl Source for Export {
    async fn chunk(mut self) -> (Bytes, Option<Export>) {
        let mut text = String::new();
        if let Some(writer) = self.writer.as_ref().filter(|_| !self.begun) {
            push(&mut text, &writer.header());
            self.begun = true;
        }
        while text.len() < CHUNK_BYTES {
            let Some(kept) = self.left.pop_front() else {
                let end = match &self.writer {
                    Some(writer) => writer.end(self.missed, "all"),
                    None => self.end(),
                };
                push(&mut text, &end);
                return (text.into(), None);
            };
            let pipeline = &self.state.pipeline;
            let line = match &mut self.writer {
                Some(writer) => pipeline.sealed_line(&kept, writer),
                None => serde_json::to_string(&pipeline.kept_view(&kept)).ok(),
            };
            match line {
                Some(line) => {
                    self.written += 1;
                    push(&mut text, &line);
                }
                None => self.missed += 1,
            }
        }
        (text.into(), Some(self))
    }
}

impl Export {
    fn end(&self) -> String {
        let end = End { events: self.written, missed: self.missed, why: "all".to_owned() };
        serde_json::json!({ "end": end }).to_string()
    }
}
