//! Every normative statement against the cases that prove it: the manifest, and its rendering as Markdown.
//!
//! The statements stand in `statements/v5.tsv` and `statements/v311.tsv` (`id`, role, summary in our words), the
//! reasons why one is not tested in `statements/exceptions.tsv` (`v5[id]`, reason). What does not fit together is a
//! problem of the manifest, and its test fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::case::Case;

/// Mark of the ids, title, and list of each standard.
const STANDARDS: [(&str, &str, &str); 2] = [
    ("v5", "MQTT 5.0", include_str!("../statements/v5.tsv")),
    ("v311", "MQTT 3.1.1", include_str!("../statements/v311.tsv")),
];
const EXCEPTIONS: &str = include_str!("../statements/exceptions.tsv");

/// Whom a statement binds.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Role {
    /// The server alone.
    Server,
    /// The client alone.
    Client,
    /// Both.
    Both,
}

/// How a statement stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Standing {
    /// These cases prove it.
    Tested(Vec<&'static str>),
    /// It is not tested, for this reason.
    Excepted(&'static str),
    /// It binds clients, so a broker cannot break it.
    ClientOnly,
    /// Neither a case nor a reason.
    Missing,
}

/// One statement.
#[derive(Clone, Debug)]
pub struct Entry {
    /// As cases cite it: `v5[MQTT-3.1.0-1]`.
    pub id: String,
    /// `MQTT 5.0` or `MQTT 3.1.1`.
    pub standard: &'static str,
    /// Whom it binds.
    pub role: Role,
    /// What it demands, in our words.
    pub summary: &'static str,
    /// Whether and how it is tested.
    pub standing: Standing,
}

/// All statements with their standing.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The statements, in the order of their lists.
    pub entries: Vec<Entry>,
    /// Broken lines, unknown ids, reasons for what is tested: each a sentence. Empty when all is well.
    pub problems: Vec<String>,
}

/// Numbers of one standard, of the statements that bind servers.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct Totals {
    /// Statements for servers, or for both sides.
    pub binding: usize,
    /// Of these, proven by a case.
    pub tested: usize,
    /// Of these, with a reason why not.
    pub excepted: usize,
    /// Of these, with neither.
    pub missing: usize,
}

impl Totals {
    /// The tested part in per cent.
    pub fn percentage(&self) -> f64 {
        if self.binding == 0 {
            100.0
        } else {
            self.tested as f64 * 100.0 / self.binding as f64
        }
    }
}

impl Manifest {
    /// Sets these cases against the lists.
    pub fn new(cases: &[Case]) -> Manifest {
        let mut problems = Vec::new();
        let mut provers: BTreeMap<&str, Vec<&'static str>> = BTreeMap::new();
        let mut names = BTreeSet::new();
        for case in cases {
            if !names.insert(case.name) {
                problems.push(format!("two cases are called {}", case.name));
            }
            for id in case.statements {
                provers.entry(*id).or_default().push(case.name);
            }
        }
        let mut reasons = exceptions(&mut problems);
        let mut entries = Vec::new();
        for (mark, standard, list) in STANDARDS {
            for (id, role, summary) in statements(mark, standard, list, &mut problems) {
                let tested = provers.remove(id.as_str());
                let reason = reasons.remove(id.as_str());
                if tested.is_some() && reason.is_some() {
                    problems.push(format!("{id} is tested, and has a reason why not"));
                }
                let standing = match (tested, reason) {
                    (Some(cases), _) => Standing::Tested(cases),
                    (None, Some(reason)) => Standing::Excepted(reason),
                    (None, None) if role == Role::Client => Standing::ClientOnly,
                    (None, None) => Standing::Missing,
                };
                entries.push(Entry {
                    id,
                    standard,
                    role,
                    summary,
                    standing,
                });
            }
        }
        for (id, cases) in provers {
            problems.push(format!(
                "{id}, cited by {}, is in no list",
                cases.join(", ")
            ));
        }
        problems.extend(
            reasons
                .keys()
                .map(|id| format!("{id} has a reason, and is in no list")),
        );
        Manifest { entries, problems }
    }

    /// The numbers of one standard.
    pub fn totals(&self, standard: &str) -> Totals {
        let mut totals = Totals::default();
        for entry in self
            .entries
            .iter()
            .filter(|entry| entry.standard == standard && entry.role != Role::Client)
        {
            totals.binding += 1;
            match entry.standing {
                Standing::Tested(_) => totals.tested += 1,
                Standing::Excepted(_) => totals.excepted += 1,
                Standing::ClientOnly | Standing::Missing => totals.missing += 1,
            }
        }
        totals
    }

    /// The statements for servers that have neither a case nor a reason.
    pub fn missing(&self) -> Vec<&Entry> {
        self.entries
            .iter()
            .filter(|entry| entry.standing == Standing::Missing)
            .collect()
    }

    /// The report in Markdown.
    pub fn render(&self) -> String {
        let mut text = String::from(
            "# Conformance\n\nMade by `dunlin-conformance --report`: the normative statements of MQTT, and the cases that prove\n\
             them against the live broker by raw bytes over a socket.\n\n\
             | standard | statements for servers | tested | not tested, with a reason | missing | share tested |\n\
             |---|---:|---:|---:|---:|---:|\n",
        );
        for (_, standard, _) in STANDARDS {
            let Totals {
                binding,
                tested,
                excepted,
                missing,
            } = self.totals(standard);
            let share = self.totals(standard).percentage();
            add(
                &mut text,
                &format!(
                    "| {standard} | {binding} | {tested} | {excepted} | {missing} | {share:.1} % |"
                ),
            );
        }
        add(&mut text, "\n## Not tested, and why\n");
        for entry in &self.entries {
            if let Standing::Excepted(reason) = entry.standing {
                add(
                    &mut text,
                    &format!("- `{}` ({}): {reason}", entry.id, entry.summary),
                );
            }
        }
        for (_, standard, _) in STANDARDS {
            add(
                &mut text,
                &format!(
                    "\n## {standard}\n\n| statement | for | demands | tested by |\n|---|---|---|---|"
                ),
            );
            for entry in self
                .entries
                .iter()
                .filter(|entry| entry.standard == standard)
            {
                let row = [
                    format!("`{}`", entry.id),
                    entry.role.to_string(),
                    escape(entry.summary),
                    entry.standing(),
                ];
                add(&mut text, &format!("| {} |", row.join(" | ")));
            }
        }
        text
    }
}

impl Entry {
    fn standing(&self) -> String {
        match &self.standing {
            Standing::Tested(cases) => cases
                .iter()
                .map(|case| format!("`{case}`"))
                .collect::<Vec<_>>()
                .join(", "),
            Standing::Excepted(_) => "no: see above".to_owned(),
            Standing::ClientOnly => "no: binds clients".to_owned(),
            Standing::Missing => "**missing**".to_owned(),
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Role::Server => "server",
            Role::Client => "client",
            Role::Both => "both",
        })
    }
}

/// The lines of a list that say something, with their number.
pub(crate) fn lines(list: &'static str) -> impl Iterator<Item = (usize, &'static str)> {
    list.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim_end()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn statements(
    mark: &str,
    standard: &str,
    list: &'static str,
    problems: &mut Vec<String>,
) -> Vec<(String, Role, &'static str)> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for (number, line) in lines(list) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [id, role, summary] = fields.as_slice() else {
            problems.push(format!(
                "{standard}, line {number}: three fields wanted, got {}",
                fields.len()
            ));
            continue;
        };
        let role = match *role {
            "server" => Role::Server,
            "client" => Role::Client,
            "both" => Role::Both,
            other => {
                problems.push(format!(
                    "{standard}, line {number}: {other:?} is not server, client or both"
                ));
                continue;
            }
        };
        if seen.insert(*id) {
            found.push((format!("{mark}[{id}]"), role, *summary));
        } else {
            problems.push(format!(
                "{standard}, line {number}: {id} stands there twice"
            ));
        }
    }
    found
}

fn exceptions(problems: &mut Vec<String>) -> BTreeMap<&'static str, &'static str> {
    let mut reasons = BTreeMap::new();
    for (number, line) in lines(EXCEPTIONS) {
        match line.split_once('\t') {
            Some((id, reason)) if !reason.trim().is_empty() => {
                if reasons.insert(id, reason.trim()).is_some() {
                    problems.push(format!(
                        "exceptions, line {number}: {id} stands there twice"
                    ));
                }
            }
            _ => problems.push(format!(
                "exceptions, line {number}: an id, a tab and a reason wanted"
            )),
        }
    }
    reasons
}

fn add(text: &mut String, line: &str) {
    // Writing into a String does not fail.
    let _ = writeln!(text, "{line}");
}

fn escape(cell: &str) -> String {
    cell.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::{Manifest, Role, STANDARDS, Totals, statements};
    use crate::case::all;

    #[test]
    fn the_lists_and_the_cases_fit_together() {
        assert_eq!(Manifest::new(&all()).problems, Vec::<String>::new());
    }

    #[test]
    fn every_statement_for_servers_has_a_case_or_a_reason() {
        let manifest = Manifest::new(&all());
        let missing: Vec<&str> = manifest
            .missing()
            .iter()
            .map(|entry| entry.id.as_str())
            .collect();
        assert_eq!(missing, Vec::<&str>::new());
    }

    #[test]
    fn at_least_95_per_cent_are_tested() {
        let manifest = Manifest::new(&all());
        for (_, standard, _) in STANDARDS {
            let totals = manifest.totals(standard);
            assert!(totals.percentage() >= 95.0, "{standard}: {totals:?}");
        }
    }

    #[test]
    fn broken_lines_are_problems_with_their_number() {
        let mut problems = Vec::new();
        let list =
            "# comment\nA-1\tserver\tfirst\nA-1\tboth\tagain\nA-2\tbroker\twhat\nA-3\tclient\n";
        let found = statements("v5", "MQTT 5.0", list, &mut problems);
        assert_eq!(found, vec![("v5[A-1]".to_owned(), Role::Server, "first")]);
        assert_eq!(
            problems,
            [
                "MQTT 5.0, line 3: A-1 stands there twice",
                "MQTT 5.0, line 4: \"broker\" is not server, client or both",
                "MQTT 5.0, line 5: three fields wanted, got 2",
            ]
        );
    }

    #[test]
    fn the_share_counts_what_binds_servers() {
        let totals = Totals {
            binding: 40,
            tested: 39,
            excepted: 1,
            missing: 0,
        };
        assert_eq!(format!("{:.1}", totals.percentage()), "97.5");
    }
}
