//! Everything that a change must pass, step by step.

use std::env;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::arguments::Arguments;
use crate::workspace::{cargo, root, run as run_program};
use crate::{conformance, fuzz, instructions};

/// A name, and what it does.
type Step = (&'static str, fn() -> Result<()>);

const STEPS: [Step; 8] = [
    ("fmt", fmt),
    ("clippy", clippy),
    ("doc", doc),
    ("test", test),
    ("instructions", instructions::check),
    ("deny", deny),
    ("conformance", conformance::prove_with_mutants),
    ("fuzz", fuzz_all),
];

/// How long each fuzz target runs, in seconds.
const FUZZ_SECONDS: &str = "DUNLIN_FUZZ_SECONDS";

pub(crate) fn run(words: &[String]) -> Result<()> {
    Arguments::parse(words, &[], &[])?;
    for (name, step) in STEPS {
        println!("==> {name}");
        let started = Instant::now();
        step().with_context(|| format!("step {name}"))?;
        println!("==> {name}: {:.1} s", started.elapsed().as_secs_f64());
    }
    Ok(())
}

pub(crate) fn run_tests(words: &[String]) -> Result<()> {
    Arguments::parse(words, &[], &[])?;
    // What is there already is left alone.
    run_program(&mut Command::new(
        root().join("scripts/install-test-needs.sh"),
    ))?;
    test()
}

fn fmt() -> Result<()> {
    run_program(cargo().args(["fmt", "--all", "--check"]))?;
    run_program(cargo().args(["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]))
}

fn clippy() -> Result<()> {
    let arguments = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    run_program(cargo().args(arguments))
}

fn doc() -> Result<()> {
    let mut command = cargo();
    command
        .args(["doc", "--workspace", "--no-deps"])
        .env("RUSTDOCFLAGS", "-D warnings");
    run_program(&mut command)
}

fn test() -> Result<()> {
    run_program(cargo().args(["test", "--workspace"]))
}

fn deny() -> Result<()> {
    let mut look = cargo();
    look.args(["deny", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if !look.status().is_ok_and(|status| status.success()) {
        println!("left out, for cargo-deny is not installed: cargo install cargo-deny");
        return Ok(());
    }
    run_program(cargo().args(["deny", "check"]))
}

fn fuzz_all() -> Result<()> {
    let seconds = match env::var(FUZZ_SECONDS) {
        Ok(text) => text
            .parse()
            .with_context(|| format!("{FUZZ_SECONDS} wants a number of seconds, got '{text}'"))?,
        Err(_) => 60,
    };
    fuzz::fuzz(seconds, None, fuzz::SEED)
}
