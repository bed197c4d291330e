//! The floor: a bare relay of MQTT packets with none of a broker's rules.
//!
//! It exists to measure, on any machine, what the kernel and the bytes alone cost, so that a broker's
//! CPU per message can be held against the least that this shape of program needs: one thread, one
//! read per readiness, one write per connection and turn.
//!
//! It answers CONNECT, SUBSCRIBE, UNSUBSCRIBE, PINGREQ and DISCONNECT, acknowledges at once, and passes
//! each PUBLISH on to those who named its topic exactly, at the lower QoS of both. A subscriber of the
//! publisher's form (version, with or without a Packet Identifier) gets the publisher's own bytes.
//!
//! Left out: Sessions, state of QoS 1 and 2, retained messages, Wills, wildcards (answered by 0x80 and
//! a line on standard error), Topic Aliases, Keep Alive, quotas, expiry, access rules, logs, and nearly
//! every check of what a peer may send. It is for load generators on the same machine, nothing else.
//!
//! Payloads of 4 KiB and more are written straight out of the read buffers (`--large reference`, the
//! default) or copied as small ones are (`--large copy`, and anyway while the socket is full).
//!
//! ```sh
//! cargo build --release -p dunlin-server --example relay
//! taskset -c 0 target/release/examples/relay 18850 --large reference
//! ```
//!
//! Then run a load generator against 127.0.0.1:18850 from another core, exact topics only, and divide
//! the CPU time of the relay (`utime` and `stime` in `/proc/PID/stat`) by the messages delivered.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::hash::{BuildHasherDefault, Hasher};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use dunlin_packet::publish_wire::PublishHeader;
use dunlin_packet::{
    Decoded, Packet, PacketId, PacketType, Properties, ProtocolVersion, QoS, ReasonCode, Rules,
    Sender, Suback, Unsuback, decode, decode_connect, encode,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::coop::unconstrained;
use tokio::task::{LocalSet, spawn_local};

/// Bytes of a read buffer.
const READ_BYTES: usize = 256 * 1024;

/// Reads after which a turn flushes, however many connections are still to be read.
const READS_PER_TURN: u32 = 16;

/// Payload bytes from which a payload counts as large.
const LARGE: usize = 4096;

/// Unwritten bytes of one connection above which nothing is read from publishers, until half is left.
const WAITING_MAX: usize = 64 * 1024 * 1024;

/// Outgoing buffers above this capacity, and beyond this number, are not kept for reuse.
const POOLED_BYTES_MAX: usize = 4 * 1024 * 1024;
const POOL_MAX: usize = 128;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("relay: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (port, by_reference) = match words.as_slice() {
        [port] | [port, "--large", "reference"] => (port, true),
        [port, "--large", "copy"] => (port, false),
        _ => return Err(invalid("usage: relay PORT [--large copy|reference]")),
    };
    let port: u16 = port.parse().map_err(invalid)?;
    rlimit::increase_nofile_limit(u64::MAX)?;
    let relay = Rc::new(Relay {
        by_reference,
        ..Relay::default()
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let tasks = LocalSet::new();
    // Without the runtime's budget per task, which would cut a flush of many connections short.
    tasks.spawn_local(unconstrained(flush_turns(Rc::clone(&relay))));
    tasks.block_on(&runtime, accept(relay, port))
}

async fn accept(relay: Rc<Relay>, port: u16) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("relay: listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        // A socket that is gone already says so at the first read.
        let _ = stream.set_nodelay(true);
        spawn_local(unconstrained(serve(Rc::clone(&relay), stream)));
    }
}

async fn serve(relay: Rc<Relay>, stream: TcpStream) {
    let connection = Rc::new(Connection::new(stream));
    let served = poll_fn(|cx| relay.turn(&connection, cx)).await;
    relay.forget(&connection);
    if let Err(error) = served
        && error.kind() == io::ErrorKind::InvalidData
    {
        eprintln!("relay: closed a connection: {error}");
    }
}

/// Writes what has gathered whenever there is something, behind all tasks that are ready now.
async fn flush_turns(relay: Rc<Relay>) {
    poll_fn(|cx| {
        relay.flush();
        relay.flusher.set(Some(cx.waker().clone()));
        Poll::<()>::Pending
    })
    .await;
}

/// What all tasks share.
#[derive(Default)]
struct Relay {
    by_reference: bool,
    topics: RefCell<Topics>,
    /// Read buffers, the one used last at the end. Those that are referenced wait for their writes.
    blocks: RefCell<Vec<Arc<[u8]>>>,
    /// Empty outgoing buffers.
    pool: RefCell<Vec<Vec<u8>>>,
    /// Connections with something new to write.
    dirty: RefCell<Vec<Rc<Connection>>>,
    flusher: Cell<Option<Waker>>,
    /// Since the last flush.
    reads: Cell<u32>,
    /// How many connections have too much waiting.
    behind: Cell<usize>,
    /// Publishers that are not read from until none is behind.
    held: RefCell<Vec<Waker>>,
}

/// Who gets what, by Topic Name.
type Topics = HashMap<Box<[u8]>, Vec<Subscriber>, BuildHasherDefault<TopicHasher>>;

struct Subscriber {
    connection: Rc<Connection>,
    qos: QoS,
}

struct Connection {
    stream: RefCell<TcpStream>,
    /// Of its task.
    waker: Cell<Option<Waker>>,
    /// The unfinished packet at the end of the last read.
    unread: RefCell<Vec<u8>>,
    out: RefCell<Outgoing>,
    /// Set by CONNECT.
    version: Cell<Option<ProtocolVersion>>,
    /// The Packet Identifier of the last delivery.
    last_id: Cell<u16>,
    subscriptions: RefCell<Vec<Box<[u8]>>>,
    /// In the list of those with something to write.
    dirty: Cell<bool>,
    /// The socket was full: the task waits until it is not.
    full: Cell<bool>,
    /// Has too much waiting.
    behind: Cell<bool>,
    publishes: Cell<bool>,
    closed: Cell<bool>,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream: RefCell::new(stream),
            waker: Cell::default(),
            unread: RefCell::default(),
            out: RefCell::default(),
            version: Cell::default(),
            last_id: Cell::default(),
            subscriptions: RefCell::default(),
            dirty: Cell::default(),
            full: Cell::default(),
            behind: Cell::default(),
            publishes: Cell::default(),
            closed: Cell::default(),
        }
    }

    fn next_id(&self) -> PacketId {
        let next = self.last_id.get().wrapping_add(1);
        let id = PacketId::new(next).unwrap_or(PacketId::FIRST);
        self.last_id.set(id.get());
        id
    }
}

/// Reading and writing.
impl Relay {
    /// One poll of a connection's task.
    fn turn(&self, connection: &Rc<Connection>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        connection.waker.set(Some(cx.waker().clone()));
        if connection.full.get() {
            let written = self.write(connection, cx)?;
            connection.full.set(written.is_pending());
            self.note_waiting(connection);
        }
        while !connection.closed.get() {
            if self.behind.get() > 0 && connection.publishes.get() {
                self.held.borrow_mut().push(cx.waker().clone());
                return Poll::Pending;
            }
            // A socket that was read empty is known to be, without a system call.
            ready!(connection.stream.borrow().poll_read_ready(cx))?;
            if ready!(self.read(connection, cx))? {
                // There is more than the buffer holds: others first.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// One read. Tells whether it filled the buffer.
    fn read(&self, connection: &Rc<Connection>, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let unread = connection.unread.borrow();
        let head = unread.len();
        let mut block = self.take_block(2 * head);
        let (front, back) = Arc::make_mut(&mut block).split_at_mut(head);
        front.copy_from_slice(&unread);
        drop(unread);
        let mut buffer = ReadBuf::new(back);
        let polled = Pin::new(&mut *connection.stream.borrow_mut()).poll_read(cx, &mut buffer);
        let filled = buffer.filled().len();
        let full = buffer.remaining() == 0;
        let read = polled.map(|result| -> io::Result<bool> {
            result?;
            connection.closed.set(filled == 0);
            self.packets(connection, &block, head + filled)?;
            Ok(full)
        });
        if block.len() == READ_BYTES {
            self.blocks.borrow_mut().push(block);
        }
        self.reads.set(self.reads.get() + 1);
        if self.reads.get() >= READS_PER_TURN {
            self.flush();
        }
        read
    }

    /// A read buffer that nobody references, the one used last if possible: the caches know it. For an
    /// unfinished packet that fills half of such a buffer, one of its own with this much room.
    fn take_block(&self, room: usize) -> Arc<[u8]> {
        if room > READ_BYTES {
            return Arc::from(vec![0; room]);
        }
        let mut blocks = self.blocks.borrow_mut();
        let free = blocks
            .iter_mut()
            .rposition(|block| Arc::get_mut(block).is_some());
        match free {
            Some(at) => blocks.remove(at),
            None => Arc::from(vec![0; READ_BYTES]),
        }
    }

    /// Writes once to every connection that has something new to write.
    fn flush(&self) {
        self.reads.set(0);
        let mut dirty = self.dirty.take();
        for connection in dirty.drain(..) {
            connection.dirty.set(false);
            // Where the socket is full the task waits; a second poll would take its waker away.
            if !connection.closed.get() && !connection.full.get() {
                let mut nobody = Context::from_waker(Waker::noop());
                let written = self.write(&connection, &mut nobody);
                if !matches!(written, Ok(Poll::Ready(()))) {
                    // The task tries again, with a waker of its own; it meets an error too.
                    connection.full.set(true);
                    if let Some(waker) = connection.waker.take() {
                        waker.wake();
                    }
                }
            }
            self.note_waiting(&connection);
        }
        self.dirty.replace(dirty);
    }

    /// Writes what a connection has to be written. Pending when its socket is full.
    fn write(&self, connection: &Connection, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        let mut out = connection.out.borrow_mut();
        let out = &mut *out;
        let mut stream = connection.stream.borrow_mut();
        if !out.references.is_empty() {
            out.write_references(&mut stream, cx)?;
        }
        while out.written < out.bytes.len() {
            let rest = out.bytes.get(out.written..).unwrap_or_default();
            match Pin::new(&mut *stream).poll_write(cx, rest) {
                Poll::Ready(count) => out.written += count?,
                Poll::Pending => {
                    if out.written >= out.bytes.len() / 2 {
                        out.bytes.drain(..out.written);
                        out.written = 0;
                    }
                    return Ok(Poll::Pending);
                }
            }
        }
        out.written = 0;
        self.give(std::mem::take(&mut out.bytes));
        Ok(Poll::Ready(()))
    }

    fn give(&self, mut bytes: Vec<u8>) {
        let mut pool = self.pool.borrow_mut();
        if (1..=POOLED_BYTES_MAX).contains(&bytes.capacity()) && pool.len() < POOL_MAX {
            bytes.clear();
            pool.push(bytes);
        }
    }

    /// What is outgoing on a connection, to append to: the next flush writes it.
    fn out<'c>(&self, connection: &'c Rc<Connection>) -> RefMut<'c, Outgoing> {
        if !connection.dirty.replace(true) {
            self.dirty.borrow_mut().push(Rc::clone(connection));
            if let Some(waker) = self.flusher.take() {
                waker.wake();
            }
        }
        let mut out = connection.out.borrow_mut();
        if out.bytes.capacity() == 0 {
            let pooled = self.pool.borrow_mut().pop();
            out.bytes = pooled.unwrap_or_else(|| Vec::with_capacity(4096));
        }
        out
    }

    /// Counts the connections that are behind, and lets publishers go on when none is any more.
    fn note_waiting(&self, connection: &Connection) {
        let was = connection.behind.get();
        let max = if was { WAITING_MAX / 2 } else { WAITING_MAX };
        let is = connection.out.borrow().waiting() > max;
        connection.behind.set(is);
        self.behind
            .set(self.behind.get() + usize::from(is) - usize::from(was));
        if was && self.behind.get() == 0 {
            for waker in self.held.take() {
                waker.wake();
            }
        }
    }

    /// Ends a connection.
    fn forget(&self, connection: &Rc<Connection>) {
        connection.closed.set(true);
        for topic in connection.subscriptions.take() {
            self.unsubscribe(connection, &topic);
        }
        self.give(connection.out.take().bytes);
        self.note_waiting(connection);
    }
}

/// A whole packet as it came.
#[derive(Clone, Copy)]
struct Frame<'a> {
    bytes: &'a [u8],
    /// Bytes of the fixed header.
    header_len: usize,
    /// The read buffer that it is in, and where.
    block: &'a Arc<[u8]>,
    at: usize,
}

impl Frame<'_> {
    /// An answer with the Packet Identifier at `id_at`, which has one form in all versions.
    fn answer(&self, first: u8, id_at: usize) -> io::Result<[u8; 4]> {
        let id = self.bytes.get(id_at..).and_then(|id| id.first_chunk::<2>());
        let &[high, low] = id.ok_or_else(|| invalid("a packet without its Packet Identifier"))?;
        Ok([first, 2, high, low])
    }
}

/// First bytes of packets.
const PUBLISH: u8 = 0x30;
const PUBACK: u8 = 0x40;
const PUBREC: u8 = 0x50;
const PUBREL: u8 = 0x62;
const PUBCOMP: u8 = 0x70;

/// The packets.
impl Relay {
    /// Handles the packets in the first bytes of a block, and keeps the unfinished one.
    fn packets(&self, connection: &Rc<Connection>, block: &Arc<[u8]>, to: usize) -> io::Result<()> {
        let mut at = 0;
        let mut rest = block.get(..to).unwrap_or_default();
        while !connection.closed.get()
            && let Some((header_len, len)) = measure(rest)?
            && let Some((bytes, after)) = rest.split_at_checked(len)
        {
            let frame = Frame {
                bytes,
                header_len,
                block,
                at,
            };
            self.packet(connection, frame)?;
            at += len;
            rest = after;
        }
        let mut unread = connection.unread.borrow_mut();
        unread.clear();
        unread.extend_from_slice(rest);
        Ok(())
    }

    fn packet(&self, connection: &Rc<Connection>, frame: Frame<'_>) -> io::Result<()> {
        let Some(version) = connection.version.get() else {
            return self.connect(connection, frame.bytes);
        };
        let first = frame.bytes.first().copied().unwrap_or_default();
        let answer = match PacketType::from_u8(first >> 4) {
            Some(PacketType::Publish) => {
                let publish = Publish::parse(frame, version);
                let publish = publish.ok_or_else(|| invalid("a PUBLISH that cannot be read"))?;
                return self.publish(connection, &publish);
            }
            Some(PacketType::Puback | PacketType::Pubcomp) => return Ok(()),
            Some(PacketType::Pubrec) => frame.answer(PUBREL, frame.header_len)?,
            Some(PacketType::Pubrel) => frame.answer(PUBCOMP, frame.header_len)?,
            _ => return self.request(connection, frame.bytes, version),
        };
        self.out(connection).bytes.extend_from_slice(&answer);
        Ok(())
    }

    fn publish(&self, connection: &Rc<Connection>, publish: &Publish<'_>) -> io::Result<()> {
        connection.publishes.set(true);
        if publish.qos != QoS::AtMostOnce {
            let at_least_once = publish.qos == QoS::AtLeastOnce;
            let first = if at_least_once { PUBACK } else { PUBREC };
            let answer = publish.frame.answer(first, publish.id_at)?;
            self.out(connection).bytes.extend_from_slice(&answer);
        }
        if let Some(subscribers) = self.topics.borrow().get(publish.topic) {
            for subscriber in subscribers {
                self.deliver(subscriber, publish);
            }
        }
        Ok(())
    }

    fn deliver(&self, subscriber: &Subscriber, publish: &Publish<'_>) {
        let connection = &subscriber.connection;
        let Some(version) = connection.version.get() else {
            return;
        };
        let frame = publish.frame;
        let payload_at = publish.payload_at;
        let payload = frame.bytes.get(payload_at..).unwrap_or_default();
        let qos = subscriber.qos.min(publish.qos);
        let packet_id = (qos != QoS::AtMostOnce).then(|| connection.next_id());
        let first = PUBLISH | (qos.bits() << 1);
        // Behind a full socket references would keep read buffers for long.
        let refer = self.by_reference && payload.len() >= LARGE && !connection.full.get();
        let same_form = version.is_v5() == publish.version.is_v5()
            && packet_id.is_none() == (publish.qos == QoS::AtMostOnce);
        let mut out = self.out(connection);
        if !same_form {
            let header = PublishHeader {
                dup: false,
                qos,
                retain: false,
                // A topic that somebody subscribed to is text.
                topic: std::str::from_utf8(publish.topic).unwrap_or_default(),
                packet_id,
                version,
                own_properties: &[],
                forwarded: publish.properties,
                payload_len: payload.len(),
            };
            header.put(&mut out.bytes);
            if !refer {
                out.bytes.extend_from_slice(payload);
            }
        } else if refer && packet_id.is_none() && frame.bytes.first() == Some(&first) {
            return out.refer(frame, 0);
        } else {
            let copied = if refer { payload_at } else { frame.bytes.len() };
            let start = out.bytes.len();
            out.bytes
                .extend_from_slice(frame.bytes.get(..copied).unwrap_or_default());
            patch(&mut out.bytes, start, &[first]);
            if let Some(id) = packet_id {
                let id = id.get().to_be_bytes();
                patch(&mut out.bytes, start + publish.id_at, &id);
            }
        }
        if refer {
            out.refer(frame, payload_at);
        }
    }

    fn connect(&self, connection: &Rc<Connection>, bytes: &[u8]) -> io::Result<()> {
        if let Decoded::Packet { packet, .. } = decode_connect(bytes, u32::MAX).map_err(invalid)?
            && let Packet::Connect(connect) = packet
        {
            let v3: &[u8] = &[0x20, 2, 0, 0];
            let v5: &[u8] = &[0x20, 3, 0, 0, 0];
            let connack = if connect.version.is_v5() { v5 } else { v3 };
            self.out(connection).bytes.extend_from_slice(connack);
            connection.version.set(Some(connect.version));
        }
        Ok(())
    }

    /// The packets that are too rare to matter.
    fn request(
        &self,
        connection: &Rc<Connection>,
        bytes: &[u8],
        version: ProtocolVersion,
    ) -> io::Result<()> {
        let rules = Rules {
            version,
            sender: Sender::Client,
            packet_size_max: u32::MAX,
        };
        let Decoded::Packet { packet, .. } = decode(bytes, &rules).map_err(invalid)? else {
            return Ok(());
        };
        let mut reasons = Vec::new();
        let answer = match packet {
            Packet::Subscribe(subscribe) => {
                for (filter, options) in subscribe.filters() {
                    reasons.push(self.subscribe(connection, filter, options.qos));
                }
                Packet::Suback(Suback {
                    packet_id: subscribe.packet_id,
                    properties: Properties::EMPTY,
                    reasons: &reasons,
                })
            }
            Packet::Unsubscribe(unsubscribe) => {
                for filter in unsubscribe.filters() {
                    self.unsubscribe(connection, filter.as_bytes());
                    reasons.push(ReasonCode::Success.code());
                }
                Packet::Unsuback(Unsuback {
                    packet_id: unsubscribe.packet_id,
                    properties: Properties::EMPTY,
                    reasons: &reasons,
                })
            }
            Packet::Pingreq => Packet::Pingresp,
            Packet::Disconnect(_) => {
                connection.closed.set(true);
                return Ok(());
            }
            _ => return Err(invalid("a packet that is not for a relay")),
        };
        let mut out = self.out(connection);
        encode(&answer, version, u32::MAX, &mut out.bytes).map_err(invalid)
    }

    fn subscribe(&self, connection: &Rc<Connection>, filter: &str, qos: QoS) -> u8 {
        if filter.contains(['+', '#']) || filter.starts_with("$share/") {
            eprintln!("relay: refused {filter:?}: only exact topics are relayed");
            return ReasonCode::UnspecifiedError.code();
        }
        let topic: Box<[u8]> = filter.as_bytes().into();
        self.unsubscribe(connection, &topic);
        let mut own = connection.subscriptions.borrow_mut();
        own.push(topic.clone());
        let mut topics = self.topics.borrow_mut();
        topics.entry(topic).or_default().push(Subscriber {
            connection: Rc::clone(connection),
            qos,
        });
        qos.bits()
    }

    fn unsubscribe(&self, connection: &Rc<Connection>, topic: &[u8]) {
        let mut topics = self.topics.borrow_mut();
        if let Some(subscribers) = topics.get_mut(topic) {
            subscribers.retain(|known| !Rc::ptr_eq(&known.connection, connection));
            if subscribers.is_empty() {
                topics.remove(topic);
            }
        }
    }
}

/// A PUBLISH, taken apart no further than passing it on needs.
struct Publish<'a> {
    frame: Frame<'a>,
    version: ProtocolVersion,
    qos: QoS,
    topic: &'a [u8],
    /// Where the Packet Identifier is or would be.
    id_at: usize,
    /// Without their length.
    properties: &'a [u8],
    payload_at: usize,
}

impl<'a> Publish<'a> {
    fn parse(frame: Frame<'a>, version: ProtocolVersion) -> Option<Self> {
        let qos = QoS::from_bits((frame.bytes.first()? >> 1) & 0x03)?;
        let body = frame.bytes.get(frame.header_len..)?;
        let (topic_len, rest) = body.split_first_chunk::<2>()?;
        let topic_len = usize::from(u16::from_be_bytes(*topic_len));
        let (topic, mut rest) = rest.split_at_checked(topic_len)?;
        let id_at = frame.bytes.len() - rest.len();
        if qos != QoS::AtMostOnce {
            rest = rest.get(2..)?;
        }
        let mut properties: &[u8] = &[];
        if version.is_v5() {
            let (len, len_bytes) = varint(rest)?;
            (properties, rest) = rest.get(len_bytes..)?.split_at_checked(len)?;
        }
        Some(Publish {
            frame,
            version,
            qos,
            topic,
            id_at,
            properties,
            payload_at: frame.bytes.len() - rest.len(),
        })
    }
}

/// Bytes of the fixed header and of the whole packet at the front; `None` when that is not there yet.
fn measure(bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let rest = bytes.get(1..).unwrap_or_default();
    match varint(rest) {
        Some((remaining, len)) => Ok(Some((1 + len, 1 + len + remaining))),
        None if rest.len() < 4 => Ok(None),
        None => Err(invalid("a Remaining Length of more than four bytes")),
    }
}

/// A variable byte integer and the number of its bytes.
fn varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (at, &byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * at);
        if byte < 0x80 {
            return Some((value, at + 1));
        }
    }
    None
}

fn patch(bytes: &mut [u8], at: usize, with: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + with.len()) {
        place.copy_from_slice(with);
    }
}

fn invalid(what: impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}

/// What waits to be written to one connection, in order.
#[derive(Default)]
struct Outgoing {
    bytes: Vec<u8>,
    /// Bytes at the front of `bytes` that are written already: none while there are references.
    written: usize,
    /// Gone after each flush, for what is not written then is copied.
    references: Vec<Reference>,
}

/// Bytes of a read buffer that belong before `bytes[at]`.
struct Reference {
    at: usize,
    block: Arc<[u8]>,
    from: usize,
    to: usize,
}

impl Outgoing {
    /// Unwritten bytes, when there are no references.
    fn waiting(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// Appends the rest of a packet without copying; where it adjoins what is before, as one with it.
    fn refer(&mut self, frame: Frame<'_>, skipped: usize) {
        let (from, to) = (frame.at + skipped, frame.at + frame.bytes.len());
        let at = self.bytes.len();
        if let Some(last) = self.references.last_mut()
            && (last.at, last.to) == (at, from)
            && Arc::ptr_eq(&last.block, frame.block)
        {
            last.to = to;
            return;
        }
        let block = Arc::clone(frame.block);
        self.references.push(Reference {
            at,
            block,
            from,
            to,
        });
    }

    /// Writes by gathering until all is written or the socket is full, and copies what is left.
    fn write_references(&mut self, stream: &mut TcpStream, cx: &mut Context<'_>) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(2 * self.references.len() + 1);
        let mut from = 0;
        for reference in &self.references {
            let copied = self.bytes.get(from..reference.at);
            let referenced = reference.block.get(reference.from..reference.to);
            slices.extend([copied, referenced].into_iter().flatten().map(IoSlice::new));
            from = reference.at;
        }
        slices.extend(self.bytes.get(from..).map(IoSlice::new));
        slices.retain(|slice| !slice.is_empty());
        let mut rest = slices.as_mut_slice();
        while !rest.is_empty()
            && let Poll::Ready(count) = Pin::new(&mut *stream).poll_write_vectored(cx, rest)
        {
            IoSlice::advance_slices(&mut rest, count?);
        }
        let left: Vec<&[u8]> = rest.iter().map(|slice| &**slice).collect();
        let left = left.concat();
        self.references.clear();
        self.bytes.clear();
        self.bytes.extend_from_slice(&left);
        Ok(())
    }
}

/// Folds eight bytes at a time; topics come from a load generator, not from an enemy.
#[derive(Default)]
struct TopicHasher(u64);

impl Hasher for TopicHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.write_u64(u64::from_le_bytes(*word));
        }
        let shift = |word: u64, byte: &u8| (word << 8) | u64::from(*byte);
        self.write_u64(rest.iter().fold(0, shift));
    }

    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * 0x9E37_79B9_7F4A_7C15_u128;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }

    fn write_usize(&mut self, len: usize) {
        self.write_u64(len as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
