//! The broker without the world: Sessions, routing, delivery and limits of one worker's partitions.
//!
//! What this crate is: a machine that turns what happens on Network Connections into bytes for other
//! Network Connections, durable records and messages to other workers. What it is *not*: it owns no
//! socket, file, clock or thread, and does not know whether its store exists.
//!
//! Reading order: [`Engine`] (the contract), [`Input`], [`Output`] and [`Handover`] (the border),
//! [`limits`], [`record`] (what is durable). Inside, a PUBLISH goes `receive` → `publish` → `deliver` →
//! `outgoing`; `commit` holds acknowledgements back until what they promise is safe.
//!
//! Architecture invariants: no version of MQTT is asked for here but to encode; every right to read is
//! checked in `deliver`; a worker touches no Session of another one; every bound stands in [`limits`].

pub mod authorize;
pub mod limits;
pub mod message;
pub mod metrics;
pub mod outgoing;
pub mod partition;
pub mod record;

mod clients;
mod commit;
mod connect;
mod connection;
mod deliver;
mod disconnect;
mod engine;
mod forwarded;
mod io;
mod publish;
mod receive;
mod retained;
mod run;
mod session;
mod shared;
mod subscribe;
mod table;
mod timers;
mod write;

pub use authorize::{Access, Authorizer};
pub use engine::{Engine, Setup};
pub use io::{
    Chosen, ConnectionKey, End, Event, Handover, Input, Output, Principal, Query, ReplyTo, ShareId,
};
pub use limits::Limits;
pub use metrics::{DropReason, Metrics};
pub use partition::{PARTITIONS, partition_of, worker_of};
pub use run::Run;
