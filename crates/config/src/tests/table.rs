//! The table agrees with itself, with the defaults and with the reference page.

use super::{parse, reference_markdown};
use crate::keys::{self, Scope, Setter, Status};

#[test]
fn the_table_is_consistent() {
    let mut names: Vec<&str> = keys::names().collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "a name stands twice");
    for key in keys::all() {
        let fits = match &key.status {
            Status::Supported(Setter::Global(_) | Setter::Structure(_)) => {
                key.scope == Scope::Global
            }
            Status::Supported(Setter::Listener(_)) => {
                matches!(key.scope, Scope::Listener | Scope::BelowListener)
            }
            Status::Supported(Setter::Security(_)) => key.scope == Scope::GlobalOrListener,
            Status::Later { .. } | Status::Ignored(_) => !key.reloadable,
        };
        assert!(fits, "{}", key.name);
        assert!(key.doc.ends_with('.'), "{}", key.name);
    }
}

#[test]
fn the_defaults_of_the_table_are_those_of_the_configuration() {
    let plain = parse("listener 1883\n", "t", &[]).unwrap();
    let mut compared = 0;
    for key in keys::all() {
        let is_structure = matches!(key.status, Status::Supported(Setter::Structure(_)));
        if is_structure || key.default.is_empty() || key.default.contains(' ') {
            continue;
        }
        let text = format!("listener 1883\n{} {}\n", key.name, key.default);
        assert_eq!(parse(&text, "t", &[]).as_ref(), Ok(&plain), "{text}");
        compared += 1;
    }
    assert!(compared > 30, "only {compared} keys were compared");
}

#[test]
fn every_key_that_is_not_there_yet_is_refused_by_name_and_area() {
    for key in keys::all() {
        let Status::Later { area, .. } = &key.status else {
            continue;
        };
        let name = key.name.replace('*', "x");
        let errors = parse(&format!("{name} something\n"), "t", &[]).unwrap_err();
        let message = &errors.0[0].message;
        assert!(
            message.contains(&format!("'{name}'")) && message.contains(area),
            "{message}"
        );
    }
}

#[test]
fn the_reference_page_has_every_key() {
    let page = reference_markdown();
    for key in keys::all() {
        assert!(
            page.contains(&format!("\n| `{}`", key.name)),
            "{}",
            key.name
        );
    }
    for section in page.split("\n## ").skip(1) {
        let columns: Vec<usize> = section
            .lines()
            .filter(|line| line.starts_with('|'))
            .map(|line| line.replace("\\|", "").matches('|').count())
            .collect();
        assert!(
            columns.windows(2).all(|pair| pair[0] == pair[1]),
            "{section}"
        );
    }
}
