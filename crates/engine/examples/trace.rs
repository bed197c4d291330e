//! Plays a trace of `benches/support` for `cargo xtask instructions`, which counts its instructions.
//!
//! Without arguments it prints the names of the rows. `trace ROW MESSAGES` plays whole turns until at
//! least so many messages are delivered, and prints how many were.

#![expect(
    clippy::unwrap_used,
    reason = "a trace that cannot be played ends with a panic"
)]

#[path = "../benches/support/mod.rs"]
mod support;

use std::process::ExitCode;

use support::{Play, ROWS};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.as_slice() {
        [] => {
            ROWS.iter().for_each(|row| println!("{}", row.name));
            ExitCode::SUCCESS
        }
        [row, messages] => match (Play::begin(row), messages.parse::<u64>()) {
            (Some(play), Ok(messages)) => {
                println!("{}", delivered(play, messages));
                ExitCode::SUCCESS
            }
            (None, _) => failure(&format!("there is no row '{row}'")),
            (_, Err(_)) => failure(&format!("'{messages}' is no number of messages")),
        },
        _ => failure("usage: trace [ROW MESSAGES]"),
    }
}

/// Plays until at least `messages` are delivered; returns how many were.
fn delivered(mut play: Play, messages: u64) -> u64 {
    for _ in 0..messages.div_ceil(play.messages_per_turn()) {
        play.turn();
    }
    play.delivered()
}

fn failure(message: &str) -> ExitCode {
    eprintln!("trace: {message}");
    ExitCode::FAILURE
}
