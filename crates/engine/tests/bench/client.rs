//! One client of one Network Connection, as far as a test needs it.

use std::collections::BTreeMap;
use std::mem;

use dunlin_engine::ConnectionKey;
use dunlin_packet::{
    Decoded, Packet, PacketType, ProtocolVersion, ReasonCode, Rules, Sender, decode, encode,
};

use super::packets::{Hello, Seen, ack};

/// Names a Network Connection of the bench; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct At(pub(super) usize);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Open,
    /// The engine wants it closed; what is outgoing is still written.
    Closing,
    Closed,
}

pub(super) struct Client {
    pub(super) id: String,
    pub(super) worker: usize,
    pub(super) key: ConnectionKey,
    pub(super) transport: Transport,
    /// Sent, and not yet used up by the engine.
    pub(super) unread: Vec<u8>,
    /// Whether `unread` has grown, or reading was resumed, since the engine was given it.
    pub(super) offered: bool,
    pub(super) paused: bool,
    pub(super) pauses: u32,
    /// Whether it reads what the engine writes.
    pub(super) reads: bool,
    /// The engine has said that there is something to write.
    pub(super) writable: bool,
    pub(super) bytes_read: usize,
    pub(super) acknowledges: bool,
    pub(super) seen: Vec<Seen>,
    version: ProtocolVersion,
    inbox: Vec<u8>,
    aliases: BTreeMap<u16, String>,
    last_id: u16,
}

impl Client {
    pub(super) fn new(hello: &Hello, worker: usize, key: ConnectionKey) -> Self {
        Self {
            id: hello.client_id.clone(),
            worker,
            key,
            transport: Transport::Open,
            unread: Vec::new(),
            offered: false,
            paused: false,
            pauses: 0,
            reads: true,
            writable: false,
            bytes_read: 0,
            acknowledges: hello.acknowledges,
            seen: Vec::new(),
            version: hello.version,
            inbox: Vec::new(),
            aliases: BTreeMap::new(),
            last_id: 0,
        }
    }

    /// Sends bytes, behind those that the engine has not used up.
    pub(super) fn push_bytes(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        self.offered = true;
    }

    /// Sends a packet.
    pub(super) fn push(&mut self, packet: &Packet<'_>) {
        encode(packet, self.version, u32::MAX, &mut self.unread).unwrap();
        self.offered = true;
    }

    pub(super) fn next_id(&mut self) -> u16 {
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        self.last_id
    }

    /// Takes in bytes of the engine, and answers them if the client is one that does.
    pub(super) fn got(&mut self, bytes: &[u8]) {
        self.bytes_read += bytes.len();
        self.inbox.extend_from_slice(bytes);
        let rules = Rules {
            version: self.version,
            sender: Sender::Server,
            packet_size_max: u32::MAX,
        };
        let mut used = 0;
        loop {
            let (seen, len) = match decode(&self.inbox[used..], &rules) {
                Ok(Decoded::Packet { packet, len }) => (Seen::of(&packet, &mut self.aliases), len),
                Ok(Decoded::Incomplete { .. }) => break,
                Err(error) => panic!("{} cannot read what the broker sent: {error}", self.id),
            };
            used += len;
            self.answer(&seen);
            self.seen.push(seen);
        }
        self.inbox.drain(..used);
    }

    fn answer(&mut self, seen: &Seen) {
        if !self.acknowledges {
            return;
        }
        let (packet_type, id) = match seen {
            Seen::Publish(delivered) => match delivered.qos {
                0 => return,
                1 => (PacketType::Puback, delivered.packet_id),
                _ => (PacketType::Pubrec, delivered.packet_id),
            },
            Seen::Ack {
                packet_type: PacketType::Pubrec,
                id,
                reason: 0..0x80,
            } => (PacketType::Pubrel, *id),
            Seen::Ack {
                packet_type: PacketType::Pubrel,
                id,
                ..
            } => (PacketType::Pubcomp, *id),
            _ => return,
        };
        self.push(&ack(packet_type, id, ReasonCode::Success));
    }

    /// Takes out what it got and `pick` chooses; the rest stays.
    pub(super) fn take(&mut self, pick: impl FnMut(&Seen) -> bool) -> Vec<Seen> {
        let (taken, rest) = mem::take(&mut self.seen).into_iter().partition(pick);
        self.seen = rest;
        taken
    }
}
