//! The engine of one worker: its tables, and the way from an [`Input`] to the code that handles it.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use dunlin_packet::ReasonCode;
use dunlin_protocol::{ServerOffer, Timestamp};
use dunlin_route::{RouteIndex, TopicCache};
use foldhash::fast::FixedState;

use crate::authorize::Authorizer;
use crate::clients::Clients;
use crate::commit::{Jobs, Part};
use crate::connection::{Connection, Stage};
use crate::io::{ConnectionKey, Event, Handover, Input, Output};
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::outgoing::{BufferPool, Outgoing};
use crate::publish::{Elsewhere, Resolved, Resolver};
use crate::retained::RetainedStore;
use crate::run::Runs;
use crate::session::Session;
use crate::shared::{Groups, Returned};
use crate::table::Table;
use crate::timers::{Due, Watch};
use crate::write::Shapes;

/// What an engine is made with; the limits alone change later.
pub struct Setup {
    /// This worker's number, from 0.
    pub worker: u16,
    /// How many workers there are.
    pub workers: u16,
    /// Shared by all workers.
    pub routes: Arc<RouteIndex>,
    /// See [`Limits`].
    pub limits: Arc<Limits>,
    /// `None` allows everything and costs nothing.
    pub authorizer: Option<Arc<dyn Authorizer>>,
    /// Whether durable effects leave as batches and acknowledgements wait for the answer; without
    /// (`ack = memory`) none are made.
    pub durable: bool,
    /// Unpredictable, for the hash tables.
    pub hash_seed: u64,
}

/// The broker's rules for the partitions of one worker.
///
/// The contract: call [`Engine::receive`] and [`Engine::handle`] with what happens, then drain
/// [`Engine::poll_output`] and write what [`Engine::take_writable`] names. No call blocks; none of them
/// reads a clock. `now` never goes backwards.
pub struct Engine {
    pub(crate) worker: u16,
    pub(crate) workers: u16,
    pub(crate) durable: bool,
    pub(crate) hasher: FixedState,
    pub(crate) routes: Arc<RouteIndex>,
    pub(crate) cache: TopicCache<Rc<Resolved>>,
    pub(crate) resolver: Resolver,
    pub(crate) limits: Arc<Limits>,
    pub(crate) authorizer: Option<Arc<dyn Authorizer>>,
    pub(crate) connections: Table<Connection>,
    pub(crate) watches: Vec<Watch>,
    pub(crate) sessions: Table<Session>,
    pub(crate) clients: Clients,
    pub(crate) next_serial: u32,
    pub(crate) next_origin: u64,
    pub(crate) next_cursor: u64,
    pub(crate) retained: RetainedStore,
    pub(crate) groups: Groups,
    pub(crate) jobs: Jobs,
    pub(crate) due: BTreeSet<Due>,
    pub(crate) next_scan: Option<Timestamp>,
    /// Publications handed to each worker and not yet handled there.
    pub(crate) outstanding: Vec<u32>,
    /// Connections that are not read because another worker is behind.
    pub(crate) paused: Vec<ConnectionKey>,
    pub(crate) pool: BufferPool,
    pub(crate) shapes: Shapes,
    pub(crate) scratch: Vec<u8>,
    /// The buffer that is being read, while large payloads may be referenced in it.
    pub(crate) read_buffer: Option<Arc<[u8]>>,
    pub(crate) forwarded_scratch: Vec<u8>,
    pub(crate) writable: Vec<ConnectionKey>,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) runs: Runs,
    pub(crate) metrics: Metrics,
    pub(crate) stopping: bool,
    /// The instant of the call that is being handled.
    pub(crate) now: Timestamp,
    /// The index's version when a route was last found current; for hand-overs.
    pub(crate) route_version: u64,
}

impl Engine {
    /// An engine without Sessions.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let hasher = FixedState::with_seed(setup.hash_seed);
        Self {
            worker: setup.worker,
            workers: setup.workers.max(1),
            durable: setup.durable,
            routes: setup.routes,
            cache: TopicCache::new(setup.limits.route_cache_bytes_max, setup.hash_seed),
            resolver: Resolver::default(),
            limits: setup.limits,
            authorizer: setup.authorizer,
            connections: Table::new(),
            watches: Vec::new(),
            sessions: Table::new(),
            clients: Clients::new(hasher.clone()),
            next_serial: 1,
            next_origin: 1,
            next_cursor: 1,
            retained: RetainedStore::new(setup.workers <= 1, hasher.clone()),
            groups: Groups::new(hasher.clone()),
            jobs: Jobs::default(),
            due: BTreeSet::new(),
            next_scan: None,
            outstanding: vec![0; usize::from(setup.workers.max(1))],
            paused: Vec::new(),
            pool: BufferPool::default(),
            shapes: Shapes::default(),
            scratch: Vec::new(),
            read_buffer: None,
            forwarded_scratch: Vec::new(),
            writable: Vec::new(),
            outputs: VecDeque::new(),
            runs: Runs::default(),
            metrics: Metrics::default(),
            stopping: false,
            now: Timestamp::default(),
            route_version: 0,
            hasher,
        }
    }

    /// Makes room for a new Network Connection on a listener with `offer`. It must be closed with
    /// [`Input::Closed`] once its transport is gone.
    pub fn open(&mut self, offer: Arc<ServerOffer>) -> ConnectionKey {
        let serial = self.serial();
        let slot = self.connections.insert_with(|_| Connection {
            serial,
            stage: Stage::Opened,
            outgoing: Outgoing::default(),
            writable: false,
            offer,
        }) as u32;
        ConnectionKey { slot, serial }
    }

    /// Handles one thing that happened.
    pub fn handle(&mut self, input: Input<'_>, now: Timestamp) {
        self.now = now;
        match input {
            Input::Connect {
                connection,
                connect,
                principal,
                random,
            } => {
                self.connect(connection, connect, principal, random, now);
            }
            Input::Closed { connection } => self.closed(connection, now),
            Input::Written { connection, bytes } => self.written(connection, bytes, now),
            Input::Handover { from, batch } => self.handovers(from, batch, now),
            Input::Credit { from, count } => self.credit(from, count),
            Input::Committed { batch, result } => self.committed(batch, result, now),
            Input::Timeout => self.timeout(now),
            Input::Reload(limits) => self.limits = limits,
            Input::Shutdown => self.shutdown(now),
        }
    }

    /// The next thing to do, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        if self.outputs.is_empty() && !self.runs.is_empty() {
            self.close_runs();
        }
        self.outputs.pop_front()
    }

    /// Takes the list of connections that have bytes to write.
    pub fn take_writable(&mut self, list: &mut Vec<ConnectionKey>) {
        for key in self.writable.drain(..) {
            if let Some(connection) = self.connections.get_mut(key.slot as usize)
                && connection.serial == key.serial
            {
                connection.writable = false;
                list.push(key);
            }
        }
    }

    /// Whether any connection has bytes to write, or any output waits.
    #[must_use]
    #[inline]
    pub fn has_work(&self) -> bool {
        !self.writable.is_empty() || !self.outputs.is_empty() || !self.runs.is_empty()
    }

    /// The unwritten bytes of a connection, for [`Outgoing::slices`].
    #[must_use]
    pub fn outgoing(&self, key: ConnectionKey) -> Option<&Outgoing> {
        self.connections
            .get(key.slot as usize)
            .filter(|c| c.serial == key.serial)
            .map(|c| &c.outgoing)
    }

    /// Whether the engine wants to read more of a connection; not once its end is decided.
    #[must_use]
    pub fn is_open(&self, key: ConnectionKey) -> bool {
        self.connections
            .get(key.slot as usize)
            .is_some_and(|c| c.serial == key.serial && !matches!(c.stage, Stage::Closing))
    }

    /// What was counted so far.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        Metrics {
            sessions: self.sessions.len() as u64,
            connections: self.connections.len() as u64,
            retained: self.retained.len() as u64,
            ..self.metrics.clone()
        }
    }

    /// Lets spare memory go; called when the worker has been quiet.
    pub fn trim(&mut self) {
        self.pool.shrink();
        self.resolver = Resolver::default();
        self.scratch = Vec::new();
        self.forwarded_scratch = Vec::new();
        self.shapes = Shapes::default();
        self.outputs.shrink_to(64);
    }

    pub(crate) fn serial(&mut self) -> u32 {
        let serial = self.next_serial;
        self.next_serial = self.next_serial.wrapping_add(1).max(1);
        serial
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    pub(crate) fn key_of(&self, slot: u32) -> Option<ConnectionKey> {
        self.connections.get(slot as usize).map(|c| ConnectionKey {
            slot,
            serial: c.serial,
        })
    }

    /// Notes that a connection has something to write.
    #[inline]
    pub(crate) fn mark_writable(&mut self, slot: u32) {
        if let Some(connection) = self.connections.get_mut(slot as usize) {
            mark(connection, slot, &mut self.writable);
        }
    }

    /// Hands something to another worker, or handles it here if it is for this one.
    pub(crate) fn hand_over(&mut self, to: u16, item: Handover, now: Timestamp) {
        if to == self.worker {
            self.handover(to, item, now);
            return;
        }
        self.close_run(to);
        if let Some(count) = self.outstanding.get_mut(usize::from(to)) {
            *count += item.publications();
        }
        self.outputs.push_back(Output::Handover { to, item });
    }

    fn handovers(&mut self, from: u16, batch: Vec<Handover>, now: Timestamp) {
        let mut publications = 0;
        for item in batch {
            publications += item.publications();
            self.handover(from, item, now);
        }
        if publications > 0 {
            self.outputs.push_back(Output::Credit {
                to: from,
                count: publications,
            });
        }
    }

    fn handover(&mut self, from: u16, item: Handover, now: Timestamp) {
        match item {
            Handover::Publish {
                message,
                targets,
                generation,
                from,
                reply,
            } => {
                let elsewhere = Elsewhere {
                    message,
                    targets,
                    generation,
                    from,
                    reply,
                };
                self.published_elsewhere(elsewhere, now);
            }
            Handover::Run(run) => self.run_arrived(&run, now),
            Handover::Dispatch {
                message,
                group,
                reply,
            } => self.dispatch(&message, group, None, reply, now),
            Handover::Shared { chosen, reply } => self.deliver_chosen(chosen, None, reply, now),
            Handover::Returned {
                message,
                group,
                from,
                moved,
                reply,
            } => {
                let returned = Returned {
                    message,
                    group,
                    from,
                    moved,
                    reply,
                };
                self.returned(returned, now);
            }
            Handover::Join {
                share,
                session,
                merged,
                reply,
            } => {
                self.join_group(&share, session, &merged, now);
                self.reply(reply, Vec::new(), true, now);
            }
            Handover::Leave {
                share,
                session,
                reply,
            } => {
                self.leave_group(&share, session);
                self.reply(reply, Vec::new(), true, now);
            }
            Handover::Presence {
                share,
                session,
                online,
            } => self.presence(&share, session, online, now),
            Handover::Settled { group, session } => self.groups.settled(group, session),
            Handover::Reclaim {
                share,
                group,
                session,
            } => self.reclaim(&share, group, session, now),
            Handover::Retain {
                message,
                version,
                reply,
            } => self.retain(&message, version, reply, now),
            Handover::RetainedLate {
                session,
                filter,
                merged,
                message,
            } => self.retained_late(session, &filter, &merged, &message, now),
            Handover::RetainedQuery {
                cursor,
                query,
                after,
                limit,
            } => {
                let session = query.session;
                let (messages, more) = self.answer_query(query, after.as_deref(), limit, now);
                let reply = Handover::RetainedReply {
                    session,
                    cursor,
                    messages,
                    more,
                };
                self.hand_over(from, reply, now);
            }
            Handover::RetainedReply {
                session,
                cursor,
                messages,
                more,
            } => {
                self.retained_reply(session, cursor, messages, more, now);
            }
            Handover::Ended {
                client_id,
                sequence,
            } => self.end_queued(client_id, sequence, self.worker, now),
            Handover::Fragment {
                job,
                records,
                taken,
            } => self.fragment(job, Part { records, taken }),
        }
    }

    fn credit(&mut self, from: u16, count: u32) {
        let Some(outstanding) = self.outstanding.get_mut(usize::from(from)) else {
            return;
        };
        *outstanding = outstanding.saturating_sub(count);
        if *outstanding > self.limits.worker_queue_max / 2 {
            return;
        }
        let paused = std::mem::take(&mut self.paused);
        for key in paused {
            let live = self
                .connections
                .get_mut(key.slot as usize)
                .filter(|connection| connection.serial == key.serial)
                .and_then(|connection| connection.live_mut());
            let Some(live) = live else { continue };
            live.paused_by.make().retain(|by| *by != from);
            if live.is_paused() {
                self.paused.push(key);
            } else {
                self.outputs.push_back(Output::Resume(key));
            }
        }
    }

    fn shutdown(&mut self, now: Timestamp) {
        self.stopping = true;
        let slots: Vec<u32> = self
            .connections
            .iter()
            .map(|(slot, _)| slot as u32)
            .collect();
        for slot in slots {
            self.end_by_server(
                slot,
                ReasonCode::ServerShuttingDown,
                "the broker stops",
                now,
            );
        }
    }
}

/// Puts a connection on the list of those with something to write, once.
#[inline]
pub(crate) fn mark(connection: &mut Connection, slot: u32, list: &mut Vec<ConnectionKey>) {
    if !connection.writable {
        connection.writable = true;
        list.push(ConnectionKey {
            slot,
            serial: connection.serial,
        });
    }
}
