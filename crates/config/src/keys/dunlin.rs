//! Rows: the options that Mosquitto does not have.

use super::{Key, global};
use crate::draft::Draft;
use crate::kind::{Choice, Kind, Words};
use crate::model::{Ack, QueueFull, SharedStrategy};
use crate::values::{range, to_u16, to_u32};

pub(super) const KEYS: &[Key] = &[
    global(
        "workers",
        "0",
        Kind::Int(range(1, 1_024).or_zero("one per core"), |d, value| {
            d.config.workers = if value == 0 { None } else { Some(to_u16(value)) };
        }),
        "Threads that serve clients.",
    )
    .needs_restart(),
    global(
        "ack",
        "memory",
        Kind::Word(ACKS),
        "Where a message is before it is acknowledged; `fsync` and `os` come with the store.",
    )
    .needs_restart(),
    global(
        "queue_full",
        "drop_newest",
        Kind::Word(QUEUE_FULL),
        "What happens to a message for a client whose queue is full: dropped and counted, or refused to its publisher.",
    ),
    global(
        "receive_maximum",
        "20",
        Kind::Int(range(1, 65_535), |d, value| d.config.receive_maximum = to_u16(value)),
        "Receive Maximum that MQTT 5.0 clients are told: unacknowledged messages at QoS 1 and 2 from one client.",
    ),
    global(
        "receive_maximum_strict",
        "false",
        Kind::Bool(|d, value| d.config.receive_maximum_strict = value),
        "Whether a client that exceeds Receive Maximum is disconnected.",
    ),
    global(
        "shared_subscription_strategy",
        "round_robin",
        Kind::Word(SHARED_STRATEGIES),
        "Which member of a Shared Subscription gets a message.",
    ),
    global(
        "max_topic_levels",
        "128",
        Kind::Int(range(1, 65_535), |d, value| d.config.max_topic_levels = to_u16(value)),
        "Levels that a Topic Name or Topic Filter may have.",
    ),
    global(
        "max_subscriptions_per_client",
        "10000",
        Kind::Int(range(1, u32::MAX as i64).or_zero("no limit"), |d, value| {
            d.config.max_subscriptions_per_client = to_u32(value);
        }),
        "Subscriptions that one Session may have.",
    ),
    global(
        "outgoing_buffer_max",
        "1048576",
        Kind::Size(range(1_024, 1 << 30), |d, value| d.config.outgoing_buffer_max = to_u32(value)),
        "Bytes that may wait for one connection to take them; what comes then waits in its Session's queue.",
    ),
    global(
        "connect_timeout",
        "10",
        Kind::Int(range(1, 65_535), |d, value| d.config.connect_timeout_s = to_u16(value)),
        "Seconds from the accepted connection to its complete CONNECT.",
    )
    .alias(&["connect_timeout_s"]),
    global(
        "payload_format_check",
        "false",
        Kind::Bool(|d, value| d.config.payload_format_check = value),
        "Whether payloads that are declared as UTF-8 are checked.",
    ),
    global(
        "worker_queue_max",
        "65536",
        Kind::Int(range(1, u32::MAX as i64), |d, value| d.config.worker_queue_max = to_u32(value)),
        "Messages that one worker may have outstanding towards another before it stops reading publishers.",
    )
    .needs_restart(),
];

const STORE: &str = "it needs the store, which comes in the next release";

const ACKS: Words<Draft> = &[
    ("memory", Choice::Set(|d| d.config.ack = Ack::Memory)),
    ("os", Choice::Later(STORE)),
    ("fsync", Choice::Later(STORE)),
];

const QUEUE_FULL: Words<Draft> = &[
    (
        "drop_newest",
        Choice::Set(|d| d.config.queue_full = QueueFull::DropNewest),
    ),
    (
        "reject",
        Choice::Set(|d| d.config.queue_full = QueueFull::Reject),
    ),
];

const SHARED_STRATEGIES: Words<Draft> = &[
    (
        "round_robin",
        Choice::Set(|d| d.config.shared_subscription_strategy = SharedStrategy::RoundRobin),
    ),
    (
        "sticky",
        Choice::Set(|d| d.config.shared_subscription_strategy = SharedStrategy::Sticky),
    ),
    (
        "least_in_flight",
        Choice::Set(|d| d.config.shared_subscription_strategy = SharedStrategy::LeastInFlight),
    ),
];
