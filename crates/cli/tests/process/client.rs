//! A client of raw bytes over TCP or a unix socket. It keeps no rules: a test says what is sent and
//! what has to come. Each wait is for bytes or for the end of the connection, and bounded.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use dunlin_conformance::{ConnectSpec, Delivered, OwnedProp, PublishSpec, Wire, wire};
use dunlin_engine::{partition_of, worker_of};

use crate::broker::WAIT;

/// What carries the bytes of a Network Connection.
trait Carrier: Read + Write {
    fn limit_reads(&self, limit: Duration) -> io::Result<()>;
    fn limit_writes(&self, limit: Duration) -> io::Result<()>;
}

impl Carrier for TcpStream {
    fn limit_reads(&self, limit: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(limit))
    }

    fn limit_writes(&self, limit: Duration) -> io::Result<()> {
        self.set_write_timeout(Some(limit))
    }
}

impl Carrier for UnixStream {
    fn limit_reads(&self, limit: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(limit))
    }

    fn limit_writes(&self, limit: Duration) -> io::Result<()> {
        self.set_write_timeout(Some(limit))
    }
}

/// One Network Connection.
pub(crate) struct Client {
    carrier: Box<dyn Carrier>,
    /// Protocol level of what is sent: 3, 4 or 5.
    level: u8,
    connack: Wire,
    /// Bytes of a packet that is not complete, and of those behind it.
    unread: Vec<u8>,
}

/// What one read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Bytes,
    Nothing,
    Closed,
}

impl Client {
    /// A new connection by TCP.
    pub(crate) fn tcp(address: impl ToSocketAddrs) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Self::over(Box::new(stream))
    }

    /// A new connection by a unix socket.
    pub(crate) fn unix(path: &Path) -> io::Result<Self> {
        Self::over(Box::new(UnixStream::connect(path)?))
    }

    fn over(carrier: Box<dyn Carrier>) -> io::Result<Self> {
        carrier.limit_writes(WAIT)?;
        Ok(Self {
            carrier,
            level: 5,
            connack: Wire::default(),
            unread: Vec::new(),
        })
    }

    /// Sends CONNECT and demands success.
    pub(crate) fn connect(mut self, spec: &ConnectSpec<'_>) -> Self {
        self.send_connect(spec);
        self.expect_accepted();
        self
    }

    /// Only sends CONNECT.
    pub(crate) fn send_connect(&mut self, spec: &ConnectSpec<'_>) {
        self.level = spec.level;
        self.send(&spec.to_bytes());
    }

    /// The next packet is the CONNACK of success.
    pub(crate) fn expect_accepted(&mut self) {
        let connack = self.recv();
        assert_eq!(connack.packet_type(), 2, "CONNACK awaited, got {connack:?}");
        assert_eq!(connack.reason(self.level), 0, "refused by {connack:?}");
        self.connack = connack;
    }

    /// The Receive Maximum that CONNACK told.
    pub(crate) fn receive_maximum(&self) -> u32 {
        let property = self.connack.prop(0x21);
        property.as_ref().map_or(65_535, OwnedProp::number)
    }

    /// Session Present of CONNACK.
    pub(crate) fn session_present(&self) -> bool {
        self.connack.body.first().is_some_and(|flags| *flags == 1)
    }

    /// Sends bytes. A connection that the broker has closed takes them in silence: reading will tell.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        if let Err(error) = self.carrier.write_all(bytes) {
            assert!(is_close(error.kind()), "cannot send: {error}");
        }
    }

    /// Sends bytes that the broker need not take; false if it has not taken them all within the limit.
    pub(crate) fn push(&mut self, bytes: &[u8], limit: Duration) -> bool {
        let limited = self.carrier.limit_writes(limit);
        match limited.and_then(|()| self.carrier.write_all(bytes)) {
            Ok(()) => true,
            Err(error) if is_close(error.kind()) || is_early(error.kind()) => false,
            Err(error) => panic!("cannot send: {error}"),
        }
    }

    /// The next packet.
    pub(crate) fn recv(&mut self) -> Wire {
        let packet = self.next_packet();
        packet.expect("the broker closed the connection where a packet was awaited")
    }

    /// The next packet, or nothing once the broker has closed the connection.
    pub(crate) fn next_packet(&mut self) -> Option<Wire> {
        let deadline = Instant::now() + WAIT;
        loop {
            if let Some(packet) = self.take_packet() {
                return Some(packet);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "neither packet nor close within {WAIT:?}");
            if self.look(left) == Look::Closed {
                return None;
            }
        }
    }

    /// The broker closes the connection and sends nothing before.
    pub(crate) fn expect_close(&mut self) {
        let packet = self.next_packet();
        assert_eq!(packet, None, "only a close was awaited");
    }

    /// The broker sends DISCONNECT with this Reason Code and closes.
    pub(crate) fn expect_disconnect(&mut self, reason: u8) {
        let disconnect = self.recv();
        let got = (disconnect.packet_type(), disconnect.reason(5));
        assert_eq!(got, (14, reason), "{disconnect:?}");
        self.expect_close();
    }

    /// Blocks on a read for this long. Nothing comes, and the connection stays.
    pub(crate) fn expect_silence(&mut self, duration: Duration) {
        assert_eq!(self.take_packet(), None, "nothing was awaited");
        let look = self.look(duration);
        assert_eq!(look, Look::Nothing, "nothing was awaited");
    }

    /// PINGREQ; the next packet is its answer.
    pub(crate) fn ping(&mut self) {
        self.send(&wire::pingreq());
        let pong = self.recv();
        assert_eq!(pong.to_hex(), "d0 00", "PINGRESP awaited, got {pong:?}");
    }

    /// SUBSCRIBE with this QoS, which must be granted.
    pub(crate) fn subscribe(&mut self, filter: &str, qos: u8) {
        let bytes = wire::subscribe(self.level, 1, &[], &[(filter, qos)]);
        self.send(&bytes);
        let suback = self.recv();
        assert_eq!(suback.packet_type(), 9, "SUBACK awaited, got {suback:?}");
        assert_eq!(suback.codes(self.level), [qos]);
    }

    /// PUBLISH with Packet Identifier 1, and the rest of its exchange.
    pub(crate) fn publish(&mut self, topic: &str, payload: &[u8], qos: u8) {
        let bytes = PublishSpec::new(topic, payload, qos).to_bytes(self.level);
        self.send(&bytes);
        match qos {
            0 => {}
            1 => self.expect_ack(4, 1),
            _ => {
                self.expect_ack(5, 1);
                let pubrel = wire::ack(0x62, self.level, 1, None);
                self.send(&pubrel);
                self.expect_ack(7, 1);
            }
        }
    }

    /// The next packet acknowledges this Packet Identifier, and refuses nothing.
    pub(crate) fn expect_ack(&mut self, packet_type: u8, packet_id: u16) {
        let ack = self.recv();
        assert_eq!(
            ack.packet_type(),
            packet_type,
            "acknowledgement awaited, got {ack:?}"
        );
        assert_eq!(ack.packet_id(), packet_id, "{ack:?}");
        assert!(ack.reason(self.level) < 0x80, "{ack:?}");
    }

    /// The next packet, a PUBLISH; acknowledged at QoS 1.
    pub(crate) fn recv_publish(&mut self) -> Delivered {
        let packet = self.recv();
        let delivered = Delivered::from_wire(&packet, self.level);
        if delivered.qos == 1 {
            let puback = wire::ack(0x40, self.level, delivered.packet_id, None);
            self.send(&puback);
        }
        delivered
    }

    /// DISCONNECT 0x00; returns once the broker has closed.
    pub(crate) fn disconnect(mut self) {
        let bytes = wire::disconnect(self.level, None, &[]);
        self.send(&bytes);
        self.expect_close();
    }

    /// Reads once, for this long at most.
    fn look(&mut self, limit: Duration) -> Look {
        let mut chunk = [0; 65_536];
        let limit = limit.max(Duration::from_millis(1));
        let limited = self.carrier.limit_reads(limit);
        match limited.and_then(|()| self.carrier.read(&mut chunk)) {
            Ok(0) => Look::Closed,
            Ok(count) => {
                self.unread.extend_from_slice(&chunk[..count]);
                Look::Bytes
            }
            Err(error) if is_close(error.kind()) => Look::Closed,
            Err(error) if is_early(error.kind()) => Look::Nothing,
            Err(error) => panic!("cannot read: {error}"),
        }
    }

    fn take_packet(&mut self) -> Option<Wire> {
        let first = *self.unread.first()?;
        let (start, end) = packet_bounds(&self.unread)?;
        let body = self.unread.get(start..end)?.to_vec();
        self.unread.drain(..end);
        Some(Wire { first, body })
    }
}

/// A Client Identifier whose Session belongs to this worker, of two.
pub(crate) fn client_id_of(worker: u16, stem: &str) -> String {
    let ids = (0u32..).map(|number| format!("{stem}-{number}"));
    let mut own = ids.filter(|id| worker_of(partition_of(id.as_bytes()), 2) == worker);
    own.next().expect("there are ids without end")
}

/// Where the body of the first packet begins and ends, once its Remaining Length is there.
fn packet_bounds(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut length = 0;
    for position in 0..4 {
        let byte = usize::from(*bytes.get(position + 1)?);
        length |= (byte & 0x7F) << (7 * position);
        if byte & 0x80 == 0 {
            let start = position + 2;
            return Some((start, start + length));
        }
    }
    panic!("a Remaining Length has more than four bytes");
}

fn is_close(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe
    )
}

/// The time of a read or write was up, or a signal came between.
fn is_early(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}
