//! Configurations of several files.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::{Loaded, load, rendered};
use crate::ConfigErrors;

/// Writes the files of `(name, bytes)` into a directory, where `DIR` stands for its path, and loads the first.
fn loaded(files: &[(&str, &[u8])]) -> (TempDir, Result<Loaded, ConfigErrors>) {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let bytes = match std::str::from_utf8(bytes) {
            Ok(text) => text
                .replace("DIR", &dir.path().display().to_string())
                .into_bytes(),
            Err(_) => bytes.to_vec(),
        };
        fs::write(path, bytes).unwrap();
    }
    let result = load(&dir.path().join(files[0].0), &[]);
    (dir, result)
}

#[track_caller]
fn check_files(files: &[(&str, &[u8])], expected: &[&str]) {
    let (dir, result) = loaded(files);
    let dir = dir.path().display().to_string();
    let lines: Vec<String> = rendered(result)
        .iter()
        .map(|line| line.replace(&dir, "DIR"))
        .collect();
    assert_eq!(lines, expected);
}

#[test]
fn included_files_are_read_in_order_without_regard_to_case() {
    check_files(
        &[
            (
                "main.conf",
                b"max_packet_size 50\ninclude_dir DIR/conf.d\nmax_queued_messages 7\n",
            ),
            (
                "conf.d/a.conf",
                b"max_packet_size 100\nmax_queued_messages 5\n",
            ),
            ("conf.d/B.conf", b"max_packet_size 200\n"),
            ("conf.d/c.txt", b"cheese\n"),
            ("conf.d/.conf", b"cheese\n"),
        ],
        &["max_queued_messages=7", "max_packet_size=200"],
    );
}

#[test]
fn scopes_do_not_cross_files() {
    check_files(
        &[
            (
                "main.conf",
                b"listener 1\ninclude_dir DIR/conf.d\nmax_topic_alias 3\n",
            ),
            ("conf.d/a.conf", b"listener 2\nmax_qos 1\n"),
        ],
        &["listener *:1 aliases=3/10", "listener *:2 qos=1"],
    );
    check_files(
        &[
            ("main.conf", b"listener 1\ninclude_dir DIR/conf.d\n"),
            ("conf.d/a.conf", b"\nmax_topic_alias 3\n"),
        ],
        &[
            "error DIR/conf.d/a.conf:2: 'max_topic_alias' belongs to a listener; no 'listener' stands above it in this \
           file",
        ],
    );
}

#[test]
fn included_files_include_nothing() {
    check_files(
        &[
            ("main.conf", b"include_dir DIR/conf.d\n"),
            ("conf.d/a.conf", b"include_dir DIR/conf.d\n"),
            ("conf.d/b.conf", b"cheese\n"),
        ],
        &[
            "error DIR/conf.d/a.conf:1: 'include_dir' is only valid in the main configuration file",
            "error DIR/conf.d/b.conf:1: unknown key 'cheese'",
        ],
    );
}

#[test]
fn a_comment_behind_a_directory_is_cut_off_when_that_is_what_exists() {
    check_files(
        &[
            ("main.conf", b"include_dir DIR/conf.d # more\n"),
            ("conf.d/a.conf", b"max_packet_size 100\n"),
        ],
        &[
            "max_packet_size=100",
            "warning DIR/main.conf:1: 'include_dir' is 'DIR/conf.d'; what follows is taken for a comment",
        ],
    );
}

#[test]
fn what_cannot_be_read_is_told() {
    let missing = load(Path::new("/nonexistent/d.conf"), &[]).unwrap_err();
    let message = missing.to_string();
    assert!(
        message.starts_with("/nonexistent/d.conf: cannot open the configuration file: "),
        "{message}"
    );
    let (dir, _) = loaded(&[("main.conf", b"")]);
    let is_directory = load(dir.path(), &[]).unwrap_err();
    assert_eq!(
        is_directory.0[0].message,
        "this is a directory, not a configuration file"
    );
    let (_dir, result) = loaded(&[("main.conf", b"include_dir DIR/none\n")]);
    assert!(
        result.unwrap_err().0[0]
            .message
            .starts_with("cannot read the directory '")
    );
}

#[test]
fn other_encodings_are_refused_but_not_in_comments() {
    check_files(
        &[("m", b"\xff\xfem\0a\0")],
        &["error DIR/m: the file is UTF-16; save it as UTF-8"],
    );
    check_files(
        &[("m", b"#\0 \0\n\0")],
        &["error DIR/m:1: the line has a NUL byte; is this UTF-16 or no text at all?"],
    );
    check_files(
        &[("m", b"auto_id_prefix f\xfcr\n")],
        &["error DIR/m:1: the line is not valid UTF-8"],
    );
    check_files(
        &[("m", b"# f\xfcr\nmax_packet_size 100\n")],
        &["max_packet_size=100"],
    );
}
