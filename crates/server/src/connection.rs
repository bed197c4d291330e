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

use crate::worker::Worker;

/// How long a connection that is being closed may take to accept its last bytes.
const LAST_BYTES: Duration = Duration::from_secs(5);

/// Unfinished packets above this size are read into a buffer of their own.
const SHARED_UNREAD_MAX: usize = 64 * 1024;

/// What the task and the worker share about one connection.
pub(crate) struct Io {
    pub(crate) stream: RefCell<Stream>,
    key: Cell<ConnectionKey>,
    waker: RefCell<Option<Waker>>,
    /// Bytes of an unfinished packet, or packets kept while reading is paused.
    unread: RefCell<Vec<u8>>,
    state: Cell<State>,
    /// The socket was full: the task waits until it is not.
    full: Cell<bool>,
}

/// ```text
///   Reading ◀──▶ Paused        (the engine says so)
///      └───────────┴──▶ Closing ──all written, or too late──▶ Done
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    Paused,
    Closing,
    Done,
}

impl Io {
    /// Whether this is the connection that the engine means.
    pub(crate) fn is(&self, key: ConnectionKey) -> bool {
        self.key.get() == key
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
        if self.state.get() == State::Paused {
            self.state.set(State::Reading);
        }
        self.wake();
    }

    pub(crate) fn close(&self) {
        if self.state.get() != State::Done {
            self.state.set(State::Closing);
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

/// Gives an admitted connection to the engine, CONNECT first.
pub(crate) fn begin(
    worker: &Rc<Worker>,
    stream: Stream,
    bytes: Vec<u8>,
    principal: Principal,
    listener: u16,
) -> Option<ConnectionTask> {
    let offer = Rc::clone(&worker.settings_cell())
        .borrow()
        .listeners
        .get(usize::from(listener))?
        .offer
        .clone();
    let key = worker.engine.borrow_mut().open(offer);
    let io = Rc::new(Io {
        stream: RefCell::new(stream),
        key: Cell::new(key),
        waker: RefCell::new(None),
        unread: RefCell::new(Vec::new()),
        state: Cell::new(State::Reading),
        full: Cell::new(false),
    });
    worker.register(key, &io);
    let mut bytes = bytes;
    let Ok(Decoded::Packet {
        packet: Packet::Connect(connect),
        len,
    }) = decode_connect(&bytes, u32::MAX)
    else {
        worker.unregister(key);
        return None;
    };
    connected(worker, key, &connect, principal);
    bytes.drain(..len);
    let consumed = worker.receive(key, &bytes);
    bytes.drain(..consumed.min(bytes.len()));
    bytes.shrink_to_fit();
    *io.unread.borrow_mut() = bytes;
    Some(ConnectionTask {
        worker: Rc::clone(worker),
        io,
        last_bytes: None,
    })
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

/// The future that serves one connection to its end.
pub(crate) struct ConnectionTask {
    worker: Rc<Worker>,
    io: Rc<Io>,
    last_bytes: Option<Pin<Box<Sleep>>>,
}

impl Future for ConnectionTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        keep_waker(&this.io.waker, cx);
        if this.io.full.get() && this.go_on_writing(cx).is_err() {
            this.io.state.set(State::Done);
        }
        match this.io.state.get() {
            State::Reading => this.read(cx),
            State::Paused => {}
            State::Closing => this.close(cx),
            State::Done => {}
        }
        if this.io.state.get() == State::Done {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Drop for ConnectionTask {
    fn drop(&mut self) {
        let key = self.io.key.get();
        self.worker.unregister(key);
    }
}

impl ConnectionTask {
    /// Reads what is there, once, and gives it to the engine.
    fn read(&mut self, cx: &mut Context<'_>) {
        let waiting = self.io.unread.borrow().len();
        if waiting > 0 && self.was_resumed() {
            // Packets that were kept while reading was paused come first.
            let mut bytes = std::mem::take(&mut *self.io.unread.borrow_mut());
            let consumed = self.worker.receive(self.io.key.get(), &bytes);
            bytes.drain(..consumed.min(bytes.len()));
            *self.io.unread.borrow_mut() = bytes;
        }
        while self.io.state.get() == State::Reading {
            match self.read_once(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return self.io.state.set(State::Done),
                Poll::Ready(Ok(filled)) if filled == usize::MAX => {
                    // There is more than the buffer holds: others first.
                    cx.waker().wake_by_ref();
                    return;
                }
                Poll::Ready(Ok(_)) => {}
            }
        }
        if self.io.state.get() == State::Closing {
            self.close(cx);
        }
    }

    /// After a pause the kept bytes may hold whole packets; an unfinished one costs a look and no more.
    fn was_resumed(&self) -> bool {
        self.worker.take_resumed(self.io.key.get())
    }

    /// One read. `usize::MAX` stands for a full buffer.
    fn read_once(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let key = self.io.key.get();
        let worker = Rc::clone(&self.worker);
        let mut shared = worker.read_buffer.borrow_mut();
        let mut unread = self.io.unread.borrow_mut();
        let head = if unread.len() <= SHARED_UNREAD_MAX {
            unread.len()
        } else {
            0
        };
        let (front, back) = shared.split_at_mut(head);
        front.copy_from_slice(unread.get(..head).unwrap_or_default());
        let mut buffer = ReadBuf::new(back);
        match Pin::new(&mut *self.io.stream.borrow_mut()).poll_read(cx, &mut buffer) {
            Poll::Pending => return Poll::Pending,
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
            let bytes = shared.get(..total).unwrap_or_default();
            let consumed = worker.receive(key, bytes).min(total);
            unread.clear();
            unread.extend_from_slice(bytes.get(consumed..).unwrap_or_default());
            if unread.is_empty() && unread.capacity() > 0 {
                *unread = Vec::new();
            }
        } else {
            unread.extend_from_slice(back.get(..filled).unwrap_or_default());
            let consumed = worker.receive(key, &unread).min(unread.len());
            unread.drain(..consumed);
            if unread.is_empty() {
                *unread = Vec::new();
            }
        }
        Poll::Ready(Ok(if full { usize::MAX } else { filled }))
    }

    fn go_on_writing(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let written = self.worker.write(self.io.key.get(), &self.io, cx);
        // Room in the buffer lets the engine go on: with its queue, or with reading from here.
        self.worker.wake_for_work();
        if written?.is_ready() {
            self.io.full.set(false);
        }
        Ok(())
    }

    /// Writes what is left, then ends.
    fn close(&mut self, cx: &mut Context<'_>) {
        let deadline = self
            .last_bytes
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(LAST_BYTES)));
        let late = deadline.as_mut().poll(cx).is_ready();
        match self.worker.write(self.io.key.get(), &self.io, cx) {
            Ok(Poll::Pending) if !late => {}
            Ok(Poll::Ready(())) if !late => {
                // FIN before close, and the peer's last bytes read, so that a reset does not overtake what we said.
                let mut stream = self.io.stream.borrow_mut();
                let _ = Pin::new(&mut *stream).poll_shutdown(cx);
                let mut scrap = [0u8; 512];
                loop {
                    let mut buffer = ReadBuf::new(&mut scrap);
                    match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
                        Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                        Poll::Ready(_) => break self.io.state.set(State::Done),
                        Poll::Pending => break,
                    }
                }
            }
            _ => self.io.state.set(State::Done),
        }
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
