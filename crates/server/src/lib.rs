//! The broker as a process.
//!
//! What this crate is: everything around the engines that touches the world. Listeners accept
//! connections, workers drive one engine each, mail goes between them, signals reload and stop. What it is
//! *not*: it decides nothing about MQTT; bytes go to the engine, bytes come back.
//!
//! Reading order: [`run`] (the process), `worker` (one thread: an engine, its connections, its turn),
//! `connection` (the task of one Network Connection), `admission` (from the first byte to an authenticated
//! CONNECT), `mail` (what workers and the process say to each other), `log`.

mod admission;
mod authenticate;
mod connection;
mod listen;
mod log;
mod mail;
mod process;
mod read_buffers;
mod settings;
mod worker;

pub use process::{RunOptions, run};
