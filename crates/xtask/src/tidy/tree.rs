//! All text files of the repository, read once for all rules.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result};

use super::source::{Layers, test_modules, test_ranges};

/// Folders that hold what was built or found, and nothing that was written.
const SKIPPED: [&str; 5] = [".git", "target", "node_modules", "__pycache__", "artifacts"];

/// The files of the repository, sorted by path.
pub(super) struct Tree {
    files: Vec<File>,
    /// Paths of modules that are compiled for tests only, without `.rs`.
    test_modules: BTreeSet<String>,
}

/// One text file.
pub(super) struct File {
    /// From the root of the repository, with `/`.
    pub(super) path: String,
    pub(super) text: String,
    /// Of Rust files only.
    pub(super) rust: Option<Rust>,
}

/// A Rust file taken apart.
pub(super) struct Rust {
    pub(super) layers: Layers,
    /// The parts that are compiled for tests only.
    tests: Vec<Range<usize>>,
}

impl File {
    /// The line of an offset, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().iter().take(offset);
        1 + before.filter(|byte| **byte == b'\n').count()
    }
}

impl Tree {
    pub(super) fn read(root: &Path) -> Result<Tree> {
        let mut files = Vec::new();
        collect(root, root, &mut files)?;
        Ok(Tree::new(files))
    }

    /// A tree of these files: path and text.
    pub(super) fn new(files: Vec<(String, String)>) -> Tree {
        let mut files: Vec<File> = files
            .into_iter()
            .map(|(path, text)| file(path, text))
            .collect();
        files.sort_by(|one, other| one.path.cmp(&other.path));
        let mut tests = BTreeSet::new();
        for file in &files {
            if let Some(rust) = &file.rust {
                let folder = module_folder(&file.path);
                let names = test_modules(&rust.layers.code, &rust.tests);
                tests.extend(names.iter().map(|name| format!("{folder}/{name}")));
            }
        }
        Tree {
            files,
            test_modules: tests,
        }
    }

    pub(super) fn files(&self) -> impl Iterator<Item = &File> {
        self.files.iter()
    }

    /// The Rust files.
    pub(super) fn rust(&self) -> impl Iterator<Item = (&File, &Rust)> {
        self.files
            .iter()
            .filter_map(|file| Some((file, file.rust.as_ref()?)))
    }

    /// The text of a file, if it is there.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.files
            .iter()
            .find(|file| file.path == path)
            .map(|file| file.text.as_str())
    }

    /// Whether a place of a Rust file belongs to tests.
    pub(super) fn is_test(&self, file: &File, rust: &Rust, offset: usize) -> bool {
        let path = file.path.trim_end_matches(".rs");
        let in_folder = path.contains("/tests/") || path.contains("/benches/");
        let in_module = self.test_modules.iter().any(|module| {
            path.strip_prefix(module.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        in_folder || in_module || rust.tests.iter().any(|range| range.contains(&offset))
    }
}

fn file(path: String, text: String) -> File {
    let rust = path.ends_with(".rs").then(|| {
        let layers = Layers::of(&text);
        let tests = test_ranges(&layers.code);
        Rust { layers, tests }
    });
    File { path, text, rust }
}

/// Where the modules that a file declares have their files: `a/b` for `a/b.rs`, `a` for `a/lib.rs`.
fn module_folder(path: &str) -> &str {
    let stem = path.trim_end_matches(".rs");
    match stem.rsplit_once('/') {
        Some((folder, "lib" | "main" | "mod")) => folder,
        _ => stem,
    }
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, String)>) -> Result<()> {
    let unreadable = || format!("cannot read {}", folder.display());
    for entry in fs::read_dir(folder).with_context(unreadable)? {
        let entry = entry.with_context(unreadable)?;
        let (path, name) = (entry.path(), entry.file_name());
        let kind = entry.file_type().with_context(unreadable)?;
        if kind.is_dir() {
            if !SKIPPED.iter().any(|skipped| name == *skipped) {
                collect(root, &path, files)?;
            }
        } else if kind.is_file() {
            let bytes =
                fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            // What is no text has no lines to look at.
            if let Ok(text) = String::from_utf8(bytes) {
                let relative = path.strip_prefix(root).unwrap_or(&path);
                files.push((relative.to_string_lossy().into_owned(), text));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_test(files: &[(&str, &str)], path: &str, place: &str) -> bool {
        let owned = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        let tree = Tree::new(owned.collect());
        let (file, rust) = tree.rust().find(|(file, _)| file.path == path).unwrap();
        tree.is_test(file, rust, file.text.find(place).unwrap())
    }

    #[test]
    fn tests_are_known_by_their_folder_their_attribute_and_their_declaration() {
        let files = [
            ("crates/a/src/lib.rs", "mod b;\n#[cfg(test)]\nmod bench;\n"),
            ("crates/a/src/bench.rs", "fn in_bench() {}\n"),
            ("crates/a/src/bench/more.rs", "fn in_more() {}\n"),
            ("crates/a/src/bench_real.rs", "fn in_real() {}\n"),
            (
                "crates/a/src/b.rs",
                "fn code() {}\n#[cfg(test)]\nmod tests { fn test() {} }\nfn after() {}\n",
            ),
            ("crates/a/tests/c.rs", "fn outside() {}\n"),
        ];
        for (path, place, expected) in [
            ("crates/a/src/lib.rs", "mod b", false),
            ("crates/a/src/bench.rs", "in_bench", true),
            ("crates/a/src/bench/more.rs", "in_more", true),
            ("crates/a/src/bench_real.rs", "in_real", false),
            ("crates/a/src/b.rs", "code", false),
            ("crates/a/src/b.rs", "test()", true),
            ("crates/a/src/b.rs", "after", false),
            ("crates/a/tests/c.rs", "outside", true),
        ] {
            assert_eq!(is_test(&files, path, place), expected, "{place} in {path}");
        }
    }

    #[test]
    fn lines_count_from_one() {
        let tree = Tree::new(vec![("a.md".to_owned(), "one\ntwo\n".to_owned())]);
        let file = tree.files().next().unwrap();
        assert_eq!((file.line(0), file.line(3), file.line(4)), (1, 1, 2));
        assert_eq!(tree.text("a.md"), Some("one\ntwo\n"));
        assert_eq!(tree.text("b.md"), None);
    }
}
