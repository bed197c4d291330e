//! The broker as a process, seen from outside: what it does at signals, when something runs out, with
//! clients that do not read or do nothing, how it starts and refuses to start, and what it logs.
//!
//! Linux only, for much of it is read in `/proc`.

#![cfg(target_os = "linux")]

// `cfg(test)` lets clippy see that the helpers are test code.
#[cfg(test)]
#[path = "process/broker.rs"]
mod broker;
#[cfg(test)]
#[path = "process/client.rs"]
mod client;
#[cfg(test)]
#[path = "process/kernel.rs"]
mod kernel;

#[cfg(test)]
#[path = "process/limits.rs"]
mod limits;
#[cfg(test)]
#[path = "process/listeners.rs"]
mod listeners;
#[cfg(test)]
#[path = "process/logs.rs"]
mod logs;
#[cfg(test)]
#[path = "process/moves.rs"]
mod moves;
#[cfg(test)]
#[path = "process/reload.rs"]
mod reload;
#[cfg(test)]
#[path = "process/signals.rs"]
mod signals;
#[cfg(test)]
#[path = "process/startup.rs"]
mod startup;
