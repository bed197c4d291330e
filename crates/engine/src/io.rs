//! The engine's border: what goes in, what comes out, and what workers say to each other.

use std::borrow::Cow;
use std::sync::Arc;

use dunlin_packet::{Connect, QoS, ReasonCode};
use dunlin_route::{GroupKey, Merged, SessionKey, Target};

use crate::limits::Limits;
use crate::message::Message;
use crate::record::{Batch, Record, StoreError};
use crate::run::Run;

/// One Network Connection of one worker. Never reused: `serial` tells the generations of a slot apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionKey {
    /// Place in the engine's table.
    pub slot: u32,
    /// Which user of the slot.
    pub serial: u32,
}

/// Who a connection speaks for, as settled by authentication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Principal {
    /// The authenticated user name; `None` for an anonymous client.
    pub user_name: Option<Arc<str>>,
    /// Peer address as text, for logs and records.
    pub address: Arc<str>,
}

/// What happens to the engine. Bytes of a connection come through [`crate::Engine::receive`].
#[derive(Debug)]
pub enum Input<'a> {
    /// An authenticated CONNECT whose Session belongs to this worker.
    Connect {
        /// From [`crate::Engine::open`].
        connection: ConnectionKey,
        /// The packet.
        connect: &'a Connect<'a>,
        /// Who it speaks for.
        principal: Principal,
        /// Unpredictable bytes, for an assigned Client Identifier.
        random: u64,
    },
    /// The transport is gone, whoever ended it. Ends the connection if the engine has not.
    Closed {
        /// Which one.
        connection: ConnectionKey,
    },
    /// `bytes` of the connection's outgoing buffer have been written.
    Written {
        /// Which one.
        connection: ConnectionKey,
        /// How many.
        bytes: usize,
    },
    /// Another worker's batch.
    Handover {
        /// Its number.
        from: u16,
        /// In order.
        batch: Vec<Handover>,
    },
    /// Another worker has handled this many publications of ours.
    Credit {
        /// Its number.
        from: u16,
        /// How many.
        count: u32,
    },
    /// The store's answer to a batch.
    Committed {
        /// [`Batch::id`].
        batch: u64,
        /// Whether it is as safe as its contract says.
        result: Result<(), StoreError>,
    },
    /// Time has passed; due at [`crate::Engine::next_timeout`].
    Timeout,
    /// New limits after a reload.
    Reload(Arc<Limits>),
    /// The process ends: connections are told (0x8B on 5.0), Sessions stay as they are.
    Shutdown,
}

/// What the engine wants done. Bytes to write are announced by [`crate::Engine::take_writable`].
#[derive(Debug)]
pub enum Output {
    /// Write what is outgoing, then close the transport and answer [`Input::Closed`].
    Close {
        /// Which one.
        connection: ConnectionKey,
        /// The client said so: it sends nothing more, and waits for nothing but the end.
        by_client: bool,
    },
    /// Stop reading from this connection.
    Pause(ConnectionKey),
    /// Read from it again, beginning with the bytes that were not consumed.
    Resume(ConnectionKey),
    /// Hand this to another worker, in order with all earlier ones.
    Handover {
        /// Its number.
        to: u16,
        /// What.
        item: Handover,
    },
    /// Tell another worker that its publications have been handled.
    Credit {
        /// Its number.
        to: u16,
        /// How many.
        count: u32,
    },
    /// Commit to the store and answer [`Input::Committed`].
    Commit(Batch),
    /// For the log.
    Event(Event),
}

/// What an operator may want to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A client is connected.
    Connected {
        /// Which client.
        client_id: Arc<str>,
        /// From where.
        address: Arc<str>,
        /// Protocol level, 3 to 5.
        level: u8,
        /// Clean Start.
        clean_start: bool,
        /// Keep Alive in force, seconds.
        keep_alive_s: u16,
        /// Its user name.
        user_name: Option<Arc<str>>,
    },
    /// CONNECT was refused by the engine.
    Refused {
        /// From where.
        address: Arc<str>,
        /// Reason Code of CONNACK.
        reason: ReasonCode,
        /// In words.
        why: &'static str,
    },
    /// A connection has ended.
    Disconnected {
        /// Which client.
        client_id: Arc<str>,
        /// How.
        end: End,
    },
    /// A Subscription was made.
    Subscribed {
        /// Which client.
        client_id: Arc<str>,
        /// The Topic Filter, `$share` included.
        filter: String,
        /// Granted QoS.
        qos: u8,
    },
    /// A Subscription was deleted.
    Unsubscribed {
        /// Which client.
        client_id: Arc<str>,
        /// The Topic Filter, `$share` included.
        filter: String,
    },
    /// A client went beyond our Receive Maximum; told once per connection.
    ReceiveMaximumExceeded {
        /// Which client.
        client_id: Arc<str>,
        /// What we announced.
        receive_maximum: u16,
    },
    /// The first message discarded for a Session since its queue was last empty.
    Dropping {
        /// Which client.
        client_id: Arc<str>,
        /// Why.
        reason: crate::metrics::DropReason,
    },
}

/// How a Network Connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// DISCONNECT 0x00 of the client.
    Orderly,
    /// DISCONNECT of the client with another Reason Code.
    ByClient(ReasonCode),
    /// We ended it, with this Reason Code and a sentence for the log.
    ByServer(ReasonCode, Cow<'static, str>),
    /// The transport broke or was closed without DISCONNECT.
    ConnectionLost,
}

/// The sending side of a job that waits for fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyTo {
    /// The coordinating worker.
    pub worker: u16,
    /// Its job.
    pub job: u64,
}

/// A message of a Shared Subscription and the member that gets it.
#[derive(Debug)]
pub struct Chosen {
    /// The message.
    pub message: Arc<Message>,
    /// Which Shared Subscription.
    pub group: GroupKey,
    /// Its name and Topic Filter.
    pub share: Arc<ShareId>,
    /// The member.
    pub session: SessionKey,
    /// What it was granted.
    pub merged: Merged,
    /// Deletes the record of the member that had it before.
    pub moved: Option<Record>,
}

/// What a new Subscription wants to know of an owner of retained messages.
#[derive(Clone, Debug)]
pub struct Query {
    /// Whose Subscription.
    pub session: SessionKey,
    /// Its Topic Filter.
    pub filter: Arc<str>,
    /// What it was granted.
    pub merged: Merged,
    /// Version of the route index that has it.
    pub version: u64,
}

/// What one worker says to another. All of it is data: nothing is shared but the messages' bodies.
#[derive(Debug)]
pub enum Handover {
    /// Deliver a message to Sessions of yours.
    Publish {
        /// The message.
        message: Arc<Message>,
        /// Whom to.
        targets: Arc<[Target]>,
        /// Version of the route index that the targets know of.
        generation: u64,
        /// The Session that published, for No Local.
        from: Option<SessionKey>,
        /// Wants a fragment.
        reply: Option<ReplyTo>,
    },
    /// Deliver a message to a member of a Shared Subscription of yours.
    Dispatch {
        /// The message.
        message: Arc<Message>,
        /// Which one.
        group: GroupKey,
        /// Wants a fragment.
        reply: Option<ReplyTo>,
    },
    /// Deliver messages at QoS 0, of which nobody wants anything back, to Sessions of yours.
    Run(Box<Run>),
    /// The choice was made: deliver to this member.
    Shared {
        /// What, and to whom.
        chosen: Chosen,
        /// Wants a fragment.
        reply: Option<ReplyTo>,
    },
    /// A member could not take it, or left: choose again.
    Returned {
        /// The message.
        message: Arc<Message>,
        /// Which Shared Subscription.
        group: GroupKey,
        /// Who had it.
        from: SessionKey,
        /// Deletes its record.
        moved: Option<Record>,
        /// Wants a fragment.
        reply: Option<ReplyTo>,
    },
    /// A Session joins a Shared Subscription, or changes its options.
    Join {
        /// Name and Topic Filter.
        share: Arc<ShareId>,
        /// The member.
        session: SessionKey,
        /// What it was granted.
        merged: Merged,
        /// Wants a fragment.
        reply: Option<ReplyTo>,
    },
    /// A member leaves for good.
    Leave {
        /// Name and Topic Filter.
        share: Arc<ShareId>,
        /// The member.
        session: SessionKey,
        /// Wants a fragment.
        reply: Option<ReplyTo>,
    },
    /// A member's connection came or went.
    Presence {
        /// Name and Topic Filter.
        share: Arc<ShareId>,
        /// The member.
        session: SessionKey,
        /// Whether it is connected.
        online: bool,
    },
    /// A member let messages of a Shared Subscription go (`least_in_flight` only).
    Settled {
        /// Which one.
        group: GroupKey,
        /// The member.
        session: SessionKey,
    },
    /// Others are there: give back what this member has not acknowledged, if it is still away.
    Reclaim {
        /// Name and Topic Filter.
        share: Arc<ShareId>,
        /// Which Shared Subscription.
        group: GroupKey,
        /// The member.
        session: SessionKey,
    },
    /// A record of a batch that you coordinate is not needed any more.
    Ended {
        /// Whose queue.
        client_id: Arc<str>,
        /// Its place there.
        sequence: u64,
    },
    /// Set or delete a retained message of a topic of yours.
    Retain {
        /// The message; an empty payload deletes.
        message: Arc<Message>,
        /// Version of the route index that the publisher's worker knew.
        version: u64,
        /// Wants a fragment.
        reply: Option<ReplyTo>,
    },
    /// A retained message that was on its way to its owner when a Subscription asked for it.
    RetainedLate {
        /// Whose Subscription.
        session: SessionKey,
        /// Its Topic Filter.
        filter: Arc<str>,
        /// What it was granted.
        merged: Merged,
        /// The message.
        message: Arc<Message>,
    },
    /// Give the retained messages that match, after a topic.
    RetainedQuery {
        /// Which cursor.
        cursor: u64,
        /// Whose, and what for.
        query: Query,
        /// Where to go on.
        after: Option<Arc<str>>,
        /// How many at most.
        limit: usize,
    },
    /// The answer.
    RetainedReply {
        /// Whose cursor.
        session: SessionKey,
        /// Which cursor.
        cursor: u64,
        /// In the order of the index.
        messages: Vec<Arc<Message>>,
        /// Whether there may be more behind the last one.
        more: bool,
    },
    /// The durable part of what was asked for.
    Fragment {
        /// Of the coordinator.
        job: u64,
        /// To be committed with the rest.
        records: Vec<Record>,
        /// Whether any Session took the message.
        taken: bool,
    },
}

impl Handover {
    /// What it counts against `worker_queue_max`: publications do, everything that other work waits for
    /// does not.
    #[must_use]
    pub fn publications(&self) -> u32 {
        match self {
            Self::Publish { .. } | Self::Dispatch { .. } | Self::Retain { .. } => 1,
            Self::Run(run) => run.messages(),
            _ => 0,
        }
    }
}

/// What identifies a Shared Subscription.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ShareId {
    /// ShareName.
    pub name: Box<str>,
    /// Topic Filter.
    pub filter: Box<str>,
}

/// Names a QoS by its number.
#[must_use]
pub(crate) fn qos(bits: u8) -> QoS {
    QoS::from_bits(bits).unwrap_or(QoS::AtMostOnce)
}
