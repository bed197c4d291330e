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

/// What a finished admission hands on.
struct Admitted {
    stream: Stream,
    bytes: Vec<u8>,
    principal: Principal,
    /// The worker of the client's Session; `None` when any will do.
    worker: Option<u16>,
}

/// Serves one accepted stream to its end, here or by sending it to another worker.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    stream: Stream,
    peer: String,
    listener: u16,
    permit: Permit,
) {
    // On the heap, so that a connection does not carry the state of its admission for ever.
    let admission = Box::pin(admit(Rc::clone(&worker), stream, peer, listener));
    let Some(admitted) = admission.await else {
        return;
    };
    let Admitted {
        stream,
        bytes,
        principal,
        worker: owner,
    } = admitted;
    match owner {
        Some(owner) if owner != worker.number => {
            let Ok(stream) = stream.detach() else { return };
            let moved = Moved {
                stream,
                bytes,
                principal,
                listener,
                permit,
            };
            worker.post.send(owner, Mail::Connection(Box::new(moved)));
        }
        _ => run(worker, stream, bytes, principal, listener, permit).await,
    }
}

/// Goes on with a connection that another worker has admitted.
pub(crate) async fn resume(worker: Rc<Worker>, moved: Moved) {
    let Moved {
        stream,
        bytes,
        principal,
        listener,
        permit,
    } = moved;
    match Stream::attach(stream) {
        Ok(stream) => run(worker, stream, bytes, principal, listener, permit).await,
        Err(error) => worker.log.line(
            Kind::Error,
            format_args!("Error: a connection was lost between workers: {error}."),
        ),
    }
}

async fn run(
    worker: Rc<Worker>,
    stream: Stream,
    bytes: Vec<u8>,
    principal: Principal,
    listener: u16,
    permit: Permit,
) {
    let Some(task) = connection::begin(&worker, stream, bytes, principal, listener) else {
        return;
    };
    task.await;
    drop(permit);
}

async fn admit(
    worker: Rc<Worker>,
    mut stream: Stream,
    peer: String,
    listener: u16,
) -> Option<Admitted> {
    let settings = worker.settings();
    let rules = settings.listeners.get(usize::from(listener))?;
    let mut bytes = Vec::new();
    let coming = come_in(&worker, &mut stream, &mut bytes, rules, &peer);
    let Ok(came) = tokio::time::timeout(settings.connect_timeout, coming).await else {
        let text = format_args!("Client {peer} was not connected in time, closing.");
        worker.log.line(Kind::Notice, text);
        return None;
    };
    let connect = match decode_connect(&bytes, CONNECT_BYTES_MAX as u32) {
        Ok(Decoded::Packet {
            packet: Packet::Connect(connect),
            ..
        }) => connect,
        _ => {
            // The peer may be gone; then nobody is to be told.
            if came.is_ok() {
                refuse_malformed(&worker, &mut stream, &bytes, &peer).await;
            }
            return None;
        }
    };
    match came.ok()? {
        Some(Verdict::Admit(principal)) => {
            let owner = owner_of(&connect, &worker);
            Some(Admitted {
                stream,
                bytes,
                principal,
                worker: owner,
            })
        }
        Some(Verdict::Refuse(reason, why)) => {
            let version = connect.version;
            worker
                .log
                .line(Kind::Notice, format_args!("Client {peer} refused: {why}."));
            refuse(&mut stream, version, reason).await;
            None
        }
        _ => None,
    }
}

/// Reads CONNECT and asks who it is. `None` when there is no CONNECT.
async fn come_in(
    worker: &Worker,
    stream: &mut Stream,
    bytes: &mut Vec<u8>,
    rules: &ListenerSettings,
    peer: &str,
) -> io::Result<Option<Verdict>> {
    if !read_connect(worker, stream, bytes).await? {
        return Ok(None);
    }
    let methods = AuthMethods::default();
    let (verdict, len) = match decode_connect(bytes, CONNECT_BYTES_MAX as u32) {
        Ok(Decoded::Packet {
            packet: Packet::Connect(connect),
            len,
        }) => (authenticate::check(&connect, rules, &methods, peer), len),
        _ => return Ok(None),
    };
    let Verdict::Exchange(exchange, step) = verdict else {
        return Ok(Some(verdict));
    };
    let mut unread = bytes.split_off(len);
    let running = (exchange, step);
    let verdict =
        authenticate::exchange(stream, &mut unread, CONNECT_BYTES_MAX, running, peer).await?;
    bytes.extend_from_slice(&unread);
    Ok(Some(verdict))
}

/// An empty Client Identifier is assigned so that it belongs to whoever assigns it.
fn owner_of(connect: &Connect<'_>, worker: &Worker) -> Option<u16> {
    let id = connect.client_id;
    (!id.is_empty()).then(|| worker_of(partition_of(id.as_bytes()), worker.count))
}

/// Reads until CONNECT is complete; false if it cannot become one.
async fn read_connect(
    worker: &Worker,
    stream: &mut Stream,
    bytes: &mut Vec<u8>,
) -> io::Result<bool> {
    loop {
        let read = poll_fn(|cx| {
            let mut shared = worker.read_buffer.borrow_mut();
            let mut buffer = ReadBuf::new(&mut shared);
            let polled = Pin::new(&mut *stream).poll_read(cx, &mut buffer);
            polled.map_ok(|()| {
                bytes.extend_from_slice(buffer.filled());
                buffer.filled().len()
            })
        })
        .await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match decode_connect(bytes, CONNECT_BYTES_MAX as u32) {
            Ok(Decoded::Packet { .. }) => return Ok(true),
            Ok(Decoded::Incomplete { .. }) if bytes.len() < CONNECT_BYTES_MAX => {}
            _ => return Ok(false),
        }
    }
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
