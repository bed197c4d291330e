//! A client and a Server with a connection between them that carries so many bytes and no more.

use std::mem;

use dunlin_packet::{ProtocolVersion, QoS, ReasonCode};
use dunlin_protocol::client::{
    ClientConnection, ClientError, ClientSession, ConnectOptions, Event, OutgoingMessage,
};
use dunlin_protocol::{ServerOffer, Timestamp};

use crate::server::Server;

/// The versions that both roles speak.
pub(crate) const VERSIONS: [ProtocolVersion; 3] = [
    ProtocolVersion::V31,
    ProtocolVersion::V311,
    ProtocolVersion::V5,
];

/// Two peers, a fake clock, and all that the client's driver has been told.
pub(crate) struct Pair {
    pub(crate) client: ClientConnection,
    pub(crate) server: Server,
    pub(crate) now: Timestamp,
    /// Every event of every connection.
    pub(crate) events: Vec<Event>,
    /// Why the client ended its connection.
    pub(crate) error: Option<ClientError>,
    /// For the next `connect`.
    pub(crate) options: ConnectOptions,
    /// Bytes that still arrive, both ways together, before the connection is lost.
    carries: usize,
    is_cut: bool,
    arrived: Vec<u8>,
}

/// Options of a client that comes back to its Session.
pub(crate) fn kept(version: ProtocolVersion) -> ConnectOptions {
    ConnectOptions {
        clean_start: false,
        session_expiry_interval_s: Some(3600),
        ..ConnectOptions::new(version, "c")
    }
}

impl Pair {
    /// Two peers without a connection.
    pub(crate) fn new(options: ConnectOptions, offer: ServerOffer) -> Self {
        Self {
            client: ClientConnection::new(options.clone(), ClientSession::new()),
            server: Server::new(offer),
            now: Timestamp::from_millis(1000),
            events: Vec::new(),
            error: None,
            options,
            carries: usize::MAX,
            is_cut: true,
            arrived: Vec::new(),
        }
    }

    /// Two peers that are connected, and keep the Session when they are not.
    pub(crate) fn connected(version: ProtocolVersion) -> Self {
        let mut pair = Self::new(kept(version), ServerOffer::default());
        pair.connect();
        pair
    }

    /// Makes a new connection for the client's Session, and lets both sides talk.
    pub(crate) fn connect(&mut self) {
        if self.is_cut {
            self.renew();
        } else {
            self.cut();
        }
        self.is_cut = false;
        self.client.connect(self.now).unwrap();
        self.run();
    }

    /// The client publishes, and both sides talk.
    pub(crate) fn publish(&mut self, payload: &str, qos: QoS) -> Option<u64> {
        let message = OutgoingMessage::new("t", payload.as_bytes(), qos);
        let sequence = self.client.publish(message, self.now).unwrap();
        self.run();
        sequence
    }

    /// Loses the connection once so many bytes have arrived.
    pub(crate) fn lose_after(&mut self, bytes: usize) {
        self.carries = bytes;
    }

    /// Loses the connection now: what was not read is gone.
    pub(crate) fn cut(&mut self) {
        self.server.lost();
        self.renew();
        self.arrived.clear();
        self.is_cut = true;
        self.carries = usize::MAX;
    }

    /// A connection that has not begun takes over the client's Session.
    fn renew(&mut self) {
        let unused = ClientConnection::new(self.options.clone(), ClientSession::new());
        let session = mem::replace(&mut self.client, unused).into_session();
        self.client = ClientConnection::new(self.options.clone(), session);
    }

    /// Whether the connection was lost.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Passes bytes until both sides are quiet or the connection is lost.
    pub(crate) fn run(&mut self) {
        while !self.is_cut {
            let sent = mem::take(self.client.outgoing());
            if sent.is_empty() && self.server.out.is_empty() {
                return;
            }
            let arrives = self.carried(sent.len());
            self.server.receive(&sent[..arrives]);
            if arrives < sent.len() {
                return self.cut();
            }
            let sent = mem::take(&mut self.server.out);
            let arrives = self.carried(sent.len());
            self.feed(&sent[..arrives]);
            if arrives < sent.len() {
                return self.cut();
            }
        }
    }

    /// Gives the client bytes, as if the Server had sent them.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.arrived.extend_from_slice(bytes);
        loop {
            match self.client.received(&self.arrived, self.now) {
                Ok(0) => break,
                Ok(len) => drop(self.arrived.drain(..len)),
                Err(error) => {
                    self.error = Some(error);
                    self.arrived.clear();
                }
            }
            while let Some(event) = self.client.poll_event() {
                self.events.push(event);
            }
        }
    }

    /// Moves the clock to the client's next timeout, and lets both sides talk. Returns how many
    /// milliseconds it took, or why the connection is over.
    pub(crate) fn wait(&mut self) -> Result<u64, ClientError> {
        let due = self.client.next_timeout().unwrap();
        let waited = due.millis_since(self.now);
        self.now = due;
        self.client.handle_timeout(due)?;
        self.run();
        Ok(waited)
    }

    /// Payloads of the messages that the client's user has got.
    pub(crate) fn messages(&self) -> Vec<String> {
        let payload = |event: &Event| match event {
            Event::Message(message) => Some(String::from_utf8(message.payload.clone()).unwrap()),
            _ => None,
        };
        self.events.iter().filter_map(payload).collect()
    }

    /// What became of the client's messages, in the order in which it was told.
    pub(crate) fn published(&self) -> Vec<(u64, ReasonCode)> {
        let outcome = |event: &Event| match event {
            Event::Published {
                sequence, reason, ..
            } => Some((*sequence, *reason)),
            _ => None,
        };
        self.events.iter().filter_map(outcome).collect()
    }

    /// Session Present of each connection.
    pub(crate) fn sessions_present(&self) -> Vec<bool> {
        let present = |event: &Event| match event {
            Event::Connected {
                session_present, ..
            } => Some(*session_present),
            _ => None,
        };
        self.events.iter().filter_map(present).collect()
    }

    fn carried(&mut self, bytes: usize) -> usize {
        let arrives = bytes.min(self.carries);
        self.carries -= arrives;
        arrives
    }
}
