//! Retained messages: those of this worker's topics, and the cursors that deliver them to new
//! Subscriptions.
//!
//! A retained message belongs to the partition of its Topic Name. The publisher's worker gives every
//! change a version from one counter; the owner keeps the highest. A live copy carries the version too, so that a cursor
//! can skip what is older than what its Session has already got.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use dunlin_packet::mutant::{self, Mutant};
use dunlin_protocol::Timestamp;
use dunlin_route::{Grant, Merged, RetainedIndex, SessionKey, filter_matches};
use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::commit::After;
use crate::deliver::{has_got, remember};
use crate::engine::Engine;
use crate::io::{Handover, Query, ReplyTo};
use crate::limits::{CURSOR_LIVE_TOPICS_MAX, QUERIES_MAX, TOMBSTONE_MS, TOMBSTONES_MAX};
use crate::message::Message;
use crate::record::Record;
use crate::shared::merged;

/// The retained messages of one worker's topics.
pub(crate) struct RetainedStore {
    index: RetainedIndex<Arc<Message>>,
    expiring: BTreeSet<(Timestamp, Arc<str>)>,
    tombstones: Option<Tombstones>,
}

/// Versions of deletions, until no older change can be on its way from another worker.
struct Tombstones {
    versions: HashMap<Arc<str>, u64, FixedState>,
    /// In the order of their time.
    graves: VecDeque<(Timestamp, Arc<str>, u64)>,
    /// What was asked lately: a change that is still on its way may be wanted there.
    queries: VecDeque<(Timestamp, Query)>,
}

impl Tombstones {
    fn add(&mut self, topic: &Arc<str>, version: u64, now: Timestamp) {
        if self.graves.len() >= TOMBSTONES_MAX {
            self.remove_first();
        }
        self.versions.insert(Arc::clone(topic), version);
        self.graves.push_back((now, Arc::clone(topic), version));
    }

    fn remove_first(&mut self) {
        let Some((_, topic, version)) = self.graves.pop_front() else {
            return;
        };
        if self.versions.get(&topic) == Some(&version) {
            self.versions.remove(&topic);
        }
    }
}

/// A change of a retained message that was made.
pub(crate) struct Applied {
    /// Its record, with a store.
    pub(crate) record: Option<Record>,
}

impl RetainedStore {
    /// `alone` is for a broker with one worker, where changes come in order.
    pub(crate) fn new(alone: bool, hasher: FixedState) -> Self {
        let tombstones = || Tombstones {
            versions: HashMap::with_hasher(hasher),
            graves: VecDeque::new(),
            queries: VecDeque::new(),
        };
        Self {
            index: RetainedIndex::new(),
            expiring: BTreeSet::new(),
            tombstones: (!alone).then(tombstones),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// Sets a topic's message, or deletes it with an empty payload, unless a newer change was
    /// seen: then nothing.
    pub(crate) fn set(
        &mut self,
        message: &Arc<Message>,
        durable: bool,
        now: Timestamp,
    ) -> Option<Applied> {
        let topic = &message.topic;
        let version = message.retain_version;
        let held = self.index.get(topic).map(|held| held.retain_version);
        let buried = self
            .tombstones
            .as_ref()
            .and_then(|dead| dead.versions.get(topic).copied());
        let newer = held.max(buried).is_some_and(|newest| newest > version);
        if newer {
            return None;
        }
        // v5[MQTT-3.3.1-6], v5[MQTT-3.3.1-7]
        let delete = message.payload().is_empty() && !mutant::is_active(Mutant::RetainEmptyKept);
        let old = if delete {
            if let Some(tombstones) = &mut self.tombstones {
                tombstones.add(topic, version, now);
            }
            self.index.remove(topic)
        } else {
            self.index.insert(Arc::clone(topic), Arc::clone(message))
        };
        if let Some(at) = old.as_ref().and_then(|old| old.expires_at) {
            self.expiring.remove(&(at, Arc::clone(topic)));
        }
        if let Some(at) = message.expires_at.filter(|_| !delete) {
            self.expiring.insert((at, Arc::clone(topic)));
        }
        let topic = Arc::clone(topic);
        let record = match (durable, delete) {
            (false, _) => None,
            (true, true) => old.map(|_| Record::RetainedEnded { topic, version }),
            (true, false) => Some(Record::Retained {
                topic,
                origin: message.origin,
                version,
            }),
        };
        Some(Applied { record })
    }

    /// Remembers a question.
    fn asked(&mut self, query: Query, now: Timestamp) {
        let Some(memory) = &mut self.tombstones else {
            return;
        };
        if memory.queries.len() >= QUERIES_MAX {
            memory.queries.pop_front();
        }
        memory.queries.push_back((now, query));
    }

    /// The Subscriptions that asked before this change came, and that its publisher's worker, which knew
    /// `version` of the routes, did not know of.
    fn missed(&self, topic: &str, version: u64) -> Vec<Query> {
        let queries = self.tombstones.iter().flat_map(|memory| &memory.queries);
        let missed = queries
            .filter(|(_, query)| query.version > version && filter_matches(&query.filter, topic));
        missed.map(|(_, query)| query.clone()).collect()
    }

    /// Up to `limit` messages that match, after a topic, and whether there may be more.
    pub(crate) fn matching(
        &self,
        filter: &str,
        after: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> (Vec<Arc<Message>>, bool) {
        let mut found = Vec::new();
        for (_, message) in self.index.matching(filter, after) {
            if found.len() == limit {
                return (found, true);
            }
            if !message.is_expired(now) {
                found.push(Arc::clone(message));
            }
        }
        (found, false)
    }

    pub(crate) fn next_sweep(&self) -> Option<Timestamp> {
        let memory = self.tombstones.as_ref();
        let grave = memory.and_then(|memory| memory.graves.front().map(|(at, ..)| *at));
        let query = memory.and_then(|memory| memory.queries.front().map(|(at, _)| *at));
        let forget = [grave, query].into_iter().flatten().min();
        let forget = forget.map(|at| at + TOMBSTONE_MS);
        let expiry = self.expiring.first().map(|(at, _)| *at);
        [expiry, forget].into_iter().flatten().min()
    }

    /// Lets expired messages go; returns the records of it.
    pub(crate) fn sweep(&mut self, now: Timestamp, durable: bool) -> Vec<Record> {
        if let Some(tombstones) = &mut self.tombstones {
            let over = |graves: &VecDeque<(Timestamp, _, _)>| {
                graves
                    .front()
                    .is_some_and(|(at, ..)| *at + TOMBSTONE_MS <= now)
            };
            while over(&tombstones.graves) {
                tombstones.remove_first();
            }
            let old = |queries: &VecDeque<(Timestamp, Query)>| {
                queries
                    .front()
                    .is_some_and(|(at, _)| *at + TOMBSTONE_MS <= now)
            };
            while old(&tombstones.queries) {
                tombstones.queries.pop_front();
            }
        }
        let mut records = Vec::new();
        while let Some((at, topic)) = self.expiring.first().cloned().filter(|(at, _)| *at <= now) {
            self.expiring.remove(&(at, Arc::clone(&topic)));
            if let Some(message) = self.index.remove(&topic)
                && durable
            {
                records.push(Record::RetainedEnded {
                    topic,
                    version: message.retain_version,
                });
            }
        }
        records
    }
}

/// Retained messages still to be delivered to one Subscription.
#[derive(Debug)]
pub(crate) struct Cursor {
    id: u64,
    filter: Arc<str>,
    merged: Merged,
    /// Version of the route index that has its Subscription.
    version: u64,
    /// Not before SUBACK is on its way.
    started: bool,
    /// The worker whose topics are being read; all before it are done.
    worker: u16,
    after: Option<Arc<str>>,
    asked: bool,
    exhausted: bool,
    ready: VecDeque<Arc<Message>>,
    /// Topics of which the Session got a live copy meanwhile, with its version.
    live: VecDeque<(Arc<str>, u64)>,
}

impl Cursor {
    /// Notes a live retained message, so that an older one is not sent after it.
    pub(crate) fn saw_live(&mut self, topic: &Arc<str>, version: u64) {
        if filter_matches(&self.filter, topic) {
            if self.live.len() == CURSOR_LIVE_TOPICS_MAX {
                self.live.pop_front();
            }
            self.live.push_back((Arc::clone(topic), version));
        }
    }

    pub(crate) fn is_started(&self) -> bool {
        self.started
    }

    fn is_superseded(&self, message: &Message) -> bool {
        self.live
            .iter()
            .any(|(topic, version)| *topic == message.topic && *version >= message.retain_version)
    }
}

impl Engine {
    /// A change of a retained message that another worker's client has made.
    pub(crate) fn retain(
        &mut self,
        message: &Arc<Message>,
        version: u64,
        reply: Option<ReplyTo>,
        now: Timestamp,
    ) {
        let applied = self.retained.set(message, self.durable, now);
        let taken = applied.is_some();
        if taken {
            for query in self.retained.missed(&message.topic, version) {
                let to = self.owner_of(query.session.partition);
                let late = Handover::RetainedLate {
                    session: query.session,
                    filter: query.filter,
                    merged: query.merged,
                    message: Arc::clone(message),
                };
                self.hand_over(to, late, now);
            }
        }
        let mut records = Vec::new();
        if let Some(record) = applied.and_then(|applied| applied.record) {
            if matches!(record, Record::Retained { .. }) {
                records.push(Record::Body {
                    message: Arc::clone(message),
                });
            }
            records.push(record);
        }
        self.reply(reply, records, taken, now);
    }

    /// Registers a cursor for a new Subscription; it starts behind SUBACK.
    pub(crate) fn add_cursor(&mut self, slot: u32, filter: &str, grant: Grant) -> Option<u64> {
        let id = self.next_cursor;
        self.next_cursor += 1;
        let session = self.sessions.get_mut(slot as usize)?;
        let mut cursor = Cursor {
            id,
            filter: filter.into(),
            merged: merged(grant),
            version: self.routes.version(),
            started: false,
            worker: 0,
            after: None,
            asked: false,
            exhausted: false,
            ready: VecDeque::new(),
            live: VecDeque::new(),
        };
        let rare = session.rare.make();
        for (topic, version) in &rare.recent_retained {
            // What it has got is to be sent again, what is older is not.
            cursor.saw_live(topic, version.saturating_sub(1));
        }
        rare.cursors.push_back(cursor);
        Some(id)
    }

    pub(crate) fn drop_cursor(&mut self, slot: u32, filter: &str) {
        if let Some(session) = self.sessions.get_mut(slot as usize)
            && let Some(rare) = session.rare.get_mut()
        {
            rare.cursors.retain(|cursor| *cursor.filter != *filter);
        }
    }

    pub(crate) fn start_cursors(&mut self, connection: u32, ids: &[u64], now: Timestamp) {
        let Some(slot) = self.session_of(connection) else {
            return;
        };
        let Some(session) = self.sessions.get_mut(slot as usize) else {
            return;
        };
        let rare = session.rare.get_mut().into_iter();
        rare.flat_map(|rare| &mut rare.cursors)
            .filter(|cursor| ids.contains(&cursor.id))
            .for_each(|cursor| cursor.started = true);
        self.pump(slot, now);
    }

    /// Sends the next retained message of the first cursor that has one. False if none can be sent now.
    pub(crate) fn pump_retained(&mut self, slot: u32, now: Timestamp) -> bool {
        loop {
            let Some(session) = self.sessions.get_mut(slot as usize) else {
                return false;
            };
            let key = session.key;
            let sequence = session.next_sequence;
            // Room first: a message that cannot be sent stays in the index.
            let free = session.queue.is_empty();
            let quota = session.outbound.may_send(sequence, 0);
            let Some(cursors) = session.rare.get_mut().map(|rare| &mut rare.cursors) else {
                return false;
            };
            let Some(cursor) = cursors.front_mut().filter(|cursor| cursor.started) else {
                return false;
            };
            let Some(message) = cursor.ready.front() else {
                if cursor.exhausted {
                    cursors.pop_front();
                } else if cursor.asked {
                    return false;
                } else {
                    self.ask_retained(slot, now);
                }
                continue;
            };
            let qos0 = cursor.merged.qos == 0 || message.qos == dunlin_packet::QoS::AtMostOnce;
            if !free || !(qos0 || quota) {
                return false;
            }
            let Some(message) = cursor.ready.pop_front() else {
                return false;
            };
            if cursor.is_superseded(&message) || message.is_expired(now) {
                continue;
            }
            let merged = cursor.merged.clone();
            self.deliver_retained(key, &merged, &message, now);
            return true;
        }
    }

    fn ask_retained(&mut self, slot: u32, now: Timestamp) {
        let limit = self.limits.retained_chunk;
        let Some(session) = self.sessions.get_mut(slot as usize) else {
            return;
        };
        let key = session.key;
        let first = session.rare.get_mut();
        let Some(cursor) = first.and_then(|rare| rare.cursors.front_mut()) else {
            return;
        };
        let (id, after, worker) = (cursor.id, cursor.after.clone(), cursor.worker);
        let query = Query {
            session: key,
            filter: Arc::clone(&cursor.filter),
            merged: cursor.merged.clone(),
            version: cursor.version,
        };
        if worker == self.worker {
            let (messages, more) = self.answer_query(query, after.as_deref(), limit, now);
            self.fill_cursor(key, id, messages, more);
            return;
        }
        cursor.asked = true;
        let ask = Handover::RetainedQuery {
            cursor: id,
            query,
            after,
            limit,
        };
        self.hand_over(worker, ask, now);
    }

    /// Answers a question about our topics, and remembers that it was asked.
    pub(crate) fn answer_query(
        &mut self,
        query: Query,
        after: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> (Vec<Arc<Message>>, bool) {
        let answer = self.retained.matching(&query.filter, after, limit, now);
        if after.is_none() {
            self.retained.asked(query, now);
        }
        answer
    }

    /// A retained message that missed the question of a Subscription of ours.
    pub(crate) fn retained_late(
        &mut self,
        key: SessionKey,
        filter: &str,
        merged: &Merged,
        message: &Arc<Message>,
        now: Timestamp,
    ) {
        let session = self.sessions.get(key.slot as usize);
        let Some(session) = session.filter(|session| session.key == key) else {
            return;
        };
        let wanted = session.is_subscribed(filter)
            && !has_got(session, &message.topic, message.retain_version);
        // A deletion has nothing to send; the one before it was the last known good value when asked.
        if wanted && !message.payload().is_empty() && !message.is_expired(now) {
            self.deliver_retained(key, merged, message, now);
        }
    }

    /// Delivers a retained message because of a new Subscription.
    fn deliver_retained(
        &mut self,
        key: SessionKey,
        merged: &Merged,
        message: &Arc<Message>,
        now: Timestamp,
    ) {
        let merged = Merged {
            retain_as_published: true,
            ..merged.clone()
        };
        let mut incoming = message.as_incoming();
        // It is no live copy: other cursors of the Session have their own claim to it.
        incoming.retain_version = 0;
        self.shapes.begin(false);
        let mut draft = self.jobs.draft(self.worker);
        self.deliver_to(key, &merged, &mut incoming, None, Some(&mut draft), now);
        if self.durable {
            self.finish_draft(None, draft, After::Nothing);
        }
        if self.workers > 1
            && let Some(session) = self.sessions.get_mut(key.slot as usize)
        {
            remember(session, &message.topic, message.retain_version);
        }
    }

    pub(crate) fn retained_reply(
        &mut self,
        session: SessionKey,
        cursor: u64,
        messages: Vec<Arc<Message>>,
        more: bool,
        now: Timestamp,
    ) {
        self.fill_cursor(session, cursor, messages, more);
        if self
            .sessions
            .get(session.slot as usize)
            .is_some_and(|s| s.key == session)
        {
            self.pump(session.slot, now);
        }
    }

    fn fill_cursor(&mut self, key: SessionKey, id: u64, messages: Vec<Arc<Message>>, more: bool) {
        let workers = self.workers;
        let Some(session) = self
            .sessions
            .get_mut(key.slot as usize)
            .filter(|s| s.key == key)
        else {
            return;
        };
        let rare = session.rare.get_mut().into_iter();
        let mut cursors = rare.flat_map(|rare| &mut rare.cursors);
        let Some(cursor) = cursors.find(|cursor| cursor.id == id) else {
            return;
        };
        cursor.asked = false;
        cursor.after = messages.last().map(|message| Arc::clone(&message.topic));
        cursor.ready.extend(messages);
        if !more {
            cursor.worker += 1;
            cursor.after = None;
            cursor.exhausted = cursor.worker == workers;
        }
    }
}
