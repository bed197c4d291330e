//! The fuzz targets, each from its committed corpus for so many seconds.
//!
//! They are built here rather than by `cargo fuzz`, so that nothing has to be installed: the flags
//! below make the compiler count the edges that an input reaches, and libFuzzer, which the fuzz crate
//! links, does the rest. A target triple is named so that build scripts stay without these flags.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::arguments::Arguments;
use crate::workspace::{self, cargo, root};

const FLAGS: [&str; 9] = [
    "--cfg fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "-Cdebug-assertions",
    "-Clink-dead-code",
];

/// The seed of every run that names no other: what one machine finds, another finds as well. A long hunt
/// wants `--seed` of its own.
pub(crate) const SEED: u32 = 1;

/// Lines of a failed run that are shown; all of them are in its log.
const LINES_SHOWN: usize = 60;

pub(crate) fn run(words: &[String]) -> Result<()> {
    let arguments = Arguments::parse(words, &[], &["--seconds", "--target", "--seed"])?;
    fuzz(
        arguments.number("--seconds", 60)?,
        arguments.value("--target"),
        arguments.number("--seed", SEED)?,
    )
}

/// Runs the target of this name, or all of them.
pub(crate) fn fuzz(seconds: u32, only: Option<&str>, seed: u32) -> Result<()> {
    let mut targets = targets(&root().join("fuzz/fuzz_targets"))?;
    targets.retain(|name| only.is_none_or(|only| only == name));
    ensure!(!targets.is_empty(), "there is no such fuzz target");
    let folder = workspace::target().join("fuzz");
    let host = host()?;
    build(&folder, &host)?;
    for name in &targets {
        let binary = folder.join(&host).join("release").join(name);
        run_target(&folder, &binary, name, (seconds, seed))?;
    }
    Ok(())
}

/// The names of the targets: one file each.
fn targets(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?
    {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(
                path.file_stem()
                    .map(|stem| stem.to_string_lossy().into_owned()),
            );
        }
    }
    names.sort();
    Ok(names)
}

/// The triple of this machine, as the compiler calls it.
fn host() -> Result<String> {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .context("cannot start rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

fn build(folder: &Path, host: &str) -> Result<()> {
    let mut command = cargo();
    command
        .args([
            "build",
            "--quiet",
            "--release",
            "--bins",
            "--manifest-path",
            "fuzz/Cargo.toml",
        ])
        .args(["--target", host, "--target-dir"])
        .arg(folder)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", FLAGS.join(" "))
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    workspace::run(&mut command)
}

fn run_target(folder: &Path, binary: &Path, name: &str, (seconds, seed): (u32, u32)) -> Result<()> {
    let corpus = copy_corpus(folder, name)?;
    let found = root().join("fuzz/artifacts").join(name);
    fs::create_dir_all(&found)?;
    let log = folder.join(format!("{name}.log"));
    let status = Command::new(binary)
        .arg(&corpus)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-seed={seed}"))
        .args(["-rss_limit_mb=2048", "-timeout=10", "-print_final_stats=1"])
        .arg(format!("-artifact_prefix={}/", found.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&log)?)
        .status()
        .with_context(|| format!("cannot start {}", binary.display()))?;
    let said = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    if !status.success() {
        let lines: Vec<&str> = said.lines().collect();
        println!(
            "{}",
            lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n")
        );
        let (found, log) = (found.display(), log.display());
        bail!("{name} ended with {status}: the input is in {found}, all that it said in {log}");
    }
    println!("{name}: {} inputs, no finding", executed(&said));
    Ok(())
}

/// The fuzzer adds what it finds to its corpus, so it gets a copy.
fn copy_corpus(folder: &Path, name: &str) -> Result<PathBuf> {
    let copy = folder.join("corpus").join(name);
    if copy.exists() {
        fs::remove_dir_all(&copy)?;
    }
    fs::create_dir_all(&copy)?;
    let committed = root().join("fuzz/corpus").join(name);
    let entries =
        fs::read_dir(&committed).with_context(|| format!("cannot read {}", committed.display()))?;
    for entry in entries {
        let entry = entry?;
        fs::copy(entry.path(), copy.join(entry.file_name()))?;
    }
    Ok(copy)
}

fn executed(said: &str) -> &str {
    let mut lines = said.lines();
    lines
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))
        .map_or("?", str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_a_small_committed_corpus() {
        let names = targets(&root().join("fuzz/fuzz_targets")).unwrap();
        assert!(names.iter().any(|name| name == "decode"), "{names:?}");
        for name in names {
            let files: Vec<u64> = fs::read_dir(root().join("fuzz/corpus").join(&name))
                .unwrap()
                .map(|entry| entry.unwrap().metadata().unwrap().len())
                .collect();
            assert!(
                (10..=40).contains(&files.len()),
                "{name}: {} files",
                files.len()
            );
            assert!(
                files.iter().all(|bytes| *bytes <= 1024),
                "{name}: {files:?} bytes"
            );
        }
    }

    #[test]
    fn the_number_of_inputs_is_read_from_the_statistics() {
        let said = "#2 INITED\nstat::number_of_executed_units: 1234\nstat::peak_rss_mb: 40\n";
        assert_eq!(executed(said), "1234");
        assert_eq!(executed("nothing"), "?");
    }
}
