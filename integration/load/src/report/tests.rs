use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::host::Machine;
use crate::shapes::{Effort, Policies};
use crate::systems::{Kind, Programs, System, find};

fn measured(events_per_second: f64) -> Measured {
    Measured {
        events_per_second,
        acknowledged_per_second: 0.0,
        server_cpu_seconds_per_million: 4.0,
        resident_bytes: vec![32 << 20, 48 << 20],
        server_cores: 0.5,
        generator_cores: 0.25,
        generator_busiest_thread: 0.2,
        events: 1_000,
        lost: 0,
        repeated: 0,
        late: 0,
        refused: 0,
        refusal: None,
        unedited: 0,
        latency: None,
    }
}

const PLAIN: Shape = Shape {
    question: Question::Throughput,
    bytes: 1_024,
    subscribers: 1,
    policies: Policies::Off,
    attributes: false,
};

fn cell(system: &'static str, shape: Shape, rounds: Vec<Measured>) -> Cell {
    let rounds = rounds.into_iter().map(|measured| Round { idle_bytes: vec![10 << 20, 11 << 20], measured });
    Cell { system, shape, rounds: rounds.collect(), failed: Vec::new() }
}

fn findings(cells: Vec<Cell>) -> Findings {
    let (systems, skipped) = find(&Programs::default());
    let ceiling = Ceiling {
        bytes: 1_024,
        published_per_second: 4e6,
        received_per_second: 3e6,
        publisher_nanos: 90.0,
        subscriber_nanos: 110.0,
    };
    let effort = Effort { shapes: vec![PLAIN], ..Effort::quick() };
    Findings {
        machine: Machine { cores: 2, ..Machine::of_this() },
        effort,
        systems,
        skipped,
        ceilings: vec![ceiling],
        disk: BTreeMap::new(),
        cells,
        took: Duration::from_secs(1),
    }
}

fn system(id: &'static str) -> System {
    let title = format!("the {id}");
    System { id, title, version: "1.0".to_owned(), kind: Kind::Nats { syncs: true }, program: PathBuf::new() }
}

#[test]
fn ratios_are_of_medians_and_of_the_same_shape() {
    let other = Shape { bytes: 128, ..PLAIN };
    let findings = findings(vec![
        cell("meshbridge-tcp", PLAIN, vec![measured(1e5), measured(9e5), measured(6e5)]),
        cell("nats", PLAIN, vec![measured(3e5), measured(4e5), measured(2e5)]),
        cell("nats", other, vec![measured(1e6)]),
    ]);
    let report = Report::new(&findings, "c0ffee").expect("a report");
    assert_eq!(report.rows[0].ratios, BTreeMap::from([("nats", 2.0)]));
    assert!(report.rows[1].ratios.is_empty(), "only Meshbridge is compared with others");
    assert!(report.is_clean());
}

#[test]
fn one_lost_event_in_one_round_is_in_the_report() {
    let lossy = Measured { lost: 1, ..measured(1e5) };
    let findings = findings(vec![cell("nats", PLAIN, vec![measured(1e5), lossy, measured(1e5)])]);
    let report = Report::new(&findings, "").expect("a report");
    assert!(!report.is_clean());
    let text = report.markdown();
    assert!(text.contains("1 KiB 1→1: 1 lost, 0 twice"), "{text}");
}

#[test]
fn a_system_that_runs_a_shape_has_a_row_in_its_table() {
    let mut findings = findings(vec![cell("nats", PLAIN, vec![measured(2e5)])]);
    findings.systems = ["nats", "mosquitto-qos0"].map(system).into();
    let text = Report::new(&findings, "").expect("a report").markdown();
    assert!(text.contains("| the nats | 200 ± 0 % |"), "{text}");
    assert!(text.contains("| the nats | 4.00 ± 0 % |"), "{text}");
    assert!(text.contains("| the nats | 10 / 11 → 32 / 48 |"), "{text}");
    assert!(!text.contains("the mosquitto-qos0"), "it has nothing to show: {text}");
}

#[test]
fn nothing_measured_is_not_a_success() {
    let findings = findings(Vec::new());
    assert!(!Report::new(&findings, "").expect("a report").is_clean());
}

#[test]
fn a_figure_that_is_the_generators_own_says_so() {
    let busy = Measured { generator_busiest_thread: 0.97, ..measured(2.5e6) };
    let full = Measured { server_cores: 1.2, generator_cores: 0.75, ..measured(1e5) };
    let findings = findings(vec![
        cell("nats", PLAIN, vec![busy]),
        cell("mosquitto-qos0", PLAIN, vec![full]),
        cell("mosquitto-qos1", PLAIN, vec![measured(1e5)]),
    ]);
    let report = Report::new(&findings, "").expect("a report");
    let limits: Vec<&[String]> = report.rows.iter().map(|row| row.limits.as_slice()).collect();
    assert_eq!(limits[0].len(), 2, "{limits:?}");
    assert!(limits[0][0].contains("97 % of a core") && limits[0][1].contains("83 % of what"), "{limits:?}");
    assert!(limits[1][0].contains("38 % of that was the generator"), "{limits:?}");
    assert!(limits[2].is_empty(), "{limits:?}");
}

#[test]
fn the_json_has_what_scripts_look_for() {
    let findings = findings(vec![cell("nats", PLAIN, vec![measured(1e5)])]);
    let json = Report::new(&findings, "c0ffee").expect("a report").json();
    for pointer in [
        "/schema",
        "/date",
        "/commit",
        "/machine/processor",
        "/machine/kernel",
        "/effort/rounds",
        "/generatorAlone/0/publishedPerSecond",
        "/skipped/0/why",
        "/results/0/system",
        "/results/0/shape/bytes",
        "/results/0/median/eventsPerSecond/median",
        "/results/0/median/serverCpuSecondsPerMillion/median",
        "/results/0/median/idleMib/0/median",
        "/results/0/median/loadedMib/1/median",
        "/results/0/rounds/0/eventsPerSecond",
        "/results/0/limits",
    ] {
        assert!(json.pointer(pointer).is_some(), "{pointer} is not in {json:#}");
    }
}
