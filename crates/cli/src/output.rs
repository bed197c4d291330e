//! What the tools write: messages and debug lines to standard output, complaints to standard error.
//!
//! Nothing here fails the caller: a reader that has gone away is remembered, and a tool that prints
//! messages then ends.

use std::io::{self, Write};

use dunlin_packet::{ProtocolVersion, ReasonCode};
use dunlin_protocol::client::Message;

/// Prints to standard output at once.
pub(crate) fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    // Nobody is left to be told that nobody reads.
    let _ = stdout.write_all(text.as_bytes());
    let _ = stdout.flush();
}

/// Prints `Error: ...` to standard error.
pub(crate) fn complain(text: &str) {
    note(&format!("Error: {text}"));
}

/// Prints a line to standard error.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// How messages are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Format {
    /// `-v`: the Topic Name before the payload.
    pub(crate) verbose: bool,
    /// `-N`: no line end behind it.
    pub(crate) no_newline: bool,
}

impl Format {
    /// Appends one message as Mosquitto's tools show it.
    fn put(self, message: &Message, out: &mut Vec<u8>) {
        let newline: &[u8] = if self.no_newline { b"" } else { b"\n" };
        if message.payload.is_empty() {
            if self.verbose && !self.no_newline {
                out.extend_from_slice(message.topic.as_bytes());
                out.extend_from_slice(b" (null)\n");
            }
            return;
        }
        if self.verbose {
            out.extend_from_slice(message.topic.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(&message.payload);
        out.extend_from_slice(newline);
    }
}

/// Standard output, gathered until `flush`, and standard error, unless it is to be quiet.
pub(crate) struct Output {
    buffer: Vec<u8>,
    is_broken: bool,
    is_quiet: bool,
}

impl Output {
    pub(crate) fn new(is_quiet: bool) -> Self {
        Self {
            buffer: Vec::new(),
            is_broken: false,
            is_quiet,
        }
    }

    /// A line of `-d`.
    pub(crate) fn line(&mut self, text: &str) {
        self.buffer.extend_from_slice(text.as_bytes());
        self.buffer.push(b'\n');
    }

    pub(crate) fn message(&mut self, message: &Message, format: Format) {
        format.put(message, &mut self.buffer);
    }

    /// A line to standard error, behind what was printed so far.
    pub(crate) fn note(&mut self, text: &str) {
        self.flush();
        if !self.is_quiet {
            note(text);
        }
    }

    /// Writes what has gathered.
    pub(crate) fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(&self.buffer).and_then(|()| stdout.flush());
        self.is_broken |= written.is_err();
        self.buffer.clear();
    }

    /// What has gathered.
    #[cfg(test)]
    pub(crate) fn gathered(&self) -> &str {
        std::str::from_utf8(&self.buffer).unwrap_or_default()
    }

    /// Whether nobody reads standard output any more.
    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken
    }
}

/// What a refused CONNECT is told as, and the exit status that goes with it.
pub(crate) fn refusal(reason: ReasonCode, version: ProtocolVersion) -> (String, u8) {
    if version.is_v5() {
        return (reason_text(reason), reason.code());
    }
    let code = reason.connack_v3();
    let why = match code {
        1 => "unacceptable protocol version",
        2 => "identifier rejected",
        3 => "broker unavailable",
        4 => "bad user name or password",
        5 => "not authorised",
        _ => "unknown reason",
    };
    (format!("Connection Refused: {why}."), code)
}

/// A Reason Code in the spelling of Mosquitto's tools.
pub(crate) fn reason_text(reason: ReasonCode) -> String {
    let text = match reason {
        ReasonCode::MalformedPacket => "Malformed Packet",
        ReasonCode::ProtocolError => "Protocol Error",
        ReasonCode::UnsupportedProtocolVersion => {
            "Unsupported Protocol Version. Try connecting to an MQTT v5 broker, or use MQTT v3.x mode."
        }
        ReasonCode::ClientIdentifierNotValid => "Client Identifier not valid",
        ReasonCode::BadUserNameOrPassword => "Bad User Name or Password",
        ReasonCode::KeepAliveTimeout => "Keep Alive timeout",
        ReasonCode::TopicFilterInvalid => "Topic Filter invalid",
        ReasonCode::TopicNameInvalid => "Topic Name invalid",
        ReasonCode::PacketIdentifierInUse => "Packet Identifier in use",
        ReasonCode::PacketIdentifierNotFound => "Packet Identifier not found",
        ReasonCode::ReceiveMaximumExceeded => "Receive Maximum exceeded",
        ReasonCode::TopicAliasInvalid => "Topic Alias invalid",
        ReasonCode::QoSNotSupported => "QoS not supported",
        other => return capitalised(other.text()),
    };
    text.to_owned()
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use dunlin_packet::{PropertiesBuf, QoS};

    use super::*;

    fn check(payload: &str, format: Format, expected: &str) {
        let message = Message {
            topic: "t".to_owned(),
            payload: payload.as_bytes().to_vec(),
            qos: QoS::AtMostOnce,
            retain: false,
            dup: false,
            packet_id: None,
            properties: PropertiesBuf::new(),
        };
        let mut out = Vec::new();
        format.put(&message, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{format:?}");
    }

    #[test]
    fn messages_look_as_in_mosquittos_tools() {
        let format = |verbose, no_newline| Format {
            verbose,
            no_newline,
        };
        check("hello", format(false, false), "hello\n");
        check("hello", format(true, false), "t hello\n");
        check("hello", format(true, true), "t hello");
        check("hello", format(false, true), "hello");
        check("", format(false, false), "");
        check("", format(true, false), "t (null)\n");
        check("", format(true, true), "");
    }

    #[test]
    fn refusals_have_mosquittos_words_and_numbers() {
        for (version, reason, text, status) in [
            (
                ProtocolVersion::V311,
                ReasonCode::NotAuthorized,
                "Connection Refused: not authorised.",
                5,
            ),
            (
                ProtocolVersion::V31,
                ReasonCode::ClientIdentifierNotValid,
                "Connection Refused: identifier rejected.",
                2,
            ),
            (
                ProtocolVersion::V5,
                ReasonCode::NotAuthorized,
                "Not authorized",
                135,
            ),
            (
                ProtocolVersion::V5,
                ReasonCode::BadUserNameOrPassword,
                "Bad User Name or Password",
                134,
            ),
            (
                ProtocolVersion::V5,
                ReasonCode::ServerUnavailable,
                "Server unavailable",
                136,
            ),
        ] {
            assert_eq!(refusal(reason, version), (text.to_owned(), status));
        }
    }
}
