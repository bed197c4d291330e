//! The binary `dunlin`: the broker, and the tools that talk to one.
//!
//! This file finds out what is asked for; everything after that is one module per subcommand. It is
//! *not* about MQTT: the broker is `dunlin_server`, the tools drive `dunlin_protocol::client`.
//!
//! Reading order: `flags` (how arguments are read), `broker`, `options` (the tools' flags), `publish`,
//! `subscribe`, and below them `work` and `connection` (the loop), `lines`, `network` and `signals` (its
//! threads), `debug`, `output`.

mod flags;

mod broker;

mod options;
mod publish;
mod subscribe;

mod connection;
mod work;

mod lines;
mod network;
mod signals;

mod debug;
mod output;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use crate::options::Tool;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const HELP: &str = "\
dunlin is an MQTT broker with its command-line tools.

Usage: dunlin broker [-c FILE] [-p PORT] [-v]   run the broker
       dunlin pub -t TOPIC -m MESSAGE           publish messages
       dunlin sub -t TOPIC                      print messages
       dunlin COMMAND --help                    all flags of one of them

'dunlin -c FILE' is 'dunlin broker -c FILE'. Called by the name of mosquitto, mosquitto_pub or
mosquitto_sub, dunlin does their work.
";

fn main() -> ExitCode {
    if let Err(error) = activate_mutant() {
        output::complain(&error);
        return ExitCode::FAILURE;
    }
    let mut arguments = std::env::args_os();
    let called = arguments.next().unwrap_or_default();
    let arguments: Vec<OsString> = arguments.collect();
    match Path::new(&called)
        .file_name()
        .and_then(|name| name.to_str())
    {
        Some(name) if name.ends_with("mosquitto_pub") => {
            publish::main(&Tool::publish("mosquitto_pub"), &arguments)
        }
        Some(name) if name.ends_with("mosquitto_sub") => {
            subscribe::main(&Tool::subscribe("mosquitto_sub"), &arguments)
        }
        Some(name) if name.ends_with("mosquitto") => broker::main("mosquitto", &arguments),
        _ => subcommand(&arguments),
    }
}

fn subcommand(arguments: &[OsString]) -> ExitCode {
    let Some((first, rest)) = arguments.split_first() else {
        output::print(HELP);
        return ExitCode::FAILURE;
    };
    match first.to_str() {
        Some("broker") => broker::main("dunlin broker", rest),
        Some("pub") => publish::main(&Tool::publish("dunlin pub"), rest),
        Some("sub") => subscribe::main(&Tool::subscribe("dunlin sub"), rest),
        Some("--help" | "help") => {
            output::print(HELP);
            ExitCode::SUCCESS
        }
        Some("--version") => {
            output::print(&flags::version("dunlin"));
            ExitCode::SUCCESS
        }
        Some(flag) if flag.starts_with('-') => broker::main("dunlin", arguments),
        _ => {
            let name = first.to_string_lossy();
            output::complain(&format!(
                "Unknown command '{name}'.\n\nUse 'dunlin --help' to see usage."
            ));
            ExitCode::FAILURE
        }
    }
}

/// Switches on the bug that the environment names, to see which tests notice.
#[cfg(feature = "mutants")]
fn activate_mutant() -> Result<(), String> {
    match std::env::var("DUNLIN_MUTANT") {
        Ok(name) => {
            let activated = dunlin_packet::mutant::activate(&name);
            activated.map_err(|error| format!("DUNLIN_MUTANT is '{name}': {error}."))
        }
        Err(_) => Ok(()),
    }
}

/// There are no bugs to switch on in this build.
#[cfg(not(feature = "mutants"))]
fn activate_mutant() -> Result<(), String> {
    Ok(())
}
