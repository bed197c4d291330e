//! Engines wired in memory: what the process does around them, with delays that the input chooses.
//!
//! Bytes go in by pieces, mail between workers and answers of the store may be held back, a client may
//! stop reading. What is checked here is the contract of the engine's border; what MQTT promises is
//! checked by the clients.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::IoSlice;
use std::sync::Arc;

use dunlin_engine::outgoing::SLICES_MAX;
use dunlin_engine::record::{Batch, StoreError, WallEpoch};
use dunlin_engine::{
    Authorizer, ConnectionKey, Engine, Event, Handover, Input, Limits, Output, Principal, Setup,
    partition_of, worker_of,
};
use dunlin_packet::{Connect, Decoded, Packet, decode_connect, encode};
use dunlin_protocol::{ServerOffer, Timestamp};
use dunlin_route::RouteIndex;

/// More turns than these for one thing that happened are a loop without end.
const TURNS_MAX: usize = 100_000;

/// How a house is built.
pub struct Plan {
    /// 1 or 2.
    pub workers: u16,
    /// Whether acknowledgements wait for a store.
    pub is_durable: bool,
    /// Mail between workers waits until it is delivered by hand.
    pub slow_mail: bool,
    /// Answers of the store wait until they are given by hand.
    pub slow_store: bool,
    /// Bytes that are read or written at a time.
    pub chunk: usize,
    /// The engines' settings.
    pub limits: Limits,
    /// What clients are offered.
    pub offer: ServerOffer,
    /// Who decides about access, if anybody does.
    pub authorizer: Option<Arc<dyn Authorizer>>,
}

/// One Network Connection, by its place in the list; never reused.
pub type LinkId = usize;

/// The engines and everything between them and the clients.
pub struct House {
    engines: Vec<Engine>,
    offer: Arc<ServerOffer>,
    links: Vec<Link>,
    by_key: BTreeMap<(u16, ConnectionKey), LinkId>,
    /// By receiver: the sender, and what it says.
    mail: Vec<VecDeque<(u16, Letter)>>,
    /// Batches without answer.
    commits: VecDeque<(u16, u64)>,
    is_durable: bool,
    slow_mail: bool,
    slow_store: bool,
    chunk: usize,
    now: Timestamp,
    random: u64,
    /// Clients that lost messages because their queue was full.
    pub overfull: BTreeSet<String>,
}

struct Link {
    worker: u16,
    key: ConnectionKey,
    /// Sent by the client, not yet used up by the engine.
    inbox: Vec<u8>,
    /// Written by the engine, not yet taken by the client.
    arrived: Vec<u8>,
    is_open: bool,
    is_paused: bool,
    /// The client does not read.
    is_stalled: bool,
}

enum Letter {
    Item(Handover),
    Credit(u32),
}

impl House {
    /// A house without clients.
    pub fn new(plan: Plan) -> Self {
        let routes = Arc::new(RouteIndex::new(7));
        let limits = Arc::new(plan.limits);
        let engine = |worker| {
            Engine::new(Setup {
                worker,
                workers: plan.workers,
                routes: Arc::clone(&routes),
                limits: Arc::clone(&limits),
                authorizer: plan.authorizer.clone(),
                durable: plan.is_durable,
                hash_seed: 11,
            })
        };
        Self {
            engines: (0..plan.workers).map(engine).collect(),
            offer: Arc::new(plan.offer),
            links: Vec::new(),
            by_key: BTreeMap::new(),
            mail: (0..plan.workers).map(|_| VecDeque::new()).collect(),
            commits: VecDeque::new(),
            is_durable: plan.is_durable,
            slow_mail: plan.slow_mail,
            slow_store: plan.slow_store,
            chunk: plan.chunk.max(1),
            now: Timestamp::from_millis(1_000_000),
            random: 0,
            overfull: BTreeSet::new(),
        }
    }

    /// A new Network Connection whose CONNECT has been read and authenticated.
    pub fn connect(&mut self, connect: &Connect<'_>) -> LinkId {
        let mut bytes = Vec::new();
        encode(
            &Packet::Connect(*connect),
            connect.version,
            u32::MAX,
            &mut bytes,
        )
        .expect("this CONNECT has a form on the wire");
        let Ok(Decoded::Packet {
            packet: Packet::Connect(connect),
            ..
        }) = decode_connect(&bytes, u32::MAX)
        else {
            panic!("CONNECT is not read as it was written: {bytes:02x?}");
        };
        let workers = self.engines.len() as u16;
        let worker = worker_of(partition_of(connect.client_id.as_bytes()), workers);
        let key = self.engines[usize::from(worker)].open(Arc::clone(&self.offer));
        let link = self.links.len();
        self.links.push(Link {
            worker,
            key,
            inbox: Vec::new(),
            arrived: Vec::new(),
            is_open: true,
            is_paused: false,
            is_stalled: false,
        });
        assert_eq!(
            self.by_key.insert((worker, key), link),
            None,
            "a key was given twice"
        );
        let principal = Principal {
            user_name: None,
            address: "fuzz".into(),
        };
        self.random += 1;
        let input = Input::Connect {
            connection: key,
            connect: &connect,
            principal,
            random: self.random,
        };
        self.engines[usize::from(worker)].handle(input, self.now);
        link
    }

    /// The client sends bytes.
    pub fn send(&mut self, link: LinkId, bytes: &[u8]) {
        self.links[link].inbox.extend_from_slice(bytes);
        self.feed(link);
    }

    /// The transport breaks.
    pub fn cut(&mut self, link: LinkId) {
        let Link {
            worker,
            key,
            is_open,
            ..
        } = &mut self.links[link];
        if std::mem::replace(is_open, false) {
            let (worker, key) = (*worker, *key);
            self.by_key.remove(&(worker, key));
            self.engines[usize::from(worker)].handle(Input::Closed { connection: key }, self.now);
        }
    }

    /// The client stops reading, or goes on.
    pub fn stall(&mut self, link: LinkId, stalled: bool) {
        self.links[link].is_stalled = stalled;
        self.write(link);
    }

    /// Whether the client does not read.
    pub fn is_stalled(&self, link: LinkId) -> bool {
        self.links[link].is_stalled
    }

    /// Whether the transport is still there.
    pub fn is_open(&self, link: LinkId) -> bool {
        self.links[link].is_open
    }

    /// What has arrived at the client.
    pub fn take(&mut self, link: LinkId) -> Vec<u8> {
        std::mem::take(&mut self.links[link].arrived)
    }

    /// Lets the engines run until nothing is left to do but what is held back.
    pub fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            let mut is_busy = false;
            for worker in 0..self.engines.len() {
                is_busy |= self.drain(worker as u16);
                is_busy |= !self.slow_mail && self.deliver_mail(worker);
            }
            is_busy |= !self.slow_store && self.answer_commit(0, Ok(()));
            if !is_busy {
                return;
            }
        }
        panic!("the engines do not come to rest");
    }

    /// From now on nothing is held back.
    pub fn hurry(&mut self) {
        self.slow_mail = false;
        self.slow_store = false;
        for link in 0..self.links.len() {
            self.stall(link, false);
        }
    }

    /// Time passes.
    pub fn advance(&mut self, millis: u64) {
        self.now = self.now + millis;
        for engine in &mut self.engines {
            if engine.next_timeout().is_some_and(|at| at <= self.now) {
                engine.handle(Input::Timeout, self.now);
                let is_done = engine.next_timeout().is_none_or(|at| at > self.now);
                assert!(is_done, "what was due is due again at once");
            }
        }
    }

    /// Hands a worker its oldest mail, as far as it comes from one sender. False if there is none.
    pub fn deliver_mail(&mut self, to: usize) -> bool {
        let Some(mail) = self.mail.get_mut(to) else {
            return false;
        };
        let Some((from, letter)) = mail.pop_front() else {
            return false;
        };
        let input = match letter {
            Letter::Credit(count) => Input::Credit { from, count },
            Letter::Item(item) => {
                let mut batch = vec![item];
                while let Some((next, Letter::Item(_))) = mail.front()
                    && *next == from
                {
                    if let Some((_, Letter::Item(item))) = mail.pop_front() {
                        batch.push(item);
                    }
                }
                Input::Handover { from, batch }
            }
        };
        self.engines[to].handle(input, self.now);
        true
    }

    /// Answers one of the batches that wait. False if there is none.
    pub fn answer_commit(&mut self, at: usize, result: Result<(), StoreError>) -> bool {
        let Some((worker, batch)) = self.commits.remove(at) else {
            return false;
        };
        self.engines[usize::from(worker)].handle(Input::Committed { batch, result }, self.now);
        true
    }

    /// Batches that wait.
    pub fn commits(&self) -> usize {
        self.commits.len()
    }

    fn drain(&mut self, worker: u16) -> bool {
        let mut is_busy = false;
        while let Some(output) = self.engines[usize::from(worker)].poll_output() {
            is_busy = true;
            self.obey(worker, output);
        }
        let mut writable = Vec::new();
        self.engines[usize::from(worker)].take_writable(&mut writable);
        for key in writable {
            if let Some(&link) = self.by_key.get(&(worker, key)) {
                is_busy |= self.write(link);
            }
        }
        is_busy
    }

    fn obey(&mut self, worker: u16, output: Output) {
        match output {
            Output::Close {
                connection: key, ..
            } => self.close(worker, key),
            Output::Pause(key) => {
                if let Some(&link) = self.by_key.get(&(worker, key)) {
                    self.links[link].is_paused = true;
                }
            }
            Output::Resume(key) => {
                if let Some(&link) = self.by_key.get(&(worker, key)) {
                    self.links[link].is_paused = false;
                    self.feed(link);
                }
            }
            Output::Handover { to, item } => {
                assert_ne!(to, worker, "mail to oneself");
                self.mail[usize::from(to)].push_back((worker, Letter::Item(item)));
            }
            Output::Credit { to, count } => {
                self.mail[usize::from(to)].push_back((worker, Letter::Credit(count)));
            }
            Output::Commit(batch) => self.commit(worker, &batch),
            Output::Event(Event::Dropping { client_id, .. }) => {
                self.overfull.insert(client_id.to_string());
            }
            Output::Event(_) => {}
        }
    }

    fn commit(&mut self, worker: u16, batch: &Batch) {
        assert!(self.is_durable, "a batch without a store");
        assert!(!batch.records.is_empty(), "a batch without records");
        for record in &batch.records {
            assert!(record.key().len() > 3);
            assert!(
                record
                    .value(WallEpoch::default())
                    .is_none_or(|value| !value.is_empty())
            );
        }
        let known = self.commits.contains(&(worker, batch.id));
        assert!(!known, "two batches with one number");
        self.commits.push_back((worker, batch.id));
    }

    /// The engine has ended a connection: what it has said is still written, unless nobody reads.
    fn close(&mut self, worker: u16, key: ConnectionKey) {
        let Some(&link) = self.by_key.get(&(worker, key)) else {
            return;
        };
        self.write(link);
        self.cut(link);
    }

    /// Gives the engine what the client has sent, piece by piece.
    fn feed(&mut self, link: LinkId) {
        let mut limit = self.chunk;
        loop {
            let Link {
                worker,
                key,
                inbox,
                is_open,
                is_paused,
                ..
            } = &mut self.links[link];
            if !*is_open || *is_paused || inbox.is_empty() {
                return;
            }
            let given = limit.min(inbox.len());
            let mut buffer: Arc<[u8]> = inbox[..given].into();
            let engine = &mut self.engines[usize::from(*worker)];
            let used = engine.receive_read(*key, &buffer, given, self.now);
            assert!(used <= given, "{used} bytes used of {given}");
            let own = *worker;
            for link in self.links.iter().filter(|link| link.worker == own) {
                self.engines[usize::from(own)].release_read_buffers(link.key);
            }
            // Nobody has the buffer any more, so that the next read may use it.
            Arc::get_mut(&mut buffer)
                .expect("a read buffer is still referenced")
                .fill(0xEE);
            let Link { inbox, .. } = &mut self.links[link];
            let is_all = given == inbox.len();
            inbox.drain(..used);
            if used > 0 {
                limit = self.chunk;
            } else if is_all {
                return;
            } else {
                limit += self.chunk;
            }
        }
    }

    /// Carries what the engine has written to the client, piece by piece. False if there was nothing.
    fn write(&mut self, link: LinkId) -> bool {
        let Link {
            worker,
            key,
            arrived,
            is_open,
            is_stalled,
            ..
        } = &mut self.links[link];
        let engine = &mut self.engines[usize::from(*worker)];
        let mut is_busy = false;
        while *is_open
            && !*is_stalled
            && let Some(outgoing) = engine
                .outgoing(*key)
                .filter(|outgoing| !outgoing.is_empty())
        {
            let waiting = outgoing.len();
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let filled = outgoing.slices(&mut slices);
            let before = arrived.len();
            for slice in &slices[..filled] {
                let room = self.chunk - (arrived.len() - before);
                arrived.extend_from_slice(&slice[..room.min(slice.len())]);
            }
            let bytes = arrived.len() - before;
            assert!(bytes > 0 && bytes <= waiting, "{bytes} bytes of {waiting}");
            engine.handle(
                Input::Written {
                    connection: *key,
                    bytes,
                },
                self.now,
            );
            is_busy = true;
        }
        is_busy
    }
}
