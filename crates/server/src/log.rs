//! Log lines in Mosquitto's wording, to the places that the configuration names. Never a payload, never
//! a password.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use dunlin_config::{LogConfig, LogDest};
use dunlin_engine::{End, Event};
use dunlin_packet::ReasonCode;

/// What a line is about, as `log_type` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Error,
    Warning,
    Notice,
    Information,
    Subscribe,
    Unsubscribe,
}

/// The log of the process; clones write to the same places.
#[derive(Clone)]
pub(crate) struct Log {
    state: Arc<RwLock<State>>,
}

struct State {
    config: LogConfig,
    places: Vec<Place>,
}

enum Place {
    Stdout,
    Stderr,
    File(File),
    Syslog(UnixDatagram),
}

impl Log {
    /// Opens all places.
    ///
    /// # Errors
    /// When a file cannot be opened: names it.
    pub(crate) fn open(config: &LogConfig) -> io::Result<Self> {
        let places = open_places(config)?;
        Ok(Self {
            state: Arc::new(RwLock::new(State {
                config: config.clone(),
                places,
            })),
        })
    }

    /// Goes over to a new configuration and opens files anew (for log rotation). On an error the old
    /// places stay.
    pub(crate) fn reopen(&self, config: &LogConfig) -> io::Result<()> {
        let places = open_places(config)?;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        *state = State {
            config: config.clone(),
            places,
        };
        Ok(())
    }

    /// Whether connections are to be told of.
    pub(crate) fn connections(&self) -> bool {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.config.connection_messages && state.config.types.notice
    }

    /// Writes one line, if its kind is wanted.
    pub(crate) fn line(&self, kind: Kind, text: fmt::Arguments<'_>) {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if !state.wants(kind) {
            return;
        }
        let mut line = String::new();
        // Writing to a String does not fail.
        let _ = fmt::write(&mut line, text);
        // What a client has chosen (an id, a topic) may hold control characters: one event, one line.
        let line: String = line
            .chars()
            .map(|c| if c.is_control() { '?' } else { c })
            .collect();
        let stamped = format!("{}{line}\n", state.stamp());
        for place in &state.places {
            // A log that cannot be written must not stop the broker.
            let _ = match place {
                Place::Stdout => io::stdout().write_all(stamped.as_bytes()),
                Place::Stderr => io::stderr().write_all(stamped.as_bytes()),
                Place::File(file) => (&*file).write_all(stamped.as_bytes()),
                Place::Syslog(socket) => {
                    let priority = 24 + severity(kind);
                    socket
                        .send(
                            format!("<{priority}>dunlin[{}]: {line}", std::process::id())
                                .as_bytes(),
                        )
                        .map(|_| ())
                }
            };
        }
    }

    /// Writes what an engine tells.
    pub(crate) fn event(&self, event: &Event) {
        match event {
            Event::Connected {
                client_id,
                address,
                level,
                clean_start,
                keep_alive_s,
                user_name,
            } => {
                if self.connections() {
                    let clean = u8::from(*clean_start);
                    let user = user_name
                        .as_ref()
                        .map(|name| format!(", u'{name}'"))
                        .unwrap_or_default();
                    self.line(
                        Kind::Notice,
                        format_args!(
                            "New client connected from {address} as {client_id} (p{}, c{clean}, k{keep_alive_s}{user}).",
                            mosquitto_level(*level)
                        ),
                    );
                }
            }
            Event::Refused { address, why, .. } => {
                self.line(
                    Kind::Notice,
                    format_args!("Client {address} refused: {why}."),
                );
            }
            Event::Disconnected { client_id, end } => self.disconnected(client_id, end),
            Event::Subscribed {
                client_id,
                filter,
                qos,
            } => {
                self.line(Kind::Subscribe, format_args!("{client_id} {qos} {filter}"));
            }
            Event::Unsubscribed { client_id, filter } => {
                self.line(Kind::Unsubscribe, format_args!("{client_id} {filter}"));
            }
            Event::ReceiveMaximumExceeded {
                client_id,
                receive_maximum,
            } => {
                let text = format_args!(
                    "Client {client_id} has exceeded its receive maximum of {receive_maximum}."
                );
                self.line(Kind::Warning, text);
            }
            Event::Dropping { client_id, reason } => {
                let text = format_args!(
                    "Outgoing messages are being dropped for client {client_id}: {}.",
                    reason.text()
                );
                self.line(Kind::Notice, text);
            }
        }
    }

    fn disconnected(&self, client_id: &str, end: &End) {
        if !self.connections() {
            return;
        }
        match end {
            End::Orderly => self.line(
                Kind::Notice,
                format_args!("Client {client_id} disconnected."),
            ),
            End::ByClient(reason) => {
                self.line(
                    Kind::Notice,
                    format_args!("Client {client_id} disconnected: {}.", reason.text()),
                );
            }
            End::ConnectionLost => self.line(
                Kind::Notice,
                format_args!("Client {client_id} closed its connection."),
            ),
            End::ByServer(ReasonCode::SessionTakenOver, _) => {
                self.line(
                    Kind::Notice,
                    format_args!("Client {client_id} already connected, closing old connection."),
                );
            }
            End::ByServer(ReasonCode::KeepAliveTimeout, _) => {
                self.line(
                    Kind::Notice,
                    format_args!("Client {client_id} has exceeded timeout, disconnecting."),
                );
            }
            End::ByServer(reason, why) => {
                let text = format_args!(
                    "Client {client_id} disconnected by the broker: {} ({why}).",
                    reason.text()
                );
                self.line(Kind::Notice, text);
            }
        }
    }
}

impl State {
    fn wants(&self, kind: Kind) -> bool {
        let types = &self.config.types;
        match kind {
            Kind::Error => types.error,
            Kind::Warning => types.warning,
            Kind::Notice => types.notice,
            Kind::Information => types.information,
            Kind::Subscribe => types.subscribe,
            Kind::Unsubscribe => types.unsubscribe,
        }
    }

    fn stamp(&self) -> String {
        if !self.config.timestamp {
            return String::new();
        }
        match &self.config.timestamp_format {
            Some(format) => format!("{}: ", jiff::Zoned::now().strftime(format)),
            None => {
                let seconds = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .map_or(0, |since| since.as_secs());
                format!("{seconds}: ")
            }
        }
    }
}

fn open_places(config: &LogConfig) -> io::Result<Vec<Place>> {
    let mut places = Vec::new();
    for dest in &config.dests {
        match dest {
            LogDest::None => {}
            LogDest::Stdout => places.push(Place::Stdout),
            LogDest::Stderr => places.push(Place::Stderr),
            LogDest::Syslog => {
                let socket = UnixDatagram::unbound()?;
                let explain =
                    |error: io::Error| io::Error::new(error.kind(), format!("/dev/log: {error}"));
                socket.connect("/dev/log").map_err(explain)?;
                socket.set_nonblocking(true)?;
                places.push(Place::Syslog(socket));
            }
            LogDest::File(path) => {
                let explain = |error: io::Error| {
                    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
                };
                let file = OpenOptions::new()
                    .create(true)
                    .append(true)
                    .mode(0o600)
                    .open(path)
                    .map_err(explain)?;
                places.push(Place::File(file));
            }
        }
    }
    Ok(places)
}

/// The severities of RFC 3164.
fn severity(kind: Kind) -> u8 {
    match kind {
        Kind::Error => 3,
        Kind::Warning => 4,
        Kind::Notice => 5,
        Kind::Information | Kind::Subscribe | Kind::Unsubscribe => 6,
    }
}

/// Mosquitto's number for a protocol: 1 for 3.1, 2 for 3.1.1, 5 for 5.0.
fn mosquitto_level(level: u8) -> u8 {
    match level {
        3 => 1,
        4 => 2,
        other => other,
    }
}
