//! Whatever is written, the parser answers.

use proptest::collection::vec;
use proptest::prelude::*;

use super::rendered;
use crate::files::Files;
use crate::keys;
use crate::parser::Parser;
use crate::values::trim;
use crate::{ConfigErrors, Loaded, environment, set_argument};

fn parsed(bytes: &[u8], overrides: &[(String, String)]) -> Result<Loaded, ConfigErrors> {
    let mut parser = Parser::new(Files::None);
    parser.main_text("t", bytes);
    parser.overrides(overrides);
    parser.finish()
}

/// Either a configuration that can be used, or a bounded number of errors.
fn is_an_answer(result: &Result<Loaded, ConfigErrors>) -> bool {
    match result {
        Ok(loaded) => !loaded.config.listeners.is_empty(),
        Err(errors) => (1..=101).contains(&errors.0.len()),
    }
}

/// Keys of the table and words that values are made of.
fn word() -> impl Strategy<Value = String> {
    let names: Vec<String> = keys::names().map(str::to_owned).collect();
    let values = [
        "true",
        "false",
        "0",
        "1",
        "-1",
        "0x10",
        "2",
        "65535",
        "99999999999999999999",
        "1M",
        "7d",
        "file",
        "#",
        "/a",
        "none",
        "all",
        "\t",
        "ü",
        "",
        "::1",
        "[::1]",
        "mqtt",
    ];
    prop_oneof![
        4 => proptest::sample::select(names),
        3 => proptest::sample::select(values.map(str::to_owned).to_vec()),
        1 => vec(any::<char>(), 0..6).prop_map(|letters| letters.into_iter().collect::<String>()),
    ]
}

/// Lines of one to three words, which sometimes make sense.
fn lines() -> impl Strategy<Value = String> {
    let line = vec(word(), 1..4).prop_map(|words| words.join(" "));
    vec(line, 0..30).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn any_bytes_get_an_answer(bytes in vec(any::<u8>(), 0..300)) {
        prop_assert!(is_an_answer(&parsed(&bytes, &[])));
    }

    #[test]
    fn any_text_gets_the_same_answer_twice(text in lines()) {
        let first = parsed(text.as_bytes(), &[]);
        prop_assert!(is_an_answer(&first));
        prop_assert_eq!(rendered(first), rendered(parsed(text.as_bytes(), &[])));
    }

    #[test]
    fn any_override_gets_an_answer(pairs in vec((word(), word()), 0..8), argument in word()) {
        prop_assert!(is_an_answer(&parsed(b"listener 1\n", &pairs)));
        let found = environment(pairs.into_iter().map(|(key, value)| (format!("DUNLIN_{key}"), value)));
        prop_assert!(is_an_answer(&parsed(b"", &found.overrides)));
        let has_key = argument.split_once('=').is_some_and(|(key, _)| !trim(key).is_empty());
        prop_assert_eq!(set_argument(&argument).is_ok(), has_key);
    }
}
