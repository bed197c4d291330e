//! One worker: a thread with a runtime, an engine and the connections of its Sessions.
//!
//! A turn: the runtime polls the connections that have something to read; the engine fills outgoing
//! buffers and asks for things; the flusher, which runs behind them, writes every buffer once, and sends
//! what other workers get as one letter each.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use dunlin_engine::outgoing::SLICES_MAX;
use dunlin_engine::{ConnectionKey, Engine, Handover, Input, Output, Setup};
use dunlin_protocol::Timestamp;
use dunlin_route::RouteIndex;
use tokio::sync::Notify;
use tokio::task::LocalSet;
use tokio::task::coop::unconstrained;

use crate::connection::Io;
use crate::log::Log;
use crate::mail::{Mail, Mailbox, Post};
use crate::read_buffers::ReadBuffers;
use crate::settings::Settings;
use crate::{admission, listen};

/// Reads after which a turn flushes, however many connections are still to be read: it bounds the
/// memory of a turn.
const READS_PER_TURN: u32 = 16;

/// Writes to one connection before others have their turn.
const WRITES_MAX: usize = 32;

/// A worker that has been quiet for this long lets spare memory go.
const QUIET: Duration = Duration::from_secs(10);

/// How long a stopping worker waits for its last bytes to be written.
const STOPPING: Duration = Duration::from_secs(2);

/// What a worker is made of; everything in it can go to another thread.
pub(crate) struct Parts {
    pub(crate) number: u16,
    pub(crate) count: u16,
    pub(crate) mailbox: Mailbox,
    pub(crate) post: Post,
    pub(crate) log: Log,
    pub(crate) settings: Arc<Settings>,
    pub(crate) routes: Arc<RouteIndex>,
    pub(crate) epoch: Instant,
    pub(crate) seed: u64,
}

/// The state that all tasks of a worker share.
pub(crate) struct Worker {
    pub(crate) number: u16,
    pub(crate) count: u16,
    pub(crate) post: Post,
    pub(crate) log: Log,
    pub(crate) engine: RefCell<Engine>,
    pub(crate) read_buffers: RefCell<ReadBuffers>,
    settings: RefCell<Arc<Settings>>,
    /// By the connection's slot.
    connections: RefCell<Vec<Option<Rc<Io>>>>,
    flusher: Cell<Option<Waker>>,
    reads: Cell<u32>,
    timer: Notify,
    armed: Cell<Option<Timestamp>>,
    stopping: Cell<bool>,
    epoch: Instant,
    random: Cell<u64>,
    busy_at: Cell<Timestamp>,
    trimmed: Cell<bool>,
    writable: RefCell<Vec<ConnectionKey>>,
}

/// Runs a worker until it is told to stop.
pub(crate) fn run(parts: Parts) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mailbox = parts.mailbox;
    let engine = Engine::new(Setup {
        worker: parts.number,
        workers: parts.count,
        routes: parts.routes,
        limits: Arc::clone(&parts.settings.limits),
        authorizer: None,
        durable: false,
        hash_seed: parts.seed,
    });
    let worker = Rc::new(Worker {
        number: parts.number,
        count: parts.count,
        post: parts.post,
        log: parts.log,
        engine: RefCell::new(engine),
        read_buffers: RefCell::new(ReadBuffers::default()),
        settings: RefCell::new(parts.settings),
        connections: RefCell::new(Vec::new()),
        flusher: Cell::new(None),
        reads: Cell::new(0),
        timer: Notify::new(),
        armed: Cell::new(None),
        stopping: Cell::new(false),
        epoch: parts.epoch,
        random: Cell::new(parts.seed),
        busy_at: Cell::new(Timestamp::default()),
        trimmed: Cell::new(true),
        writable: RefCell::new(Vec::new()),
    });
    let tasks = LocalSet::new();
    tasks.spawn_local(unconstrained(flush_turns(Rc::clone(&worker))));
    tasks.spawn_local(keep_time(Rc::clone(&worker)));
    tasks.block_on(&runtime, read_mail(Rc::clone(&worker), mailbox));
    Ok(())
}

impl Worker {
    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }

    /// Starts a task of this worker. A turn may write to any number of connections, more than the runtime would let
    /// one task do at a time; tasks bound themselves by giving way once a read buffer was full.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        tokio::task::spawn_local(unconstrained(task));
    }

    pub(crate) fn now(&self) -> Timestamp {
        let ms = u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX);
        Timestamp::from_millis(ms)
    }

    /// An unpredictable number; the seed is the operating system's.
    pub(crate) fn random(&self) -> u64 {
        let mut bytes = [0; 8];
        match getrandom::fill(&mut bytes) {
            Ok(()) => u64::from_ne_bytes(bytes),
            // No randomness left is no reason to refuse clients: the ids stay unique.
            Err(_) => {
                self.random.set(
                    self.random
                        .get()
                        .wrapping_mul(0x5851_f42d_4c95_7f2d)
                        .wrapping_add(1),
                );
                self.random.get()
            }
        }
    }

    pub(crate) fn register(&self, key: ConnectionKey, io: &Rc<Io>) {
        let mut connections = self.connections.borrow_mut();
        let slot = key.slot as usize;
        if connections.len() <= slot {
            connections.resize(slot + 1, None);
        }
        if let Some(place) = connections.get_mut(slot) {
            *place = Some(Rc::clone(io));
        }
    }

    pub(crate) fn unregister(&self, key: ConnectionKey) {
        if let Some(place) = self.connections.borrow_mut().get_mut(key.slot as usize) {
            *place = None;
        }
        self.handle(Input::Closed { connection: key });
    }

    /// Gives bytes to the engine; returns how many it has used up.
    pub(crate) fn receive(&self, key: ConnectionKey, bytes: &[u8]) -> usize {
        let now = self.now();
        let consumed = self.engine.borrow_mut().receive(key, bytes, now);
        self.received(now);
        consumed
    }

    /// The same for the first `len` bytes of a read buffer.
    pub(crate) fn receive_read(&self, key: ConnectionKey, buffer: &Arc<[u8]>, len: usize) -> usize {
        let now = self.now();
        let mut engine = self.engine.borrow_mut();
        let consumed = engine.receive_read(key, buffer, len, now);
        drop(engine);
        self.received(now);
        consumed
    }

    fn received(&self, now: Timestamp) {
        self.busy_at.set(now);
        if self.engine.borrow().has_work() {
            self.reads.set(self.reads.get() + 1);
            if self.reads.get() >= READS_PER_TURN {
                self.flush();
            } else {
                self.wake_flusher();
            }
        }
    }

    /// Gives an input to the engine.
    pub(crate) fn handle(&self, input: Input<'_>) {
        let now = self.now();
        let mut engine = self.engine.borrow_mut();
        engine.handle(input, now);
        if engine.has_work() {
            drop(engine);
            self.wake_flusher();
        }
    }

    /// Wakes the flusher if the engine has something to say.
    pub(crate) fn wake_for_work(&self) {
        if self.engine.borrow().has_work() {
            self.wake_flusher();
        }
    }

    fn wake_flusher(&self) {
        if let Some(waker) = self.flusher.take() {
            waker.wake();
        }
    }

    fn connection(&self, key: ConnectionKey) -> Option<Rc<Io>> {
        // What the engine said of an earlier user of the slot is not for this one.
        self.connections
            .borrow()
            .get(key.slot as usize)?
            .clone()
            .filter(|io| io.is(key))
    }

    /// Ends a turn: does what the engine asks for and writes every buffer once.
    fn flush(&self) {
        self.reads.set(0);
        self.trimmed.set(false);
        let mut letters: Vec<Vec<Handover>> = Vec::new();
        let mut credits: Vec<u32> = Vec::new();
        let mut writable = self.writable.take();
        loop {
            loop {
                let output = self.engine.borrow_mut().poll_output();
                let Some(output) = output else { break };
                self.carry_out(output, &mut letters, &mut credits);
            }
            // Before the sockets: an acknowledgement must not overtake what other workers are told.
            self.post_letters(&mut letters, &mut credits);
            self.engine.borrow_mut().take_writable(&mut writable);
            if writable.is_empty() {
                break;
            }
            for key in writable.drain(..) {
                let Some(io) = self.connection(key) else {
                    continue;
                };
                if io.is_full() {
                    // Its task waits for room; a second poll would take its waker away.
                    self.engine.borrow_mut().release_read_buffers(key);
                    continue;
                }
                match self.write(key, &io, &mut Context::from_waker(Waker::noop())) {
                    Ok(Poll::Ready(())) => {}
                    Ok(Poll::Pending) => {
                        self.engine.borrow_mut().release_read_buffers(key);
                        io.socket_full();
                    }
                    Err(_) => io.fail(),
                }
            }
        }
        self.writable.replace(writable);
        let next = self.engine.borrow().next_timeout();
        if next.is_some_and(|next| self.armed.get().is_none_or(|armed| next < armed)) {
            self.timer.notify_one();
        }
    }

    fn post_letters(&self, letters: &mut [Vec<Handover>], credits: &mut [u32]) {
        for (to, letter) in (0u16..)
            .zip(letters)
            .filter(|(_, letter)| !letter.is_empty())
        {
            let batch = std::mem::take(letter);
            self.post.send(
                to,
                Mail::Handover {
                    from: self.number,
                    batch,
                },
            );
        }
        for (to, credit) in (0u16..).zip(credits).filter(|(_, credit)| **credit > 0) {
            let count = std::mem::take(credit);
            self.post.send(
                to,
                Mail::Credit {
                    from: self.number,
                    count,
                },
            );
        }
    }

    fn carry_out(&self, output: Output, letters: &mut Vec<Vec<Handover>>, credits: &mut Vec<u32>) {
        match output {
            Output::Close {
                connection,
                by_client,
            } => {
                if let Some(io) = self.connection(connection) {
                    io.close(by_client);
                }
            }
            Output::Pause(key) => {
                if let Some(io) = self.connection(key) {
                    io.pause();
                }
            }
            Output::Resume(key) => {
                if let Some(io) = self.connection(key) {
                    io.resume();
                }
            }
            Output::Handover { to, item } => {
                letters.resize_with(letters.len().max(usize::from(to) + 1), Vec::new);
                if let Some(letter) = letters.get_mut(usize::from(to)) {
                    letter.push(item);
                }
            }
            Output::Credit { to, count } => {
                credits.resize(credits.len().max(usize::from(to) + 1), 0);
                if let Some(credit) = credits.get_mut(usize::from(to)) {
                    *credit += count;
                }
            }
            // Without a store nothing waits for the disk: the answer is immediate.
            Output::Commit(batch) => self.handle(Input::Committed {
                batch: batch.id,
                result: Ok(()),
            }),
            Output::Event(event) => self.log.event(&event),
        }
    }

    /// Writes what is outgoing on a connection. Pending when its socket is full, or has taken much.
    pub(crate) fn write(
        &self,
        key: ConnectionKey,
        io: &Io,
        cx: &mut Context<'_>,
    ) -> io::Result<Poll<()>> {
        for _ in 0..WRITES_MAX {
            let engine = self.engine.borrow();
            let Some(outgoing) = engine.outgoing(key).filter(|outgoing| !outgoing.is_empty())
            else {
                return Ok(Poll::Ready(()));
            };
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let filled = outgoing.slices(&mut slices);
            let total = outgoing.len();
            let slices = slices.get(..filled).unwrap_or_default();
            let polled = io.stream.borrow_mut().poll_write_slices(cx, slices);
            drop(engine);
            let written = match polled {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => written,
            };
            let now = self.now();
            self.engine.borrow_mut().handle(
                Input::Written {
                    connection: key,
                    bytes: written,
                },
                now,
            );
            if written == total
                && self
                    .engine
                    .borrow()
                    .outgoing(key)
                    .is_none_or(|outgoing| outgoing.is_empty())
            {
                return Ok(Poll::Ready(()));
            }
        }
        // It takes all that there is, and there is much: others first.
        cx.waker().wake_by_ref();
        Ok(Poll::Pending)
    }

    fn stop(&self) {
        self.stopping.set(true);
        self.handle(Input::Shutdown);
        self.flush();
    }

    fn is_idle(&self) -> bool {
        self.connections.borrow().iter().all(Option::is_none)
    }
}

/// Ends a turn whenever the engine has something to say, behind all tasks that are ready now.
async fn flush_turns(worker: Rc<Worker>) {
    poll_fn(|cx| {
        if worker.engine.borrow().has_work() {
            worker.flush();
        }
        worker.flusher.set(Some(cx.waker().clone()));
        if worker.engine.borrow().has_work() {
            cx.waker().wake_by_ref();
        }
        Poll::<()>::Pending
    })
    .await;
}

/// Tells the engine the time when it wants to know, and lets memory go after a busy time.
async fn keep_time(worker: Rc<Worker>) {
    loop {
        let next = worker.engine.borrow().next_timeout();
        worker.armed.set(next);
        let now = worker.now();
        let trim = (!worker.trimmed.get()).then(|| worker.busy_at.get() + QUIET.as_millis() as u64);
        let wake_at = [next, trim].into_iter().flatten().min();
        match wake_at {
            Some(at) => {
                let wait = Duration::from_millis(at.millis_since(now));
                let _ = tokio::time::timeout(wait, worker.timer.notified()).await;
            }
            None => worker.timer.notified().await,
        }
        let now = worker.now();
        if worker
            .engine
            .borrow()
            .next_timeout()
            .is_some_and(|at| at <= now)
        {
            worker.handle(Input::Timeout);
        }
        if !worker.trimmed.get()
            && now.millis_since(worker.busy_at.get()) >= QUIET.as_millis() as u64
        {
            worker.engine.borrow_mut().trim();
            worker.read_buffers.borrow_mut().trim();
            worker.trimmed.set(true);
        }
    }
}

async fn read_mail(worker: Rc<Worker>, mut mailbox: Mailbox) {
    while let Some(mail) = mailbox.recv().await {
        match mail {
            Mail::Handover { from, batch } => worker.handle(Input::Handover { from, batch }),
            Mail::Credit { from, count } => worker.handle(Input::Credit { from, count }),
            Mail::Connection(moved) => admission::resume(&worker, *moved),
            Mail::Listen(share) => {
                // The runtime lets it accept so many at a time, then serves the others.
                tokio::task::spawn_local(listen::accept(Rc::clone(&worker), share));
            }
            Mail::Reload(settings) => {
                worker.handle(Input::Reload(Arc::clone(&settings.limits)));
                worker.settings.replace(settings);
            }
            Mail::Stop => break,
        }
    }
    worker.stop();
    let until = Instant::now() + STOPPING;
    while !worker.is_idle() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
