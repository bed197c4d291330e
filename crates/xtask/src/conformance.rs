//! The conformance suite: against the broker as it is, and against the broker with each of its
//! deliberate bugs, which exactly the named cases must notice.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Error, Result, ensure};
use dunlin_conformance::mutants::{self, Mutant};
use dunlin_conformance::report::Manifest;
use dunlin_conformance::{Case, Lab, all, run_all, set_patience};

use crate::arguments::Arguments;
use crate::workspace::{self, cargo};

/// Cases that run at one time; they mostly wait.
const THREADS: usize = 16;

/// The same for a mutant, of which many wait in vain.
const MUTANT_THREADS: usize = 48;

/// How long cases wait in vain.
const MUTANT_PATIENCE: Duration = Duration::from_secs(3);

/// Where the broker declares its deliberate bugs.
const MUTANT_TABLE: &str = "crates/packet/src/mutant.rs";

pub(crate) fn run(words: &[String]) -> Result<()> {
    let arguments = Arguments::parse(words, &["--mutants", "--record"], &["--only"])?;
    let only = arguments.value("--only").unwrap_or("");
    if arguments.has("--record") {
        return record(only);
    }
    if arguments.has("--mutants") {
        return run_mutants(only);
    }
    let binary = build()?;
    run_suite(&binary, &chosen(only))?;
    report()
}

/// The broker as it is, and its deliberate bugs.
pub(crate) fn prove_with_mutants() -> Result<()> {
    run_mutants("")
}

/// The broker as it is.
pub(crate) fn prove() -> Result<()> {
    run_suite(&build()?, &all())
}

fn build() -> Result<PathBuf> {
    workspace::run(cargo().args(["build", "--quiet", "-p", "dunlin"]))?;
    Ok(workspace::target().join("debug/dunlin"))
}

/// The broker with its bugs built in, in a folder of its own so that nobody runs it by mistake.
fn build_with_mutants() -> Result<PathBuf> {
    let folder = workspace::target().join("mutants");
    let build = [
        "build",
        "--quiet",
        "-p",
        "dunlin",
        "--features",
        "mutants",
        "--target-dir",
    ];
    workspace::run(cargo().args(build).arg(&folder))?;
    Ok(folder.join("debug/dunlin"))
}

fn chosen(only: &str) -> Vec<Case> {
    let is_chosen = |case: &Case| {
        case.name.contains(only) || case.statements.iter().any(|id| id.contains(only))
    };
    all().into_iter().filter(is_chosen).collect()
}

fn run_suite(binary: &Path, cases: &[Case]) -> Result<()> {
    let lab = Lab::new(binary.to_path_buf());
    let mut failed = 0;
    for outcome in run_all(&lab, cases, THREADS) {
        if let Err(message) = outcome.result {
            failed += 1;
            let took = outcome.took.as_millis();
            println!("FAILED  {} ({took} ms)\n{message}\n", outcome.case.name);
        }
    }
    ensure!(
        !cases.is_empty(),
        "no case has this in its name or its statements"
    );
    ensure!(failed == 0, "{failed} of {} cases failed", cases.len());
    println!("all {} cases passed", cases.len());
    Ok(())
}

/// How many of the statements the cases prove.
fn report() -> Result<()> {
    let manifest = Manifest::new(&all());
    let standards: BTreeSet<&str> = manifest
        .entries
        .iter()
        .map(|entry| entry.standard)
        .collect();
    for standard in standards {
        let totals = manifest.totals(standard);
        println!(
            "{standard}: {} statements for servers, {} tested ({:.1} %), {} not for a reason, \
             {} missing",
            totals.binding,
            totals.tested,
            totals.percentage(),
            totals.excepted,
            totals.missing
        );
    }
    ensure!(
        manifest.problems.is_empty(),
        "{}",
        manifest.problems.join("\n")
    );
    Ok(())
}

fn run_mutants(only: &str) -> Result<()> {
    let (list, cases) = (listed_mutants()?, all());
    let problems = mutants::problems(&list, &cases);
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    let declared = declared_mutants()?;
    for mutant in &list {
        let known = declared.iter().any(|name| name == mutant.name);
        ensure!(known, "{MUTANT_TABLE} has no mutant {}", mutant.name);
    }
    let binary = build_with_mutants()?;
    if only.is_empty() {
        // A case that fails anyway would prove nothing about a mutant.
        run_suite(&binary, &cases)?;
    }
    let chosen: Vec<&Mutant> = list
        .iter()
        .filter(|mutant| mutant.name.contains(only))
        .collect();
    set_patience(MUTANT_PATIENCE);
    let mut faults = 0;
    for mutant in &chosen {
        // Hundreds of cases at once on a busy machine: what counts is what happens again.
        let attempts = || mutants::run(mutant, &binary, &cases, MUTANT_THREADS);
        match attempts().or_else(|_| attempts()).or_else(|_| attempts()) {
            Ok(()) => println!("killed  {} ({})", mutant.name, mutant.statement),
            Err(said) => {
                faults += 1;
                println!("FAULT   {} ({})\n{said}\n", mutant.name, mutant.statement);
            }
        }
    }
    ensure!(!chosen.is_empty(), "no mutant has this in its name");
    ensure!(
        faults == 0,
        "{faults} of {} mutants are not noticed as listed",
        chosen.len()
    );
    println!(
        "all {} mutants are noticed by exactly the named cases",
        chosen.len()
    );
    Ok(())
}

/// Prints what failed under each declared mutant, in the form of the list of mutants. Where the
/// list does not say which statement it breaks, the first failing case's first one stands in.
fn record(only: &str) -> Result<()> {
    let (list, cases) = (listed_mutants()?, all());
    let binary = build_with_mutants()?;
    set_patience(MUTANT_PATIENCE);
    for name in declared_mutants()?
        .iter()
        .filter(|name| name.contains(only))
    {
        let lab = Lab::with_mutant(binary.clone(), name);
        let outcomes = run_all(&lab, &cases, MUTANT_THREADS);
        let failed: Vec<&Case> = outcomes
            .iter()
            .filter(|outcome| outcome.result.is_err())
            .map(|o| &o.case)
            .collect();
        let listed = list
            .iter()
            .find(|mutant| mutant.name == name)
            .map(|m| m.statement);
        let first = failed
            .first()
            .and_then(|case| case.statements.first().copied());
        match listed.or(first) {
            Some(statement) if !failed.is_empty() => {
                let names: Vec<&str> = failed.iter().map(|case| case.name).collect();
                println!("{name}\t{statement}\t{}", names.join(","));
            }
            _ => eprintln!("{name}: no case fails"),
        }
    }
    Ok(())
}

fn listed_mutants() -> Result<Vec<Mutant>> {
    mutants::all().map_err(Error::msg)
}

fn declared_mutants() -> Result<Vec<String>> {
    let path = workspace::root().join(MUTANT_TABLE);
    let source =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(names_of_mutants(&source))
}

/// The names in the broker's table, whose lines are `Variant "the-name"`.
fn names_of_mutants(source: &str) -> Vec<String> {
    let name = |line: &str| {
        let (variant, rest) = line.trim().split_once(' ')?;
        let name = rest.strip_prefix('"')?.strip_suffix('"')?;
        let is_variant = variant.starts_with(|c: char| c.is_ascii_uppercase());
        let is_kebab = name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        (is_variant && is_kebab && !name.is_empty()).then(|| name.to_owned())
    };
    source.lines().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_the_table() {
        let source = "mutants! {\n    KeepAll \"keep-all\"\n        \"It keeps all.\",\n    Two2 \"two-2\"\n}";
        assert_eq!(names_of_mutants(source), ["keep-all", "two-2"]);
    }

    #[test]
    fn the_brokers_own_table_can_be_read() {
        let names = declared_mutants().unwrap();
        assert!(names.len() >= 30, "{names:?}");
    }

    #[test]
    fn cases_are_chosen_by_name_or_statement() {
        let every = chosen("");
        assert_eq!(every.len(), all().len());
        assert!(chosen("no such case").is_empty());
        let first = every[0];
        assert!(
            chosen(first.name)
                .iter()
                .any(|case| case.name == first.name)
        );
        assert!(
            chosen(first.statements[0])
                .iter()
                .any(|case| case.name == first.name)
        );
    }
}
