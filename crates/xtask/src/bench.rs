//! Broker CPU per message, Dunlin beside another broker in the same run.
//!
//! Absolute times mean little on shared machines, so rounds of both brokers alternate, each with a
//! fresh process pinned to one core while the load generator has another, and the better round of each
//! row counts. The load generator is a program of its own, `mqload`, that prints a line of JSON for
//! each scenario.

mod broker;
mod table;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use anyhow::{Context, Result, ensure};

use crate::arguments::Arguments;
use broker::{Contender, Running};
use table::Row;

/// The core of the load generator; the broker has the next one.
const LOAD_CORE: &str = "0";

pub(crate) fn run(words: &[String]) -> Result<()> {
    let options = ["--against", "--mqload", "--rounds", "--only"];
    let arguments = Arguments::parse(words, &["--full"], &options)?;
    let against = arguments
        .value("--against")
        .context("--against mosquitto is needed")?;
    let mqload = arguments
        .value("--mqload")
        .context("--mqload PATH of the load generator is needed")?;
    let mqload = fs::canonicalize(mqload).with_context(|| format!("there is no {mqload}"))?;
    let load = Load {
        mqload,
        only: arguments.value("--only"),
        is_full: arguments.has("--full"),
    };
    let rounds: usize = arguments.number("--rounds", 3)?;
    ensure!(rounds > 0, "--rounds wants at least 1");
    let contenders = [broker::other(against)?, broker::dunlin()?];
    let folder = env::temp_dir().join(format!("dunlin-bench-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let measured = measure(&load, &contenders, rounds, &folder);
    fs::remove_dir_all(&folder)?;
    let measured = measured?;
    println!("{}\n", machine(&contenders, rounds));
    print!(
        "{}",
        table::render([contenders[0].name, contenders[1].name], &measured)?
    );
    let failed = measured
        .iter()
        .flatten()
        .flatten()
        .filter(|row| !row.is_ok)
        .count();
    ensure!(failed == 0, "{failed} scenarios were not ok");
    Ok(())
}

/// What is run against each broker.
struct Load<'a> {
    mqload: PathBuf,
    only: Option<&'a str>,
    is_full: bool,
}

/// The rows of each contender's rounds.
fn measure(
    load: &Load<'_>,
    contenders: &[Contender; 2],
    rounds: usize,
    folder: &Path,
) -> Result<[Vec<Vec<Row>>; 2]> {
    let mut measured = [Vec::new(), Vec::new()];
    for round in 1..=rounds {
        for (contender, rows) in contenders.iter().zip(&mut measured) {
            eprintln!("round {round} of {rounds}: {}", contender.name);
            let running = Running::start(contender, folder)?;
            rows.push(load.run(&running, contender.name)?);
        }
    }
    Ok(measured)
}

impl Load<'_> {
    fn run(&self, broker: &Running, label: &str) -> Result<Vec<Row>> {
        let mut command = Command::new("taskset");
        command.args(["-c", LOAD_CORE]).arg(&self.mqload);
        command.args([
            "--addr",
            &broker.address.to_string(),
            "--pid",
            &broker.pid().to_string(),
        ]);
        command.args(["--label", label, "suite"]);
        if !self.is_full {
            command.arg("--quick");
        }
        if let Some(only) = self.only {
            command.args(["--only", only]);
        }
        // It ends with 1 when a scenario is not ok, which its line says too.
        let output = command
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .context("cannot start taskset with mqload")?;
        let said = String::from_utf8_lossy(&output.stdout);
        let lines = said.lines().filter(|line| line.starts_with('{'));
        let rows = lines.map(table::parse).collect::<Result<Vec<Row>>>()?;
        ensure!(
            !rows.is_empty(),
            "mqload ended with {} and measured nothing",
            output.status
        );
        Ok(rows)
    }
}

/// A line on where and with what this was measured.
fn machine(contenders: &[Contender; 2], rounds: usize) -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find(|line| line.starts_with("model name"));
    let model = model
        .and_then(|line| line.split_once(": "))
        .map_or("unknown CPU", |(_, name)| name);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let versions: Vec<&str> = contenders
        .iter()
        .map(|contender| contender.version.as_str())
        .collect();
    format!(
        "{}; {rounds} rounds, the better of each; {model}, Linux {}",
        versions.join(" and "),
        kernel.trim()
    )
}
