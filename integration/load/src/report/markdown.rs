//! Tables in Markdown, ready for a README.

use std::fmt::Write as _;

use super::{Medians, Report, Row};
use crate::shapes::{Policies, Question, Shape};
use crate::statistics::Summary;

/// Size of the events whose costs are printed.
const COSTS_BYTES: usize = 1_024;

/// One table: a row for each system, a column for each shape.
struct Table<'a> {
    title: &'a str,
    shapes: &'a [Shape],
    /// Its figures are speeds: they have ratios, and may be the generator's own.
    of_speed: bool,
}

impl<'a> Table<'a> {
    fn of_speed(title: &'a str, shapes: &'a [Shape]) -> Table<'a> {
        Table { title, shapes, of_speed: true }
    }
}

impl Report<'_> {
    /// All tables, with where and when they were measured.
    pub(crate) fn markdown(&self) -> String {
        let mut out = String::new();
        self.write(&mut out).expect("a string takes everything");
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let machine = &self.findings.machine;
        let effort = &self.findings.effort;
        writeln!(
            out,
            "Measured {} at commit `{}` on {} cores of {}, {} MiB, Linux {}; everything on loopback, {} interleaved rounds of {} ms, medians ± half their range.",
            self.date,
            if self.commit.is_empty() { "unknown" } else { self.commit },
            machine.cores,
            machine.processor,
            machine.memory_mib,
            machine.kernel,
            effort.rounds,
            effort.measure_ms,
        )?;
        if machine.load_before > 0.5 {
            writeln!(
                out,
                "\n**Not a quiet machine**: its load was {} before the first run.",
                machine.load_before
            )?;
        }
        let shapes = |question, policies| -> Vec<Shape> {
            let all = effort.shapes.iter().copied();
            all.filter(|shape| shape.question == question && (shape.policies == Policies::Off) == policies)
                .collect()
        };
        let rate = |median: &Medians| thousands(&median.events_per_second);
        let open = shapes(Question::Throughput, true);
        let governed = shapes(Question::Throughput, false);
        self.table(out, Table::of_speed("Throughput, thousand events per second", &open), rate)?;
        self.table(
            out,
            Table::of_speed("Throughput with policies, thousand events per second", &governed),
            rate,
        )?;
        self.costs(out, &[open, governed].concat())?;
        let durable = [shapes(Question::Durable, true), shapes(Question::Durable, false)].concat();
        let both = |median: &Medians| {
            format!(
                "{} ({})",
                thousands(&median.acknowledged_per_second),
                thousands(&median.events_per_second)
            )
        };
        let title = "Durable, thousand events per second acknowledged (received)";
        self.table(out, Table::of_speed(title, &durable), both)?;
        self.disk(out, &durable)?;
        let quantiles = |median: &Medians| match &median.latency {
            Some(all) => format!("{:.0} / {:.0} / {:.0}", all.p50.median, all.p99.median, all.p999.median),
            None => "–".to_owned(),
        };
        for (question, title) in [
            (Question::Latency, "Latency at 5,000 events/s, µs, p50 / p99 / p99.9"),
            (Question::LatencyAwake, "The same with processors kept awake"),
        ] {
            let all = [shapes(question, true), shapes(question, false)].concat();
            self.table(out, Table::of_speed(title, &all), quantiles)?;
        }
        self.notes(out)
    }

    /// Processor time and memory, of the shapes with the middle size; the JSON has them for all.
    fn costs(&self, out: &mut String, throughput: &[Shape]) -> std::fmt::Result {
        let shapes: Vec<Shape> =
            throughput.iter().copied().filter(|shape| shape.bytes == COSTS_BYTES).collect();
        let cpu =
            |median: &Medians| median.server_cpu_seconds_per_million.as_ref().map_or("–".to_owned(), plain);
        let title = "Processor seconds of both servers for a million events";
        self.table(out, Table { title, shapes: &shapes, of_speed: false }, cpu)?;
        let memory = |median: &Medians| match (&median.idle_mib, &median.loaded_mib) {
            (Some(idle), Some(loaded)) => format!(
                "{:.0} / {:.0} → {:.0} / {:.0}",
                idle[0].median, idle[1].median, loaded[0].median, loaded[1].median
            ),
            _ => "–".to_owned(),
        };
        let title = "Resident memory of A / B, MiB, idle → at load";
        self.table(out, Table { title, shapes: &shapes, of_speed: false }, memory)
    }

    fn table(
        &self,
        out: &mut String,
        table: Table<'_>,
        figure: impl Fn(&Medians) -> String,
    ) -> std::fmt::Result {
        let Table { title, shapes, of_speed } = table;
        let rows_of = |system: &str| -> Vec<Option<&Row<'_>>> {
            let of = |shape: &Shape| {
                self.rows.iter().find(|row| row.cell.system == system && row.cell.shape == *shape)
            };
            shapes.iter().map(of).collect()
        };
        if shapes.is_empty() {
            return Ok(());
        }
        let head: Vec<String> = shapes.iter().map(Shape::title).collect();
        writeln!(
            out,
            "\n**{title}**\n\n| system | {} |\n|---|{}",
            head.join(" | "),
            "---|".repeat(shapes.len())
        )?;
        for system in &self.findings.systems {
            let rows = rows_of(system.id);
            if rows.iter().all(Option::is_none) {
                continue;
            }
            write!(out, "| {} |", system.title)?;
            for row in rows {
                write!(out, " {} |", row.map_or("–".to_owned(), |row| cell(row, of_speed, &figure)))?;
            }
            writeln!(out)?;
        }
        if of_speed { self.ratios(out, shapes) } else { Ok(()) }
    }

    /// The best of Meshbridge's links against the best of the others.
    fn ratios(&self, out: &mut String, shapes: &[Shape]) -> std::fmt::Result {
        let best = |shape: &Shape| -> Option<f64> {
            let rows = self.rows.iter().filter(|row| row.cell.shape == *shape);
            rows.filter_map(|row| row.ratios.values().copied().reduce(f64::min)).reduce(f64::max)
        };
        let ratios: Vec<Option<f64>> = shapes.iter().map(best).collect();
        if ratios.iter().all(Option::is_none) {
            return Ok(());
        }
        write!(out, "| *Meshbridge against the best other, speed* |")?;
        for ratio in ratios {
            write!(out, " {} |", ratio.map_or("–".to_owned(), |ratio| format!("× {ratio:.2}")))?;
        }
        writeln!(out)
    }

    fn disk(&self, out: &mut String, durable: &[Shape]) -> std::fmt::Result {
        if self.findings.disk.is_empty() {
            return Ok(());
        }
        writeln!(out, "\nThe disk itself, measured beside these runs:\n")?;
        for (bytes, syncs) in &self.findings.disk {
            let Some(p50) = Summary::of(syncs.iter().map(|sync| sync.p50_micros)) else { continue };
            let Some(rate) = Summary::of(syncs.iter().map(|sync| sync.syncs_per_second)) else { continue };
            write!(out, "- append of {bytes} bytes and fdatasync: p50 {} µs", plain(&p50))?;
            for shape in durable.iter().filter(|shape| shape.unacknowledged_bytes() == *bytes) {
                let events = rate.median * (bytes / shape.bytes) as f64;
                write!(
                    out,
                    "; group commit of a full window of {} B events: {:.1} thousand/s",
                    shape.bytes,
                    events / 1e3
                )?;
            }
            writeln!(out)?;
        }
        Ok(())
    }

    fn notes(&self, out: &mut String) -> std::fmt::Result {
        let title = |id: &str| {
            let system = self.findings.systems.iter().find(|system| system.id == id);
            system.map_or(id.to_owned(), |system| system.title.clone())
        };
        let list = |out: &mut String, head: &str, lines: Vec<String>| -> std::fmt::Result {
            if lines.is_empty() {
                return Ok(());
            }
            writeln!(out, "\n{head}\n")?;
            lines.iter().try_for_each(|line| writeln!(out, "- {line}"))
        };
        let ceilings = self.findings.ceilings.iter().map(|one| {
            format!(
                "{} B: writes {:.0} thousand/s ({:.0} ns of processor time each), one subscriber reads {:.0} thousand/s ({:.0} ns)",
                one.bytes, one.published_per_second / 1e3, one.publisher_nanos, one.received_per_second / 1e3, one.subscriber_nanos
            )
        });
        list(out, "The generator alone, against a peer that discards:", ceilings.collect())?;
        let limited = self.rows.iter().flat_map(|row| {
            row.limits.iter().map(|limit| format!("{}, {}: {limit}", title(row.cell.system), row.title))
        });
        list(out, "† Where the generator or the machine was the limit:", limited.collect())?;
        let wrong = self.rows.iter().filter_map(|row| {
            let median = row.median.filter(|median| !median.is_clean() || median.late > 0)?;
            let Medians { lost, repeated, late, refused, unedited, .. } = median;
            let reason = row.cell.rounds.iter().find_map(|round| round.measured.refusal.clone());
            let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
            Some(format!(
                "{}, {}: {lost} lost, {repeated} twice, {late} out of order, {refused} refused{reason}, {unedited} not edited",
                title(row.cell.system), row.title
            ))
        });
        list(out, "‡ Not as it should be, over all rounds:", wrong.collect())?;
        let failed = self.rows.iter().flat_map(|row| {
            let problems = row.cell.failed.iter().map(|problem| problem.replace('\n', " "));
            problems.map(move |problem| format!("{}, {}: {problem}", title(row.cell.system), row.title))
        });
        list(out, "Runs that came to nothing:", failed.collect())?;
        let skipped = self.findings.skipped.iter().map(|one| format!("{}: {}", one.what, one.why));
        list(out, "Not compared:", skipped.collect())
    }
}

fn cell(row: &Row<'_>, of_speed: bool, figure: impl Fn(&Medians) -> String) -> String {
    let Some(median) = &row.median else { return "failed".to_owned() };
    let limited = if row.limits.is_empty() || !of_speed { "" } else { " †" };
    let wrong = if median.is_clean() { "" } else { " ‡" };
    format!("{}{limited}{wrong}", figure(median))
}

fn thousands(summary: &Summary) -> String {
    let value = summary.median / 1e3;
    let digits = usize::from(value < 100.0);
    format!("{value:.digits$} ± {:.0} %", summary.spread_percent())
}

fn plain(summary: &Summary) -> String {
    format!("{:.2} ± {:.0} %", summary.median, summary.spread_percent())
}
