//! What the engine keeps for one Network Connection.

use std::collections::VecDeque;
use std::sync::Arc;

use dunlin_packet::{PacketId, ProtocolVersion, ReasonCode};
use dunlin_protocol::{AckQueue, InboundAliases, OnDemand, OutboundAliases, ServerOffer};

use crate::message::Publisher;
use crate::outgoing::Outgoing;

/// One Network Connection, from `open` to `Input::Closed`.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) serial: u32,
    pub(crate) stage: Stage,
    pub(crate) outgoing: Outgoing,
    /// Stands in the list of connections with something to write.
    pub(crate) writable: bool,
    pub(crate) offer: Arc<ServerOffer>,
}

/// ```text
///   Opened ──CONNECT──▶ Live ──▶ Closing
///      └───refused────────────────▲
/// ```
#[derive(Debug)]
pub(crate) enum Stage {
    /// No CONNECT yet.
    Opened,
    /// CONNACK 0x00 sent, or waiting for the store to say that it may be.
    Live(Box<Live>),
    /// Told to close; only the unwritten bytes matter.
    Closing,
}

/// A connection with a Session.
#[derive(Debug)]
pub(crate) struct Live {
    /// Slot of the Session.
    pub(crate) session: u32,
    pub(crate) version: ProtocolVersion,
    /// Whether CONNACK was written; nothing may be sent before it (v5[MQTT-3.2.0-1]).
    pub(crate) acknowledged: bool,
    /// Open QoS 1 and 2 PUBLISH packets that the client may have.
    pub(crate) receive_maximum: u16,
    /// Largest packet that the client accepts.
    pub(crate) packet_size_max: u32,
    /// The client's CONNECT asked for no Session beyond this connection (v5[MQTT-3.14.2-2]).
    pub(crate) expiry_was_zero: bool,
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) inbound_aliases: InboundAliases,
    pub(crate) outbound_aliases: OutboundAliases,
    pub(crate) acks: AckQueue<PendingAck>,
    /// Jobs of this publisher that wait for fragments, oldest first.
    pub(crate) jobs: OnDemand<VecDeque<u64>>,
    /// Workers whose queue was over its mark when this connection fed it.
    pub(crate) paused_by: OnDemand<Vec<u16>>,
    /// Not read because it does not read: its outgoing buffer is far over its mark.
    pub(crate) paused_full: bool,
    /// The peer is a bridge: it never gets its own messages back, and RETAIN as published.
    pub(crate) bridge: bool,
}

/// An acknowledgement, ready to be encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PendingAck {
    Puback(PacketId, ReasonCode),
    Pubrec(PacketId, ReasonCode),
    Pubrel(u64),
    Pubcomp(PacketId, ReasonCode),
    Suback(PacketId, Box<[u8]>),
    Unsuback(PacketId, Box<[u8]>),
    /// It can not be given: the connection ends.
    Withheld,
}

impl Live {
    /// Whether a worker that it feeds has to catch up first.
    #[inline]
    pub(crate) fn is_paused(&self) -> bool {
        self.paused_by.get().is_some_and(|by| !by.is_empty())
    }
}

impl Connection {
    pub(crate) fn live(&self) -> Option<&Live> {
        match &self.stage {
            Stage::Live(live) => Some(live),
            _ => None,
        }
    }

    pub(crate) fn live_mut(&mut self) -> Option<&mut Live> {
        match &mut self.stage {
            Stage::Live(live) => Some(live),
            _ => None,
        }
    }
}
