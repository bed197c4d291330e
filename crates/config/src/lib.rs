//! The configuration of Dunlin: mosquitto.conf and the options that Dunlin adds to it.
//!
//! One table (`keys`) declares every key; the parser, the errors, `did you mean` and the
//! reference page derive from it. This crate reads files and makes a [`Config`]; it opens no socket,
//! writes no file, and does not look at the environment itself: what stands there is handed in.
//!
//! The contract: an answer is either a complete, checked [`Config`] or every error of the file, each
//! with its place. A key that is known to Mosquitto but not yet to Dunlin is an error, never a silent
//! difference in what the broker promises.

mod model;

mod error;
mod keys;
mod kind;
mod values;

mod draft;
mod files;
mod listeners;
mod parser;
mod resolve;

mod docs;
mod env;
mod suggest;

#[cfg(test)]
mod tests;

use std::path::Path;

pub use docs::reference_markdown;
pub use env::{Environment, environment, set_argument};
pub use error::{ConfigError, ConfigErrors, Warning};
pub use keys::is_reloadable;
pub use model::{
    Ack, Config, ListenAddress, Listener, Loaded, LogConfig, LogDest, LogTypes, QueueFull,
    SharedStrategy,
};
pub use resolve::with_ports;

use files::Files;
use parser::Parser;

/// Reads the file at `path` and those of its `include_dir`, then applies `overrides` (key, value).
///
/// # Errors
/// Every error of the files and of the overrides, at most 100.
pub fn load(path: &Path, overrides: &[(String, String)]) -> Result<Loaded, ConfigErrors> {
    let mut parser = Parser::new(Files::Disk);
    parser.main_file(path);
    parser.overrides(overrides);
    parser.finish()
}

/// Parses `text` as the main file would be; `origin` stands for its name in messages. Reads no file,
/// so `include_dir` is an error.
///
/// # Errors
/// Every error of the text and of the overrides, at most 100.
pub fn parse(
    text: &str,
    origin: &str,
    overrides: &[(String, String)],
) -> Result<Loaded, ConfigErrors> {
    let mut parser = Parser::new(Files::None);
    parser.main_text(origin, text.as_bytes());
    parser.overrides(overrides);
    parser.finish()
}

/// The configuration without a file: local-only mode, unless an override names a listener.
///
/// # Errors
/// Every error of the overrides, at most 100.
pub fn defaults(overrides: &[(String, String)]) -> Result<Loaded, ConfigErrors> {
    let mut parser = Parser::new(Files::None);
    parser.overrides(overrides);
    parser.finish()
}
