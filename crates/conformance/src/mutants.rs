//! Deliberate bugs: which cases must fail, exactly, when the broker runs with one.
//!
//! `statements/mutants.tsv` has a line for each: name of the mutant, statement that it breaks, names of the cases. The
//! broker reads the name from `DUNLIN_MUTANT`. A case that fails without being named, or is named and passes, is a
//! fault of the suite: it proves something else than it says.

use std::collections::BTreeSet;
use std::path::Path;

use crate::case::Case;
use crate::lab::Lab;
use crate::report;
use crate::run::run_all;

const MUTANTS: &str = include_str!("../statements/mutants.tsv");

/// One deliberate bug.
#[derive(Clone, Debug)]
pub struct Mutant {
    /// Its name in the broker.
    pub name: &'static str,
    /// The statement that it breaks: `v5[MQTT-3.1.0-2]`.
    pub statement: &'static str,
    /// The cases that must fail, and no others.
    pub cases: BTreeSet<&'static str>,
}

/// All mutants.
///
/// # Errors
/// The line that is not a mutant, and why.
pub fn all() -> Result<Vec<Mutant>, String> {
    report::lines(MUTANTS)
        .map(|(number, line)| {
            parse(line).ok_or_else(|| format!("mutants, line {number}: {line:?}"))
        })
        .collect()
}

/// What is wrong with the list: unknown cases, cases that do not cite the statement, names used twice.
pub fn problems(mutants: &[Mutant], cases: &[Case]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut names = BTreeSet::new();
    for mutant in mutants {
        if !names.insert(mutant.name) {
            problems.push(format!("two mutants are called {}", mutant.name));
        }
        for name in &mutant.cases {
            if !cases.iter().any(|case| case.name == *name) {
                problems.push(format!("{}: there is no case {name}", mutant.name));
            }
        }
        let cited = cases
            .iter()
            .any(|c| mutant.cases.contains(c.name) && c.statements.contains(&mutant.statement));
        if !cited {
            problems.push(format!(
                "{}: none of its cases cites {}",
                mutant.name, mutant.statement
            ));
        }
    }
    problems
}

/// Runs all cases against the broker with this bug.
///
/// # Errors
/// The named cases that passed, the others that failed, with what they said, and the line that would fit.
pub fn run(mutant: &Mutant, binary: &Path, cases: &[Case], threads: usize) -> Result<(), String> {
    let lab = Lab::with_mutant(binary.to_path_buf(), mutant.name);
    let mut faults = Vec::new();
    let mut failed = Vec::new();
    for outcome in run_all(&lab, cases, threads) {
        let name = outcome.case.name;
        if outcome.result.is_err() {
            failed.push(name);
        }
        match (outcome.result, mutant.cases.contains(name)) {
            (Ok(()), true) => faults.push(format!("{name} passed, and should fail")),
            (Err(message), false) => {
                faults.push(format!("{name} failed, and should pass: {message}"));
            }
            (Ok(()), false) | (Err(_), true) => {}
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    let observed = [mutant.name, mutant.statement, &failed.join(",")].join("\t");
    faults.push(format!("what failed, as a line of the list:\n{observed}"));
    Err(faults.join("\n"))
}

fn parse(line: &'static str) -> Option<Mutant> {
    let mut fields = line.split('\t');
    let name = fields.next()?;
    let statement = fields.next()?;
    let cases: BTreeSet<&str> = fields
        .next()?
        .split(',')
        .map(str::trim)
        .filter(|case| !case.is_empty())
        .collect();
    let complete =
        fields.next().is_none() && !name.is_empty() && !statement.is_empty() && !cases.is_empty();
    complete.then_some(Mutant {
        name,
        statement,
        cases,
    })
}

#[cfg(test)]
mod tests {
    use super::{parse, problems};
    use crate::case;

    #[test]
    fn the_list_fits_the_cases() {
        let mutants = super::all();
        assert!(mutants.is_ok(), "{mutants:?}");
        let mutants = mutants.unwrap_or_default();
        assert_eq!(problems(&mutants, &case::all()), Vec::<String>::new());
    }

    #[test]
    fn a_line_has_a_name_a_statement_and_cases() {
        let mutant =
            parse("keep_second_connect\tv5[MQTT-3.1.0-2]\ta, b").map(|mutant| mutant.cases.len());
        assert_eq!(mutant, Some(2));
        assert!(parse("name\tv5[MQTT-3.1.0-2]").is_none());
        assert!(parse("name\tv5[MQTT-3.1.0-2]\t").is_none());
        assert!(parse("name\tv5[MQTT-3.1.0-2]\ta\tmore").is_none());
    }
}
