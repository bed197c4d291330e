//! The stream to the broker: a thread opens it, then reads it until it ends. All that it finds goes to
//! the tool's one queue of inputs, which is bounded, so a tool that is slow slows the broker.

use std::io::{self, ErrorKind, Read};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

use crate::work::Input;

/// The most that is read at once.
const READ_BYTES_MAX: usize = 64 * 1024;

/// How long the broker may refuse to take bytes before the connection counts as lost.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

/// Why there is no stream.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// The host has no address.
    Lookup,
    /// None of its addresses could be connected to.
    Connect(io::Error),
}

/// Opens a stream in the background. Inputs carry `attempt`, so that those of a stream that was given
/// up are told apart.
pub(crate) fn open(host: String, port: u16, attempt: u32, inputs: SyncSender<Input>) {
    thread::spawn(move || {
        // The queue is gone only when the tool has ended, and this thread with it.
        let _ = match connect(&host, port) {
            Ok((stream, reading)) => {
                let opened = inputs.send(Input::Opened { attempt, stream });
                opened.and_then(|()| read(reading, attempt, &inputs))
            }
            Err(error) => inputs.send(Input::NotOpened { attempt, error }),
        };
    });
}

/// One stream, as two handles.
fn connect(host: &str, port: u16) -> Result<(TcpStream, TcpStream), OpenError> {
    let addresses = (host, port)
        .to_socket_addrs()
        .map_err(|_| OpenError::Lookup)?;
    let addresses: Vec<SocketAddr> = addresses.collect();
    let stream = TcpStream::connect(addresses.as_slice()).map_err(OpenError::Connect)?;
    stream.set_nodelay(true).map_err(OpenError::Connect)?;
    stream
        .set_write_timeout(Some(WRITE_LIMIT))
        .map_err(OpenError::Connect)?;
    let reading = stream.try_clone().map_err(OpenError::Connect)?;
    Ok((stream, reading))
}

fn read(
    mut stream: TcpStream,
    attempt: u32,
    inputs: &SyncSender<Input>,
) -> Result<(), std::sync::mpsc::SendError<Input>> {
    let mut buffer = vec![0; READ_BYTES_MAX];
    loop {
        let len = match stream.read(&mut buffer) {
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => 0,
        };
        let bytes = buffer.get(..len).unwrap_or_default();
        if bytes.is_empty() {
            return inputs.send(Input::Lost { attempt });
        }
        inputs.send(Input::Bytes {
            attempt,
            bytes: bytes.to_vec(),
        })?;
    }
}
