//! A byte stream by any road, to listen and to connect.
//!
//! What this crate is: [`Listener`] and [`Stream`], which look the same whatever lies beneath. What it is
//! *not*: it knows nothing of MQTT. TCP and unix sockets are here; TLS, WebSocket and the PROXY
//! protocol will be further variants of [`Stream`], so that the code above does not change.
//!
//! Architecture invariant: a stream can leave its runtime ([`Stream::detach`]) and go on in another,
//! with nothing lost in between; whatever state a variant has travels along.

mod listener;
mod stream;

pub use listener::{Address, Bound, Listener};
pub use stream::{Detached, Stream};
