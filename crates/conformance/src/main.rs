//! The suite as a command: runs the cases, or the mutants, against a broker's binary, or writes the report.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use dunlin_conformance::report::Manifest;
use dunlin_conformance::{Case, Lab, all, mutants, run_all};

const USAGE: &str = "\
usage: dunlin-conformance [--dunlin BINARY] [--filter TEXT] [--threads N] [--mutants]
       dunlin-conformance --report FILE
       dunlin-conformance --list

BINARY is the broker, called as `BINARY broker -c FILE`; by default the `dunlin` beside this command.
TEXT chooses cases by a part of their name or of a statement they prove; with --mutants, mutants by a part of their name.
FILE gets the report in Markdown.";

struct Arguments {
    binary: PathBuf,
    filter: String,
    threads: usize,
    report: Option<PathBuf>,
    mutants: bool,
    list: bool,
}

fn main() -> ExitCode {
    let done = parse(env::args().skip(1)).and_then(|arguments| match &arguments.report {
        Some(file) => write_report(file),
        None if arguments.list => list(&arguments),
        None if arguments.mutants => run_mutants(&arguments),
        None => run_cases(&arguments),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let beside = env::current_exe().map(|path| path.with_file_name("dunlin"));
    let mut arguments = Arguments {
        binary: beside.unwrap_or_else(|_| PathBuf::from("dunlin")),
        filter: String::new(),
        threads: 16,
        report: None,
        mutants: false,
        list: false,
    };
    while let Some(word) = words.next() {
        let mut value = || {
            words
                .next()
                .ok_or_else(|| format!("{word} wants a value\n{USAGE}"))
        };
        match word.as_str() {
            "--dunlin" => arguments.binary = PathBuf::from(value()?),
            "--filter" => arguments.filter = value()?,
            "--threads" => {
                let text = value()?;
                arguments.threads = text
                    .parse()
                    .map_err(|_| format!("--threads wants a number, got {text:?}"))?;
            }
            "--report" => arguments.report = Some(PathBuf::from(value()?)),
            "--mutants" => arguments.mutants = true,
            "--list" => arguments.list = true,
            _ => return Err(format!("unknown argument {word:?}\n{USAGE}")),
        }
    }
    Ok(arguments)
}

fn chosen(filter: &str) -> Vec<Case> {
    let chosen = |case: &Case| {
        case.name.contains(filter) || case.statements.iter().any(|id| id.contains(filter))
    };
    all().into_iter().filter(chosen).collect()
}

fn write_report(file: &Path) -> Result<(), String> {
    let manifest = Manifest::new(&all());
    fs::write(file, manifest.render())
        .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    if manifest.problems.is_empty() {
        Ok(())
    } else {
        Err(manifest.problems.join("\n"))
    }
}

fn list(arguments: &Arguments) -> Result<(), String> {
    for case in chosen(&arguments.filter) {
        println!("{}: {}", case.name, case.statements.join(", "));
    }
    Ok(())
}

fn run_cases(arguments: &Arguments) -> Result<(), String> {
    let cases = chosen(&arguments.filter);
    let lab = Lab::new(arguments.binary.clone());
    let mut failed = 0;
    for outcome in run_all(&lab, &cases, arguments.threads) {
        let took = outcome.took.as_millis();
        match outcome.result {
            Ok(()) => println!("ok      {} ({took} ms)", outcome.case.name),
            Err(message) => {
                failed += 1;
                println!("FAILED  {} ({took} ms)\n{message}\n", outcome.case.name);
            }
        }
    }
    if failed == 0 && !cases.is_empty() {
        Ok(())
    } else {
        Err(format!("{failed} of {} cases failed", cases.len()))
    }
}

fn run_mutants(arguments: &Arguments) -> Result<(), String> {
    let cases = all();
    let mutants = mutants::all()?;
    let chosen: Vec<_> = mutants
        .iter()
        .filter(|mutant| mutant.name.contains(&arguments.filter))
        .collect();
    let mut survived = 0;
    for mutant in &chosen {
        match mutants::run(mutant, &arguments.binary, &cases, arguments.threads) {
            Ok(()) => println!("killed  {} ({})", mutant.name, mutant.statement),
            Err(faults) => {
                survived += 1;
                println!("FAULT   {} ({})\n{faults}\n", mutant.name, mutant.statement);
            }
        }
    }
    let count = chosen.len();
    if survived == 0 && count > 0 {
        Ok(())
    } else {
        Err(format!(
            "{survived} of {count} mutants not killed as listed"
        ))
    }
}
