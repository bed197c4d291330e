//! The rules of the source that the compiler does not know, each in a file of its own.
//!
//! A rule looks at a `Tree`, all text files of the repository, and reports violations; it runs no
//! program and changes nothing. So every rule can be shown to fail on a few lines of text. The tests
//! of this crate run all of them on the repository itself.

mod budgets;
mod documents;
mod imports;
mod pure;
mod source;
mod statements;
mod tree;
mod words;

use std::fmt;
use std::path::Path;

use anyhow::{Result, bail};

use crate::arguments::Arguments;
use crate::workspace;
use tree::Tree;

/// One place that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// From the root of the repository.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// The rule's name.
    pub rule: &'static str,
    /// What is wrong, and what would be right.
    pub sentence: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {}: {}",
            self.file, self.line, self.rule, self.sentence
        )
    }
}

type Rule = fn(&Tree, &mut Vec<Violation>);

const RULES: [Rule; 6] = [
    imports::check,
    pure::check,
    statements::check,
    budgets::check,
    words::check,
    documents::check,
];

/// All violations of the repository at `root`, sorted.
///
/// # Errors
/// When its files cannot be read.
pub fn check(root: &Path) -> Result<Vec<Violation>> {
    let tree = Tree::read(root)?;
    let mut found = Vec::new();
    for rule in RULES {
        rule(&tree, &mut found);
    }
    found.sort();
    Ok(found)
}

pub(crate) fn run(words: &[String]) -> Result<()> {
    Arguments::parse(words, &[], &[])?;
    let found = check(&workspace::root())?;
    for violation in &found {
        println!("{violation}");
    }
    match found.len() {
        0 => Ok(()),
        1 => bail!("1 violation"),
        count => bail!("{count} violations"),
    }
}

/// How the rules' own tests look at a rule.
#[cfg(test)]
mod testing {
    use super::{Rule, Tree};

    /// Runs a rule on files (path, text) and compares the violations as they are printed.
    #[track_caller]
    pub(super) fn check(rule: Rule, files: &[(&str, &str)], expected: &[&str]) {
        let owned = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        let mut found = Vec::new();
        rule(&Tree::new(owned.collect()), &mut found);
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }
}
