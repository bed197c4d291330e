//! Session State: what the broker keeps for a Client Identifier, with or without a connection.

use std::collections::VecDeque;
use std::sync::Arc;

use dunlin_packet::{PacketId, QoS};
use dunlin_protocol::{Inbound, OnDemand, Outbound, Ticket, Timestamp};
use dunlin_route::{GroupKey, SessionKey, SubscriptionIds};
use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::io::{ConnectionKey, ShareId};
use crate::limits::Limits;
use crate::message::{Message, Publisher};
use crate::retained::Cursor;

/// The state of one Session. It lives on the worker of its partition.
pub(crate) struct Session {
    /// How routes name it.
    pub(crate) key: SessionKey,
    /// Its client, as of the last CONNECT.
    pub(crate) publisher: Arc<Publisher>,
    /// Slot of its Network Connection, while there is one.
    pub(crate) connection: Option<u32>,
    /// Seconds that it outlives its connection.
    pub(crate) expiry_interval_s: u32,
    /// The store knows of it.
    pub(crate) stored: bool,
    /// When it ends; set while it has no connection and expires at all.
    pub(crate) expires_at: Option<Timestamp>,
    /// Its Subscriptions by Topic Filter, `$share/NAME/` included.
    pub(crate) subscriptions: OnDemand<HashMap<Box<str>, Subscription, FixedState>>,
    pub(crate) queue: Queue,
    pub(crate) outbound: Outbound<Queued>,
    pub(crate) inbound: Inbound,
    pub(crate) rare: OnDemand<Rare>,
    /// Sequence of the next message with QoS above 0.
    pub(crate) next_sequence: u64,
    pub(crate) will: Option<Box<PendingWill>>,
    /// Route generation after its last UNSUBSCRIBE: older routes may still name what is gone.
    pub(crate) unsubscribed_at: u64,
    /// A message was discarded since the queue was last empty.
    pub(crate) dropping: bool,
}

/// What most Sessions do without most of the time.
#[derive(Default)]
pub(crate) struct Rare {
    /// QoS 2 PUBLISH packets whose effects are not safe yet; only with a store.
    pub(crate) unsafe_yet: Vec<UnsafeYet>,
    /// Messages after PUBREC whose record is in another worker's batch: place and worker.
    pub(crate) released_elsewhere: Vec<(u64, u16)>,
    /// Subscriptions whose retained messages are still being delivered.
    pub(crate) cursors: VecDeque<Cursor>,
    /// Retained messages of other workers' topics that it got live lately, with their versions: their owner
    /// may not know of them yet when the next SUBSCRIBE asks.
    pub(crate) recent_retained: VecDeque<(Arc<str>, u64)>,
}

/// A QoS 2 PUBLISH that must not be acknowledged yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnsafeYet {
    pub(crate) id: PacketId,
    /// The connection that brought it.
    pub(crate) connection: ConnectionKey,
    /// It came again on this newer connection, where its PUBREC has this place.
    pub(crate) again: Option<(ConnectionKey, Ticket)>,
}

/// One Subscription, as UNSUBSCRIBE and the next SUBSCRIBE need it.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) share: Option<Arc<ShareId>>,
}

/// The Will of a Session, armed by CONNECT.
pub(crate) struct PendingWill {
    pub(crate) topic: Arc<str>,
    pub(crate) payload: Box<[u8]>,
    pub(crate) forwarded: Box<[u8]>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) message_expiry_s: Option<u32>,
    pub(crate) delay_s: u32,
    pub(crate) publisher: Arc<Publisher>,
    /// When it is published; set once the connection is gone.
    pub(crate) due_at: Option<Timestamp>,
}

/// A message that waits for one Session, or is in flight to it.
#[derive(Clone, Debug)]
pub(crate) struct Queued {
    pub(crate) message: Arc<Message>,
    /// Its place among the Session's messages with QoS above 0; unused at QoS 0.
    pub(crate) sequence: u64,
    /// QoS to deliver with.
    pub(crate) qos: QoS,
    /// RETAIN to deliver with.
    pub(crate) retain: bool,
    pub(crate) ids: SubscriptionIds,
    /// The Shared Subscription that it came by.
    pub(crate) group: Option<GroupKey>,
    pub(crate) share: Option<Arc<ShareId>>,
    /// The worker whose batch has its record.
    pub(crate) coordinator: u16,
}

/// Messages that wait for one Session, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: OnDemand<VecDeque<Queued>>,
    bytes: u64,
}

impl Queue {
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.waiting.get().map_or(0, VecDeque::len)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Queued> {
        self.waiting.get().into_iter().flatten()
    }

    pub(crate) fn front(&self) -> Option<&Queued> {
        self.waiting.get()?.front()
    }

    /// Whether one more message of `bytes` stays within the bounds.
    pub(crate) fn has_room(&self, limits: &Limits, bytes: usize) -> bool {
        let messages =
            limits.queue_messages_max == 0 || self.len() < limits.queue_messages_max as usize;
        messages
            && (limits.queue_bytes_max == 0 || self.bytes + bytes as u64 <= limits.queue_bytes_max)
    }

    pub(crate) fn push(&mut self, queued: Queued) {
        self.bytes += queued.message.payload().len() as u64;
        self.waiting.make().push_back(queued);
    }

    pub(crate) fn pop(&mut self) -> Option<Queued> {
        let waiting = self.waiting.get_mut()?;
        let queued = waiting.pop_front()?;
        self.bytes -= queued.message.payload().len() as u64;
        if waiting.is_empty() && waiting.capacity() > 1024 {
            waiting.shrink_to(64);
        }
        Some(queued)
    }

    /// The mutant `order-swapped`: the next two messages change places.
    pub(crate) fn swap_heads(&mut self) {
        if let [first, second, ..] = self.waiting.make().make_contiguous()
            && first.qos > QoS::AtMostOnce
            && second.qos > QoS::AtMostOnce
        {
            std::mem::swap(&mut first.message, &mut second.message);
        }
    }

    /// Removes all that `pick` chooses, in order.
    pub(crate) fn extract(&mut self, mut pick: impl FnMut(&Queued) -> bool) -> Vec<Queued> {
        let Some(waiting) = self.waiting.get_mut() else {
            return Vec::new();
        };
        let (mut out, mut keep) = (Vec::new(), VecDeque::new());
        self.bytes = 0;
        for queued in waiting.drain(..) {
            if pick(&queued) {
                out.push(queued);
            } else {
                self.bytes += queued.message.payload().len() as u64;
                keep.push_back(queued);
            }
        }
        *waiting = keep;
        out
    }
}

impl Session {
    /// A Session without Subscriptions, messages or connection.
    pub(crate) fn new(key: SessionKey, publisher: Arc<Publisher>) -> Self {
        Self {
            key,
            publisher,
            connection: None,
            expiry_interval_s: 0,
            stored: false,
            expires_at: None,
            subscriptions: OnDemand::default(),
            queue: Queue::default(),
            outbound: Outbound::default(),
            inbound: Inbound::default(),
            rare: OnDemand::default(),
            next_sequence: 0,
            will: None,
            unsubscribed_at: 0,
            dropping: false,
        }
    }

    /// Its Subscriptions: Topic Filter, `$share/NAME/` included, and the rest.
    pub(crate) fn subscriptions(&self) -> impl Iterator<Item = (&str, &Subscription)> {
        let all = self.subscriptions.get().into_iter().flatten();
        all.map(|(filter, subscription)| (&**filter, subscription))
    }

    /// Whether it has a Subscription with this Topic Filter.
    pub(crate) fn is_subscribed(&self, filter: &str) -> bool {
        let all = self.subscriptions.get();
        all.is_some_and(|all| all.contains_key(filter))
    }

    /// Its Shared Subscriptions.
    pub(crate) fn shares(&self) -> impl Iterator<Item = &Arc<ShareId>> {
        self.subscriptions()
            .filter_map(|(_, subscription)| subscription.share.as_ref())
    }

    /// Whether retained messages are still being delivered.
    #[inline]
    pub(crate) fn has_cursors(&self) -> bool {
        self.rare.get().is_some_and(|rare| !rare.cursors.is_empty())
    }

    /// Whether it outlives its connection, so that what it holds belongs into the store.
    pub(crate) fn is_durable(&self) -> bool {
        self.expiry_interval_s != 0
    }
}
