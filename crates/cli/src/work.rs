//! What the loop of a tool and the tool itself say to each other.

use std::net::TcpStream;

use dunlin_packet::ReasonCode;
use dunlin_protocol::Timestamp;
use dunlin_protocol::client::{ClientConnection, ClientSession, Event};

use crate::network::OpenError;
use crate::output::{Output, reason_text};

/// Exit status: the connection was lost.
const STATUS_LOST: u8 = 7;

/// What the loop is told by its threads.
pub(crate) enum Input {
    Opened {
        attempt: u32,
        stream: TcpStream,
    },
    NotOpened {
        attempt: u32,
        error: OpenError,
    },
    Bytes {
        attempt: u32,
        bytes: Vec<u8>,
    },
    /// The stream has ended.
    Lost {
        attempt: u32,
    },
    /// A line of standard input.
    Line(Vec<u8>),
    /// Standard input has ended.
    EndOfLines,
    /// SIGINT or SIGTERM.
    Signal,
}

/// Whether the tool goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Go,
    /// DISCONNECT with this reason, and an exit status.
    End {
        reason: ReasonCode,
        status: u8,
    },
}

impl Flow {
    /// An orderly end.
    pub(crate) fn end(status: u8) -> Self {
        Flow::End {
            reason: ReasonCode::NormalDisconnection,
            status,
        }
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum Loss {
    NotOpened(OpenError),
    /// The stream ended, or the broker was silent for too long.
    Lost,
    /// The broker sent DISCONNECT.
    Disconnected(ReasonCode),
}

impl Loss {
    /// Whether another attempt has a chance: the broker has not said that it does not want us.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Loss::NotOpened(_) | Loss::Lost => true,
            Loss::Disconnected(reason) => matches!(
                *reason,
                ReasonCode::NormalDisconnection
                    | ReasonCode::UnspecifiedError
                    | ReasonCode::ServerBusy
                    | ReasonCode::ServerShuttingDown
                    | ReasonCode::KeepAliveTimeout
                    | ReasonCode::MessageRateTooHigh
                    | ReasonCode::QuotaExceeded
                    | ReasonCode::ConnectionRateExceeded
                    | ReasonCode::MaximumConnectTime
            ),
        }
    }

    /// What is told when the tool gives up, and its exit status.
    pub(crate) fn told(&self) -> (String, u8) {
        match self {
            Loss::NotOpened(OpenError::Lookup) => {
                ("Unable to connect (Lookup error.).".to_owned(), 1)
            }
            Loss::NotOpened(OpenError::Connect(error)) => {
                let text = error.to_string();
                let sentence = text.split(" (os error").next().unwrap_or_default();
                (format!("Error: {sentence}"), 1)
            }
            Loss::Lost => ("Error: The connection was lost.".to_owned(), STATUS_LOST),
            Loss::Disconnected(reason) => {
                let status = if reason.is_error() {
                    reason.code()
                } else {
                    STATUS_LOST
                };
                (
                    format!("Error: The broker disconnected: {}", reason_text(*reason)),
                    status,
                )
            }
        }
    }
}

/// What a tool may use while it is called.
pub(crate) struct Context<'a> {
    pub(crate) connection: &'a mut ClientConnection,
    pub(crate) output: &'a mut Output,
    pub(crate) now: Timestamp,
}

/// What makes a tool different from the others.
pub(crate) trait Work {
    /// Something has happened on the connection.
    fn event(&mut self, event: Event, context: &mut Context<'_>) -> Flow;

    /// A line of standard input, or `None` at its end.
    fn line(&mut self, _line: Option<Vec<u8>>, _context: &mut Context<'_>) -> Flow {
        Flow::Go
    }

    /// When `on_due` is to be called.
    fn due(&self) -> Option<Timestamp>;

    fn on_due(&mut self, context: &mut Context<'_>) -> Flow;

    /// Whether to connect again. `is_first` tells that this was the first attempt.
    fn retries(&self, loss: &Loss, is_first: bool, session: &ClientSession, now: Timestamp)
    -> bool;
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn losses_are_told_as_mosquittos_tools_do() {
        let refused = OpenError::Connect(io::Error::from_raw_os_error(111));
        for (loss, text, status) in [
            (Loss::NotOpened(refused), "Error: Connection refused", 1),
            (
                Loss::NotOpened(OpenError::Lookup),
                "Unable to connect (Lookup error.).",
                1,
            ),
            (Loss::Lost, "Error: The connection was lost.", 7),
            (
                Loss::Disconnected(ReasonCode::SessionTakenOver),
                "Error: The broker disconnected: Session taken over",
                142,
            ),
        ] {
            assert_eq!(loss.told(), (text.to_owned(), status));
        }
    }

    #[test]
    fn a_broker_that_does_not_want_us_is_left_alone() {
        assert!(Loss::Lost.may_pass());
        assert!(Loss::Disconnected(ReasonCode::ServerShuttingDown).may_pass());
        for reason in [
            ReasonCode::SessionTakenOver,
            ReasonCode::NotAuthorized,
            ReasonCode::ProtocolError,
        ] {
            assert!(!Loss::Disconnected(reason).may_pass(), "{reason}");
        }
    }
}
