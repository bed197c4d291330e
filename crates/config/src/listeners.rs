//! The keys that change what the following lines mean: `listener`, `port`, `bind_address`,
//! `per_listener_settings`, `include_dir`.

use std::path::PathBuf;

use crate::draft::{ListenerDraft, ListenerOptions};
use crate::error::Place;
use crate::files::{self, Files};
use crate::keys::{Key, Structure};
use crate::kind::{Written, ignored_rest};
use crate::model::ListenAddress;
use crate::parser::{Parser, Reading, Source};
use crate::values::{parse_bool, parse_int, shown, split_word};

/// Port of the default listener.
const DEFAULT_PORT: u16 = 1883;

impl Parser {
    pub(crate) fn structure(
        &mut self,
        reading: &mut Reading,
        structure: Structure,
        key: &'static Key,
        value: &str,
    ) {
        let outcome = match structure {
            Structure::Listener => self.listener(reading, value),
            Structure::Port => self.port(reading, value),
            Structure::BindAddress => self.bind_address(reading, value),
            Structure::PerListenerSettings => self.per_listener_settings(reading, value),
            Structure::IncludeDir => self.include_dir(reading, value),
        };
        match outcome {
            Ok(rest) => {
                if let Some(message) = ignored_rest(key.name, &rest) {
                    self.warning(&reading.place, message);
                }
            }
            Err(message) => self.error(&reading.place, message),
        }
    }

    /// `listener PORT [ADDRESS]` or `listener 0 PATH`. Returns the rest of the line.
    fn listener(&mut self, reading: &mut Reading, value: &str) -> Result<String, String> {
        self.network_named = true;
        let parsed = listen_address(value);
        // A wrong line opens the scope as well: what follows it would only cause more errors.
        let (address, outcome) = match parsed {
            Ok((address, rest)) => (Some(address), Ok(rest)),
            Err(message) => (None, Err(message)),
        };
        reading.listener = Some(self.listeners.len());
        self.listeners.push(ListenerDraft {
            place: reading.place.clone(),
            address,
            implied_by: None,
            options: ListenerOptions::default(),
        });
        outcome
    }

    fn port(&mut self, reading: &mut Reading, value: &str) -> Result<String, String> {
        let (word, rest) = split_word(value);
        let index = self.named_default_listener(reading);
        let port = parse_int(word)
            .and_then(|port| u16::try_from(port).ok())
            .filter(|port| *port > 0);
        let Some(new_port) = port else {
            return Err(format!(
                "'port' is '{}'; expected a number from 1 to 65535",
                shown(word)
            ));
        };
        if let Some(ListenAddress::Tcp { port, .. }) = self.address_mut(index) {
            *port = new_port;
        }
        Ok(rest.to_owned())
    }

    fn bind_address(&mut self, reading: &mut Reading, value: &str) -> Result<String, String> {
        let (word, rest) = split_word(value);
        let index = self.named_default_listener(reading);
        let new_host = host(word)?;
        let may_replace = reading.source == Source::Overrides;
        match self.address_mut(index) {
            Some(ListenAddress::Tcp { host: Some(_), .. }) if !may_replace => {
                Err("'bind_address' is written twice".to_owned())
            }
            Some(ListenAddress::Tcp { host, .. }) => {
                *host = Some(new_host);
                Ok(rest.to_owned())
            }
            Some(ListenAddress::Unix(_)) | None => Ok(rest.to_owned()),
        }
    }

    fn per_listener_settings(
        &mut self,
        reading: &mut Reading,
        value: &str,
    ) -> Result<String, String> {
        if reading.source == Source::Overrides {
            return Err(
                "'per_listener_settings' can only stand in a file: it changes how the file is read"
                    .to_owned(),
            );
        }
        let (word, rest) = split_word(value);
        let Some(on) = parse_bool(word) else {
            return Err(format!(
                "'per_listener_settings' is '{}'; expected true or false",
                shown(word)
            ));
        };
        if on && !self.per_listener_settings && self.security_seen {
            return Err("'per_listener_settings' must stand before any security option".to_owned());
        }
        // Once on, it stays on, as in Mosquitto.
        self.per_listener_settings |= on;
        Ok(rest.to_owned())
    }

    fn include_dir(&mut self, reading: &mut Reading, value: &str) -> Result<String, String> {
        if reading.source != Source::MainFile {
            return Err("'include_dir' is only valid in the main configuration file".to_owned());
        }
        if value.is_empty() {
            return Err("'include_dir' has no value; expected the path of a directory".to_owned());
        }
        if self.files == Files::None {
            return Err(
                "'include_dir' cannot be followed: this text is read without files".to_owned(),
            );
        }
        let (dir, warning): (PathBuf, _) = Written {
            key: "include_dir",
            text: value,
            files: self.files,
        }
        .path();
        if let Some(message) = warning {
            self.warning(&reading.place, message);
        }
        for file in files::conf_files(&dir)? {
            self.file(&file, Source::IncludedFile);
        }
        Ok(String::new())
    }

    /// The listener that was not written as `listener`. `implied_by` is the option that needs it,
    /// where none of `port` and `bind_address` did.
    pub(crate) fn default_listener(
        &mut self,
        place: &Place,
        implied_by: Option<&'static str>,
    ) -> usize {
        if let Some(index) = self.default_listener {
            return index;
        }
        let index = self.listeners.len();
        self.default_listener = Some(index);
        self.listeners.push(ListenerDraft {
            place: place.clone(),
            address: Some(ListenAddress::Tcp {
                host: None,
                port: DEFAULT_PORT,
            }),
            implied_by,
            options: ListenerOptions::default(),
        });
        index
    }

    /// The default listener, as `port` and `bind_address` ask for it.
    fn named_default_listener(&mut self, reading: &mut Reading) -> usize {
        self.network_named = true;
        let index = self.default_listener(&reading.place, None);
        if let Some(listener) = self.listeners.get_mut(index)
            && listener.implied_by.take().is_some()
        {
            listener.place = reading.place.clone();
        }
        reading.listener = Some(index);
        index
    }

    fn address_mut(&mut self, index: usize) -> Option<&mut ListenAddress> {
        self.listeners
            .get_mut(index)
            .and_then(|listener| listener.address.as_mut())
    }
}

/// The value of `listener`, and the rest of the line behind it.
fn listen_address(value: &str) -> Result<(ListenAddress, String), String> {
    let (port_word, after_port) = split_word(value);
    let (address, after_address) = if after_port.starts_with('#') {
        ("", "")
    } else {
        split_word(after_port)
    };
    let Some(port) = parse_int(port_word).and_then(|port| u16::try_from(port).ok()) else {
        let found = shown(port_word);
        return Err(format!(
            "'listener' has the port '{found}'; expected a number from 0 to 65535"
        ));
    };
    let address = match (port, address) {
        (0, path) if path.contains('/') => ListenAddress::Unix(PathBuf::from(path)),
        (0, _) => {
            return Err(
                "'listener 0' needs the path of a unix socket, such as /run/mqtt.sock".to_owned(),
            );
        }
        (_, "") => ListenAddress::Tcp { host: None, port },
        (_, path) if path.starts_with('/') => {
            let path = shown(path);
            return Err(format!("a unix socket has the port 0: 'listener 0 {path}'"));
        }
        (_, name) => ListenAddress::Tcp {
            host: Some(host(name)?),
            port,
        },
    };
    Ok((address, after_address.to_owned()))
}

/// A host name or address; an IPv6 address may stand in brackets.
fn host(word: &str) -> Result<String, String> {
    let bare = word
        .strip_prefix('[')
        .and_then(|word| word.strip_suffix(']'))
        .unwrap_or(word);
    let host_like = !bare.is_empty()
        && bare
            .chars()
            .all(|c| c.is_alphanumeric() || ".:-_%".contains(c));
    if host_like {
        Ok(bare.to_owned())
    } else {
        Err(format!("'{}' is no host name and no address", shown(word)))
    }
}
