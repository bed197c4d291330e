//! The Client role of one Network Connection and its Session, without sockets or clocks.
//!
//! Reading order: [`ConnectOptions`] (what is asked for), [`ServerTerms`] (what was agreed),
//! [`ClientSession`] (what outlives a connection), [`ClientConnection`] (the machine itself),
//! [`Event`] (what it tells) and [`ClientError`], [`UseError`] (who is to blame).
//!
//! The contract, for whoever drives it: bytes that arrive go to [`ClientConnection::received`], one
//! packet per call, until it takes nothing; after every call there may be events to poll and bytes in
//! [`ClientConnection::outgoing`] to be written; [`ClientConnection::handle_timeout`] is called when
//! [`ClientConnection::next_timeout`] has come. After an error, a refusal or a DISCONNECT the
//! connection is closed: write what is outgoing, close the stream, and take the Session back with
//! [`ClientConnection::into_session`] for the next one.

mod connection;
mod error;
mod event;
mod options;
mod outgoing;
mod receive;
mod session;
mod terms;

pub use connection::ClientConnection;
pub use error::{ClientError, ServerFault, Silence, UseError};
pub use event::{Event, Message};
pub use options::{ConnectOptions, WillOptions};
pub use session::{ClientSession, OutgoingMessage};
pub use terms::ServerTerms;
