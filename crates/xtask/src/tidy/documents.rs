//! Pages that are made from tables are up to date, and every crate says first what it is.

use super::Violation;
use super::tree::Tree;
use crate::docs;

const RULE: &str = "documents";

pub(super) fn check(tree: &Tree, found: &mut Vec<Violation>) {
    check_page(tree, docs::CONFIGURATION, &docs::configuration(), found);
    check_page(tree, docs::CONFORMANCE, &docs::report(), found);
    check_crates(tree, found);
}

fn check_page(tree: &Tree, page: &str, wanted: &str, found: &mut Vec<Violation>) {
    let mut report = |line: usize, sentence: &str| {
        let sentence = sentence.to_owned();
        found.push(Violation {
            file: page.to_owned(),
            line,
            rule: RULE,
            sentence,
        });
    };
    let Some(text) = tree.text(page) else {
        return report(1, "the page is not there: cargo xtask docs");
    };
    if text != wanted {
        let same = text
            .lines()
            .zip(wanted.lines())
            .take_while(|(is, should)| is == should)
            .count();
        report(
            same + 1,
            "the page is not what its table says: cargo xtask docs",
        );
    }
}

/// The root file of each crate begins with a comment on the crate.
fn check_crates(tree: &Tree, found: &mut Vec<Violation>) {
    for file in tree.files().filter(|file| is_crate_root(&file.path)) {
        if !file.text.starts_with("//!") {
            let sentence = "a crate begins with `//!`: what it is, and what it is not".to_owned();
            found.push(Violation {
                file: file.path.clone(),
                line: 1,
                rule: RULE,
                sentence,
            });
        }
    }
}

fn is_crate_root(path: &str) -> bool {
    let folder = path
        .strip_suffix("/src/lib.rs")
        .or_else(|| path.strip_suffix("/src/main.rs"));
    folder.is_some_and(|folder| folder == "fuzz" || folder.starts_with("crates/"))
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn a_page_is_what_its_table_says() {
        fn rule(tree: &Tree, found: &mut Vec<Violation>) {
            check_page(tree, "docs/a.md", "one\ntwo\n", found);
        }
        testing::check(rule, &[("docs/a.md", "one\ntwo\n")], &[]);
        let stale = "docs/a.md:2: documents: the page is not what its table says: cargo xtask docs";
        testing::check(rule, &[("docs/a.md", "one\n2\n")], &[stale]);
        testing::check(rule, &[("docs/a.md", "one\n")], &[stale]);
        let missing = "docs/a.md:1: documents: the page is not there: cargo xtask docs";
        testing::check(rule, &[("docs/b.md", "one\ntwo\n")], &[missing]);
    }

    #[test]
    fn a_crate_says_what_it_is() {
        let files = [
            ("crates/a/src/lib.rs", "//! A.\n"),
            ("crates/a/src/main.rs", "\n//! Late.\n"),
            ("crates/b/src/lib.rs", "mod a;\n"),
            ("crates/b/src/a.rs", "mod b;\n"),
        ];
        let sentence = "a crate begins with `//!`: what it is, and what it is not";
        let expected = [
            format!("crates/a/src/main.rs:1: documents: {sentence}"),
            format!("crates/b/src/lib.rs:1: documents: {sentence}"),
        ];
        testing::check(check_crates, &files, &[&expected[0], &expected[1]]);
    }
}
