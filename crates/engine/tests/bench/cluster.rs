//! The engines of all workers, driven as the server drives them: outputs are obeyed, buffers
//! written, mail delivered and stores asked, in rounds, until nothing moves.

use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use std::mem;
use std::sync::Arc;

use dunlin_engine::record::{Batch, Store, StoreError};
use dunlin_engine::{
    Authorizer, ConnectionKey, Engine, Event, Handover, Input, Limits, Output, Setup, partition_of,
    worker_of,
};
use dunlin_protocol::{ServerOffer, Timestamp};
use dunlin_route::RouteIndex;

use super::client::{At, Client, Transport};
use super::dice::Dice;
use super::packets::Seen;
use super::store::LateStore;

/// Rounds after which a cluster that still moves is taken for one that never stops.
const ROUNDS_MAX: usize = 100_000;

/// Slices of one gathering write; few, so that writes are often partial.
const SLICES: usize = 3;

/// What lies in a mailbox.
pub(super) enum Letter {
    Handover(Box<Handover>),
    Credit(u32),
}

impl Letter {
    pub(super) fn publications(&self) -> u32 {
        match self {
            Self::Handover(item) => item.publications(),
            Self::Credit(_) => 0,
        }
    }
}

/// Workers that share one route index, with everything around them.
pub(crate) struct Cluster {
    pub(super) workers: u16,
    pub(super) engines: Vec<Engine>,
    pub(super) stores: Vec<LateStore>,
    /// By sender, then receiver; in order.
    pub(super) mail: Vec<Vec<VecDeque<Letter>>>,
    pub(super) clients: Vec<Client>,
    pub(super) by_key: BTreeMap<(usize, ConnectionKey), usize>,
    pub(super) now: Timestamp,
    pub(super) events: Vec<Event>,
    /// Every batch with its worker, in the order in which they left.
    pub(super) journal: Vec<(usize, Batch)>,
    /// Batches of the journal that the test has read.
    pub(super) journal_read: usize,
    pub(super) offer: Arc<ServerOffer>,
    pub(super) random: u64,
    limits: Limits,
    authorizer: Option<Arc<dyn Authorizer>>,
    durable: bool,
    mail_held: bool,
}

impl Cluster {
    /// So many workers, without clients. Mail arrives at once, and nothing is durable.
    pub(crate) fn new(workers: u16) -> Self {
        let cluster = Self {
            workers,
            engines: Vec::new(),
            stores: Vec::new(),
            mail: Vec::new(),
            clients: Vec::new(),
            by_key: BTreeMap::new(),
            now: Timestamp::from_millis(1_000_000),
            events: Vec::new(),
            journal: Vec::new(),
            journal_read: 0,
            offer: Arc::new(ServerOffer::default()),
            random: 0,
            limits: Limits::default(),
            authorizer: None,
            durable: false,
            mail_held: false,
        };
        cluster.built()
    }

    /// With stores that answer at once, until `hold_answers`.
    pub(crate) fn durable(mut self) -> Self {
        self.durable = true;
        self.built()
    }

    pub(crate) fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        self.built()
    }

    pub(crate) fn offer(mut self, change: impl FnOnce(&mut ServerOffer)) -> Self {
        let mut offer = (*self.offer).clone();
        change(&mut offer);
        self.offer = Arc::new(offer);
        self
    }

    pub(crate) fn authorizer(mut self, authorizer: Arc<dyn Authorizer>) -> Self {
        self.authorizer = Some(authorizer);
        self.built()
    }

    fn built(mut self) -> Self {
        let routes = Arc::new(RouteIndex::new(7));
        let setup = |worker: u16| Setup {
            worker,
            workers: self.workers,
            routes: Arc::clone(&routes),
            limits: Arc::new(self.limits.clone()),
            authorizer: self.authorizer.clone(),
            durable: self.durable,
            hash_seed: 11 + u64::from(worker),
        };
        let store = |_: u16| LateStore {
            prompt: true,
            ..LateStore::default()
        };
        let boxes = |_: u16| -> Vec<VecDeque<Letter>> {
            (0..self.workers).map(|_| VecDeque::new()).collect()
        };
        let engines = (0..self.workers).map(|n| Engine::new(setup(n))).collect();
        let stores = (0..self.workers).map(store).collect();
        let mail = (0..self.workers).map(boxes).collect();
        self.engines = engines;
        self.stores = stores;
        self.mail = mail;
        self
    }

    /// From now on mail arrives only by `deliver`, `step` and `settle`.
    pub(crate) fn hold_mail(&mut self) {
        self.mail_held = true;
    }

    /// From now on stores answer only by `answer`, `answer_all` and `step`.
    pub(crate) fn hold_answers(&mut self) {
        self.stores
            .iter_mut()
            .for_each(|store| store.prompt = false);
    }

    /// Delivers all mail, and what follows from it.
    pub(crate) fn settle(&mut self) {
        let held = mem::replace(&mut self.mail_held, false);
        self.run();
        self.mail_held = held;
    }

    /// Lets everything happen that is not held back.
    pub(crate) fn run(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut moved = false;
            for worker in 0..self.engines.len() {
                moved |= self.turn(worker);
            }
            if !self.mail_held {
                moved |= self.deliver_all();
            }
            if !moved {
                return;
            }
        }
        panic!("the cluster does not come to rest");
    }

    /// Delivers up to `count` letters from one worker to another, handovers in a row as one batch.
    pub(crate) fn deliver(&mut self, from: u16, to: u16, count: usize) {
        let (from, to) = (usize::from(from), usize::from(to));
        let mut batch = Vec::new();
        for _ in 0..count {
            match self.mail[from][to].pop_front() {
                Some(Letter::Handover(item)) => batch.push(*item),
                Some(Letter::Credit(count)) => {
                    self.hand_over(from, to, mem::take(&mut batch));
                    self.credit(from, to, count);
                }
                None => break,
            }
        }
        self.hand_over(from, to, batch);
        self.run();
    }

    /// Lets one thing happen that was held back: some letters arrive, or a store answers with what
    /// `answer` says. False if nothing is held back.
    pub(crate) fn step_with(
        &mut self,
        dice: &mut Dice,
        answer: impl FnOnce(&mut Dice) -> Result<(), StoreError>,
    ) -> bool {
        let workers = 0..self.workers;
        let pairs = workers.flat_map(|from| (0..self.workers).map(move |to| (from, to)));
        let boxes: Vec<(u16, u16)> = pairs
            .filter(|(from, to)| self.mail_waiting(*from, *to) > 0)
            .collect();
        let stores: Vec<u16> = (0..self.workers)
            .filter(|worker| self.pending(*worker) > 0)
            .collect();
        let chosen = dice.below(boxes.len() + stores.len());
        if let Some((from, to)) = boxes.get(chosen) {
            let count = 1 + dice.below(3);
            self.deliver(*from, *to, count);
            return true;
        }
        let Some(worker) = stores.get(chosen - boxes.len()) else {
            return false;
        };
        let batch = dice.below(self.pending(*worker));
        let result = answer(dice);
        self.answer(*worker, batch, result);
        true
    }

    /// The same with stores that never fail.
    pub(crate) fn step(&mut self, dice: &mut Dice) -> bool {
        self.step_with(dice, |_| Ok(()))
    }

    /// A store answers one of the batches that wait, counted from the oldest.
    pub(crate) fn answer(&mut self, worker: u16, at: usize, result: Result<(), StoreError>) {
        self.stores[usize::from(worker)].answer(at, result);
        self.run();
    }

    /// All stores answer everything, in order, and what follows from it.
    pub(crate) fn answer_all(&mut self) {
        while let Some(worker) = (0..self.workers).find(|worker| self.pending(*worker) > 0) {
            self.answer(worker, 0, Ok(()));
        }
    }

    /// Moves the clock, and tells the engines whenever they wanted to be told.
    pub(crate) fn wait_ms(&mut self, ms: u64) {
        let until = self.now + ms;
        while let Some(at) = self.next_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            let now = self.now;
            for engine in &mut self.engines {
                if engine.next_timeout().is_none_or(|at| at > now) {
                    continue;
                }
                engine.handle(Input::Timeout, now);
                let next = engine.next_timeout();
                assert!(
                    next.is_none_or(|at| at > now),
                    "what was due at {now:?} still is"
                );
            }
            self.run();
        }
        self.now = until;
    }

    pub(crate) fn wait(&mut self, seconds: u64) {
        self.wait_ms(seconds * 1000);
    }

    /// Every process gets SIGTERM once.
    pub(crate) fn shutdown(&mut self) {
        for engine in &mut self.engines {
            engine.handle(Input::Shutdown, self.now);
        }
        self.run();
    }

    /// One turn of a worker. False if it had nothing to do.
    fn turn(&mut self, worker: usize) -> bool {
        let (mut moved, read) = self.give_bytes(worker);
        moved |= self.obey(worker);
        moved |= self.write_all(worker);
        self.take_back(worker, read);
        while let Some((batch, result)) = self.stores[worker].poll() {
            self.engines[worker].handle(Input::Committed { batch, result }, self.now);
            moved = true;
        }
        moved | self.close(worker)
    }

    /// Gives the engine what clients have sent, where it reads.
    fn give_bytes(&mut self, worker: usize) -> (bool, Vec<Arc<[u8]>>) {
        let (mut moved, mut read) = (false, Vec::new());
        for client in self.clients.iter_mut().filter(|c| c.worker == worker) {
            let reading = client.transport == Transport::Open && !client.paused;
            if !reading || !mem::take(&mut client.offered) || client.unread.is_empty() {
                continue;
            }
            let buffer: Arc<[u8]> = client.unread.as_slice().into();
            let engine = &mut self.engines[worker];
            let used = engine.receive_read(client.key, &buffer, buffer.len(), self.now);
            client.unread.drain(..used);
            read.push(buffer);
            moved = true;
        }
        (moved, read)
    }

    /// At the end of a turn the buffers that were read into are free, and something else is read into them.
    fn take_back(&mut self, worker: usize, read: Vec<Arc<[u8]>>) {
        for client in self.clients.iter().filter(|c| c.worker == worker) {
            self.engines[worker].release_read_buffers(client.key);
        }
        for mut buffer in read {
            let bytes = Arc::get_mut(&mut buffer).expect("a read buffer is still referenced");
            bytes.fill(0xEE);
        }
    }

    fn obey(&mut self, worker: usize) -> bool {
        let mut moved = false;
        while let Some(output) = self.engines[worker].poll_output() {
            moved = true;
            match output {
                Output::Close {
                    connection: key, ..
                } => {
                    if let Some(client) = self.client_of(worker, key)
                        && client.transport == Transport::Open
                    {
                        client.transport = Transport::Closing;
                    }
                }
                Output::Pause(key) => {
                    if let Some(client) = self.client_of(worker, key) {
                        client.paused = true;
                        client.pauses += 1;
                    }
                }
                Output::Resume(key) => {
                    if let Some(client) = self.client_of(worker, key) {
                        client.paused = false;
                        client.offered = true;
                    }
                }
                Output::Handover { to, item } => {
                    let letter = Letter::Handover(Box::new(item));
                    self.mail[worker][usize::from(to)].push_back(letter);
                }
                Output::Credit { to, count } => {
                    self.mail[worker][usize::from(to)].push_back(Letter::Credit(count));
                }
                Output::Commit(batch) => {
                    self.journal.push((worker, batch.clone()));
                    self.stores[worker].submit(batch);
                }
                Output::Event(event) => self.events.push(event),
            }
        }
        moved
    }

    fn write_all(&mut self, worker: usize) -> bool {
        let mut list = Vec::new();
        self.engines[worker].take_writable(&mut list);
        for key in list {
            if let Some(client) = self.client_of(worker, key) {
                client.writable = true;
            }
        }
        let mut moved = false;
        for at in 0..self.clients.len() {
            let client = &self.clients[at];
            if client.worker == worker && client.writable && client.reads {
                moved |= self.write(at, usize::MAX);
            }
        }
        moved
    }

    /// Writes up to `left` bytes to a client. False if there was nothing to write.
    pub(super) fn write(&mut self, at: usize, mut left: usize) -> bool {
        let client = &mut self.clients[at];
        let engine = &mut self.engines[client.worker];
        let mut moved = false;
        while left > 0 {
            let outgoing = engine.outgoing(client.key);
            let Some(outgoing) = outgoing.filter(|outgoing| !outgoing.is_empty()) else {
                client.writable = false;
                break;
            };
            let mut slices = [IoSlice::new(&[]); SLICES];
            let filled = outgoing.slices(&mut slices);
            let mut bytes = joined(&slices[..filled]);
            bytes.truncate(left);
            assert!(
                !bytes.is_empty(),
                "something is outgoing, and no slice holds it"
            );
            left -= bytes.len();
            moved = true;
            let input = Input::Written {
                connection: client.key,
                bytes: bytes.len(),
            };
            engine.handle(input, self.now);
            client.got(&bytes);
        }
        moved
    }

    /// Closes transports that have nothing left to write, or a peer that does not read it.
    fn close(&mut self, worker: usize) -> bool {
        let mut moved = false;
        for client in self.clients.iter_mut().filter(|c| c.worker == worker) {
            let engine = &mut self.engines[worker];
            let written = engine.outgoing(client.key).is_none_or(|o| o.is_empty());
            if client.transport != Transport::Closing || (client.reads && !written) {
                continue;
            }
            client.transport = Transport::Closed;
            client.seen.push(Seen::Closed);
            let connection = client.key;
            engine.handle(Input::Closed { connection }, self.now);
            moved = true;
        }
        moved
    }

    fn deliver_all(&mut self) -> bool {
        let mut moved = false;
        for from in 0..self.engines.len() {
            for to in 0..self.engines.len() {
                for letter in mem::take(&mut self.mail[from][to]) {
                    moved = true;
                    match letter {
                        Letter::Handover(item) => self.hand_over(from, to, vec![*item]),
                        Letter::Credit(count) => self.credit(from, to, count),
                    }
                }
            }
        }
        moved
    }

    fn hand_over(&mut self, from: usize, to: usize, batch: Vec<Handover>) {
        if !batch.is_empty() {
            let from = from as u16;
            self.engines[to].handle(Input::Handover { from, batch }, self.now);
        }
    }

    fn credit(&mut self, from: usize, to: usize, count: u32) {
        let from = from as u16;
        self.engines[to].handle(Input::Credit { from, count }, self.now);
    }

    fn client_of(&mut self, worker: usize, key: ConnectionKey) -> Option<&mut Client> {
        let at = *self.by_key.get(&(worker, key))?;
        self.clients.get_mut(at)
    }

    /// A text whose partition belongs to a worker: the stem itself, or the stem with a number.
    pub(crate) fn name_on(&self, worker: u16, stem: &str) -> String {
        self.first_on(worker, stem, |name| name.to_owned())
    }

    /// The filter of a Shared Subscription whose members a worker chooses among.
    pub(crate) fn share_on(&self, worker: u16, stem: &str, filter: &str) -> String {
        let name = self.first_on(worker, stem, |name| format!("{name}/{filter}"));
        format!("$share/{name}/{filter}")
    }

    fn first_on(&self, worker: u16, stem: &str, hashed: impl Fn(&str) -> String) -> String {
        let mut name = stem.to_owned();
        for n in 0.. {
            let owner = worker_of(partition_of(hashed(&name).as_bytes()), self.workers);
            if owner == worker {
                break;
            }
            name = format!("{stem}{n}");
        }
        name
    }

    pub(super) fn client(&mut self, at: At) -> &mut Client {
        &mut self.clients[at.0]
    }
}

/// Slices in one piece.
fn joined(slices: &[IoSlice<'_>]) -> Vec<u8> {
    slices
        .iter()
        .flat_map(|slice| slice.iter().copied())
        .collect()
}
