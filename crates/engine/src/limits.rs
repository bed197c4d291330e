//! Every bound of the engine, with unit, default, configuration key and what happens at it.
//!
//! The bounds that CONNACK announces live in [`dunlin_protocol::ServerOffer`], since they belong to
//! a listener; those of the process (connections, bytes and time before CONNECT) in the server.

/// What happens to a message for a Session whose queue is full. Each one is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueFull {
    /// The new message is discarded for this Session, as Mosquitto does.
    #[default]
    DropNewest,
    /// As `DropNewest`; a 5.0 publisher gets 0x97 when no target at all could take its message.
    Reject,
}

/// How a Shared Subscription chooses among its members that are connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SharedStrategy {
    /// One after the other.
    #[default]
    RoundRobin,
    /// The same one until it leaves.
    Sticky,
    /// The one with the fewest messages dispatched and not yet let go.
    LeastInFlight,
}

/// The engine's settings. All of them may change by a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Messages that wait for one Session (`max_queued_messages`); 0 for no bound. At it: `queue_full`.
    pub queue_messages_max: u32,
    /// Payload bytes that wait for one Session (`max_queued_bytes`); 0 for no bound. At it: `queue_full`.
    pub queue_bytes_max: u64,
    /// What happens at the two bounds above (`queue_full`).
    pub queue_full: QueueFull,
    /// Whether QoS 0 messages wait for Sessions without connection (`queue_qos0_messages`).
    pub queue_qos0: bool,
    /// Payload bytes in flight towards one client (`max_inflight_bytes`); 0 for no bound. At it: wait.
    pub inflight_bytes_max: u64,
    /// Largest payload in bytes (`message_size_limit`); 0 for no bound. At it: discarded, 0x83 on 5.0.
    pub payload_bytes_max: u32,
    /// Levels of a Topic Name or Topic Filter (`max_topic_levels`). At it: 0x90, 0x8F in SUBACK.
    pub topic_levels_max: u16,
    /// Subscriptions of one client (`max_subscriptions_per_client`); 0 for no bound. At it: 0x97 in SUBACK.
    pub subscriptions_max: u32,
    /// Bytes that wait to be written to one connection before its queue takes over
    /// (`outgoing_buffer_max`). At it: the Session's queue, with its own bounds.
    pub outgoing_bytes_max: u32,
    /// Messages handed to another worker and not yet handled there (`worker_queue_max`). At it: the
    /// publishers that feed that worker are not read until half of them are.
    pub worker_queue_max: u32,
    /// Whether a client's first PUBLISH beyond Receive Maximum ends its connection
    /// (`receive_maximum_strict`); otherwise a warning, and ten times the value does.
    pub receive_maximum_strict: bool,
    /// Deliver at the subscription's QoS even if the message came with a lower one
    /// (`upgrade_outgoing_qos`).
    pub upgrade_outgoing_qos: bool,
    /// Check payloads whose Payload Format Indicator says UTF-8 (`payload_format_check`): 0x99.
    pub payload_format_check: bool,
    /// What assigned Client Identifiers begin with (`auto_id_prefix`).
    pub auto_id_prefix: String,
    /// How Shared Subscriptions choose (`shared_subscription_strategy`).
    pub shared_strategy: SharedStrategy,
    /// Bytes of the cache of resolved Topic Names, per worker. At it: the oldest entries go.
    pub route_cache_bytes_max: usize,
    /// Whether [`crate::Event::Connected`] and [`crate::Event::Disconnected`] are wanted.
    pub tell_connections: bool,
    /// Whether [`crate::Event::Subscribed`] and [`crate::Event::Unsubscribed`] are wanted.
    pub tell_subscriptions: bool,
    /// Retained messages asked for at once for one Subscription.
    pub retained_chunk: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue_messages_max: 1000,
            queue_bytes_max: 0,
            queue_full: QueueFull::DropNewest,
            queue_qos0: false,
            inflight_bytes_max: 0,
            payload_bytes_max: 0,
            topic_levels_max: 128,
            subscriptions_max: 10_000,
            outgoing_bytes_max: 1 << 20,
            worker_queue_max: 65_536,
            receive_maximum_strict: false,
            upgrade_outgoing_qos: false,
            payload_format_check: false,
            auto_id_prefix: "auto-".to_owned(),
            shared_strategy: SharedStrategy::RoundRobin,
            route_cache_bytes_max: 8 << 20,
            tell_connections: true,
            tell_subscriptions: true,
            retained_chunk: 128,
        }
    }
}

/// Bytes after which a run of messages to another worker is sent off and another begun.
pub const RUN_BYTES_MAX: usize = 64 * 1024;

/// Payloads of at least this many bytes are referenced by the outgoing buffers, not copied into them.
pub const PAYLOAD_BY_REFERENCE_MIN: usize = 4096;

/// Milliseconds between two looks at the Keep Alive of all connections.
pub const KEEP_ALIVE_SCAN_MS: u64 = 500;

/// Milliseconds for which the version of a deleted retained message is remembered, so that an older
/// one that another worker still holds cannot bring it back.
pub const TOMBSTONE_MS: u64 = 10_000;

/// Deletions remembered at once; beyond it the oldest is forgotten.
pub const TOMBSTONES_MAX: usize = 65_536;

/// Questions for retained messages remembered at once, with several workers; beyond it the oldest is
/// forgotten, and its Subscription may miss a change that was on its way.
pub const QUERIES_MAX: usize = 4096;

/// Topics whose live copies are remembered while retained messages are still being delivered to a
/// Subscription. Beyond it the oldest is forgotten, and its retained copy may arrive as well.
pub const CURSOR_LIVE_TOPICS_MAX: usize = 4096;

/// Live retained messages that a Session remembers for its next SUBSCRIBE, with several workers. The
/// oldest is forgotten.
pub const RECENT_RETAINED_MAX: usize = 256;

/// Acknowledgements of one connection that may wait for the store before it is read no further.
pub const WAITING_ACKS_MAX: usize = 4096;
