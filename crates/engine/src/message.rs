//! An Application Message inside the broker.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use dunlin_packet::QoS;
use dunlin_packet::mutant::{self, Mutant};
use dunlin_protocol::Timestamp;

use crate::io::Principal;

/// Who published: what later decisions and records need of the publisher.
#[derive(Debug, PartialEq, Eq)]
pub struct Publisher {
    /// Its Client Identifier.
    pub client_id: Arc<str>,
    /// Who it speaks for, and where it came from.
    pub principal: Principal,
}

/// Where a message entered the broker: the publisher's partition and its running number there.
/// Unique, so that a destination can tell what it has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// Partition of the publisher's Client Identifier.
    pub partition: u16,
    /// Number within the partition's worker, rising.
    pub sequence: u64,
}

/// An Application Message that outlives the packet that brought it. Shared by all who wait for it.
#[derive(PartialEq, Eq)]
pub struct Message {
    /// Topic Name, without alias.
    pub topic: Arc<str>,
    /// The properties that are passed on, encoded and in their order, then the payload.
    body: Box<[u8]>,
    properties_len: u32,
    /// QoS that it was published with.
    pub qos: QoS,
    /// RETAIN as published.
    pub retain: bool,
    /// When it entered.
    pub received_at: Timestamp,
    /// When it is worth nothing any more.
    pub expires_at: Option<Timestamp>,
    /// Who published it.
    pub publisher: Arc<Publisher>,
    /// Where it entered.
    pub origin: Origin,
    /// Its place among the changes of retained messages; 0 if RETAIN is not set.
    pub retain_version: u64,
}

impl fmt::Debug for Message {
    /// Never the payload: it does not belong into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic)
            .field("payload_bytes", &self.payload().len())
            .field("qos", &self.qos)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

impl Message {
    /// Copies an incoming message to the heap.
    #[must_use]
    pub fn from_incoming(incoming: &Incoming<'_>) -> Self {
        let mut body = Vec::with_capacity(incoming.forwarded.len() + incoming.payload.len());
        body.extend_from_slice(incoming.forwarded);
        body.extend_from_slice(incoming.payload);
        Self {
            topic: Arc::clone(incoming.topic),
            body: body.into_boxed_slice(),
            properties_len: incoming.forwarded.len() as u32,
            qos: incoming.qos,
            retain: incoming.retain,
            received_at: incoming.received_at,
            expires_at: incoming.expires_at,
            publisher: Arc::clone(incoming.publisher),
            origin: incoming.origin,
            retain_version: incoming.retain_version,
        }
    }

    /// The Application Message's payload.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.body
            .get(self.properties_len as usize..)
            .unwrap_or_default()
    }

    /// The encoded properties that go on to every receiver.
    #[must_use]
    pub fn forwarded(&self) -> &[u8] {
        self.body
            .get(..self.properties_len as usize)
            .unwrap_or_default()
    }

    /// Whether its Message Expiry Interval has passed.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// The view that delivery works on.
    #[must_use]
    pub fn as_incoming(self: &Arc<Self>) -> Incoming<'_> {
        Incoming {
            topic: &self.topic,
            forwarded: self.forwarded(),
            payload: self.payload(),
            qos: self.qos,
            retain: self.retain,
            received_at: self.received_at,
            expires_at: self.expires_at,
            publisher: &self.publisher,
            origin: self.origin,
            retain_version: self.retain_version,
            read_buffer: None,
            shared: Some(Arc::clone(self)),
        }
    }
}

/// A message on its way through one turn: borrowed from the packet that brought it, and copied to the heap
/// only when somebody has to keep it.
pub struct Incoming<'a> {
    /// Topic Name, without alias.
    pub topic: &'a Arc<str>,
    /// Encoded properties that are passed on.
    pub forwarded: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
    /// QoS that it was published with.
    pub qos: QoS,
    /// RETAIN as published.
    pub retain: bool,
    /// When it entered.
    pub received_at: Timestamp,
    /// When it is worth nothing any more.
    pub expires_at: Option<Timestamp>,
    /// Who published it.
    pub publisher: &'a Arc<Publisher>,
    /// Where it entered.
    pub origin: Origin,
    /// Its place among the changes of retained messages; 0 if RETAIN is not set.
    pub retain_version: u64,
    /// The buffer that the payload stands in, if that may be referenced until the turn ends.
    pub read_buffer: Option<Arc<[u8]>>,
    shared: Option<Arc<Message>>,
}

impl<'a> Incoming<'a> {
    /// A message that is still only a packet.
    #[must_use]
    pub fn new(topic: &'a Arc<str>, publisher: &'a Arc<Publisher>, origin: Origin) -> Self {
        Self {
            topic,
            forwarded: &[],
            payload: &[],
            qos: QoS::AtMostOnce,
            retain: false,
            received_at: Timestamp::default(),
            expires_at: None,
            publisher,
            origin,
            retain_version: 0,
            read_buffer: None,
            shared: None,
        }
    }

    /// The message on the heap, made at the first call.
    pub fn share(&mut self) -> &Arc<Message> {
        if self.shared.is_none() {
            self.shared = Some(Arc::new(Message::from_incoming(self)));
        }
        match &self.shared {
            Some(message) => message,
            None => unreachable!("set above"),
        }
    }

    /// The message on the heap, if somebody has asked for it.
    #[must_use]
    pub fn shared(&self) -> Option<&Arc<Message>> {
        self.shared.as_ref()
    }

    /// Where in its read buffer the payload stands, if nobody has asked for a copy yet.
    #[must_use]
    pub fn in_read_buffer(&self) -> Option<(&Arc<[u8]>, Range<usize>)> {
        if self.shared.is_some() {
            return None;
        }
        let buffer = self.read_buffer.as_ref()?;
        let from = self
            .payload
            .as_ptr()
            .addr()
            .checked_sub(buffer.as_ptr().addr())?;
        let place = from..from + self.payload.len();
        // Only what really is that place counts.
        let same = std::ptr::eq(buffer.get(place.clone())?, self.payload);
        same.then_some((buffer, place))
    }

    /// Seconds of its Message Expiry Interval that are left, rounded up; `None` without expiry.
    #[must_use]
    pub fn expiry_left_s(&self, now: Timestamp) -> Option<u32> {
        let now = if mutant::is_active(Mutant::MessageExpiryNotReduced) {
            self.received_at
        } else {
            now
        };
        let left = self.expires_at?.millis_since(now).div_ceil(1000);
        Some(u32::try_from(left).unwrap_or(u32::MAX))
    }
}
