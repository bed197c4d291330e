//! The toolbox of this repository, called as `cargo xtask SUBCOMMAND`.
//!
//! One table holds the subcommands; each has a file of its own. Nothing of the broker is here: what
//! has to be known of it comes from the crates that describe it (its configuration keys, the
//! statements of the standard and their cases) or from running its binary.
//!
//! Reading order: [`run`], [`tidy`] (the rules that the compiler does not know), then the files of
//! the other subcommands.

pub mod tidy;

mod arguments;
mod bench;
mod ci;
mod conformance;
mod docs;
mod fuzz;
mod instructions;
mod workspace;

use anyhow::{Context, Result};

pub use workspace::root;

/// One thing that `cargo xtask` can do.
struct Subcommand {
    name: &'static str,
    arguments: &'static str,
    summary: &'static str,
    run: fn(&[String]) -> Result<()>,
}

const SUBCOMMANDS: &[Subcommand] = &[
    Subcommand {
        name: "ci",
        arguments: "",
        summary: "everything that a change must pass; DUNLIN_FUZZ_SECONDS for each fuzz target",
        run: ci::run,
    },
    Subcommand {
        name: "test",
        arguments: "",
        summary: "installs what the tests need, then cargo test --workspace",
        run: ci::run_tests,
    },
    Subcommand {
        name: "tidy",
        arguments: "",
        summary: "the rules of the source that the compiler does not check",
        run: tidy::run,
    },
    Subcommand {
        name: "docs",
        arguments: "",
        summary: "writes docs/configuration.md and, if all cases pass, docs/conformance.md",
        run: docs::run,
    },
    Subcommand {
        name: "conformance",
        arguments: "[--mutants] [--record] [--only TEXT]",
        summary: "the statements of the standard against the broker, or against its deliberate bugs",
        run: conformance::run,
    },
    Subcommand {
        name: "fuzz",
        arguments: "[--seconds 60] [--target NAME] [--seed 1]",
        summary: "every fuzz target for so many seconds, from its committed corpus",
        run: fuzz::run,
    },
    Subcommand {
        name: "bench",
        arguments: "--against mosquitto --mqload PATH [--rounds 3] [--only TEXT] [--full]",
        summary: "broker CPU per message beside another broker's, in the same run",
        run: bench::run,
    },
    Subcommand {
        name: "instructions",
        arguments: "[--only ROW] [--record --why TEXT]",
        summary: "instructions per message of the engine's traces, against their baseline",
        run: instructions::run,
    },
];

/// Does what the words of a command line ask for.
///
/// # Errors
/// What went wrong, in prose: an unknown subcommand or argument, a check that fails, a program that
/// cannot be run.
pub fn run(words: &[String]) -> Result<()> {
    match words.split_first() {
        None => {
            print!("{}", help());
            Ok(())
        }
        Some((word, _)) if ["help", "--help", "-h"].contains(&word.as_str()) => {
            print!("{}", help());
            Ok(())
        }
        Some((word, rest)) => {
            let found = SUBCOMMANDS
                .iter()
                .find(|subcommand| subcommand.name == word.as_str());
            let subcommand =
                found.with_context(|| format!("there is no subcommand '{word}'\n\n{}", help()))?;
            (subcommand.run)(rest)
        }
    }
}

fn help() -> String {
    let mut text = String::from("usage: cargo xtask SUBCOMMAND\n");
    for subcommand in SUBCOMMANDS {
        let call = format!("{} {}", subcommand.name, subcommand.arguments);
        text.push_str(&format!(
            "\n  {}\n      {}\n",
            call.trim_end(),
            subcommand.summary
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_every_subcommand_once() {
        let text = help();
        for subcommand in SUBCOMMANDS {
            let line = format!("\n  {}", subcommand.name);
            assert_eq!(text.matches(&line).count(), 1, "{}", subcommand.name);
        }
    }

    #[test]
    fn an_unknown_subcommand_is_an_error_with_the_help() {
        let message = run(&["dance".to_owned()]).unwrap_err().to_string();
        assert!(
            message.starts_with("there is no subcommand 'dance'"),
            "{message}"
        );
        assert!(message.contains("cargo xtask SUBCOMMAND"), "{message}");
        assert!(run(&["--help".to_owned()]).is_ok());
    }
}
