//! The time of a turn of each trace of [`support`], and the messages per second that it means: the engine
//! alone, without sockets and without a server around it.

#![expect(
    clippy::unwrap_used,
    reason = "a trace that cannot be played ends with a panic"
)]

mod support;

use divan::Bencher;
use divan::counter::ItemsCount;
use support::{Play, ROWS};

fn main() {
    divan::main();
}

#[divan::bench(args = ROWS.iter().map(|row| row.name))]
fn turn(bencher: Bencher<'_, '_>, row: &str) {
    let mut play = Play::begin(row).unwrap();
    let messages = ItemsCount::new(play.messages_per_turn());
    bencher.counter(messages).bench_local(|| play.turn());
    play.delivered();
}
