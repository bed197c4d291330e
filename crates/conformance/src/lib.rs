//! The normative statements of MQTT, run against a live broker over a socket, by raw bytes.
//!
//! A [`Case`] is a small function that names the statements it proves. It talks to a [`Broker`], which the [`Lab`]
//! starts as a child process, through [`Raw`], a blocking connection that knows packets but no rules. The [`report`]
//! holds the list of all statements against the cases; [`mutants`] says which cases a deliberate bug must fail.
//!
//! This crate knows nothing of the broker's own crates: it writes and reads the protocol a second time, so that a
//! mistake in the broker's codec is not repeated here. A panic is how a case fails.

#![expect(clippy::panic, reason = "a panic is how a case fails")]

mod case;
pub mod cases;
mod lab;
pub mod mutants;
mod raw;
mod received;
pub mod report;
mod run;
mod spec;
pub mod wire;

pub use case::{Case, all};
pub use lab::{Broker, Lab};
pub use raw::{Raw, set_patience};
pub use received::{Delivered, OwnedProp};
pub use run::{Outcome, run_all, run_case};
pub use spec::{ConnectSpec, Prop, PublishSpec, WillSpec};
pub use wire::Wire;

pub(crate) use case::case;
