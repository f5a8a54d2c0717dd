//! `meshbridge policy explain`: why an event passes or does not, and what a code means.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::error::ErrorKind;
use meshbridge_policy::explain::{Values, explain};
use meshbridge_policy::testing::{Case, TestKeys};
use meshbridge_policy::{Context, Federation, Program, ZoneIndex, codes, compile};
use meshbridge_topic::Topic;
use time::OffsetDateTime;

use super::check::{self, Report};
use super::sources::{self, NoSources, together};
use super::{Failure, Format, Outcome, parse_time, print_json, read_event};

#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Each rule is marked: + applies, - does not apply and names the first key that failed, ~ edits, ! stops, ? only tells.\nThe engine is the one that bridges judge with; forms of values are made with test keys, so they are not those on the wire.\nExit code 0 whatever the verdict is: the question was why.\n\nExamples:\n  meshbridge policy explain P0203\n  meshbridge policy explain --from eu-1 --to us-1 --topic payments.settled.v1 event.json\n  meshbridge policy explain --from eu-1 --to eu-1 --at publish --publisher user:ana --topic orders.new.v1 -"
)]
pub(in crate::cli) struct Arguments {
    /// An event as JSON, `-` for stdin; or a code such as P0203
    #[arg(value_name = "EVENT|CODE")]
    what: PathBuf,
    #[command(flatten)]
    way: Way,
    /// Show values as they were before they were protected; their shape only by default
    #[arg(long)]
    show_values: bool,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// An event on its way, and the policies it is judged by.
#[derive(Debug, clap::Args)]
pub(super) struct Way {
    /// The zone where it is published
    #[arg(long, value_name = "ZONE")]
    from: Option<String>,
    /// The zone it goes to
    #[arg(long, value_name = "ZONE")]
    to: Option<String>,
    #[arg(long)]
    topic: Option<Topic>,
    /// Zones that carry it, in order
    #[arg(long, value_name = "ZONE", value_delimiter = ',')]
    via: Vec<String>,
    /// Judge only here: publish, egress, transit, ingress, deliver, subscribe or interest; the whole way by default
    #[arg(long, value_name = "CONTEXT", value_delimiter = ',', value_parser = parse_context)]
    at: Vec<Context>,
    /// The principal that publishes
    #[arg(long, value_name = "PRINCIPAL")]
    publisher: Option<String>,
    /// The principal that would get it
    #[arg(long, value_name = "PRINCIPAL")]
    subscriber: Option<String>,
    /// Bridges it has crossed on arrival; one more than carry it by default
    #[arg(long)]
    hops: Option<u8>,
    /// The time to judge at, as 2026-01-31T12:00:00Z; now by default
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    now: Option<OffsetDateTime>,
    /// Directories with the policies
    #[arg(long, value_name = "DIR", default_value = ".")]
    policies: Vec<PathBuf>,
    /// The federation document, where it is elsewhere
    #[arg(long, value_name = "FILE")]
    federation: Option<PathBuf>,
}

fn parse_context(text: &str) -> Result<Context, String> {
    let all: Vec<&str> = Context::ALL.into_iter().map(Context::name).collect();
    Context::parse(text).ok_or_else(|| format!("write one of {}", all.join(", ")))
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    match code_of(arguments) {
        Some(code) => page(&code, arguments.output),
        None => event(arguments),
    }
}

/// A code is what looks like one and is no file.
fn code_of(arguments: &Arguments) -> Option<String> {
    let text = arguments.what.to_str()?;
    let digits = text.strip_prefix(['P', 'p'])?;
    let is_code = digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit());
    (is_code && !arguments.what.exists()).then(|| text.to_ascii_uppercase())
}

fn page(code: &str, output: Format) -> Outcome {
    let Some(page) = codes::page(code) else {
        return Err(Failure::Input(anyhow!(
            "there is no code {code}; they go from P0101 to P0702, with gaps"
        )));
    };
    match output {
        Format::Text => print!("{page}"),
        Format::Json => print_json(page)?,
    }
    Ok(())
}

fn event(arguments: &Arguments) -> Outcome {
    let (program, case) = arguments.way.load("an event is explained", &arguments.what)?;
    let values = if arguments.show_values { Values::Shown } else { Values::Masked };
    let explanation = explain(&program, &case, &TestKeys::of(program.federation()), values);
    match arguments.output {
        Format::Text => print!("{explanation}"),
        Format::Json => print_json(&explanation)?,
    }
    Ok(())
}

impl Way {
    /// The policies, and the event in them. `what` says what is done, for who leaves something out.
    pub(super) fn load(&self, what: &str, event: &Path) -> Result<(Program, Case), Failure> {
        let (Some(from), Some(to), Some(topic)) = (&self.from, &self.to, &self.topic) else {
            return Err(Failure::Usage(clap::Error::raw(
                ErrorKind::MissingRequiredArgument,
                format!("{what} on its way: give --from, --to and --topic\n"),
            )));
        };
        let event = read_event(event)?;
        let sources = match sources::read(&self.policies, self.federation.as_deref()) {
            Ok(sources) => sources,
            Err(NoSources::Federation(problems)) => return Err(refused(vec![problems])),
            Err(NoSources::Failed(failure)) => return Err(failure),
        };
        let now = self.now.unwrap_or_else(OffsetDateTime::now_utc);
        let program = match compile(&sources.files, &sources.federation, Some(now)) {
            Ok(compiled) => compiled.program,
            Err(problems) => return Err(refused(vec![problems])),
        };
        let federation = program.federation();
        let via = self.via.iter().map(|name| zone(federation, name)).collect::<Result<_, _>>()?;
        let case = Case {
            from: zone(federation, from)?,
            to: zone(federation, to)?,
            via,
            at: self.at.clone(),
            publisher: self.publisher.clone(),
            subscriber: self.subscriber.clone(),
            hops: self.hops,
            now,
            topic: topic.clone(),
            event,
        };
        Ok((program, case))
    }
}

fn zone(federation: &Federation, name: &str) -> Result<ZoneIndex, Failure> {
    federation.zone(name).ok_or_else(|| {
        let known: Vec<&str> = federation.zones().collect();
        Failure::Input(anyhow!("there is no zone `{name}`; the federation has {}", known.join(", ")))
    })
}

/// Policies with errors decide nothing, so they explain, prove and compare nothing.
pub(super) fn refused(problems: Vec<meshbridge_policy::Diagnostics>) -> Failure {
    eprintln!("the policies have errors; nothing is judged by them:");
    check::print(&together(problems), Report::Text).err().unwrap_or(Failure::No)
}
