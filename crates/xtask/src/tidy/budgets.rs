//! How long files and functions may be. The style asks for less; past these bounds there are two
//! subjects in one place.

use std::ops::Range;

use super::Violation;
use super::source::{block_end, words};
use super::tree::Tree;

const RULE: &str = "budgets";

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 120;

/// Functions that may be longer: path, name, reason.
const LONG_FUNCTIONS: &[(&str, &str, &str)] = &[];

pub(super) fn check(tree: &Tree, found: &mut Vec<Violation>) {
    check_with(tree, LONG_FUNCTIONS, found);
}

fn check_with(tree: &Tree, exceptions: &[(&str, &str, &str)], found: &mut Vec<Violation>) {
    let mut report = |file: &str, line: usize, sentence: String| {
        found.push(Violation {
            file: file.to_owned(),
            line,
            rule: RULE,
            sentence,
        });
    };
    let mut unused: Vec<_> = exceptions.iter().collect();
    for (file, rust) in tree.rust() {
        let lines = file.text.lines().count();
        if lines > FILE_LINES_MAX {
            report(
                &file.path,
                1,
                format!("the file has {lines} lines, {FILE_LINES_MAX} are allowed"),
            );
        }
        for (name, range) in functions(&rust.layers.code) {
            let (first, last) = (file.line(range.start), file.line(range.end));
            let lines = last + 1 - first;
            if lines <= FUNCTION_LINES_MAX {
                continue;
            }
            let before = unused.len();
            unused.retain(|(path, function, _)| *path != file.path || *function != name);
            if unused.len() == before {
                let sentence =
                    format!("`{name}` has {lines} lines, {FUNCTION_LINES_MAX} are allowed");
                report(&file.path, first, sentence);
            }
        }
    }
    for (path, function, _) in unused {
        report(
            path,
            1,
            format!("`{function}` needs no exception for its length any more"),
        );
    }
}

/// The functions with a body: name, and place from `fn` to the closing brace.
fn functions(code: &str) -> Vec<(&str, Range<usize>)> {
    let mut found = Vec::new();
    let mut keyword = None;
    for (at, word) in words(code) {
        let start: Option<usize> = keyword.take();
        // Between `fn` and a name are only blanks; a type `fn(u8)` has no name.
        if let Some(start) = start.filter(|start| code[start + 2..at].trim().is_empty())
            && let Some(open) = body(code, at)
        {
            found.push((word, start..block_end(code, open)));
        }
        keyword = (word == "fn").then_some(at);
    }
    found
}

/// The brace that opens a function's body, searched from its name on.
fn body(code: &str, from: usize) -> Option<usize> {
    let mut depth = 0_i32;
    for (at, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' if depth == 0 => return Some(at),
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn function(name: &str, lines: usize) -> String {
        let body = "    // }\n    call(\"{\");\n".repeat(lines / 2 - 1);
        format!("fn {name}(a: [u8; 2]) -> u8\nwhere\n    A: B,\n{{\n{body}}}\n")
    }

    #[test]
    fn functions_are_found_with_their_bodies() {
        let code = "trait T { fn a(); fn b() -> [u8; 2] { x } }\nconst F: fn(u8) = c;\nfn c<A>() { fn d() {} }";
        let names: Vec<_> = functions(code)
            .into_iter()
            .map(|(name, range)| (name, code[range].to_owned()))
            .collect();
        let expected = [
            ("b", "fn b() -> [u8; 2] { x }"),
            ("c", "fn c<A>() { fn d() {} }"),
            ("d", "fn d() {}"),
        ];
        assert_eq!(names, expected.map(|(name, text)| (name, text.to_owned())));
    }

    #[test]
    fn long_functions_are_told() {
        // Five lines around the body.
        let source = format!("{}\n{}", function("fits", 116), function("does_not", 120));
        let expected = "a.rs:121: budgets: `does_not` has 123 lines, 120 are allowed";
        testing::check(super::check, &[("a.rs", &source)], &[expected]);
    }

    #[test]
    fn exceptions_are_for_functions_that_need_them() {
        fn with_exceptions(tree: &Tree, found: &mut Vec<Violation>) {
            let exceptions = [("a.rs", "long", "a table"), ("a.rs", "short", "a table")];
            check_with(tree, &exceptions, found);
        }
        let source = function("long", 200);
        let expected = "a.rs:1: budgets: `short` needs no exception for its length any more";
        testing::check(with_exceptions, &[("a.rs", &source)], &[expected]);
    }

    #[test]
    fn long_files_are_told() {
        let (fits, does_not) = ("\n".repeat(800), "\n".repeat(801));
        let expected = "b.rs:1: budgets: the file has 801 lines, 800 are allowed";
        testing::check(
            super::check,
            &[("a.rs", &fits), ("b.rs", &does_not), ("c.md", &does_not)],
            &[expected],
        );
    }
}
