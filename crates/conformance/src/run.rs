//! Running cases: one, or all of them on several threads.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::case::Case;
use crate::lab::Lab;

thread_local! {
    /// Whether this thread runs a case, whose panic is a result and not for stderr.
    static RUNS_CASE: Cell<bool> = const { Cell::new(false) };
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What became of one case.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The case.
    pub case: Case,
    /// The message of its panic, if it failed.
    pub result: Result<(), String>,
    /// How long it ran.
    pub took: Duration,
}

/// Runs one case.
///
/// # Errors
/// The place and message of its panic, and the stderr of the brokers it started itself.
pub fn run_case(case: &Case, lab: &Lab) -> Result<(), String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(keep_panics);
    RUNS_CASE.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(|| (case.run)(lab)));
    RUNS_CASE.set(false);
    let seen = PANIC.take();
    let words = lab.last_words();
    result.map_err(|_| {
        let message = seen.unwrap_or_else(|| "panicked without a message".to_owned());
        format!("{message}\nproves {}{words}", case.statements.join(", "))
    })
}

/// Runs cases on this many threads; the outcomes come sorted by name.
pub fn run_all(lab: &Lab, cases: &[Case], threads: usize) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let started = Instant::now();
                    let result = run_case(case, lab);
                    let outcome = Outcome {
                        case: *case,
                        result,
                        took: started.elapsed(),
                    };
                    outcomes
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(outcome);
                }
            });
        }
    });
    let mut outcomes = outcomes
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    outcomes.sort_by_key(|outcome| outcome.case.name);
    outcomes
}

/// From now on the panic of a case is kept for its outcome; every other one goes the way it went before.
fn keep_panics() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if RUNS_CASE.get() {
            PANIC.set(Some(info.to_string()));
        } else {
            before(info);
        }
    }));
}
