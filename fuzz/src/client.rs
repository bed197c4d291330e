//! A well-behaved client: what it knows, what it sends, and what it must not see.
//!
//! It acknowledges what it receives, in whatever order the input chooses, resends after a reconnect
//! and keeps its Packet Identifiers apart. So everything that it asserts is a promise of the broker:
//! no identifier in use twice, quotas and sizes kept, QoS 0 and 2 at most once, order, and, at the end,
//! that nothing which the broker took is missing.

mod receive;
mod send;
mod wire;

use std::collections::{BTreeMap, BTreeSet};

use dunlin_packet::QoS;

use crate::ledger::Ledger;
use crate::naive;
pub(crate) use receive::WILD;
pub use send::Published;
pub(crate) use send::TOPICS;
pub use wire::{Reply, Stage, Wire};

/// What is remembered of one Client Identifier, whatever connections it has.
pub struct Client {
    /// Its Client Identifier.
    pub name: &'static str,
    /// Its place among the clients.
    pub index: usize,
    /// It sends more than the broker's Receive Maximum allows: the one rule that it may break.
    pub is_greedy: bool,
    /// Its Network Connection, while it has one.
    pub wire: Option<Wire>,
    /// QoS 2 messages received whose PUBREL is still to come: topic and payload by identifier.
    held: BTreeMap<u16, (String, Vec<u8>)>,
    /// `held` may be of another Session than the broker's: a CONNECT was never answered.
    is_stale: bool,
    /// Its own QoS 1 and 2 messages on their way, oldest first.
    open: Vec<Open>,
    /// Identifiers may be open at the broker that are not open here.
    has_abandoned: bool,
    highest_id: u16,
    /// Subscriptions that SUBACK confirmed: granted QoS and No Local.
    subscriptions: BTreeMap<String, (QoS, bool)>,
    /// How often it has asked for a change of its Subscriptions.
    requests: u32,
    /// All Topic Filters that it ever asked for, without those of Shared Subscriptions.
    asked: BTreeSet<String>,
    /// It has joined a Shared Subscription, whose copies come beside its own.
    shares: bool,
    /// Messages may have been discarded because they were too large for it.
    is_small: bool,
    /// Numbers of messages that must arrive if the broker takes them.
    awaited: BTreeSet<usize>,
    /// Deliveries by number.
    received: BTreeMap<usize, u32>,
    /// The last number by publisher, topic and delivered QoS.
    latest: BTreeMap<(usize, String, QoS), usize>,
}

/// A QoS 1 or 2 PUBLISH that is not acknowledged to the end.
struct Open {
    id: u16,
    /// `None` for one that deletes a retained message.
    number: Option<usize>,
    topic: &'static str,
    qos: QoS,
    retain: bool,
    expiry_s: Option<u32>,
    payload: Vec<u8>,
    /// PUBREC was received: only PUBREL is owed.
    is_released: bool,
}

impl Client {
    /// A client that was never connected.
    pub fn new(name: &'static str, index: usize, is_greedy: bool) -> Self {
        Self {
            name,
            index,
            is_greedy,
            wire: None,
            held: BTreeMap::new(),
            is_stale: false,
            open: Vec::new(),
            has_abandoned: false,
            highest_id: 0,
            subscriptions: BTreeMap::new(),
            requests: 0,
            asked: BTreeSet::new(),
            shares: false,
            is_small: false,
            awaited: BTreeSet::new(),
            received: BTreeMap::new(),
            latest: BTreeMap::new(),
        }
    }

    /// A new connection takes the place of any other.
    pub fn attach(&mut self, wire: Wire) {
        self.lost();
        self.is_small |= wire.size_max != u32::MAX;
        self.wire = Some(wire);
    }

    /// The connection is gone. Without CONNACK nobody knows what became of the Session.
    pub fn lost(&mut self) {
        if let Some(wire) = self.wire.take()
            && !wire.is_answered
        {
            self.forget();
            self.is_stale = true;
            self.has_abandoned = true;
        }
    }

    /// Whether it is connected and may send.
    pub fn is_online(&self) -> bool {
        self.wire
            .as_ref()
            .is_some_and(|wire| wire.stage == Stage::Open)
    }

    /// Whether it still has something to answer.
    pub fn owes(&self) -> bool {
        self.wire
            .as_ref()
            .is_some_and(|wire| wire.stage == Stage::Open && !wire.owed.is_empty())
    }

    /// Whether a message of this topic has to arrive; `own` if it is the publisher itself.
    pub fn wants(&self, topic: &str, own: bool) -> bool {
        self.subscriptions.iter().any(|(filter, (qos, no_local))| {
            *qos > QoS::AtMostOnce && !(own && *no_local) && naive::matches(filter, topic)
        })
    }

    /// Expects a message from now on.
    pub fn awaits(&mut self, number: usize) {
        self.awaited.insert(number);
    }

    /// What must hold when all is quiet and this client has answered everything.
    pub fn check_end(&self, ledger: &Ledger, is_overfull: bool) {
        if !self.is_online() {
            return;
        }
        assert!(
            self.open.is_empty(),
            "{}: {} PUBLISH unanswered",
            self.name,
            self.open.len()
        );
        if is_overfull || self.is_small {
            return;
        }
        for number in &self.awaited {
            let arrived = self.received.contains_key(number);
            let taken = ledger.messages[*number].is_accepted;
            assert!(
                arrived || !taken,
                "{}: message {number} was taken and is lost",
                self.name
            );
        }
    }

    /// What was open with a Session ends with it.
    fn forget(&mut self) {
        self.open.clear();
        self.subscriptions.clear();
        self.awaited.clear();
    }
}
