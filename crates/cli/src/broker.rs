//! `dunlin broker`: from arguments, environment and configuration file to a running broker.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::ExitCode;

use dunlin_config::{ConfigErrors, Environment, Loaded};
use dunlin_server::RunOptions;

use crate::flags::{Action, Asked, Flag, Programs, add, help, parse, put, text, version};
use crate::output;

#[derive(Default)]
struct Options {
    config: Option<PathBuf>,
    ports: Vec<u16>,
    set: Vec<(String, String)>,
    verbose: bool,
    quiet: bool,
    daemon: bool,
    test_config: bool,
}

static FLAGS: &[Flag<Options>] = &[
    Flag {
        names: &["-c", "--config-file"],
        programs: Programs::ALL,
        action: Action::Value {
            meta: "FILE",
            noun: "config file",
            set: |options, value| put(&mut options.config, Some(PathBuf::from(value))),
        },
        help: "read this configuration file, of Mosquitto's form",
    },
    Flag {
        names: &["-p", "--port"],
        programs: Programs::ALL,
        action: Action::Value {
            meta: "PORT",
            noun: "port",
            set: add_port,
        },
        help: "listen on this port of the loopback addresses; may be repeated",
    },
    Flag {
        names: &["--set"],
        programs: Programs::ALL,
        action: Action::Value {
            meta: "KEY=VALUE",
            noun: "KEY=VALUE",
            set: add_setting,
        },
        help: "set a configuration key, after the file; may be repeated",
    },
    Flag {
        names: &["-v", "--verbose"],
        programs: Programs::ALL,
        action: Action::Switch(|options| put(&mut options.verbose, true)),
        help: "log everything, as 'log_type all' does",
    },
    Flag {
        names: &["-q", "--quiet"],
        programs: Programs::ALL,
        action: Action::Switch(|options| put(&mut options.quiet, true)),
        help: "log nothing, as 'log_type none' does",
    },
    Flag {
        names: &["--test-config"],
        programs: Programs::ALL,
        action: Action::Switch(|options| put(&mut options.test_config, true)),
        help: "check the configuration, say what is wrong with it, and end",
    },
    Flag {
        names: &["-d", "--daemon"],
        programs: Programs::ALL,
        action: Action::Switch(|options| put(&mut options.daemon, true)),
        help: "not supported: a service manager or the shell does it better",
    },
    Flag {
        names: &["-h", "--help"],
        programs: Programs::ALL,
        action: Action::Help,
        help: "print this",
    },
    Flag {
        names: &["--version"],
        programs: Programs::ALL,
        action: Action::Version,
        help: "print the version",
    },
];

/// Runs the broker; `program` is how it was called.
pub(crate) fn main(program: &str, arguments: &[OsString]) -> ExitCode {
    let mut options = Options::default();
    match parse(FLAGS, Programs::ALL, arguments, &mut options) {
        Ok(Asked::Work) => start(options),
        Ok(Asked::Help) => {
            let flags = help(FLAGS, Programs::ALL);
            output::print(&format!(
                "{program} runs the broker.\n\nUsage: {program} [FLAGS]\n\n{flags}{OUTSIDE}"
            ));
            ExitCode::SUCCESS
        }
        Ok(Asked::Version) => {
            output::print(&version(program));
            ExitCode::SUCCESS
        }
        Err(error) => {
            output::complain(&format!("{error}\n\nUse '{program} --help' to see usage."));
            ExitCode::FAILURE
        }
    }
}

/// The end of the help.
const OUTSIDE: &str = "
A variable DUNLIN_KEY of the environment sets a configuration key too: after the file, before --set.
";

fn start(options: Options) -> ExitCode {
    if options.daemon {
        output::complain(
            "dunlin does not put itself into the background: run it under a service manager, or end the \
             shell's command with '&'.",
        );
        return ExitCode::FAILURE;
    }
    let environment = environment();
    let mut overrides = environment.overrides;
    overrides.extend(options.set);
    if options.quiet {
        overrides.push(("log_type".to_owned(), "none".to_owned()));
    }
    let loaded = match &options.config {
        Some(path) => dunlin_config::load(path, &overrides),
        None => dunlin_config::defaults(&overrides),
    };
    let loaded = match loaded {
        Ok(mut loaded) => {
            drop(loaded.warnings.splice(0..0, environment.warnings));
            dunlin_config::with_ports(loaded, &options.ports)
        }
        Err(errors) => return refuse(&errors),
    };
    if options.test_config {
        return approve(&loaded);
    }
    let run = RunOptions {
        config_path: options.config,
        overrides,
        verbose: options.verbose,
        ports: options.ports,
    };
    dunlin_server::run(loaded, run)
}

fn environment() -> Environment {
    let pairs = std::env::vars_os().filter_map(|(name, value)| {
        let pair = (name.into_string().ok()?, value.into_string().ok()?);
        // Read by `main` in the builds that have mutants.
        (pair.0 != "DUNLIN_MUTANT" || !cfg!(feature = "mutants")).then_some(pair)
    });
    dunlin_config::environment(pairs)
}

fn refuse(errors: &ConfigErrors) -> ExitCode {
    for error in &errors.0 {
        output::complain(&error.to_string());
    }
    ExitCode::FAILURE
}

fn approve(loaded: &Loaded) -> ExitCode {
    for warning in &loaded.warnings {
        output::note(&format!("Warning: {warning}"));
    }
    output::print("Configuration file is OK.\n");
    ExitCode::SUCCESS
}

fn add_port(options: &mut Options, value: &OsStr) -> Result<(), String> {
    let port = text(value)?;
    let number = port
        .parse::<u16>()
        .map_err(|_| format!("Invalid port given: {port}"))?;
    add(&mut options.ports, number)
}

fn add_setting(options: &mut Options, value: &OsStr) -> Result<(), String> {
    let pair = dunlin_config::set_argument(text(value)?).map_err(|error| error.to_string())?;
    add(&mut options.set, pair)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Options, String> {
        let arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
        let mut options = Options::default();
        let asked = parse(FLAGS, Programs::ALL, &arguments, &mut options)?;
        assert_eq!(asked, Asked::Work);
        Ok(options)
    }

    #[test]
    fn the_flags_of_the_broker() {
        let options = read(&[
            "-c",
            "a.conf",
            "-p",
            "1884",
            "-p",
            "1885",
            "-v",
            "--set",
            "max_qos=1",
        ]);
        let options = options.unwrap();
        assert_eq!(options.config, Some(PathBuf::from("a.conf")));
        assert_eq!(options.ports, [1884, 1885]);
        assert_eq!(options.set, [("max_qos".to_owned(), "1".to_owned())]);
        assert!(options.verbose && !options.quiet && !options.test_config);
    }

    #[test]
    fn wrong_values_are_told() {
        let port = read(&["-p", "70000"]).err();
        assert_eq!(port.as_deref(), Some("Invalid port given: 70000"));
        assert!(
            read(&["--set", "max_qos"])
                .err()
                .is_some_and(|error| error.contains("KEY=VALUE"))
        );
        let config = read(&["-c"]).err();
        assert_eq!(
            config.as_deref(),
            Some("-c argument given but no config file specified.")
        );
    }
}
