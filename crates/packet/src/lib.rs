//! MQTT Control Packets: bytes to packets and back, for 3.1, 3.1.1 and 5.0 side by side.
//!
//! This crate answers for the form of every packet, for topics, and for the tables of properties
//! and Reason Codes. It is *not* about when a packet may be sent: state, quotas and Topic Alias
//! mappings belong to the protocol. It owns no buffer, touches no socket and keeps no clock.
//!
//! Reading order: [`PacketType`] and [`Packet`]; [`decode`], [`decode_connect`] and the [`Rules`]
//! they follow; one file per packet; [`Properties`]; [`encode`] and, for the broker's hot path,
//! [`publish_wire`].
//!
//! The contract: a decoded packet borrows from the bytes it was read from, and what it holds was
//! checked, so nobody checks again. Malformed bytes and a peer's violation are different errors,
//! each with the Reason Code that answers it. No input makes this crate panic.

pub mod mutant;
pub mod publish_wire;

mod packet;
mod packet_id;
mod qos;
mod version;

mod decode;
mod encode;
mod error;

mod ack;
mod auth;
mod connack;
mod connect;
mod disconnect;
mod publish;
mod suback;
mod subscribe;
mod unsuback;
mod unsubscribe;

mod properties;
mod property;
mod reason;
mod topic;

mod cursor;
mod short_form;

#[cfg(test)]
mod round_trip;
#[cfg(test)]
mod testing;

pub use crate::ack::Ack;
pub use crate::auth::Auth;
pub use crate::connack::Connack;
pub use crate::connect::{Connect, Will};
pub use crate::decode::{Decoded, Rules, Sender, decode, decode_connect};
pub use crate::disconnect::Disconnect;
pub use crate::encode::{EncodeError, encode};
pub use crate::error::{ConnectError, DecodeError, Malformed, Violation};
pub use crate::packet::{Packet, PacketType};
pub use crate::packet_id::PacketId;
pub use crate::properties::{Properties, PropertiesBuf, PropertyIter};
pub use crate::property::id as property_id;
pub use crate::property::{Property, PropertyHost};
pub use crate::publish::Publish;
pub use crate::qos::QoS;
pub use crate::reason::ReasonCode;
pub use crate::suback::Suback;
pub use crate::subscribe::{
    RetainHandling, Subscribe, SubscribeBody, SubscribeFilters, SubscriptionOptions,
};
pub use crate::topic::{SharedFilter, TopicError, TopicFilter, TopicName};
pub use crate::unsuback::Unsuback;
pub use crate::unsubscribe::{Unsubscribe, UnsubscribeBody, UnsubscribeFilters};
pub use crate::version::ProtocolVersion;
