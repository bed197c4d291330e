//! One Network Connection as its client sees it.

use std::collections::{BTreeMap, BTreeSet};

use dunlin_packet::{PacketId, ProtocolVersion, QoS};

use crate::house::LinkId;

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// CONNECT is sent.
    Connecting,
    /// CONNACK 0x00 was received.
    Open,
    /// Refused, or DISCONNECT was sent or received.
    Ended,
}

/// A packet that the client owes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// For a QoS 1 PUBLISH.
    Puback(PacketId),
    /// For a QoS 2 PUBLISH.
    Pubrec(PacketId),
    /// For PUBREC.
    Pubrel(PacketId),
    /// For PUBREL.
    Pubcomp(PacketId),
}

/// A SUBSCRIBE without its SUBACK.
pub(super) struct Subscribing {
    /// Filter, QoS and No Local as asked for.
    pub(super) filters: Vec<(String, QoS, bool)>,
    /// The client's count of requests with this one.
    pub(super) request: u32,
}

/// What belongs to one connection and ends with it.
pub struct Wire {
    /// Its place in the house.
    pub link: LinkId,
    /// Where it stands.
    pub stage: Stage,
    /// What is owed, oldest first.
    pub owed: Vec<Reply>,
    pub(super) version: ProtocolVersion,
    /// Largest packet that the client accepts.
    pub(super) size_max: u32,
    /// Open exchanges that the broker may have towards the client.
    pub(super) quota: usize,
    /// Topic Aliases that the broker may use.
    pub(super) alias_maximum: u16,
    pub(super) clean_start: bool,
    /// CONNACK was received, whatever it said.
    pub(super) is_answered: bool,
    /// Bytes of an unfinished packet.
    pub(super) buffer: Vec<u8>,
    /// Identifiers of the broker's exchanges.
    pub(super) in_use: BTreeSet<u16>,
    /// Topics by alias, as the broker has set them.
    pub(super) aliases: BTreeMap<u16, String>,
    /// Topics by alias, as the client has set them.
    pub(super) own_aliases: BTreeMap<u16, &'static str>,
    pub(super) own_alias_maximum: u16,
    pub(super) subscribing: BTreeMap<u16, Subscribing>,
    /// UNSUBSCRIBE without UNSUBACK: how many filters.
    pub(super) unsubscribing: BTreeMap<u16, usize>,
    /// Identifiers of PUBLISH packets that were sent twice on this connection.
    pub(super) repeated: BTreeSet<u16>,
    pub(super) pings: u32,
}

impl Wire {
    /// A connection whose CONNECT is sent.
    pub fn new(
        link: LinkId,
        version: ProtocolVersion,
        clean_start: bool,
        size_max: u32,
        quota: u16,
        alias_maximum: u16,
    ) -> Self {
        Self {
            link,
            stage: Stage::Connecting,
            owed: Vec::new(),
            version,
            size_max,
            quota: usize::from(quota),
            alias_maximum,
            clean_start,
            is_answered: false,
            buffer: Vec::new(),
            in_use: BTreeSet::new(),
            aliases: BTreeMap::new(),
            own_aliases: BTreeMap::new(),
            own_alias_maximum: 0,
            subscribing: BTreeMap::new(),
            unsubscribing: BTreeMap::new(),
            repeated: BTreeSet::new(),
            pings: 0,
        }
    }

    /// The version that its CONNECT fixed.
    pub fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// The bytes of a packet that has not arrived to its end.
    pub fn unfinished(&self) -> &[u8] {
        &self.buffer
    }

    /// Notes a reply, unless the same one is owed already.
    pub(super) fn owe(&mut self, reply: Reply) {
        if !self.owed.contains(&reply) {
            self.owed.push(reply);
        }
    }
}
