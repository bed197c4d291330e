//! Tables of flags, and the walk over the arguments that follows from them.
//!
//! As in Mosquitto's tools: a flag matches as a whole, its value is the next argument, and a flag
//! that stands again replaces what it said before. Parser and help are made from the same table.

use std::ffi::{OsStr, OsString};
use std::fmt::Write;

/// One flag; `O` is what it changes.
pub(crate) struct Flag<O> {
    /// Its spellings.
    pub(crate) names: &'static [&'static str],
    /// The programs that have it.
    pub(crate) programs: Programs,
    pub(crate) action: Action<O>,
    /// A sentence for the help; empty for what is not shown.
    pub(crate) help: &'static str,
}

/// What a flag does.
pub(crate) enum Action<O> {
    Switch(fn(&mut O) -> Result<(), String>),
    Value {
        /// The value in the help.
        meta: &'static str,
        /// The value in the complaint that it is missing.
        noun: &'static str,
        set: fn(&mut O, &OsStr) -> Result<(), String>,
    },
    Help,
    Version,
    /// Mosquitto has it, this release has not.
    Later,
}

/// A set of programs that share a table, one bit each.
#[derive(Clone, Copy)]
pub(crate) struct Programs(pub(crate) u8);

impl Programs {
    /// Every program that reads the table.
    pub(crate) const ALL: Programs = Programs(u8::MAX);

    fn has(self, program: Programs) -> bool {
        self.0 & program.0 != 0
    }
}

/// What the arguments ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Work,
    Help,
    Version,
}

/// Reads all arguments into `options`.
///
/// # Errors
/// A sentence about the first argument that is wrong.
pub(crate) fn parse<O>(
    table: &[Flag<O>],
    program: Programs,
    arguments: &[OsString],
    options: &mut O,
) -> Result<Asked, String> {
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let shown = argument.to_string_lossy();
        let is_named = |flag: &&Flag<O>| {
            let named = flag
                .names
                .iter()
                .any(|name| argument.as_os_str() == OsStr::new(name));
            named && flag.programs.has(program)
        };
        let Some(flag) = table.iter().find(is_named) else {
            return Err(format!("Unknown option '{shown}'."));
        };
        match &flag.action {
            Action::Switch(set) => set(options)?,
            Action::Value { noun, set, .. } => {
                let missing = || format!("{shown} argument given but no {noun} specified.");
                set(options, rest.next().ok_or_else(missing)?)?;
            }
            Action::Help => return Ok(Asked::Help),
            Action::Version => return Ok(Asked::Version),
            Action::Later => {
                return Err(format!(
                    "Mosquitto's option '{shown}' is not in this release of dunlin."
                ));
            }
        }
    }
    Ok(Asked::Work)
}

/// One line per flag, and at the end the names of those that are still to come.
pub(crate) fn help<O>(table: &[Flag<O>], program: Programs) -> String {
    let mut text = String::new();
    let mut later = Vec::new();
    for flag in table.iter().filter(|flag| flag.programs.has(program)) {
        let mut names = flag.names.join(", ");
        match flag.action {
            Action::Later => {
                later.push(names);
                continue;
            }
            Action::Value { meta, .. } => {
                names.push(' ');
                names.push_str(meta);
            }
            Action::Switch(_) | Action::Help | Action::Version => {}
        }
        // A string can always be written to.
        let _ = writeln!(text, "  {names:<34} {}", flag.help);
    }
    if !later.is_empty() {
        let _ = write!(
            text,
            "\nFlags of Mosquitto that are not in this release:\n  {}\n",
            later.join("; ")
        );
    }
    text
}

/// The line that `--version` prints.
pub(crate) fn version(program: &str) -> String {
    format!("{program} version {}\n", env!("CARGO_PKG_VERSION"))
}

/// Sets a value and finds nothing wrong with it.
pub(crate) fn put<T>(place: &mut T, value: T) -> Result<(), String> {
    *place = value;
    Ok(())
}

/// Appends a value and finds nothing wrong with it.
pub(crate) fn add<T>(list: &mut Vec<T>, value: T) -> Result<(), String> {
    list.push(value);
    Ok(())
}

/// A value that has to be text.
///
/// # Errors
/// When it is not UTF-8.
pub(crate) fn text(value: &OsStr) -> Result<&str, String> {
    value
        .to_str()
        .ok_or_else(|| format!("'{}' is not UTF-8.", value.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Seen {
        count: u32,
        word: String,
    }

    const ONE: Programs = Programs(1);
    const TWO: Programs = Programs(2);

    static TABLE: &[Flag<Seen>] = &[
        Flag {
            names: &["-n", "--count"],
            programs: Programs::ALL,
            action: Action::Switch(|seen| {
                seen.count += 1;
                Ok(())
            }),
            help: "counts",
        },
        Flag {
            names: &["-w"],
            programs: ONE,
            action: Action::Value {
                meta: "WORD",
                noun: "word",
                set: |seen, value| put(&mut seen.word, text(value)?.to_owned()),
            },
            help: "remembers a word",
        },
        Flag {
            names: &["--help"],
            programs: Programs::ALL,
            action: Action::Help,
            help: "this",
        },
        Flag {
            names: &["-F"],
            programs: ONE,
            action: Action::Later,
            help: "",
        },
    ];

    fn check(program: Programs, words: &[&str], expected: Result<(Asked, u32, &str), &str>) {
        let arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
        let mut seen = Seen::default();
        let asked = parse(TABLE, program, &arguments, &mut seen);
        let result = asked
            .as_ref()
            .map(|asked| (*asked, seen.count, seen.word.as_str()));
        assert_eq!(result.map_err(String::as_str), expected, "{words:?}");
    }

    #[test]
    fn arguments_are_walked_as_mosquitto_does() {
        check(ONE, &[], Ok((Asked::Work, 0, "")));
        check(
            ONE,
            &["-n", "--count", "-w", "-n"],
            Ok((Asked::Work, 2, "-n")),
        );
        check(ONE, &["-w", "a", "-w", "b"], Ok((Asked::Work, 0, "b")));
        check(ONE, &["-n", "--help", "-x"], Ok((Asked::Help, 1, "")));
        check(ONE, &["-nn"], Err("Unknown option '-nn'."));
        check(
            ONE,
            &["-w"],
            Err("-w argument given but no word specified."),
        );
        check(TWO, &["-w", "a"], Err("Unknown option '-w'."));
        check(
            ONE,
            &["-F"],
            Err("Mosquitto's option '-F' is not in this release of dunlin."),
        );
    }

    #[test]
    fn the_help_tells_each_program_its_flags() {
        let one = help(TABLE, ONE);
        assert!(
            one.contains("-n, --count") && one.contains("-w WORD"),
            "{one}"
        );
        assert!(one.ends_with("not in this release:\n  -F\n"), "{one}");
        assert!(!help(TABLE, TWO).contains("-w"));
    }
}
