//! Words that do not stay in the source: unfinished work, silenced tests and lints, sleeping tests,
//! and paths out of the repository.

use super::Violation;
use super::source::words;
use super::tree::{File, Rust, Tree};

const RULE: &str = "words";

/// Macros of unfinished code.
const MACROS: [&str; 3] = ["todo", "unimplemented", "dbg"];

/// What stands for somebody's folders beside the repository; in pieces, for this file is looked at.
const OUTSIDE: [&str; 2] = [concat!("..", "/shared"), concat!("/work", "/shared")];

/// Files in which every line counts as a comment does in Rust.
const SCRIPTS: [&str; 5] = [".sh", ".py", ".mjs", ".toml", ".yml"];

/// Notes must say so much that a stranger knows what is meant.
const NOTE_WORDS_MIN: usize = 4;

pub(super) fn check(tree: &Tree, found: &mut Vec<Violation>) {
    for file in tree.files() {
        let mut report = |at: usize, sentence: String| {
            let line = file.line(at);
            found.push(Violation {
                file: file.path.clone(),
                line,
                rule: RULE,
                sentence,
            });
        };
        outside_paths(&file.text, &mut report);
        if let Some(rust) = &file.rust {
            macros(&rust.layers.code, &mut report);
            attributes(&rust.layers.code, &mut report);
            sleeping_tests(tree, file, rust, &mut report);
            notes(&rust.layers.comments, &mut report);
        } else if SCRIPTS.iter().any(|ending| file.path.ends_with(ending)) {
            notes(&file.text, &mut report);
        }
    }
}

type Report<'r> = &'r mut dyn FnMut(usize, String);

fn outside_paths(text: &str, report: Report<'_>) {
    for path in OUTSIDE {
        for (at, _) in text.match_indices(path) {
            let next = text[at + path.len()..].chars().next();
            if !next.is_some_and(|c| c.is_alphanumeric() || ['_', '-', '.'].contains(&c)) {
                report(at, format!("`{path}` is not in this repository"));
            }
        }
    }
}

fn macros(code: &str, report: Report<'_>) {
    for (at, word) in words(code) {
        if MACROS.contains(&word) && code[at + word.len()..].starts_with('!') {
            report(at, format!("`{word}!` does not stay in the source"));
        }
    }
}

fn attributes(code: &str, report: Report<'_>) {
    for (at, _) in code.match_indices('#') {
        let rest = code[at + 1..].trim_start_matches('!');
        let Some(inner) = rest.strip_prefix('[').map(attribute) else {
            continue;
        };
        let mut names = words(inner).map(|(_, word)| word);
        match names.next() {
            Some("ignore") => report(at, "no test is ignored".to_owned()),
            Some(name @ ("allow" | "expect")) if !names.any(|word| word == "reason") => {
                report(
                    at,
                    format!("`{name}` of a lint says its reason; `expect` is the better one"),
                );
            }
            _ => {}
        }
    }
}

/// What stands in the brackets of an attribute, from behind the opening one.
fn attribute(rest: &str) -> &str {
    let mut depth = 1_usize;
    for (at, byte) in rest.bytes().enumerate() {
        match byte {
            b'[' => depth += 1,
            b']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &rest[..at];
        }
    }
    rest
}

fn sleeping_tests(tree: &Tree, file: &File, rust: &Rust, report: Report<'_>) {
    // The cases of the suite and the fuzz targets are tests wherever they stand.
    let all = file.path.starts_with("crates/conformance/") || file.path.starts_with("fuzz/");
    for (at, _) in rust.layers.code.match_indices("thread::sleep") {
        if all || tree.is_test(file, rust, at) {
            report(
                at,
                "a test waits for an event within a bound, it does not sleep".to_owned(),
            );
        }
    }
}

fn notes(comments: &str, report: Report<'_>) {
    for (at, word) in words(comments) {
        match word {
            "FIXME" | "XXX" => report(at, format!("`{word}` does not stay in the source")),
            "TODO" => {
                let line = comments[at + word.len()..]
                    .lines()
                    .next()
                    .unwrap_or_default();
                let reason = line.strip_prefix(':').unwrap_or_default();
                if words(reason).count() < NOTE_WORDS_MIN {
                    report(
                        at,
                        "a note of open work is `TODO: ` and why it is open".to_owned(),
                    );
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn check(path: &str, source: &str, expected: &[&str]) {
        let expected: Vec<String> = expected
            .iter()
            .map(|said| format!("{path}:1: words: {said}"))
            .collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        testing::check(super::check, &[(path, source)], &expected);
    }

    #[test]
    fn unfinished_code_is_told() {
        check(
            "a.rs",
            "fn f() { todo!() }",
            &["`todo!` does not stay in the source"],
        );
        check(
            "a.rs",
            "unimplemented!(\"x\")",
            &["`unimplemented!` does not stay in the source"],
        );
        check("a.rs", "dbg!(x)", &["`dbg!` does not stay in the source"]);
        check("a.rs", "let todo = \"todo!\"; // todo!", &[]);
    }

    #[test]
    fn notes_say_why() {
        let sentence = "a note of open work is `TODO: ` and why it is open";
        check("a.rs", "// TODO", &[sentence]);
        check("a.rs", "/// TODO: later", &[sentence]);
        check("a.sh", "# TODO fix this when there is time", &[sentence]);
        check(
            "a.rs",
            "// TODO: waits for the store of the next issue",
            &[],
        );
        check(
            "a.rs",
            "// FIXME: waits for the store of the next issue",
            &["`FIXME` does not stay in the source"],
        );
        check("a.rs", "/* XXX */", &["`XXX` does not stay in the source"]);
        check("a.rs", "let a = \"XXX\"; let TODO = 1;", &[]);
        check("a.md", "TODO", &[]);
    }

    #[test]
    fn silenced_lints_and_tests_are_told() {
        for name in ["allow", "expect"] {
            let sentence =
                format!("`{name}` of a lint says its reason; `expect` is the better one");
            check(
                "a.rs",
                &format!("#[{name}(dead_code)] fn f(reason: u8) {{}}"),
                &[&sentence],
            );
            check("a.rs", &format!("#![{name}(dead_code)]"), &[&sentence]);
            check(
                "a.rs",
                &format!("#![{name}(dead_code, reason = \"x\")]"),
                &[],
            );
        }
        check(
            "a.rs",
            "#[expect(clippy::a, reason = \"a [b] c\")] fn f() {}",
            &[],
        );
        check("a.rs", "#[ignore] fn f() {}", &["no test is ignored"]);
        check(
            "a.rs",
            "#[ignore = \"slow\"] fn f() {}",
            &["no test is ignored"],
        );
        check("a.rs", "#[derive(Debug)] struct A; // #[ignore]", &[]);
    }

    #[test]
    fn tests_do_not_sleep() {
        let sentence = "a test waits for an event within a bound, it does not sleep";
        check("crates/a/tests/b.rs", "std::thread::sleep(x)", &[sentence]);
        check(
            "crates/a/src/b.rs",
            "#[cfg(test)] mod tests { fn f() { thread::sleep(x) } }",
            &[sentence],
        );
        check(
            "crates/conformance/src/b.rs",
            "thread::sleep(x)",
            &[sentence],
        );
        check("crates/a/src/b.rs", "thread::sleep(x)", &[]);
    }

    #[test]
    fn paths_out_of_the_repository_are_told() {
        for path in OUTSIDE {
            let sentence = format!("`{path}` is not in this repository");
            check("a.md", &format!("see {path}/tools"), &[&sentence]);
            check("a.rs", &format!("\"{path}\""), &[&sentence]);
            check("a.rs", &format!("mod \"{path}.rs\""), &[]);
        }
    }
}
