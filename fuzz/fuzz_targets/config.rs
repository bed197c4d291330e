//! The configuration parser on any text: it answers, with a configuration that can be used or with a
//! bounded number of errors, and the same text gets the same answer. The first byte says how many
//! lines at the end are overrides instead, `KEY=VALUE`.

#![no_main]

use dunlin_config::{ConfigErrors, Loaded, environment, parse, set_argument};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| check(data));

fn check(data: &[u8]) {
    let Some((count, bytes)) = data.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().collect();
    let (file, set) = lines.split_at(lines.len().saturating_sub(usize::from(*count % 8)));
    let overrides: Vec<(String, String)> = set
        .iter()
        .filter_map(|line| set_argument(line).ok())
        .collect();
    let file = file.join("\n");

    let first = parse(&file, "fuzz.conf", &overrides);
    check_answer(&first);
    assert_eq!(
        first,
        parse(&file, "fuzz.conf", &overrides),
        "the same text, another answer"
    );
    check_answer(&dunlin_config::defaults(&overrides));

    let names = overrides
        .into_iter()
        .map(|(key, value)| (format!("DUNLIN_{key}"), value));
    check_answer(&dunlin_config::defaults(&environment(names).overrides));
}

fn check_answer(answer: &Result<Loaded, ConfigErrors>) {
    match answer {
        Ok(loaded) => {
            let config = &loaded.config;
            assert!(!config.listeners.is_empty(), "nobody could connect");
            assert!(
                config
                    .listeners
                    .iter()
                    .all(|listener| listener.max_qos <= 2)
            );
            assert!(config.receive_maximum > 0 && config.max_inflight_messages > 0);
            assert!(config.workers != Some(0) && config.worker_queue_max > 0);
        }
        Err(errors) => {
            assert!(
                (1..=101).contains(&errors.0.len()),
                "{} errors",
                errors.0.len()
            );
            assert!(errors.0.iter().all(|error| !error.message.is_empty()));
            assert!(!errors.to_string().is_empty());
        }
    }
}
