//! From lines to options: the grammar of mosquitto.conf, and which line counts for what.
//!
//! A line is `KEY VALUE`; blanks are spaces and TABs; `#` as the first character makes a comment.
//! `listener` opens a scope that ends at the next one or at the end of the file: scopes do not cross
//! files. An error does not stop the reading, so that all of them can be told at once.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;

use crate::draft::{Draft, ListenerDraft, ListenerOptions, Security};
use crate::error::{ConfigError, Place, Warning};
use crate::files::{self, Files};
use crate::keys::{self, Key, Scope, Setter, Status};
use crate::kind::{Kind, Written};
use crate::suggest;
use crate::values::{shown, split_word, trim};

/// Longest line in bytes, without its line end.
const LINE_BYTES_MAX: usize = 65_536;

/// After so many errors the rest is not read.
const ERRORS_MAX: usize = 100;

/// What stands in the place of a file name for `--set` and `DUNLIN_*`.
pub(crate) const OVERRIDES: &str = "command line or environment";

/// Reads files and overrides into a draft; `finish` makes the configuration of it.
pub(crate) struct Parser {
    pub(crate) files: Files,
    pub(crate) draft: Draft,
    pub(crate) listeners: Vec<ListenerDraft>,
    /// Index of the listener that `port`, `bind_address` and options before any `listener` make.
    pub(crate) default_listener: Option<usize>,
    /// A `listener`, `port` or `bind_address` was written.
    pub(crate) network_named: bool,
    pub(crate) per_listener_settings: bool,
    /// A security option was written.
    pub(crate) security_seen: bool,
    /// Options of listeners from overrides: they count for all listeners.
    pub(crate) for_all: ListenerOptions,
    pub(crate) errors: Vec<ConfigError>,
    pub(crate) warnings: Vec<Warning>,
    /// Where the keys that may be written once per scope were written.
    written_once: HashMap<(Target, &'static str), Place>,
}

/// One file, or the overrides, while it is being read.
pub(crate) struct Reading {
    /// The current line.
    pub(crate) place: Place,
    pub(crate) source: Source,
    /// The current listener.
    pub(crate) listener: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    MainFile,
    IncludedFile,
    Overrides,
}

/// What an option counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Target {
    Broker,
    Listener(usize),
    /// From an override: the broker and all listeners.
    Everything,
}

impl Reading {
    fn new(file: &str, source: Source) -> Reading {
        Reading {
            place: Place::of_file(file),
            source,
            listener: None,
        }
    }
}

impl Parser {
    pub(crate) fn new(files: Files) -> Parser {
        Parser {
            files,
            draft: Draft::default(),
            listeners: Vec::new(),
            default_listener: None,
            network_named: false,
            per_listener_settings: false,
            security_seen: false,
            for_all: ListenerOptions::default(),
            errors: Vec::new(),
            warnings: Vec::new(),
            written_once: HashMap::new(),
        }
    }

    pub(crate) fn main_file(&mut self, path: &Path) {
        self.file(path, Source::MainFile);
    }

    pub(crate) fn main_text(&mut self, origin: &str, text: &[u8]) {
        self.text(origin, text, Source::MainFile);
    }

    /// Keys and values from outside of the files; they replace what the files say.
    pub(crate) fn overrides(&mut self, pairs: &[(String, String)]) {
        self.draft.restart_lists();
        let mut reading = Reading::new(OVERRIDES, Source::Overrides);
        for (key, value) in pairs {
            if self.is_full() {
                break;
            }
            let key = trim(key);
            if value.contains(['\0', '\n', '\r']) {
                self.error(
                    &reading.place,
                    format!("the value of '{}' has a line end or NUL", shown(key)),
                );
                continue;
            }
            self.option(&mut reading, key, trim(value));
        }
    }

    pub(crate) fn file(&mut self, path: &Path, source: Source) {
        let name = path.display().to_string();
        match files::read(path) {
            Ok(bytes) => self.text(&name, &bytes, source),
            Err(why) => self.error(&Place::of_file(&name), why),
        }
    }

    fn text(&mut self, file: &str, bytes: &[u8], source: Source) {
        let mut reading = Reading::new(file, source);
        if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
            self.error(
                &reading.place,
                "the file is UTF-16; save it as UTF-8".to_owned(),
            );
            return;
        }
        let bytes = match bytes.strip_prefix(b"\xef\xbb\xbf") {
            Some(rest) => {
                let message =
                    "the file begins with a UTF-8 byte order mark; save it as UTF-8 without one";
                reading.place.line = 1;
                self.error(&reading.place, message.to_owned());
                rest
            }
            None => bytes,
        };
        for (line, number) in bytes.split(|byte| *byte == b'\n').zip(1_u32..) {
            reading.place.line = number;
            if self.is_full() || self.line(&mut reading, line).is_break() {
                break;
            }
        }
    }

    fn line(&mut self, reading: &mut Reading, line: &[u8]) -> ControlFlow<()> {
        let mut line = line;
        while let Some(shorter) = line.strip_suffix(b"\r") {
            line = shorter;
        }
        if line.len() > LINE_BYTES_MAX {
            let message = format!(
                "the line is {} bytes long, the limit is {LINE_BYTES_MAX}",
                line.len()
            );
            self.error(&reading.place, message);
            return ControlFlow::Continue(());
        }
        if line.contains(&0) {
            self.error(
                &reading.place,
                "the line has a NUL byte; is this UTF-16 or no text at all?".to_owned(),
            );
            return ControlFlow::Break(());
        }
        let first = line.iter().find(|byte| !matches!(**byte, b' ' | b'\t'));
        if first.is_none_or(|byte| *byte == b'#') {
            return ControlFlow::Continue(());
        }
        match std::str::from_utf8(line) {
            Ok(text) => {
                let (key, value) = split_word(text);
                self.option(reading, key, value.trim());
            }
            Err(_) => self.error(&reading.place, "the line is not valid UTF-8".to_owned()),
        }
        ControlFlow::Continue(())
    }

    fn option(&mut self, reading: &mut Reading, name: &str, value: &str) {
        let Some(key) = keys::find(name) else {
            self.error(&reading.place, suggest::unknown_key(name));
            return;
        };
        match &key.status {
            Status::Ignored(why) => {
                let message = format!("'{name}' is accepted but has no effect: {why}");
                self.warning(&reading.place, message);
            }
            Status::Later { area, harmless } => self.later(reading, name, value, area, harmless),
            Status::Supported(Setter::Structure(structure)) => {
                self.structure(reading, *structure, key, value)
            }
            Status::Supported(setter) => self.set(
                reading,
                key,
                setter,
                Written {
                    key: name,
                    text: value,
                    files: self.files,
                },
            ),
        }
    }

    /// A key that Mosquitto has and this release has not: refused, unless it asks for nothing.
    fn later(&mut self, reading: &Reading, name: &str, value: &str, area: &str, harmless: &[&str]) {
        let (word, _) = split_word(value);
        let name = shown(name);
        if harmless.contains(&word) || harmless.contains(&value) {
            let message = format!(
                "'{name}' has no effect: this release of Dunlin does not have it yet ({area})"
            );
            self.warning(&reading.place, message);
        } else {
            let message = format!(
                "'{name}' is a Mosquitto option that this release of Dunlin does not have yet ({area})"
            );
            self.error(&reading.place, message);
        }
    }

    fn set(
        &mut self,
        reading: &mut Reading,
        key: &'static Key,
        setter: &'static Setter,
        written: Written<'_>,
    ) {
        let target = match self.target(reading, key, setter, written.key) {
            Ok(target) => target,
            Err(message) => return self.error(&reading.place, message),
        };
        if target != Target::Everything && only_once(setter) {
            let before = self
                .written_once
                .entry((target, key.name))
                .or_insert_with(|| reading.place.clone());
            if *before != reading.place {
                let message = format!(
                    "'{}' is written twice; the first time at {before}",
                    written.key
                );
                return self.error(&reading.place, message);
            }
        }
        let outcome = match setter {
            Setter::Global(kind) => kind.apply(&mut self.draft, written),
            Setter::Listener(kind) => kind.apply(self.options(target), written),
            Setter::Security(kind) => self.set_security(kind, target, written),
            Setter::Structure(_) => Ok(None),
        };
        match outcome {
            Ok(Some(message)) => self.warning(&reading.place, message),
            Ok(None) => {}
            Err(message) => self.error(&reading.place, message),
        }
    }

    fn set_security(
        &mut self,
        kind: &Kind<Security>,
        target: Target,
        written: Written<'_>,
    ) -> Result<Option<String>, String> {
        self.security_seen = true;
        match target {
            Target::Broker => kind.apply(&mut self.draft.security, written),
            Target::Listener(_) => kind.apply(&mut self.options(target).security, written),
            Target::Everything => {
                kind.apply(&mut self.for_all.security, written)?;
                kind.apply(&mut self.draft.security, written)
            }
        }
    }

    /// What an option counts for here. Makes the default listener where that is what Mosquitto does.
    fn target(
        &mut self,
        reading: &mut Reading,
        key: &'static Key,
        setter: &Setter,
        name: &str,
    ) -> Result<Target, String> {
        if reading.source == Source::Overrides {
            return Ok(Target::Everything);
        }
        let of_listener = match setter {
            Setter::Global(_) | Setter::Structure(_) => false,
            Setter::Listener(_) => true,
            Setter::Security(_) => self.per_listener_settings,
        };
        match (of_listener, reading.listener) {
            (false, _) => Ok(Target::Broker),
            (true, Some(index)) => Ok(Target::Listener(index)),
            (true, None) if key.scope == Scope::Listener => {
                let index = self.default_listener(&reading.place, Some(key.name));
                reading.listener = Some(index);
                Ok(Target::Listener(index))
            }
            (true, None) => Err(needs_listener(setter, name)),
        }
    }

    fn options(&mut self, target: Target) -> &mut ListenerOptions {
        let listener = match target {
            Target::Listener(index) => self.listeners.get_mut(index),
            Target::Broker | Target::Everything => None,
        };
        match listener {
            Some(listener) => &mut listener.options,
            None => &mut self.for_all,
        }
    }

    pub(crate) fn error(&mut self, place: &Place, message: String) {
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(place.error(message));
        }
        if self.errors.len() == ERRORS_MAX {
            let message = format!("there are {ERRORS_MAX} errors or more; the rest was not read");
            self.errors.push(place.error(message));
        }
    }

    pub(crate) fn warning(&mut self, place: &Place, message: String) {
        self.warnings.push(place.warning(message));
    }

    fn is_full(&self) -> bool {
        self.errors.len() > ERRORS_MAX
    }
}

fn only_once(setter: &Setter) -> bool {
    match setter {
        Setter::Global(kind) => kind.only_once(),
        Setter::Listener(kind) => kind.only_once(),
        Setter::Security(kind) => kind.only_once(),
        Setter::Structure(_) => false,
    }
}

fn needs_listener(setter: &Setter, name: &str) -> String {
    match setter {
        Setter::Security(_) => format!(
            "'{name}' stands before any 'listener' of this file while per_listener_settings is true; \
             put it below the listener that it is for"
        ),
        _ => format!("'{name}' belongs to a listener; no 'listener' stands above it in this file"),
    }
}
