//! `meshbridge policy prove`: whether personal data can be seen where they must not be, for all events at once.

use std::path::PathBuf;

use clap::error::ErrorKind;
use meshbridge_policy::{
    Federation, InvariantProof, Program, Proof, ZoneIndex, compile, is_known_class, nearest_class,
};
use serde_json::json;
use time::OffsetDateTime;

use super::sources::{self, NoSources};
use super::{Failure, Format, Outcome, answer, explain, print_json};

#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Without a question every Invariant of the policies is proved. With --class, --from or --to it is one question: can values of\nthese classes (or parts of them) that begin in one zone be seen in the other? What is left out means any.\n\n  proved    it cannot happen, whatever the events are, as far as the listed things are so\n  refuted   a shortest way on which it can, with the rules that let it through:\n            certain     every event that passes the checks shows it\n            depends on  only where the conditions of the rules named hold, or fail, as said\n  unknown   too much to look at, with the filters to blame; not proved\n\nZones are assumed to publish again what they received (relay). Where only that refutes it, the mesh itself is proved, and\nboth are said.\n\nExit code 1 if anything is not proved, but for invariants with `onUnproven: warn`; also if there was nothing to prove.\n\nExamples:\n  meshbridge policy prove policies\n  meshbridge policy prove policies --class payment.card --from eu-1 --to us-1\n  meshbridge policy prove policies --class gov-id --class person --to us-1 --output json"
)]
pub(in crate::cli) struct Arguments {
    /// Directories with federation.yaml, or with policies whose federation.yaml is there or one level up
    #[arg(value_name = "DIR", default_value = ".")]
    directories: Vec<PathBuf>,
    /// A class of personal data, or a family such as gov-id; again for more; all if left out
    #[arg(long = "class", value_name = "CLASS", value_parser = parse_class)]
    classes: Vec<String>,
    /// The zone where the values begin; any if left out
    #[arg(long, value_name = "ZONE")]
    from: Option<String>,
    /// The zone that must not see them; any if left out
    #[arg(long, value_name = "ZONE")]
    to: Option<String>,
    /// The federation document, where it is elsewhere
    #[arg(long, value_name = "FILE")]
    federation: Option<PathBuf>,
    /// json prints one object a line: an invariant, or the question
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

fn parse_class(text: &str) -> Result<String, String> {
    if is_known_class(text) {
        return Ok(text.to_owned());
    }
    Err(match nearest_class(text) {
        Some(near) => format!("there is no such class; did you mean `{near}`?"),
        None => "there is no such class; `meshbridge policy explain P0406` lists them".to_owned(),
    })
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let sources = match sources::read(&arguments.directories, arguments.federation.as_deref()) {
        Ok(sources) => sources,
        Err(NoSources::Federation(problems)) => return Err(explain::refused(vec![problems])),
        Err(NoSources::Failed(failure)) => return Err(failure),
    };
    // Asked before the policies are compiled: whatever is wrong with them, a misspelled zone is no question.
    let from = zone(&sources.federation, "--from", arguments.from.as_deref())?;
    let to = zone(&sources.federation, "--to", arguments.to.as_deref())?;
    let program = match compile(&sources.files, &sources.federation, Some(OffsetDateTime::now_utc())) {
        Ok(compiled) => compiled.program,
        Err(problems) => return Err(explain::refused(vec![problems])),
    };
    if arguments.classes.is_empty() && from.is_none() && to.is_none() {
        invariants(&program, arguments.output)
    } else {
        question(&program, arguments, from, to)
    }
}

fn zone(federation: &Federation, option: &str, name: Option<&str>) -> Result<Option<ZoneIndex>, Failure> {
    let Some(name) = name else { return Ok(None) };
    let found = federation.zone(name);
    if found.is_some() {
        return Ok(found);
    }
    let hint = match federation.nearest_zone(name) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the federation has {}", federation.zones().collect::<Vec<_>>().join(", ")),
    };
    let what = format!("{option}: there is no zone `{name}`; {hint}\n");
    Err(Failure::Usage(clap::Error::raw(ErrorKind::InvalidValue, what)))
}

fn invariants(program: &Program, output: Format) -> Outcome {
    let proofs = program.prove_invariants();
    if proofs.is_empty() {
        eprintln!(
            "nothing was proved: the policies have no Invariant, and no question was asked (--class, --from, --to)"
        );
        return Err(Failure::No);
    }
    for (at, one) in proofs.iter().enumerate() {
        match output {
            Format::Json => print_json(one)?,
            Format::Text => {
                if at > 0 {
                    println!();
                }
                let InvariantProof { name, span, must_hold, proof, .. } = one;
                let note = if *must_hold { "" } else { ", warns only" };
                println!("invariant {name} ({}:{}{note})", span.file, span.line);
                print!("{proof}");
            }
        }
    }
    let open = proofs.iter().filter(|one| !one.proof.is_proved());
    let (failed, warned): (Vec<_>, Vec<_>) = open.partition(|one| one.must_hold);
    let proved = proofs.len() - failed.len() - warned.len();
    eprintln!("{proved} of {} invariants proved", proofs.len());
    for one in warned {
        eprintln!("warning: {} is not proved, and only warns", one.name);
    }
    answer(failed.is_empty())
}

fn question(
    program: &Program,
    arguments: &Arguments,
    from: Option<ZoneIndex>,
    to: Option<ZoneIndex>,
) -> Outcome {
    let classes = if arguments.classes.is_empty() { vec!["*".to_owned()] } else { arguments.classes.clone() };
    let proof: Proof = program.ask(&classes, from, to);
    match arguments.output {
        Format::Json => print_json(&json!({
            "question": {"classes": classes, "from": arguments.from, "to": arguments.to},
            "proof": proof,
        }))?,
        Format::Text => {
            let any = |zone: &Option<String>| zone.as_deref().unwrap_or("any zone").to_owned();
            println!(
                "can {} from {} be seen in {}, whole or in part?",
                classes.join(", "),
                any(&arguments.from),
                any(&arguments.to)
            );
            print!("{proof}");
        }
    }
    answer(proof.is_proved())
}
