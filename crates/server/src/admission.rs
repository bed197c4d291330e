//! From the first byte to an authenticated CONNECT, and to the worker where its Session lives.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;

use dunlin_engine::{Principal, partition_of, worker_of};
use dunlin_packet::{
    Connack, Connect, ConnectError, Decoded, Packet, ProtocolVersion, ReasonCode, decode_connect,
    encode,
};
use dunlin_protocol::auth::AuthMethods;
use dunlin_transport::Stream;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};

use crate::authenticate::{self, Verdict};
use crate::connection;
use crate::listen::Permit;
use crate::log::Kind;
use crate::mail::{Mail, Moved};
use crate::settings::ListenerSettings;
use crate::worker::Worker;

/// Bytes that a peer may send before its CONNECT is complete, as Mosquitto's bound: a large Will fits.
const CONNECT_BYTES_MAX: usize = 100_000;

/// What a finished admission hands on, beside the stream.
pub(crate) struct Admission {
    /// What was read: the CONNECT packet, and whatever came behind it.
    pub(crate) bytes: Vec<u8>,
    pub(crate) principal: Principal,
    pub(crate) listener: u16,
    pub(crate) permit: Permit,
}

/// What a peer turned out to be.
enum Came {
    /// A client, and the worker of its Session; `None` when any will do.
    Client(Principal, Option<u16>),
    Refused(ProtocolVersion, ReasonCode, &'static str),
    /// What it sent is no CONNECT.
    Malformed,
    /// It went away, or gave up.
    Gone,
}

/// Admits an accepted stream, here or by sending it to another worker. Its connection has a task of its own, so
/// that it does not carry the state of its admission for ever.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    mut stream: Stream,
    peer: String,
    listener: u16,
    permit: Permit,
) {
    let settings = worker.settings();
    let Some(rules) = settings.listeners.get(usize::from(listener)) else {
        return;
    };
    let mut bytes = Vec::new();
    let coming = come_in(&worker, &mut stream, &mut bytes, rules, &peer);
    let Ok(came) = tokio::time::timeout(settings.connect_timeout, coming).await else {
        let text = format_args!("Client {peer} was not connected in time, closing.");
        return worker.log.line(Kind::Notice, text);
    };
    let (principal, owner) = match came {
        Came::Client(principal, owner) => (principal, owner),
        Came::Refused(version, reason, why) => {
            worker
                .log
                .line(Kind::Notice, format_args!("Client {peer} refused: {why}."));
            return Box::pin(refuse(&mut stream, version, reason)).await;
        }
        Came::Malformed => {
            return Box::pin(refuse_malformed(&worker, &mut stream, &bytes, &peer)).await;
        }
        Came::Gone => return,
    };
    let admission = Admission {
        bytes,
        principal,
        listener,
        permit,
    };
    match owner {
        Some(owner) if owner != worker.number => {
            let Ok(stream) = stream.detach() else { return };
            let moved = Moved { stream, admission };
            worker.post.send(owner, Mail::Connection(Box::new(moved)));
        }
        _ => connection::begin(&worker, stream, admission),
    }
}

/// Goes on with a connection that another worker has admitted.
pub(crate) fn resume(worker: &Rc<Worker>, moved: Moved) {
    match Stream::attach(moved.stream) {
        Ok(stream) => connection::begin(worker, stream, moved.admission),
        Err(error) => worker.log.line(
            Kind::Error,
            format_args!("Error: a connection was lost between workers: {error}."),
        ),
    }
}

/// Reads CONNECT and asks who it is.
async fn come_in(
    worker: &Worker,
    stream: &mut Stream,
    bytes: &mut Vec<u8>,
    rules: &ListenerSettings,
    peer: &str,
) -> Came {
    let (version, owner, verdict, len) = loop {
        match read(worker, stream, bytes).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return Came::Gone,
        }
        match decode_connect(bytes, CONNECT_BYTES_MAX as u32) {
            Ok(Decoded::Packet {
                packet: Packet::Connect(connect),
                len,
            }) => {
                let verdict = authenticate::check(&connect, rules, &AuthMethods::default(), peer);
                break (connect.version, owner_of(&connect, worker), verdict, len);
            }
            Ok(Decoded::Incomplete { .. }) if bytes.len() < CONNECT_BYTES_MAX => {}
            _ => return Came::Malformed,
        }
    };
    let verdict = match verdict {
        Verdict::Exchange(exchange, step) => {
            let mut unread = bytes.split_off(len);
            let running = (exchange, step);
            // Rare and large.
            let exchange =
                authenticate::exchange(stream, &mut unread, CONNECT_BYTES_MAX, running, peer);
            let Ok(verdict) = Box::pin(exchange).await else {
                return Came::Gone;
            };
            bytes.extend_from_slice(&unread);
            verdict
        }
        settled => settled,
    };
    match verdict {
        Verdict::Admit(principal) => Came::Client(principal, owner),
        Verdict::Refuse(reason, why) => Came::Refused(version, reason, why),
        Verdict::Exchange(..) => Came::Gone,
    }
}

/// One read, appended to `bytes`.
async fn read(worker: &Worker, stream: &mut Stream, bytes: &mut Vec<u8>) -> io::Result<usize> {
    poll_fn(|cx| {
        let mut buffers = worker.read_buffers.borrow_mut();
        let mut buffer = ReadBuf::new(buffers.free_bytes());
        let polled = Pin::new(&mut *stream).poll_read(cx, &mut buffer);
        polled.map_ok(|()| {
            bytes.extend_from_slice(buffer.filled());
            buffer.filled().len()
        })
    })
    .await
}

/// An empty Client Identifier is assigned so that it belongs to whoever assigns it.
fn owner_of(connect: &Connect<'_>, worker: &Worker) -> Option<u16> {
    let id = connect.client_id;
    (!id.is_empty()).then(|| worker_of(partition_of(id.as_bytes()), worker.count))
}

/// Answers what is no acceptable CONNECT: with CONNACK where it is clear that it meant to be one.
async fn refuse_malformed(worker: &Worker, stream: &mut Stream, bytes: &[u8], peer: &str) {
    let Err(error) = decode_connect(bytes, CONNECT_BYTES_MAX as u32) else {
        worker.log.line(
            Kind::Notice,
            format_args!(
                "Client {peer} sent more than {CONNECT_BYTES_MAX} bytes before CONNECT, closing."
            ),
        );
        return;
    };
    match error {
        ConnectError::Decode { error, version } => {
            worker.log.line(
                Kind::Notice,
                format_args!("Client {peer} sent a bad CONNECT: {error}, closing."),
            );
            if version == Some(ProtocolVersion::V5) {
                refuse(stream, ProtocolVersion::V5, error.reason_code()).await;
            }
        }
        ConnectError::UnsupportedProtocolVersion { level } => {
            worker.log.line(
                Kind::Notice,
                format_args!("Client {peer} asks for protocol level {level}, closing."),
            );
            // v5[MQTT-3.1.2-2]: a client of 3.1 knows only the short form, with return code 1.
            let old = bytes.windows(6).take(10).any(|window| window == b"MQIsdp");
            let version = if old {
                ProtocolVersion::V31
            } else {
                ProtocolVersion::V5
            };
            refuse(stream, version, ReasonCode::UnsupportedProtocolVersion).await;
        }
        ConnectError::NotMqtt => {
            worker.log.line(
                Kind::Notice,
                format_args!("Client {peer} does not speak MQTT, closing."),
            );
        }
    }
}

/// Sends a refusing CONNACK and closes. The peer may be gone already; nothing depends on it.
async fn refuse(stream: &mut Stream, version: ProtocolVersion, reason: ReasonCode) {
    let connack = Connack {
        session_present: false,
        reason,
        properties: Default::default(),
    };
    let mut bytes = Vec::new();
    if encode(&Packet::Connack(connack), version, u32::MAX, &mut bytes).is_ok()
        && stream.write_all(&bytes).await.is_ok()
    {
        let _ = stream.shutdown().await;
        drain(stream).await;
    }
}

/// Reads what is left for a moment: closing with unread bytes would reset the connection and could
/// take our last packet with it.
pub(crate) async fn drain(stream: &mut Stream) {
    let mut scrap = [0; 1024];
    let all = async {
        for _ in 0..64 {
            if !matches!(stream.read(&mut scrap).await, Ok(1..)) {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(std::time::Duration::from_millis(500), all).await;
}
