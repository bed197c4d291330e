//! One engine, driven as a worker of the server drives it, but without sockets: a read is a slice, and a
//! write takes all that is there.

use std::io::IoSlice;
use std::sync::Arc;

use dunlin_engine::outgoing::SLICES_MAX;
use dunlin_engine::{ConnectionKey, Engine, Event, Input, Limits, Output, Principal, Setup};
use dunlin_packet::{Decoded, Packet, decode_connect};
use dunlin_protocol::{ServerOffer, Timestamp};
use dunlin_route::RouteIndex;

/// A broker of one worker, without a store, with the limits of an empty configuration. Its hash seeds are
/// fixed and its clock is moved by hand: played twice, it does the same twice.
pub(super) struct Broker {
    engine: Engine,
    offer: Arc<ServerOffer>,
    now: Timestamp,
    written_bytes: u64,
    writable: Vec<ConnectionKey>,
    closing: Vec<ConnectionKey>,
}

impl Broker {
    pub(super) fn new() -> Self {
        let engine = Engine::new(Setup {
            worker: 0,
            workers: 1,
            routes: Arc::new(RouteIndex::new(7)),
            limits: Arc::new(Limits::default()),
            authorizer: None,
            durable: false,
            hash_seed: 11,
        });
        Self {
            engine,
            offer: Arc::new(ServerOffer::default()),
            now: Timestamp::from_millis(1_000_000),
            written_bytes: 0,
            writable: Vec::new(),
            closing: Vec::new(),
        }
    }

    /// Accepts a connection whose first bytes are this CONNECT. CONNACK is written by the next flush.
    pub(super) fn connect(&mut self, bytes: &[u8]) -> ConnectionKey {
        let Decoded::Packet {
            packet: Packet::Connect(connect),
            ..
        } = decode_connect(bytes, u32::MAX).unwrap()
        else {
            unreachable!("a trace sends its CONNECT whole");
        };
        let connection = self.engine.open(Arc::clone(&self.offer));
        self.engine.handle(
            Input::Connect {
                connection,
                connect: &connect,
                principal: Principal::default(),
                random: 0,
            },
            self.now,
        );
        connection
    }

    /// Gives the engine one read of a connection, which holds whole packets.
    pub(super) fn read(&mut self, connection: ConnectionKey, bytes: &[u8]) {
        let used = self.engine.receive(connection, bytes, self.now);
        assert_eq!(used, bytes.len(), "the engine has left packets unread");
    }

    /// Ends a turn of the worker: does what the engine asks for, writes every buffer, and moves the clock.
    pub(super) fn flush(&mut self) {
        let mut writable = std::mem::take(&mut self.writable);
        loop {
            while let Some(output) = self.engine.poll_output() {
                self.obey(output);
            }
            self.engine.take_writable(&mut writable);
            if writable.is_empty() {
                break;
            }
            for connection in writable.drain(..) {
                self.write(connection);
            }
        }
        self.writable = writable;
        while let Some(connection) = self.closing.pop() {
            self.engine.handle(Input::Closed { connection }, self.now);
        }
        self.now = self.now + 1;
    }

    /// PUBLISH packets written so far.
    pub(super) fn messages_sent(&self) -> u64 {
        self.engine.metrics().publish_sent
    }

    /// Bytes of all packets written so far.
    pub(super) fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    fn obey(&mut self, output: Output) {
        match output {
            Output::Close { connection, .. } => self.closing.push(connection),
            Output::Event(event) => {
                let harmless = !matches!(event, Event::Refused { .. } | Event::Dropping { .. });
                assert!(harmless, "{event:?}");
            }
            other => unreachable!("one worker without a store asks for {other:?}"),
        }
    }

    fn write(&mut self, connection: ConnectionKey) {
        while let Some(outgoing) = self
            .engine
            .outgoing(connection)
            .filter(|outgoing| !outgoing.is_empty())
        {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let filled = outgoing.slices(&mut slices);
            let bytes: usize = slices[..filled].iter().map(|slice| slice.len()).sum();
            self.written_bytes += bytes as u64;
            self.engine
                .handle(Input::Written { connection, bytes }, self.now);
        }
    }
}
