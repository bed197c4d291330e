//! The task of one Network Connection with a Session.
//!
//! It reads once per readiness into the worker's shared buffer and gives the bytes to the engine;
//! an idle connection holds no buffer. Writing is the worker's, at the end of its turn; the task only goes
//! on where a socket was full.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use dunlin_engine::{ConnectionKey, Input, Principal};
use dunlin_packet::{Connect, Decoded, Packet, decode_connect};
use dunlin_transport::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::admission::Admission;
use crate::listen::Permit;
use crate::worker::Worker;

/// How long a connection that is being closed may take to accept its last bytes.
const LAST_BYTES: Duration = Duration::from_secs(5);

/// Reads of what a peer still sends to a connection that is being closed: beyond that it is told nothing more.
const SCRAP_READS_MAX: u32 = 16;

/// So many of them without a pause.
const SCRAP_READS_AT_ONCE: u32 = 4;

/// Unfinished packets above this size are read into a buffer of their own.
const SHARED_UNREAD_MAX: usize = 64 * 1024;

/// What the task and the worker share about one connection. Most connections are idle most of the time, so
/// what an idle one does not need is on the heap only while it is there.
pub(crate) struct Io {
    /// Given back before the socket is closed, so that who sees the end may come again.
    _permit: Permit,
    pub(crate) stream: RefCell<Stream>,
    worker: Rc<Worker>,
    key: ConnectionKey,
    waker: RefCell<Option<Waker>>,
    /// Bytes of an unfinished packet, or packets kept while reading is paused.
    unread: Cell<Option<Box<Unread>>>,
    farewell: Cell<Option<Box<Farewell>>>,
    state: Cell<State>,
    /// Reading goes on after a pause: what was kept comes first.
    resumed: Cell<bool>,
    /// The socket was full: the task waits until it is not.
    full: Cell<bool>,
}

struct Unread(Vec<u8>);

/// What the end of a connection may still cost.
struct Farewell {
    /// Until when the last bytes may be written.
    late: Pin<Box<Sleep>>,
    scrap_reads: u32,
}

/// ```text
///   Reading ◀──▶ Paused                 (the engine says so)
///      └───────────┴──▶ Closing, Leaving ──all written, or too late──▶ Done
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    Paused,
    /// By the client: when all is written, nobody waits for anything but the end.
    Leaving,
    Closing,
    Done,
}

impl Io {
    /// Whether this is the connection that the engine means.
    pub(crate) fn is(&self, key: ConnectionKey) -> bool {
        self.key == key
    }

    /// Wakes the task.
    pub(crate) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    pub(crate) fn pause(&self) {
        if self.state.get() == State::Reading {
            self.state.set(State::Paused);
        }
    }

    pub(crate) fn resume(&self) {
        self.resumed.set(true);
        if self.state.get() == State::Paused {
            self.state.set(State::Reading);
        }
        self.wake();
    }

    pub(crate) fn close(&self, by_client: bool) {
        if self.state.get() != State::Done {
            self.state.set(if by_client {
                State::Leaving
            } else {
                State::Closing
            });
            self.wake();
        }
    }

    /// The transport failed while writing.
    pub(crate) fn fail(&self) {
        self.state.set(State::Done);
        self.wake();
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full.get()
    }

    pub(crate) fn socket_full(&self) {
        if !self.full.replace(true) {
            self.wake();
        }
    }
}

/// Gives an admitted connection to the engine, CONNECT first, and starts its task.
pub(crate) fn begin(worker: &Rc<Worker>, stream: Stream, admitted: Admission) {
    let Admission {
        mut bytes,
        principal,
        listener,
        permit,
    } = admitted;
    let Ok(Decoded::Packet {
        packet: Packet::Connect(connect),
        len,
    }) = decode_connect(&bytes, u32::MAX)
    else {
        return;
    };
    let settings = worker.settings();
    let Some(rules) = settings.listeners.get(usize::from(listener)) else {
        return;
    };
    let key = worker
        .engine
        .borrow_mut()
        .open(std::sync::Arc::clone(&rules.offer));
    let io = Rc::new(Io {
        _permit: permit,
        stream: RefCell::new(stream),
        worker: Rc::clone(worker),
        key,
        waker: RefCell::new(None),
        unread: Cell::new(None),
        farewell: Cell::new(None),
        state: Cell::new(State::Reading),
        resumed: Cell::new(false),
        full: Cell::new(false),
    });
    worker.register(key, &io);
    connected(worker, key, &connect, principal);
    if bytes.len() > len {
        bytes.drain(..len);
        let consumed = worker.receive(key, &bytes);
        bytes.drain(..consumed.min(bytes.len()));
        bytes.shrink_to_fit();
        io.keep_unread(bytes);
    }
    worker.spawn(ConnectionTask { io });
}

fn connected(
    worker: &Worker,
    connection: ConnectionKey,
    connect: &Connect<'_>,
    principal: Principal,
) {
    // Only an assigned Client Identifier needs it, and it costs a system call.
    let random = if connect.client_id.is_empty() {
        worker.random()
    } else {
        0
    };
    worker.handle(Input::Connect {
        connection,
        connect,
        principal,
        random,
    });
}

/// The future that serves one connection to its end. As small as can be: the runtime keeps it for every
/// connection.
struct ConnectionTask {
    io: Rc<Io>,
}

impl Future for ConnectionTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let io = &*self.io;
        keep_waker(&io.waker, cx);
        if io.full.get() && io.go_on_writing(cx).is_err() {
            io.state.set(State::Done);
        }
        match io.state.get() {
            State::Reading => io.read(cx),
            State::Paused => {}
            State::Leaving | State::Closing => io.write_last_bytes(cx),
            State::Done => {}
        }
        if io.state.get() == State::Done {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Drop for ConnectionTask {
    fn drop(&mut self) {
        self.io.worker.unregister(self.io.key);
    }
}

impl Io {
    fn keep_unread(&self, bytes: Vec<u8>) {
        self.unread
            .set((!bytes.is_empty()).then(|| Box::new(Unread(bytes))));
    }

    /// Reads what is there, once, and gives it to the engine.
    fn read(&self, cx: &mut Context<'_>) {
        // After a pause the kept bytes may hold whole packets; an unfinished one costs a look and no more.
        if self.resumed.take()
            && let Some(unread) = self.unread.take()
        {
            // Packets that were kept while reading was paused come first.
            let mut bytes = unread.0;
            let consumed = self.worker.receive(self.key, &bytes);
            bytes.drain(..consumed.min(bytes.len()));
            self.keep_unread(bytes);
        }
        while self.state.get() == State::Reading {
            if !self.worker.engine.borrow().is_open(self.key) {
                // The end is decided, and told at the end of the turn; there is nothing more to read.
                return;
            }
            match self.read_once(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return self.state.set(State::Done),
                Poll::Ready(Ok(filled)) if filled == usize::MAX => {
                    // There is more than the buffer holds: others first.
                    cx.waker().wake_by_ref();
                    return;
                }
                Poll::Ready(Ok(_)) => {}
            }
        }
        if matches!(self.state.get(), State::Leaving | State::Closing) {
            self.write_last_bytes(cx);
        }
    }

    /// One read. `usize::MAX` stands for a full buffer.
    fn read_once(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut buffers = self.worker.read_buffers.borrow_mut();
        let bytes = buffers.free_bytes();
        let mut unread = self
            .unread
            .take()
            .map(|unread| unread.0)
            .unwrap_or_default();
        let head = if unread.len() <= SHARED_UNREAD_MAX {
            unread.len()
        } else {
            0
        };
        let (front, back) = bytes.split_at_mut(head);
        front.copy_from_slice(unread.get(..head).unwrap_or_default());
        let mut buffer = ReadBuf::new(back);
        let polled = Pin::new(&mut *self.stream.borrow_mut()).poll_read(cx, &mut buffer);
        match polled {
            Poll::Pending => {
                self.keep_unread(unread);
                return Poll::Pending;
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => {}
        }
        let filled = buffer.filled().len();
        if filled == 0 {
            return Poll::Ready(Ok(0));
        }
        let full = buffer.remaining() == 0;
        if head == unread.len() {
            let total = head + filled;
            let shared = buffers.last();
            let consumed = self.worker.receive_read(self.key, shared, total).min(total);
            unread.clear();
            unread.extend_from_slice(shared.get(consumed..total).unwrap_or_default());
        } else {
            unread.extend_from_slice(back.get(..filled).unwrap_or_default());
            let consumed = self.worker.receive(self.key, &unread).min(unread.len());
            unread.drain(..consumed);
        }
        self.keep_unread(unread);
        Poll::Ready(Ok(if full { usize::MAX } else { filled }))
    }

    fn go_on_writing(&self, cx: &mut Context<'_>) -> io::Result<()> {
        let written = self.worker.write(self.key, self, cx);
        // Room in the buffer lets the engine go on: with its queue, or with reading from here.
        self.worker.wake_for_work();
        if written?.is_ready() {
            self.full.set(false);
        }
        Ok(())
    }

    /// Writes what is left, then ends.
    fn write_last_bytes(&self, cx: &mut Context<'_>) {
        let written = self.worker.write(self.key, self, cx);
        if matches!(written, Ok(Poll::Ready(()))) && self.state.get() == State::Leaving {
            return self.state.set(State::Done);
        }
        let mut farewell = self.farewell.take().unwrap_or_else(|| {
            Box::new(Farewell {
                late: Box::pin(tokio::time::sleep(LAST_BYTES)),
                scrap_reads: 0,
            })
        });
        let late = farewell.late.as_mut().poll(cx).is_ready();
        let done = match written {
            _ if late => true,
            Ok(Poll::Pending) => false,
            Ok(Poll::Ready(())) => {
                // FIN before close, and the peer's last bytes read, so that a reset does not overtake what we said.
                let _ = Pin::new(&mut *self.stream.borrow_mut()).poll_shutdown(cx);
                self.read_scrap(cx, &mut farewell.scrap_reads)
            }
            Err(_) => true,
        };
        if done {
            self.state.set(State::Done);
        } else {
            self.farewell.set(Some(farewell));
        }
    }

    /// Reads what the peer still sends, a little at a time. True once it has ended, or goes on and on.
    fn read_scrap(&self, cx: &mut Context<'_>, reads: &mut u32) -> bool {
        let mut buffers = self.worker.read_buffers.borrow_mut();
        for _ in 0..SCRAP_READS_AT_ONCE {
            let mut buffer = ReadBuf::new(buffers.free_bytes());
            match Pin::new(&mut *self.stream.borrow_mut()).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => *reads += 1,
                Poll::Ready(_) => return true,
                Poll::Pending => return false,
            }
        }
        // Others first.
        cx.waker().wake_by_ref();
        *reads >= SCRAP_READS_MAX
    }
}

fn keep_waker(place: &RefCell<Option<Waker>>, cx: &Context<'_>) {
    let mut place = place.borrow_mut();
    if !place
        .as_ref()
        .is_some_and(|waker| waker.will_wake(cx.waker()))
    {
        *place = Some(cx.waker().clone());
    }
}
