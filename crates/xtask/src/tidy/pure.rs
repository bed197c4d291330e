//! The pure crates name no clock, socket, file, thread, lock or randomness: the world is handed in.
//!
//! Looked at are the code outside of tests, word by word, and every path into the standard library,
//! with groups in braces taken apart.

use super::Violation;
use super::source::words;
use super::tree::Tree;

const RULE: &str = "pure";

const CRATES: [&str; 4] = ["packet", "protocol", "route", "engine"];

/// Words, and what they stand for. A `!` belongs to a macro's name.
const WORDS: &[(&str, &str)] = &[
    ("Instant", "a clock"),
    ("SystemTime", "a clock"),
    ("rand", "randomness"),
    ("getrandom", "randomness"),
    ("RandomState", "randomness"),
    ("tokio", "a runtime"),
    ("mio", "a runtime"),
    ("thread_local!", "a thread"),
    ("print!", "standard output"),
    ("println!", "standard output"),
    ("eprint!", "standard error"),
    ("eprintln!", "standard error"),
    ("Mutex", "a lock"),
    ("RwLock", "a lock"),
    ("Condvar", "a lock"),
    ("atomic", "an atomic"),
];

/// Modules of the standard library, and what they stand for.
const PATHS: &[(&str, &str)] = &[
    ("std::env", "the environment"),
    ("std::fs", "a file"),
    ("std::io", "input and output"),
    ("std::net", "a socket"),
    ("std::os", "the operating system"),
    ("std::process", "a process"),
    ("std::thread", "a thread"),
    ("std::time", "a clock"),
];

/// Where a name is allowed after all: the beginning of the path, the name, the reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "crates/route/src/",
        "RwLock",
        "one index is shared by all workers",
    ),
    (
        "crates/route/src/",
        "Mutex",
        "one index is shared by all workers",
    ),
    (
        "crates/route/src/",
        "atomic",
        "generations are read without the lock",
    ),
    (
        "crates/packet/src/mutant.rs",
        "atomic",
        "the switch of deliberate bugs is one for the process",
    ),
    (
        "crates/engine/src/",
        "std::io::IoSlice",
        "a slice to be written, without any writing",
    ),
];

pub(super) fn check(tree: &Tree, found: &mut Vec<Violation>) {
    for (file, rust) in tree.rust() {
        if !is_pure(&file.path) {
            continue;
        }
        let code = &rust.layers.code;
        let mut names = banned_words(code);
        names.extend(banned_paths(code));
        names.sort_unstable();
        for (at, name, what) in names {
            let excepted = EXCEPTIONS
                .iter()
                .any(|(path, allowed, _)| file.path.starts_with(*path) && *allowed == name);
            if excepted || tree.is_test(file, rust, at) {
                continue;
            }
            let sentence = format!("`{name}` is {what}, which a pure crate gets from its caller");
            found.push(Violation {
                file: file.path.clone(),
                line: file.line(at),
                rule: RULE,
                sentence,
            });
        }
    }
}

fn is_pure(path: &str) -> bool {
    let rest = path
        .strip_prefix("crates/")
        .and_then(|rest| rest.split_once("/src/"));
    rest.is_some_and(|(folder, _)| CRATES.contains(&folder))
}

fn banned_words(code: &str) -> Vec<(usize, String, &'static str)> {
    let mut found = Vec::new();
    for (at, word) in words(code) {
        let is_macro = code[at + word.len()..].starts_with('!');
        let name = match word.strip_prefix("Atomic") {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_uppercase()) => "atomic".to_owned(),
            _ if is_macro => format!("{word}!"),
            _ => word.to_owned(),
        };
        let ban = WORDS.iter().find(|(banned, _)| *banned == name);
        found.extend(ban.map(|(_, what)| (at, name, *what)));
    }
    found
}

fn banned_paths(code: &str) -> Vec<(usize, String, &'static str)> {
    let mut found = Vec::new();
    for (at, word) in words(code) {
        if !matches!(word, "std" | "core" | "alloc") {
            continue;
        }
        let mut paths = Vec::new();
        walk(code, at + word.len(), "std".to_owned(), &mut paths);
        for path in paths {
            let ban = PATHS.iter().find(|(banned, _)| {
                path.strip_prefix(*banned)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
            });
            found.extend(ban.map(|(_, what)| (at, path, *what)));
        }
    }
    found
}

/// Follows a path from behind its last name; each of its ends is noted. Returns where it ended.
fn walk(code: &str, at: usize, path: String, found: &mut Vec<String>) -> usize {
    let Some(next) = skip(code, at).filter(|next| code[*next..].starts_with("::")) else {
        found.push(path);
        return at;
    };
    let mut at = skip(code, next + 2).unwrap_or(code.len());
    if !code[at..].starts_with('{') {
        return match name_at(code, at) {
            "" => {
                found.push(path);
                at
            }
            name => walk(code, at + name.len(), format!("{path}::{name}"), found),
        };
    }
    at += 1;
    loop {
        at += code[at..]
            .find(|c: char| !c.is_whitespace() && c != ',')
            .unwrap_or(code.len() - at);
        match name_at(code, at) {
            // The closing brace, or what is no list of names.
            "" => return at + code[at..].chars().next().map_or(0, char::len_utf8),
            "self" => {
                found.push(path.clone());
                at += "self".len();
            }
            name => at = walk(code, at + name.len(), format!("{path}::{name}"), found),
        }
    }
}

/// The first offset from `at` on that is no blank.
fn skip(code: &str, at: usize) -> Option<usize> {
    code.get(at..)?
        .find(|c: char| !c.is_whitespace())
        .map(|blanks| at + blanks)
}

/// The name or `*` that stands here; empty if none does.
fn name_at(code: &str, at: usize) -> &str {
    let rest = &code[at..];
    if rest.starts_with('*') {
        return &rest[..1];
    }
    let end = rest
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(rest.len());
    &rest[..end]
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    const FILE: &str = "crates/protocol/src/x.rs";

    fn check(path: &str, source: &str, expected: &[(usize, &str, &str)]) {
        let sentence = |(line, name, what): &(usize, &str, &str)| {
            format!(
                "{path}:{line}: pure: `{name}` is {what}, which a pure crate gets from its caller"
            )
        };
        let expected: Vec<String> = expected.iter().map(sentence).collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        testing::check(super::check, &[(path, source)], &expected);
    }

    #[test]
    fn the_world_is_not_named() {
        for (source, name, what) in [
            ("let now = Instant::now();", "Instant", "a clock"),
            ("fn f(t: SystemTime) {}", "SystemTime", "a clock"),
            (
                "let d = std::time::Duration::ZERO;",
                "std::time::Duration::ZERO",
                "a clock",
            ),
            (
                "use core::time::Duration;",
                "std::time::Duration",
                "a clock",
            ),
            (
                "use std::net::TcpStream;",
                "std::net::TcpStream",
                "a socket",
            ),
            ("use std::fs;", "std::fs", "a file"),
            ("use std::io::{self};", "std::io", "input and output"),
            ("use std::io::*;", "std::io::*", "input and output"),
            ("use std :: thread;", "std::thread", "a thread"),
            ("std::process::exit(1)", "std::process::exit", "a process"),
            ("std::env::var(name)", "std::env::var", "the environment"),
            ("use tokio::sync;", "tokio", "a runtime"),
            ("use rand::Rng;", "rand", "randomness"),
            ("getrandom::fill(x)", "getrandom", "randomness"),
            ("RandomState::new()", "RandomState", "randomness"),
            ("thread_local! { }", "thread_local!", "a thread"),
            ("println!(x)", "println!", "standard output"),
            ("eprintln!(x)", "eprintln!", "standard error"),
            ("a: Mutex<u8>", "Mutex", "a lock"),
            ("a: AtomicU64", "atomic", "an atomic"),
            ("use std::sync::atomic::Ordering;", "atomic", "an atomic"),
        ] {
            check(FILE, source, &[(1, name, what)]);
        }
    }

    #[test]
    fn groups_are_taken_apart() {
        let source =
            "use std::{\n    collections::{BTreeMap, VecDeque},\n    fmt, fs::{self, File},\n};\n";
        let expected = [(1, "std::fs", "a file"), (1, "std::fs::File", "a file")];
        check(FILE, source, &expected);
    }

    #[test]
    fn what_only_looks_like_it_passes() {
        let source = "//! std::fs and Instant\nuse std::fmt;\nuse std::collections::{BTreeMap, btree_map};\n\
                      fn random(operand: u8, sprintln: u8) -> &'static str { \"std::net\" }\n\
                      let x = std::mem::size_of::<u8>();\nlet print = 1;\n";
        check(FILE, source, &[]);
        check("crates/server/src/x.rs", "use std::fs;", &[]);
        check("crates/protocol/tests/x.rs", "use std::fs;", &[]);
        check(
            FILE,
            "fn f() {}\n#[cfg(test)]\nmod tests { use std::fs; }\n",
            &[],
        );
    }

    #[test]
    fn exceptions_have_a_place() {
        check("crates/route/src/x.rs", "a: RwLock<u8>, b: AtomicU64", &[]);
        check("crates/engine/src/x.rs", "use std::io::IoSlice;", &[]);
        let other = [(1, "std::io::IoSlice", "input and output")];
        check("crates/packet/src/x.rs", "use std::io::IoSlice;", &other);
        check(
            "crates/engine/src/x.rs",
            "b: AtomicU64",
            &[(1, "atomic", "an atomic")],
        );
        for (path, name, reason) in EXCEPTIONS {
            let known = WORDS.iter().any(|(word, _)| word == name) || name.starts_with("std::");
            assert!(
                known && is_pure(&format!("{path}x")) && !reason.is_empty(),
                "{path} {name}"
            );
        }
    }
}
