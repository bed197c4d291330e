//! The statements of the standards, case by case, against this `dunlin` as a process.
//!
//! The cases live in `dunlin-conformance`, which knows nothing of the broker but its port.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use dunlin_conformance::{Lab, all, run_case};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let lab = Arc::new(Lab::new(PathBuf::from(env!("CARGO_BIN_EXE_dunlin"))));
    let trials = all().into_iter().map(|case| {
        let lab = Arc::clone(&lab);
        Trial::test(case.name, move || {
            run_case(&case, &lab).map_err(Failed::from)
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    // The shared broker ends with its laboratory.
    drop(lab);
    conclusion.exit_code()
}
