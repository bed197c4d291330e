//! Runs a suite of checks that is written in another language with another project's client.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::BrokerProcess;

/// Runs one script of `tests/interop` against a new broker; each of its checks must pass.
pub(crate) fn run(interpreter: &Path, script: &str) {
    let broker = BrokerProcess::start("");
    let output = Command::new(interpreter)
        .arg(
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("tests/interop")
                .join(script),
        )
        .arg("--port")
        .arg(broker.port.to_string())
        .arg("--broker-aliases")
        .env("DUNLIN_TEST_NEEDS", needs())
        .output()
        .unwrap_or_else(|error| {
            panic!(
                "{} cannot be run ({error}): scripts/install-test-needs.sh installs it",
                interpreter.display()
            )
        });
    let report = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{script} ended with {}\n{report}{errors}",
        output.status
    );
    let summary = report.lines().last().unwrap_or_default();
    assert!(
        summary.ends_with(" passed, 0 failed") && !summary.starts_with("0 "),
        "{script} ended without a summary\n{report}{errors}"
    );
}

/// A file that `scripts/install-test-needs.sh` installs, by its path below the folder of needs.
pub(crate) fn needed(path: &str) -> PathBuf {
    let full = needs().join(path);
    assert!(
        full.exists(),
        "{} is missing: run scripts/install-test-needs.sh once, it installs what the tests need",
        full.display()
    );
    full
}

fn needs() -> PathBuf {
    env::var_os("DUNLIN_TEST_NEEDS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/test-needs"),
        PathBuf::from,
    )
}
