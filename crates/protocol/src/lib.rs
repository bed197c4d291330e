//! The rules of one Network Connection and one Session, without sockets or clocks.
//!
//! What this crate is: the state that MQTT asks of either end beyond the bytes of a packet, as small
//! machines that somebody else drives. What it is *not*: it reads no socket, owns no queue of
//! undelivered messages, knows no Topic Filter and no other Session.
//!
//! Reading order: [`handshake`] (what CONNECT and CONNACK agree on), [`inbound`] (the receiver of QoS
//! 1 and 2), [`outbound`] (their sender), [`acks`] (acknowledgements that wait for a store),
//! [`aliases`], [`keep_alive`], [`auth`] (the AUTH exchange), [`client`] (the Client role, whole).
//!
//! Architecture invariant: time is a [`Timestamp`] argument; nothing here allocates without a bound
//! that the two ends have agreed on.

pub mod acks;
pub mod aliases;
pub mod auth;
pub mod client;
pub mod handshake;
pub mod inbound;
pub mod keep_alive;
pub mod on_demand;
pub mod outbound;
pub mod time;

pub use acks::{AckKind, AckQueue, Ticket};
pub use aliases::{InboundAliases, OutboundAliases};
pub use handshake::{Refusal, ServerOffer, Terms};
pub use inbound::{Inbound, PacketIdSet};
pub use on_demand::OnDemand;
pub use outbound::{InFlight, Outbound, Stage};
pub use time::Timestamp;
