//! The load generator's lines of JSON as rows, and the rows of two brokers as a table.

use std::fmt::Write;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};

/// What one scenario measured in one round.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    title: String,
    /// Of the broker, for one message, connection or cycle.
    cpu_us: Option<f64>,
    per_s: Option<f64>,
    p50_us: Option<f64>,
    p99_us: Option<f64>,
    lost: u64,
    pub(super) is_ok: bool,
    /// Why it is not ok.
    problems: String,
    /// Other measured parts of the scenario: name, CPU for one, how many in a second.
    parts: Vec<(String, f64, Option<f64>)>,
}

/// What tells scenarios of one kind apart, in this order.
const SETTINGS: [&str; 10] = [
    "conns",
    "pairs",
    "pubs",
    "subs",
    "topics",
    "sessions",
    "msgs_per_session",
    "rate",
    "qos",
    "payload",
];

const CPU: [&str; 3] = [
    "broker_cpu_us_per_msg",
    "broker_cpu_us_per_connect",
    "broker_cpu_us_per_cycle",
];
const RATE: [&str; 3] = ["msgs_per_s", "connects_per_s", "cycles_per_s"];
const P50: [&str; 3] = ["lat_p50_us", "connect_p50_us", "cycle_p50_us"];
const P99: [&str; 3] = ["lat_p99_us", "connect_p99_us", "cycle_p99_us"];

/// The ending of the CPU figure of a part.
const PART_CPU: &str = "_broker_cpu_us_each";

/// Reads one line.
pub(super) fn parse(line: &str) -> Result<Row> {
    let value: Value = serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))?;
    let map = value
        .as_object()
        .with_context(|| format!("no object: {line}"))?;
    let scenario = map.get("scenario").and_then(Value::as_str);
    let mut title = scenario
        .with_context(|| format!("no scenario: {line}"))?
        .to_owned();
    for setting in SETTINGS {
        if let Some(value) = map.get(setting) {
            title.push_str(&format!(", {} {value}", setting.replace('_', " ")));
        }
    }
    let problems = map
        .get("problems")
        .or(map.get("error"))
        .map(ToString::to_string);
    Ok(Row {
        title,
        cpu_us: first(map, &CPU),
        per_s: first(map, &RATE),
        p50_us: first(map, &P50),
        p99_us: first(map, &P99),
        lost: map.get("lost").and_then(Value::as_u64).unwrap_or(0),
        is_ok: map.get("ok").and_then(Value::as_bool).unwrap_or(false),
        problems: problems.unwrap_or_default(),
        parts: parts(map),
    })
}

fn first(map: &Map<String, Value>, names: &[&str]) -> Option<f64> {
    names.iter().find_map(|name| map.get(*name)?.as_f64())
}

fn parts(map: &Map<String, Value>) -> Vec<(String, f64, Option<f64>)> {
    let part = |(key, value): (&String, &Value)| {
        let name = key.strip_suffix(PART_CPU)?;
        let per_s = map.get(&format!("{name}_per_s")).and_then(Value::as_f64);
        Some((name.to_owned(), value.as_f64()?, per_s))
    };
    map.iter().filter_map(part).collect()
}

/// Both brokers' better rounds side by side, in Markdown. The first broker is the yardstick.
pub(super) fn render(names: [&str; 2], measured: &[Vec<Vec<Row>>; 2]) -> Result<String> {
    let [theirs, ours] = names;
    let mut text = format!(
        "| scenario | {theirs} µs | {ours} µs | ratio | {theirs} /s | {ours} /s \
         | {theirs} p50/p99 µs | {ours} p50/p99 µs | lost | ok |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|---|\n"
    );
    let [their_rows, our_rows] = [better(&measured[0])?, better(&measured[1])?];
    ensure!(
        their_rows.len() == our_rows.len(),
        "the brokers did not run the same scenarios"
    );
    let mut problems = String::new();
    for (their, our) in their_rows.iter().zip(&our_rows) {
        // Writing into a String does not fail.
        let _ = writeln!(text, "{}", line(their, our));
        for (name, cpu_us, per_s) in &their.parts {
            let Some(part) = our.parts.iter().find(|part| part.0 == *name) else {
                continue;
            };
            let _ = writeln!(
                text,
                "| {}: {name} | {} | {} | {} | {} | {} | | | | |",
                their.title,
                number(Some(*cpu_us), 2),
                number(Some(part.1), 2),
                ratio(Some(*cpu_us), Some(part.1)),
                number(*per_s, 0),
                number(part.2, 0)
            );
        }
        for (name, row) in [(theirs, their), (ours, our)]
            .iter()
            .filter(|(_, row)| !row.is_ok)
        {
            let _ = writeln!(problems, "{name}, {}: {}", row.title, row.problems);
        }
    }
    if !problems.is_empty() {
        let _ = write!(text, "\n{problems}");
    }
    Ok(text)
}

fn line(their: &Row, our: &Row) -> String {
    let verdict = |row: &Row| if row.is_ok { "ok" } else { "**FAIL**" };
    [
        format!("| {}", their.title),
        number(their.cpu_us, 2),
        number(our.cpu_us, 2),
        ratio(their.cpu_us, our.cpu_us),
        number(their.per_s, 0),
        number(our.per_s, 0),
        format!("{}/{}", number(their.p50_us, 0), number(their.p99_us, 0)),
        format!("{}/{}", number(our.p50_us, 0), number(our.p99_us, 0)),
        format!("{}/{}", their.lost, our.lost),
        format!("{}/{} |", verdict(their), verdict(our)),
    ]
    .join(" | ")
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
}

fn ratio(theirs: Option<f64>, ours: Option<f64>) -> String {
    let ratio = theirs
        .zip(ours)
        .filter(|(theirs, _)| *theirs > 0.0)
        .map(|(theirs, ours)| ours / theirs);
    number(ratio, 2)
}

/// Of each scenario the round with the least CPU, of each part likewise; what is lost or wrong in any
/// round stays.
fn better(rounds: &[Vec<Row>]) -> Result<Vec<Row>> {
    let (first, others) = rounds.split_first().context("nothing was measured")?;
    let mut best = first.clone();
    for round in others {
        ensure!(
            round.len() == best.len(),
            "the rounds did not run the same scenarios"
        );
        for (best, row) in best.iter_mut().zip(round) {
            merge(best, row);
        }
    }
    Ok(best)
}

fn merge(best: &mut Row, row: &Row) {
    let lost = best.lost.max(row.lost);
    let worse = if best.is_ok { row } else { &*best };
    let (is_ok, problems) = (worse.is_ok, worse.problems.clone());
    let mut parts = best.parts.clone();
    for part in &mut parts {
        if let Some(other) = row
            .parts
            .iter()
            .find(|other| other.0 == part.0 && other.1 < part.1)
        {
            *part = other.clone();
        }
    }
    let cpu_us = |row: &Row| row.cpu_us.unwrap_or(f64::INFINITY);
    if cpu_us(row) < cpu_us(best) {
        *best = row.clone();
    }
    *best = Row {
        lost,
        is_ok,
        problems,
        parts,
        ..best.clone()
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cpu: f64, rest: &str) -> Row {
        let line = format!(
            "{{\"scenario\":\"pipe\",\"pubs\":10,\"qos\":1,\"broker_cpu_us_per_msg\":{cpu},\
             \"msgs_per_s\":1000.4,\"lat_p50_us\":5,\"lat_p99_us\":9,\"lost\":0,\"ok\":true{rest}}}"
        );
        parse(&line).unwrap()
    }

    #[test]
    fn a_line_becomes_a_row() {
        let row = row(1.5, ",\"set_broker_cpu_us_each\":4.25,\"set_per_s\":7");
        assert_eq!(row.title, "pipe, pubs 10, qos 1");
        assert_eq!(
            (row.cpu_us, row.per_s, row.p50_us, row.p99_us),
            (Some(1.5), Some(1000.4), Some(5.0), Some(9.0))
        );
        assert_eq!((row.lost, row.is_ok), (0, true));
        assert_eq!(row.parts, [("set".to_owned(), 4.25, Some(7.0))]);
        assert!(parse("{\"ok\":true}").is_err());
        assert!(parse("{").is_err());
    }

    #[test]
    fn the_better_round_counts_and_no_failure_is_forgotten() {
        let bad = row(3.0, ",\"lost\":2,\"ok\":false,\"problems\":[\"2 lost\"]");
        for rounds in [
            [vec![bad.clone()], vec![row(1.0, "")]],
            [vec![row(1.0, "")], vec![bad]],
        ] {
            let best = better(&rounds).unwrap();
            assert_eq!(
                (best[0].cpu_us, best[0].lost, best[0].is_ok),
                (Some(1.0), 2, false)
            );
            assert_eq!(best[0].problems, "[\"2 lost\"]");
        }
        assert!(better(&[vec![row(1.0, "")], vec![]]).is_err());
        assert!(better(&[]).is_err());
    }

    #[test]
    fn the_table_compares() {
        let set = ",\"set_broker_cpu_us_each\":4,\"set_per_s\":7";
        let measured = [vec![vec![row(4.0, set)]], vec![vec![row(1.0, set)]]];
        let text = render(["old", "new"], &measured).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert_eq!(
            lines[2],
            "| pipe, pubs 10, qos 1 | 4.00 | 1.00 | 0.25 | 1000 | 1000 | 5/9 | 5/9 | 0/0 | ok/ok |"
        );
        assert_eq!(
            lines[3],
            "| pipe, pubs 10, qos 1: set | 4.00 | 4.00 | 1.00 | 7 | 7 | | | | |"
        );
        let failed = [
            vec![vec![row(4.0, "")]],
            vec![vec![row(1.0, ",\"ok\":false,\"error\":\"gone\"")]],
        ];
        let text = render(["old", "new"], &failed).unwrap();
        assert!(
            text.contains("| ok/**FAIL** |\n\nnew, pipe, pubs 10, qos 1: \"gone\"\n"),
            "{text}"
        );
    }
}
