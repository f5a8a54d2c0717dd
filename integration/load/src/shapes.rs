//! What is measured: the shapes of traffic, and which of them a mode has.

use std::time::Duration;

use serde::Serialize;

use crate::traffic::Pace;

/// Bytes that may be on their way between publisher and subscribers.
const WINDOW_BYTES: usize = 4 << 20;
const WINDOW_EVENTS_MIN: usize = 128;
/// More than this is a queue and no pipeline.
const WINDOW_EVENTS_MAX: usize = 16_384;
/// Publications that may wait for their acknowledgement. Below the 65,535 packet identifiers of MQTT.
const UNACKNOWLEDGED_MAX: usize = 1_024;
const WRITE_BYTES: usize = 128 << 10;
/// The modest rate at which latency is measured, in events of [`LATENCY_BYTES`] in a second.
const LATENCY_RATE: u64 = 5_000;
const LATENCY_BYTES: usize = 128;

/// Which policies are in force at both bridges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Policies {
    /// One permit for everything.
    Off,
    /// Ten rules: who may publish what, from where to where, and which attributes must be there.
    Rules,
    /// The same, and three fields of the event are redacted.
    Redaction,
}

/// What a run asks of its system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Question {
    /// Events in a second, as fast as nothing is lost.
    Throughput,
    /// The same, each event on disk at A before its publisher is answered.
    Durable,
    /// Microseconds from publisher to subscriber at a modest rate.
    Latency,
    /// The same, with processors that are kept from sleeping.
    LatencyAwake,
}

/// One shape of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shape {
    pub(crate) question: Question,
    pub(crate) bytes: usize,
    pub(crate) subscribers: usize,
    pub(crate) policies: Policies,
    /// Events carry CloudEvents attributes in headers; policies need them, and the others carry them for the comparison's sake.
    pub(crate) attributes: bool,
}

impl Shape {
    pub(crate) fn pace(&self) -> Pace {
        match self.question {
            Question::Latency | Question::LatencyAwake => Pace::Rate { events_per_second: LATENCY_RATE },
            Question::Throughput | Question::Durable => Pace::Window {
                events: self.window() as u64,
                unacknowledged: self.window().min(UNACKNOWLEDGED_MAX) as u64,
                write_bytes: WRITE_BYTES,
            },
        }
    }

    pub(crate) fn window(&self) -> usize {
        (WINDOW_BYTES / self.bytes).clamp(WINDOW_EVENTS_MIN, WINDOW_EVENTS_MAX)
    }

    /// Bytes of events that a disk gets at once at most: those whose publisher waits for an answer.
    pub(crate) fn unacknowledged_bytes(&self) -> usize {
        self.window().min(UNACKNOWLEDGED_MAX) * self.bytes
    }

    pub(crate) fn is_durable(&self) -> bool {
        self.question == Question::Durable
    }

    /// For people: `1 KiB 1→4`.
    pub(crate) fn title(&self) -> String {
        let size = if self.bytes.is_multiple_of(1_024) {
            format!("{} KiB", self.bytes >> 10)
        } else {
            format!("{} B", self.bytes)
        };
        let attributes = if self.attributes { ", attributes" } else { "" };
        let policies = match self.policies {
            Policies::Off => "",
            Policies::Rules => ", 10 rules",
            Policies::Redaction => ", 10 rules and redaction",
        };
        let question = match self.question {
            Question::Throughput => "",
            Question::Durable => "durable, ",
            Question::Latency => "latency, ",
            Question::LatencyAwake => "latency, awake, ",
        };
        format!("{question}{size} 1→{}{attributes}{policies}", self.subscribers)
    }
}

/// How much is measured.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    #[serde(skip)]
    pub(crate) warm_up: Duration,
    #[serde(skip)]
    pub(crate) measure: Duration,
    pub(crate) warm_up_ms: u64,
    pub(crate) measure_ms: u64,
    #[serde(skip)]
    pub(crate) shapes: Vec<Shape>,
}

impl Effort {
    fn new(rounds: usize, warm_up_ms: u64, measure_ms: u64, shapes: Vec<Shape>) -> Effort {
        let [warm_up, measure] = [warm_up_ms, measure_ms].map(Duration::from_millis);
        Effort { rounds, warm_up, measure, warm_up_ms, measure_ms, shapes }
    }

    /// One short round of the middle size: does everything still work, and roughly how fast.
    pub(crate) fn quick() -> Effort {
        let plain = Shape {
            question: Question::Throughput,
            bytes: 1_024,
            subscribers: 1,
            policies: Policies::Off,
            attributes: false,
        };
        let latency = Shape { question: Question::Latency, bytes: LATENCY_BYTES, ..plain };
        let durable = Shape { question: Question::Durable, ..plain };
        let governed = Shape { policies: Policies::Redaction, attributes: true, ..plain };
        Effort::new(1, 150, 500, vec![plain, durable, governed, latency])
    }

    /// Every shape, so many rounds.
    pub(crate) fn full(rounds: usize) -> Effort {
        let mut shapes = Vec::new();
        let shape = |question, bytes, subscribers, policies| {
            let attributes = policies != Policies::Off;
            Shape { question, bytes, subscribers, policies, attributes }
        };
        let sizes = [128, 1_024, 16_384];
        for subscribers in [1, 4] {
            shapes.extend(sizes.map(|bytes| shape(Question::Throughput, bytes, subscribers, Policies::Off)));
        }
        for bytes in sizes {
            // What the headers themselves cost, for everybody; then what the policies cost on top.
            shapes.push(Shape { attributes: true, ..shape(Question::Throughput, bytes, 1, Policies::Off) });
            for policies in [Policies::Rules, Policies::Redaction] {
                shapes.extend(
                    [1, 4].map(|subscribers| shape(Question::Throughput, bytes, subscribers, policies)),
                );
            }
        }
        shapes.extend(sizes.map(|bytes| shape(Question::Durable, bytes, 1, Policies::Off)));
        shapes.push(shape(Question::Durable, 1_024, 4, Policies::Off));
        shapes.push(shape(Question::Durable, 1_024, 1, Policies::Redaction));
        for question in [Question::Latency, Question::LatencyAwake] {
            for policies in [Policies::Off, Policies::Rules, Policies::Redaction] {
                shapes.push(shape(question, LATENCY_BYTES, 1, policies));
            }
        }
        Effort::new(rounds, 500, 2_500, shapes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_of_a_mode_has_a_title_of_its_own() {
        for effort in [Effort::quick(), Effort::full(5)] {
            let mut titles: Vec<String> = effort.shapes.iter().map(Shape::title).collect();
            titles.sort();
            titles.dedup();
            assert_eq!(titles.len(), effort.shapes.len(), "{titles:#?}");
        }
    }

    #[test]
    fn windows_are_bounded_in_events_and_bytes() {
        for shape in Effort::full(1).shapes {
            let window = shape.window();
            assert!((WINDOW_EVENTS_MIN..=WINDOW_EVENTS_MAX).contains(&window));
            assert!(window * shape.bytes <= WINDOW_BYTES, "{}", shape.title());
            assert!(shape.unacknowledged_bytes() <= window * shape.bytes);
        }
    }
}
