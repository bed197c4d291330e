//! Instructions per message, counted by callgrind on the engine's traces, against a committed baseline.
//!
//! A time scatters on a shared machine by more than most changes cost; the number of instructions of a
//! program that does the same every time does not. Each trace is played twice, the second time with twice as
//! many messages: the difference is what the messages cost, without start-up.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fmt, fs};

use anyhow::{Context, Result, bail, ensure};

use crate::arguments::Arguments;
use crate::workspace::{self, cargo, find_program, root};

/// From the root of the repository.
const BASELINE: &str = "crates/engine/benches/instructions.tsv";

/// Messages of the shorter of the two plays: some seconds for a row under callgrind.
const MESSAGES: u64 = 20_000;

/// How far a row may be from its baseline.
const TOLERANCE_PERCENT: u64 = 3;

/// Callgrind counts every byte that `rep movsb` copies as an instruction, so the C library has to copy by the
/// vector instead. Other C libraries ignore this.
const TUNABLES: (&str, &str) = ("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-ERMS");

const HOW_TO_RECORD: &str = "cargo xtask instructions --record --why \"ONE SENTENCE\"";

pub(crate) fn run(words: &[String]) -> Result<()> {
    let arguments = Arguments::parse(words, &["--record"], &["--only", "--why"])?;
    let only = arguments.value("--only");
    match (arguments.has("--record"), arguments.value("--why")) {
        (false, None) => compare(only),
        (false, Some(_)) => bail!("--why is for --record"),
        (true, None) => bail!("a new baseline needs a reason: {HOW_TO_RECORD}"),
        (true, Some(why)) => {
            ensure!(only.is_none(), "--record counts all rows, without --only");
            record(why)
        }
    }
}

/// All rows against the baseline.
pub(crate) fn check() -> Result<()> {
    compare(None)
}

fn compare(only: Option<&str>) -> Result<()> {
    let baseline = Baseline::read()?;
    let compiler = compiler()?;
    let counted = count(only, &baseline)?;
    let mut complaints = baseline.complaints(&counted, &compiler);
    if only.is_none() {
        complaints.extend(baseline.unplayed(&counted));
    }
    let fallen = counted
        .iter()
        .filter(|count| baseline.change(count) == Some(Change::Fall))
        .count();
    if fallen > 0 {
        println!("{fallen} rows are cheaper than their baseline. To keep it so: {HOW_TO_RECORD}");
    }
    ensure!(
        complaints.is_empty(),
        "{}\nif that has to be: {HOW_TO_RECORD}",
        complaints.join("\n")
    );
    Ok(())
}

fn record(why: &str) -> Result<()> {
    let is_sentence = why.split_whitespace().count() > 2 && !why.contains(char::is_control);
    ensure!(
        is_sentence,
        "--why wants one line that says why, without tabs: '{why}'"
    );
    let baseline = Baseline::read()?;
    let compiler = compiler()?;
    let counted = count(None, &baseline)?;
    let renewed = baseline.renewed(&counted, &compiler, why);
    let path = root().join(BASELINE);
    fs::write(&path, renewed.to_string())
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("wrote {BASELINE}");
    Ok(())
}

/// What one message of a row costs now.
struct Count {
    row: String,
    instructions: u64,
}

/// What one message of a row cost when it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    row: String,
    instructions: u64,
    /// The sentence that came with it.
    why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Rise,
    Within,
    Fall,
}

/// The committed figures, in the order of the rows. As a file: comments, the compiler, and a line for each
/// row, whose fields are separated by tabs.
#[derive(Debug, Default, PartialEq, Eq)]
struct Baseline {
    /// What `rustc --version` said; empty without a baseline.
    compiler: String,
    entries: Vec<Entry>,
}

impl Baseline {
    /// The committed one; empty if there is none yet.
    fn read() -> Result<Baseline> {
        match fs::read_to_string(root().join(BASELINE)) {
            Ok(text) => Baseline::parse(&text).with_context(|| BASELINE.to_owned()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Baseline::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {BASELINE}")),
        }
    }

    fn parse(text: &str) -> Result<Baseline> {
        let mut baseline = Baseline::default();
        for (number, line) in (1..).zip(text.lines()) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let fields: Vec<&str> = line.split('\t').collect();
            match fields.as_slice() {
                ["compiler", compiler] => baseline.compiler = (*compiler).to_owned(),
                [row, instructions, why] => baseline.entries.push(Entry {
                    row: (*row).to_owned(),
                    instructions: instructions.parse().with_context(|| {
                        format!("line {number}: '{instructions}' is no number of instructions")
                    })?,
                    why: (*why).to_owned(),
                }),
                _ => bail!("line {number} is not a row, its instructions and why"),
            }
        }
        Ok(baseline)
    }

    fn entry(&self, row: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.row == row)
    }

    /// `None` for a row that was never recorded.
    fn change(&self, count: &Count) -> Option<Change> {
        let before = self.entry(&count.row)?.instructions;
        Some(change(before, count.instructions))
    }

    /// What is wrong with rows that were counted.
    fn complaints(&self, counted: &[Count], compiler: &str) -> Vec<String> {
        let mut complaints = Vec::new();
        for Count { row, instructions } in counted {
            let Some(Entry {
                instructions: before,
                ..
            }) = self.entry(row)
            else {
                complaints.push(format!("{row} has no baseline yet"));
                continue;
            };
            if change(*before, *instructions) == Change::Rise {
                let percent = percent(*before, *instructions);
                complaints.push(format!(
                    "{row} takes {instructions} instructions per message, its baseline is {before} \
                     ({percent:+.1} %, up to {TOLERANCE_PERCENT} % is allowed)"
                ));
            }
        }
        if !complaints.is_empty() && !self.compiler.is_empty() && self.compiler != compiler {
            complaints.push(format!(
                "the compiler may be the cause: the baseline is of {}, this is {compiler}",
                self.compiler
            ));
        }
        complaints
    }

    /// What is wrong with rows that were not counted although all were.
    fn unplayed(&self, counted: &[Count]) -> Vec<String> {
        let is_counted = |entry: &&Entry| counted.iter().any(|count| count.row == entry.row);
        let unplayed = self.entries.iter().filter(|entry| !is_counted(entry));
        unplayed
            .map(|entry| format!("{} has a baseline, and is not there any more", entry.row))
            .collect()
    }

    /// The baseline from now on: rows that are where they were keep what they have.
    fn renewed(&self, counted: &[Count], compiler: &str, why: &str) -> Baseline {
        let entry = |count: &Count| match self.entry(&count.row) {
            Some(entry) if self.change(count) == Some(Change::Within) => entry.clone(),
            _ => Entry {
                row: count.row.clone(),
                instructions: count.instructions,
                why: why.to_owned(),
            },
        };
        Baseline {
            compiler: compiler.to_owned(),
            entries: counted.iter().map(entry).collect(),
        }
    }
}

impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "# Instructions per message of each trace in crates/engine/benches/support, by callgrind, and why they\n\
             # changed last. Not to be edited: {HOW_TO_RECORD}"
        )?;
        writeln!(f, "compiler\t{}", self.compiler)?;
        for entry in &self.entries {
            writeln!(f, "{}\t{}\t{}", entry.row, entry.instructions, entry.why)?;
        }
        Ok(())
    }
}

/// Whole numbers, so that the border is exactly where it is said to be.
fn change(before: u64, now: u64) -> Change {
    if now * 100 > before * (100 + TOLERANCE_PERCENT) {
        Change::Rise
    } else if now * 100 < before * (100 - TOLERANCE_PERCENT) {
        Change::Fall
    } else {
        Change::Within
    }
}

fn percent(before: u64, now: u64) -> f64 {
    (now as f64 / before as f64 - 1.0) * 100.0
}

/// Builds the traces, plays one of them or all, and prints what each row takes.
fn count(only: Option<&str>, baseline: &Baseline) -> Result<Vec<Count>> {
    let valgrind =
        find_program("valgrind").context("valgrind is not installed: apt-get install valgrind")?;
    let trace = build()?;
    let rows = rows(&trace)?;
    if let Some(only) = only {
        ensure!(
            rows.iter().any(|row| row == only),
            "there is no row '{only}', only {}",
            rows.join(", ")
        );
    }
    let mut counted = Vec::new();
    for row in rows {
        if only.is_some_and(|only| only != row) {
            continue;
        }
        let shorter = play(&valgrind, &trace, &row, MESSAGES)?;
        let longer = play(&valgrind, &trace, &row, 2 * MESSAGES)?;
        let instructions =
            per_message(shorter, longer).with_context(|| format!("the trace of {row}"))?;
        let compared = baseline.entry(&row).map_or(String::new(), |entry| {
            let percent = percent(entry.instructions, instructions);
            format!("  baseline {:>7}  {percent:+.1} %", entry.instructions)
        });
        println!("{row:<14} {instructions:>7} instructions per message{compared}");
        counted.push(Count { row, instructions });
    }
    Ok(counted)
}

/// The program that plays the traces, as fast as the broker is.
fn build() -> Result<PathBuf> {
    let arguments = ["--quiet", "--release", "-p", "dunlin-engine"];
    let mut command = cargo();
    command
        .arg("build")
        .args(arguments)
        .args(["--example", "trace"]);
    workspace::run(&mut command)?;
    Ok(workspace::target().join("release/examples/trace"))
}

/// The names of all rows: what the program says without arguments.
fn rows(trace: &Path) -> Result<Vec<String>> {
    let (said, _) = output(&mut Command::new(trace))?;
    Ok(said.lines().map(str::to_owned).collect())
}

/// One trace, played to its end under callgrind.
#[derive(Clone, Copy)]
struct Played {
    messages: u64,
    instructions: u64,
}

fn play(valgrind: &Path, trace: &Path, row: &str, messages: u64) -> Result<Played> {
    let mut command = Command::new(valgrind);
    command
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(trace)
        .args([row, messages.to_string().as_str()])
        .env(TUNABLES.0, TUNABLES.1);
    let (said, log) = output(&mut command)?;
    Ok(Played {
        messages: said
            .trim()
            .parse()
            .with_context(|| format!("the trace of {row} printed no number: '{said}'"))?,
        instructions: collected(&log)
            .with_context(|| format!("callgrind printed no line `Collected`:\n{log}"))?,
    })
}

/// The number of instructions in callgrind's last words: `==123== Collected : 126649`.
fn collected(log: &str) -> Option<u64> {
    let (_, after) = log.rsplit_once("Collected :")?;
    after.split_whitespace().next()?.parse().ok()
}

fn per_message(shorter: Played, longer: Played) -> Result<u64> {
    let messages = longer.messages.checked_sub(shorter.messages);
    let messages = messages
        .filter(|messages| *messages > 0)
        .context("the longer play has no more messages than the shorter one")?;
    let instructions = longer.instructions.checked_sub(shorter.instructions);
    let instructions =
        instructions.context("the longer play took fewer instructions than the shorter one")?;
    Ok((instructions + messages / 2) / messages)
}

/// The compiler that builds the traces.
fn compiler() -> Result<String> {
    let mut command = Command::new("rustc");
    command.arg("--version").current_dir(root());
    let (said, _) = output(&mut command)?;
    Ok(said.trim().to_owned())
}

/// What a program prints to its two outputs. It must end well.
fn output(command: &mut Command) -> Result<(String, String)> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {program}"))?;
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let status = output.status;
    ensure!(status.success(), "{program} ended with {status}\n{log}");
    Ok((String::from_utf8_lossy(&output.stdout).into_owned(), log))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "# A comment.\n\ncompiler\trustc 1\nqos0\t1000\tthe first one\nqos1\t2000\tit had to be\n";

    fn counts(counted: &[(&str, u64)]) -> Vec<Count> {
        let count = |(row, instructions): &(&str, u64)| Count {
            row: (*row).to_owned(),
            instructions: *instructions,
        };
        counted.iter().map(count).collect()
    }

    #[test]
    fn a_baseline_is_read_as_it_was_written() {
        let baseline = Baseline::parse(TEXT).unwrap();
        assert_eq!(baseline.compiler, "rustc 1");
        let entry = |row: &str, instructions, why: &str| Entry {
            row: row.to_owned(),
            instructions,
            why: why.to_owned(),
        };
        let expected = [
            entry("qos0", 1000, "the first one"),
            entry("qos1", 2000, "it had to be"),
        ];
        assert_eq!(baseline.entries, expected);
        assert_eq!(Baseline::parse(&baseline.to_string()).unwrap(), baseline);
    }

    #[test]
    fn a_line_that_is_no_row_is_told() {
        for (text, expected) in [
            (
                "qos0\t1000\n",
                "line 1 is not a row, its instructions and why",
            ),
            (
                "# a\nqos0\tmany\tso\n",
                "line 2: 'many' is no number of instructions",
            ),
        ] {
            assert_eq!(Baseline::parse(text).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn the_border_is_at_three_percent() {
        for (before, now, expected) in [
            (1000, 1031, Change::Rise),
            (1000, 1030, Change::Within),
            (1000, 1000, Change::Within),
            (1000, 970, Change::Within),
            (1000, 969, Change::Fall),
            (33, 34, Change::Rise),
            (34, 35, Change::Within),
        ] {
            assert_eq!(change(before, now), expected, "{before} to {now}");
        }
    }

    #[test]
    fn a_rise_names_both_numbers_and_another_compiler() {
        let baseline = Baseline::parse(TEXT).unwrap();
        let fine = counts(&[("qos0", 1030), ("qos1", 1000)]);
        assert!(baseline.complaints(&fine, "rustc 2").is_empty());
        let risen = counts(&[("qos0", 1031), ("qos1", 2000)]);
        let rise = "qos0 takes 1031 instructions per message, its baseline is 1000 (+3.1 %, up to 3 % is allowed)";
        assert_eq!(baseline.complaints(&risen, "rustc 1"), [rise]);
        let cause = "the compiler may be the cause: the baseline is of rustc 1, this is rustc 2";
        assert_eq!(baseline.complaints(&risen, "rustc 2"), [rise, cause]);
    }

    #[test]
    fn rows_and_baseline_are_the_same_rows() {
        let baseline = Baseline::parse(TEXT).unwrap();
        let counted = counts(&[("qos0", 1000), ("qos2", 1)]);
        let complaints = baseline.complaints(&counted, "rustc 1");
        assert_eq!(complaints, ["qos2 has no baseline yet"]);
        let unplayed = baseline.unplayed(&counted);
        assert_eq!(unplayed, ["qos1 has a baseline, and is not there any more"]);
    }

    #[test]
    fn a_new_baseline_keeps_the_rows_that_have_not_changed() {
        let baseline = Baseline::parse(TEXT).unwrap();
        let counted = counts(&[("qos0", 1029), ("qos1", 1900), ("qos2", 7)]);
        let renewed = baseline.renewed(&counted, "rustc 2", "it got quicker");
        let text = renewed.to_string();
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = [
            "compiler\trustc 2",
            "qos0\t1000\tthe first one",
            "qos1\t1900\tit got quicker",
            "qos2\t7\tit got quicker",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_baseline_has_a_reason() {
        let run = |line: &[&str]| {
            let words: Vec<String> = line.iter().map(|word| (*word).to_owned()).collect();
            run(&words).unwrap_err().to_string()
        };
        assert!(run(&["--record"]).starts_with("a new baseline needs a reason: "));
        assert!(run(&["--record", "--why", "because"]).starts_with("--why wants one line"));
        assert!(run(&["--record", "--why", "tabs\tare not allowed"]).starts_with("--why wants"));
        assert_eq!(run(&["--why", "it got quicker"]), "--why is for --record");
        let only = run(&["--record", "--why", "it got quicker", "--only", "qos0"]);
        assert_eq!(only, "--record counts all rows, without --only");
    }

    #[test]
    fn callgrind_says_how_many_instructions_there_were() {
        let log = "==7== Events    : Ir\n==7== Collected : 126649\n==7== \n==7== I   refs:      126,649\n";
        assert_eq!(collected(log), Some(126_649));
        assert_eq!(collected("==7== Events    : Ir\n"), None);
        assert_eq!(collected("==7== Collected : none\n"), None);
    }

    #[test]
    fn start_up_cancels_out() {
        let played = |messages, instructions| Played {
            messages,
            instructions,
        };
        let both =
            |shorter, longer| per_message(shorter, longer).map_err(|error| error.to_string());
        assert_eq!(both(played(10, 1500), played(20, 2500)), Ok(100));
        assert_eq!(both(played(10, 1500), played(20, 2505)), Ok(101));
        assert!(both(played(10, 1500), played(10, 2500)).is_err());
        assert!(both(played(10, 1500), played(20, 1400)).is_err());
    }
}
