//! A blocking connection to the broker: bytes out, packets in, and the few exchanges that every case needs.
//!
//! `Raw` keeps no rules. It counts Packet Identifiers of its own SUBSCRIBE and UNSUBSCRIBE from 60,001 on, out of the
//! way of those that a case chooses. Packets that arrive while it awaits another kind are kept, in order, for `recv`.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::received::Delivered;
use crate::spec::{Prop, PublishSpec};
use crate::wire::{self, Wire};

/// How long a case waits for what must come, in milliseconds.
static PATIENCE_MS: AtomicU64 = AtomicU64::new(5000);

/// Sets how long cases wait for what must come: less where most of them wait in vain, as with a mutant.
pub fn set_patience(patience: Duration) {
    let ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
    PATIENCE_MS.store(ms, Ordering::Relaxed);
}

fn patience() -> Duration {
    Duration::from_millis(PATIENCE_MS.load(Ordering::Relaxed))
}

/// One Network Connection, seen from the client.
pub struct Raw {
    /// The CONNACK that opened it; empty on a connection that has sent no CONNECT through [`crate::Broker::connect`].
    pub connack: Wire,
    level: u8,
    stream: TcpStream,
    /// Bytes of a packet that is not complete yet, and of those behind it.
    unread: Vec<u8>,
    /// Packets that came while another was awaited.
    kept: VecDeque<Wire>,
    /// What was sent last, for the message of a failure.
    sent: Vec<u8>,
    last_packet_id: u16,
}

/// What one look at the socket brought.
enum Look {
    Bytes,
    Nothing,
    Closed,
}

impl Raw {
    #[track_caller]
    pub(crate) fn open(addr: SocketAddr) -> Raw {
        let stream = match TcpStream::connect_timeout(&addr, patience()) {
            Ok(stream) => stream,
            Err(error) => panic!("cannot connect to {addr}: {error}"),
        };
        let ready = stream
            .set_nodelay(true)
            .and_then(|()| stream.set_write_timeout(Some(patience())));
        assert!(
            ready.is_ok(),
            "cannot set up the connection to {addr}: {ready:?}"
        );
        Raw {
            connack: Wire::default(),
            level: 5,
            stream,
            unread: Vec::new(),
            kept: VecDeque::new(),
            sent: Vec::new(),
            last_packet_id: 60_000,
        }
    }

    /// The same connection, its packets written and read as this protocol level has them.
    pub fn speaking(mut self, level: u8) -> Raw {
        self.level = level;
        self
    }

    /// The protocol level: 3, 4 or 5.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// Session Present of the CONNACK.
    #[track_caller]
    pub fn session_present(&self) -> bool {
        match self.connack.body.first() {
            Some(flags) => flags & 0x01 != 0,
            None => panic!("no CONNACK was read on this connection"),
        }
    }

    /// Sends bytes. A connection that the broker has closed takes them in silence: reading will tell.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.sent = bytes.to_vec();
        if let Err(error) = self.stream.write_all(bytes)
            && !is_close(error.kind())
        {
            panic!("cannot send {} bytes: {error}", bytes.len());
        }
    }

    /// Sends bytes given as `"c0 00"`.
    #[track_caller]
    pub fn send_hex(&mut self, hex: &str) {
        self.send(&wire::hex(hex));
    }

    /// The next packet.
    #[track_caller]
    pub fn recv(&mut self) -> Wire {
        match self.next("a packet") {
            Some(packet) => packet,
            None => panic!(
                "the broker closed the connection, a packet was awaited{}",
                self.after()
            ),
        }
    }

    /// The next packet, or nothing when the broker closes the connection.
    #[track_caller]
    pub fn recv_or_close(&mut self) -> Option<Wire> {
        self.next("packet or close")
    }

    /// All packets until the broker closes the connection.
    #[track_caller]
    pub fn try_recv_closed(&mut self) -> Vec<Wire> {
        let mut packets = Vec::new();
        while let Some(packet) = self.next("the broker's close") {
            packets.push(packet);
        }
        packets
    }

    /// The next packet is these bytes.
    #[track_caller]
    pub fn expect_hex(&mut self, hex: &str) {
        let awaited = wire::to_hex(&wire::hex(hex));
        match self.next(&awaited) {
            Some(packet) => assert_eq!(
                packet.to_hex(),
                awaited,
                "the packet (left) is not the awaited one (right)"
            ),
            None => panic!(
                "the broker closed the connection, [{awaited}] was awaited{}",
                self.after()
            ),
        }
    }

    /// The broker closes, and sends no packet before.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        let packets = self.try_recv_closed();
        assert!(
            packets.is_empty(),
            "awaited only a close, got {packets:?}{}",
            self.after()
        );
    }

    /// The next packet is DISCONNECT (5.0) with this reason, and the last one before the close.
    #[track_caller]
    pub fn expect_disconnect(&mut self, reason: u8) {
        let packets = self.try_recv_closed();
        let [disconnect] = packets.as_slice() else {
            panic!(
                "awaited DISCONNECT 0x{reason:02x} and a close, got {packets:?} and a close{}",
                self.after()
            );
        };
        let after = self.after();
        assert_eq!(
            disconnect.first, 0xE0,
            "awaited DISCONNECT 0x{reason:02x}, got {disconnect:?}{after}"
        );
        let got = disconnect.reason(self.level);
        assert_eq!(
            got, reason,
            "awaited DISCONNECT 0x{reason:02x}, got {disconnect:?}{after}"
        );
        disconnect.properties();
    }

    /// The next packet is CONNACK with this code (of 5.0 or 3.x) and Session Present 0, and the last before the close.
    #[track_caller]
    pub fn expect_refused(&mut self, reason: u8) {
        let packets = self.try_recv_closed();
        let [connack] = packets.as_slice() else {
            panic!(
                "awaited CONNACK 0x{reason:02x} and a close, got {packets:?} and a close{}",
                self.after()
            );
        };
        let after = self.after();
        assert_eq!(
            connack.first, 0x20,
            "awaited CONNACK 0x{reason:02x}, got {connack:?}{after}"
        );
        let start = connack.body.get(..2);
        assert_eq!(
            start,
            Some([0, reason].as_slice()),
            "awaited CONNACK 0x{reason:02x}, got {connack:?}{after}"
        );
        if self.level == 5 {
            connack.properties();
        } else {
            assert_eq!(
                connack.body.len(),
                2,
                "a CONNACK of 3.x has two bytes, got {connack:?}"
            );
        }
    }

    /// Nothing comes for this long, and the connection stays. For the timers of the standard, and for nothing else.
    #[track_caller]
    pub fn expect_silence(&mut self, duration: Duration) {
        let end = Instant::now() + duration;
        loop {
            if let Some(packet) = self.kept.pop_front().or_else(|| self.take_packet()) {
                panic!("awaited nothing for {duration:?}, got {packet:?}");
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let look = self.look(left);
            assert!(
                !matches!(look, Look::Closed),
                "awaited nothing for {duration:?}, the broker closed"
            );
        }
    }

    /// PINGREQ; all packets that came before PINGRESP.
    #[track_caller]
    pub fn ping(&mut self) -> Vec<Wire> {
        self.send(&wire::pingreq());
        let pong = self.recv_until("PINGRESP", |packet| packet.packet_type() == 13);
        assert_eq!(
            pong.to_hex(),
            "d0 00",
            "PINGRESP has neither flags nor body"
        );
        self.kept.drain(..).collect()
    }

    /// SUBSCRIBE to filters with their options byte; the Reason Codes of SUBACK.
    #[track_caller]
    pub fn subscribe(&mut self, filters: &[(&str, u8)]) -> Vec<u8> {
        let suback = self.subscribe_with(&[], filters);
        suback.codes(self.level)
    }

    /// SUBSCRIBE with properties; the SUBACK.
    #[track_caller]
    pub fn subscribe_with(&mut self, props: &[Prop<'_>], filters: &[(&str, u8)]) -> Wire {
        let id = self.next_packet_id();
        self.send(&wire::subscribe(self.level, id, props, filters));
        self.recv_until("SUBACK", |packet| {
            packet.first == 0x90 && packet.packet_id() == id
        })
    }

    /// UNSUBSCRIBE; the Reason Codes of UNSUBACK, none on 3.x.
    #[track_caller]
    pub fn unsubscribe(&mut self, filters: &[&str]) -> Vec<u8> {
        let id = self.next_packet_id();
        self.send(&wire::unsubscribe(self.level, id, &[], filters));
        let unsuback = self.recv_until("UNSUBACK", |packet| {
            packet.first == 0xB0 && packet.packet_id() == id
        });
        if self.level == 5 {
            unsuback.codes(5)
        } else {
            Vec::new()
        }
    }

    /// PUBLISH and the rest of its exchange: PUBACK at QoS 1; PUBREC, PUBREL, PUBCOMP at QoS 2.
    #[track_caller]
    pub fn publish(&mut self, spec: &PublishSpec<'_>) {
        self.send_publish(spec);
        match spec.qos {
            0 => {}
            1 => self.expect_ack(0x40, spec.packet_id),
            _ => {
                self.expect_ack(0x50, spec.packet_id);
                self.send(&wire::ack(0x62, self.level, spec.packet_id, None));
                self.expect_ack(0x70, spec.packet_id);
            }
        }
    }

    /// Only the PUBLISH.
    #[track_caller]
    pub fn send_publish(&mut self, spec: &PublishSpec<'_>) {
        self.send(&spec.to_bytes(self.level));
    }

    /// The next packet, which must be a PUBLISH; not acknowledged.
    #[track_caller]
    pub fn recv_publish(&mut self) -> Delivered {
        match self.next("a PUBLISH") {
            Some(packet) => Delivered::from_wire(&packet, self.level),
            None => panic!("the broker closed the connection, a PUBLISH was awaited"),
        }
    }

    /// Acknowledges a delivery: PUBACK, or PUBREC and, after PUBREL came, PUBCOMP.
    #[track_caller]
    pub fn ack(&mut self, delivered: &Delivered) {
        match delivered.qos {
            0 => {}
            1 => self.send(&wire::ack(0x40, self.level, delivered.packet_id, None)),
            _ => {
                self.send(&wire::ack(0x50, self.level, delivered.packet_id, None));
                self.expect_ack(0x62, delivered.packet_id);
                self.send(&wire::ack(0x70, self.level, delivered.packet_id, None));
            }
        }
    }

    /// DISCONNECT (normal), then waits until the broker closes.
    #[track_caller]
    pub fn disconnect(mut self) {
        self.send(&wire::disconnect(self.level, None, &[]));
        self.try_recv_closed();
    }

    /// Closes the TCP connection without DISCONNECT.
    pub fn drop_connection(self) {
        // The broker may have closed it already, which is as good.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// The packet that is awaited; others that come before are kept for `recv`.
    #[track_caller]
    pub fn recv_until(&mut self, awaited: &str, is_it: impl Fn(&Wire) -> bool) -> Wire {
        if let Some(position) = self.kept.iter().position(&is_it)
            && let Some(packet) = self.kept.remove(position)
        {
            return packet;
        }
        let deadline = Instant::now() + patience();
        loop {
            match self.read_packet(awaited, deadline) {
                Some(packet) if is_it(&packet) => return packet,
                Some(packet) => self.kept.push_back(packet),
                None => panic!(
                    "the broker closed, {awaited} was awaited; before it sent {:?}",
                    self.kept
                ),
            }
        }
    }

    #[track_caller]
    fn expect_ack(&mut self, first: u8, packet_id: u16) {
        let name = wire::type_name(first >> 4);
        let ack = self.recv_until(name, |packet| {
            packet.first == first && packet.packet_id() == packet_id
        });
        let reason = ack.reason(self.level);
        assert!(
            reason < 0x80,
            "{name} refuses packet {packet_id} with 0x{reason:02x}"
        );
    }

    #[track_caller]
    fn next(&mut self, awaited: &str) -> Option<Wire> {
        match self.kept.pop_front() {
            Some(packet) => Some(packet),
            None => self.read_packet(awaited, Instant::now() + patience()),
        }
    }

    /// The next packet from the socket, or nothing when the broker has closed.
    #[track_caller]
    fn read_packet(&mut self, awaited: &str, deadline: Instant) -> Option<Wire> {
        loop {
            if let Some(packet) = self.take_packet() {
                return Some(packet);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let kept = &self.kept;
            assert!(
                !left.is_zero(),
                "no {awaited} within {:?}, only {kept:?}{}",
                patience(),
                self.after()
            );
            if let Look::Closed = self.look(left) {
                break;
            }
        }
        assert!(
            self.unread.is_empty(),
            "closed within a packet: [{}]",
            wire::to_hex(&self.unread)
        );
        None
    }

    /// Reads once, waiting this long at most.
    #[track_caller]
    fn look(&mut self, limit: Duration) -> Look {
        let mut chunk = [0; 16_384];
        let limited = self.stream.set_read_timeout(Some(limit));
        match limited.and_then(|()| self.stream.read(&mut chunk)) {
            Ok(0) => Look::Closed,
            Ok(count) => {
                self.unread.extend(chunk.iter().take(count));
                Look::Bytes
            }
            Err(error) if is_close(error.kind()) => Look::Closed,
            Err(error) if is_early(error.kind()) => Look::Nothing,
            Err(error) => panic!("cannot read: {error}"),
        }
    }

    fn after(&self) -> String {
        let shown = self.sent.get(..80).unwrap_or(&self.sent);
        format!(
            "; sent last were {} bytes [{}]",
            self.sent.len(),
            wire::to_hex(shown)
        )
    }

    #[track_caller]
    fn take_packet(&mut self) -> Option<Wire> {
        let first = *self.unread.first()?;
        let mut length = 0;
        for position in 0..4 {
            let byte = usize::from(*self.unread.get(position + 1)?);
            length |= (byte & 0x7F) << (7 * position);
            if byte & 0x80 == 0 {
                assert!(
                    byte != 0 || position == 0,
                    "a Remaining Length is longer than needed"
                );
                let start = position + 2;
                let body = self.unread.get(start..start + length)?.to_vec();
                self.unread.drain(..start + length);
                return Some(Wire { first, body });
            }
        }
        panic!(
            "a Remaining Length has more than four bytes: [{}]",
            wire::to_hex(&self.unread)
        );
    }

    fn next_packet_id(&mut self) -> u16 {
        self.last_packet_id += 1;
        self.last_packet_id
    }
}

fn is_close(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe
    )
}

/// The time is not up, or it is: the deadline decides.
fn is_early(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}
