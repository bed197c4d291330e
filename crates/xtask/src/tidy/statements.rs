//! Every statement of the standard that is cited in code or prose stands in the project's own list.

use std::collections::BTreeSet;

use super::Violation;
use super::tree::Tree;

const RULE: &str = "statements";

/// The mark of each version's ids, and its list.
const LISTS: [(&str, &str); 2] = [
    ("v5", "crates/conformance/statements/v5.tsv"),
    ("v311", "crates/conformance/statements/v311.tsv"),
];

pub(super) fn check(tree: &Tree, found: &mut Vec<Violation>) {
    let mut report = |file: &str, line: usize, sentence: String| {
        found.push(Violation {
            file: file.to_owned(),
            line,
            rule: RULE,
            sentence,
        });
    };
    let mut known = BTreeSet::new();
    for (mark, list) in LISTS {
        let Some(text) = tree.text(list) else {
            report(list, 1, "the list of statements is not there".to_owned());
            continue;
        };
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        known.extend(
            lines
                .filter_map(|line| line.split('\t').next())
                .map(|id| (mark, id)),
        );
    }
    for file in tree
        .files()
        .filter(|file| file.path.ends_with(".rs") || file.path.ends_with(".md"))
    {
        for (at, mark, id) in citations(&file.text) {
            if !is_id(id) {
                report(
                    &file.path,
                    file.line(at),
                    format!("`{mark}[{id}]` is not the form of an id"),
                );
            } else if !known.contains(&(mark, id)) {
                report(
                    &file.path,
                    file.line(at),
                    format!("`{mark}[{id}]` is in no list of statements"),
                );
            }
        }
    }
}

/// The citations of a text: offset, version, and what stands in the brackets.
fn citations(text: &str) -> impl Iterator<Item = (usize, &'static str, &str)> {
    text.match_indices("[MQTT-").filter_map(move |(at, _)| {
        let (mark, _) = LISTS.iter().find(|(mark, _)| text[..at].ends_with(*mark))?;
        let id = text[at + 1..].split([']', '\n']).next()?;
        Some((at, *mark, id))
    })
}

/// `MQTT-`, a section of two or three numbers, `-`, a number.
fn is_id(text: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let parts = text
        .strip_prefix("MQTT-")
        .and_then(|rest| rest.split_once('-'));
    parts.is_some_and(|(section, number)| {
        let levels = section.split('.').count();
        (2..=3).contains(&levels) && section.split('.').all(is_number) && is_number(number)
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    const V5: (&str, &str) = (
        LISTS[0].1,
        "# id\trole\tsummary\nMQTT-4.7-1\tboth\tx\nMQTT-3.1.0-2\tboth\ty\n",
    );
    const V311: (&str, &str) = (LISTS[1].1, "MQTT-3.1.0-1\tboth\tx\n");

    fn check(path: &str, text: &str, expected: &[&str]) {
        testing::check(super::check, &[V5, V311, (path, text)], expected);
    }

    /// Spelled in pieces, for this file is looked at too.
    fn cite(mark: &str, id: &str) -> String {
        format!("{mark}[MQTT-{id}]")
    }

    #[test]
    fn known_statements_may_be_cited() {
        let text = format!(
            "// {} {}\n/// {}",
            cite("v5", "3.1.0-2"),
            cite("v5", "4.7-1"),
            cite("v311", "3.1.0-1")
        );
        check("a.rs", &text, &[]);
        check("a.sh", &cite("v5", "9.9.9-9"), &[]);
        check("a.md", "[MQTT-3.1.0-7] without a version is prose", &[]);
    }

    #[test]
    fn an_unknown_statement_is_told_with_its_place() {
        let text = format!(
            "one\n// {} and {}\n",
            cite("v5", "3.1.0-1"),
            cite("v311", "3.1.0-1")
        );
        let expected = format!(
            "a.md:2: statements: `{}` is in no list of statements",
            cite("v5", "3.1.0-1")
        );
        check("a.md", &text, &[&expected]);
    }

    #[test]
    fn an_id_has_a_form() {
        for id in [
            "3.1.0",
            "3.1.0-",
            "3-1",
            "3.1.0.1-1",
            "3.a-1",
            "3.1.0-1, 3.1.0-2",
        ] {
            let expected = format!(
                "a.rs:1: statements: `{}` is not the form of an id",
                cite("v5", id)
            );
            check("a.rs", &cite("v5", id), &[&expected]);
        }
    }

    #[test]
    fn the_lists_must_be_there() {
        let expected = format!(
            "{}:1: statements: the list of statements is not there",
            LISTS[1].1
        );
        testing::check(super::check, &[V5], &[&expected]);
    }
}
