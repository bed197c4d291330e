//! Rows: the options of Mosquitto that count for the whole broker.

use super::{Key, Structure, global, structure};
use crate::draft::Draft;
use crate::kind::{Choice, Kind, Words};
use crate::model::{LogDest, LogTypes};
use crate::values::{Range, range, to_u16, to_u32, to_u64};

/// Larger byte counts than this are mistakes.
const BYTES_MAX: i64 = 1 << 50;

/// The largest MQTT Control Packet that the standard can express.
const PACKET_BYTES_MAX: u32 = 268_435_460;

const BYTES_OR_NONE: Range = range(1, BYTES_MAX).or_zero("no limit").or_negative();

pub(super) const KEYS: &[Key] = &[
    global(
        "max_inflight_messages",
        "20",
        Kind::Int(range(1, 65_535).or_zero("no limit").or_negative(), |d, value| {
            d.config.max_inflight_messages = if value == 0 { u16::MAX } else { to_u16(value) };
        }),
        "Messages at QoS 1 and 2 that may be on their way to one client unacknowledged.",
    ),
    global(
        "max_inflight_bytes",
        "0",
        Kind::Size(BYTES_OR_NONE, |d, value| d.config.max_inflight_bytes = to_u64(value)),
        "The same, counted in bytes.",
    ),
    global(
        "max_queued_messages",
        "1000",
        Kind::Int(range(1, u32::MAX as i64).or_zero("no limit").or_negative(), |d, value| {
            d.config.max_queued_messages = to_u32(value);
        }),
        "Messages that wait for one client beyond those on their way.",
    ),
    global(
        "max_queued_bytes",
        "0",
        Kind::Size(BYTES_OR_NONE, |d, value| d.config.max_queued_bytes = to_u64(value)),
        "The same, counted in bytes.",
    ),
    global(
        "max_packet_size",
        "2000000",
        Kind::Size(range(20, i32::MAX as i64).or_zero("no limit"), |d, value| {
            let bytes = if value == 0 { u32::MAX } else { to_u32(value) };
            d.config.max_packet_size = bytes.min(PACKET_BYTES_MAX);
        }),
        "Largest packet that clients may send; MQTT 5.0 clients are told.",
    ),
    global(
        "message_size_limit",
        "0",
        Kind::Size(range(1, 268_435_455).or_zero("no limit"), |d, value| {
            d.config.message_size_limit = to_u32(value);
        }),
        "Largest payload that clients may publish.",
    ),
    global(
        "max_keepalive",
        "0",
        Kind::Int(range(1, 65_535).or_zero("no limit"), |d, value| {
            d.config.max_keepalive_s = if value == 0 { u16::MAX } else { to_u16(value) };
        }),
        "Longest Keep Alive in seconds that a client may ask for.",
    ),
    global(
        "persistent_client_expiration",
        "",
        Kind::Duration(|d, seconds| d.config.persistent_client_expiration_s = Some(seconds)),
        "How long the Session of an absent client is kept at most; without it as long as the client asked.",
    ),
    global(
        "queue_qos0_messages",
        "false",
        Kind::Bool(|d, value| d.config.queue_qos0_messages = value),
        "Whether QoS 0 messages wait for absent clients too.",
    ),
    global(
        "retain_available",
        "true",
        Kind::Bool(|d, value| d.config.retain_available = value),
        "Whether retained messages are accepted.",
    ),
    global(
        "check_retain_source",
        "true",
        Kind::Bool(|d, value| d.config.check_retain_source = value),
        "Whether the right of a retained message's publisher is checked again when it is delivered.",
    ),
    global(
        "upgrade_outgoing_qos",
        "false",
        Kind::Bool(|d, value| d.config.upgrade_outgoing_qos = value),
        "Whether messages are delivered at the QoS of the Subscription even when published at a lower one.",
    ),
    global(
        "set_tcp_nodelay",
        "true",
        Kind::Bool(|d, value| d.config.set_tcp_nodelay = value),
        "Whether small packets are sent at once (Mosquitto's default is false).",
    ),
    global(
        "persistence",
        "false",
        Kind::Word(PERSISTENCE),
        "Whether Sessions and retained messages survive a restart; this release keeps them in memory only.",
    )
    .alias(&["retained_persistence"])
    .needs_restart(),
];

pub(super) const PROCESS_KEYS: &[Key] = &[
    global(
        "log_dest",
        "stderr",
        Kind::WordOrFile(LOG_DESTS, Draft::log_to_file),
        "Where log lines go; may be written several times.",
    ),
    global(
        "log_type",
        "error, warning, notice, information",
        Kind::Word(LOG_TYPES),
        "A kind of log lines that is written; may be written several times, one kind each.",
    ),
    global(
        "log_timestamp",
        "true",
        Kind::Bool(|d, value| d.config.log.timestamp = value),
        "Whether log lines begin with the time.",
    ),
    global(
        "log_timestamp_format",
        "",
        Kind::Text(1_024, |d, value| {
            d.config.log.timestamp_format = Some(value)
        }),
        "The time's format as for strftime; without it seconds since 1970.",
    ),
    global(
        "connection_messages",
        "true",
        Kind::Bool(|d, value| d.config.log.connection_messages = value),
        "Whether connecting and disconnecting clients are logged.",
    ),
    global(
        "pid_file",
        "",
        Kind::Path(|d, value| d.config.pid_file = Some(value)),
        "File that holds the process id while the broker runs.",
    )
    .needs_restart(),
    structure(
        "include_dir",
        "",
        Structure::IncludeDir,
        "Directory whose files `*.conf` are read here, in order of their names; in the main file only.",
    ),
];

const STORE: &str = "Sessions and retained messages are kept in memory, the store comes in the next release; \
     write 'persistence false'";

const PERSISTENCE: Words<Draft> = &[
    ("false", Choice::Set(|_| {})),
    ("0", Choice::Set(|_| {})),
    ("true", Choice::Later(STORE)),
    ("1", Choice::Later(STORE)),
];

const LOG_DESTS: Words<Draft> = &[
    ("none", Choice::Set(|d| add_dest(d, LogDest::None))),
    ("stdout", Choice::Set(|d| add_dest(d, LogDest::Stdout))),
    ("stderr", Choice::Set(|d| add_dest(d, LogDest::Stderr))),
    ("syslog", Choice::Set(|d| add_dest(d, LogDest::Syslog))),
    (
        "topic",
        Choice::Later("the topics below $SYS/broker/log come with $SYS"),
    ),
    ("dlt", Choice::Later("there is no DLT log")),
    ("android", Choice::Later("there is no Android log")),
];

const LOG_TYPES: Words<Draft> = &[
    (
        "none",
        Choice::Set(|d| d.log_type(|types| *types = LogTypes::NONE)),
    ),
    (
        "all",
        Choice::Set(|d| d.log_type(|types| *types = LogTypes::ALL)),
    ),
    (
        "error",
        Choice::Set(|d| d.log_type(|types| types.error = true)),
    ),
    (
        "warning",
        Choice::Set(|d| d.log_type(|types| types.warning = true)),
    ),
    (
        "notice",
        Choice::Set(|d| d.log_type(|types| types.notice = true)),
    ),
    (
        "information",
        Choice::Set(|d| d.log_type(|types| types.information = true)),
    ),
    (
        "debug",
        Choice::Set(|d| d.log_type(|types| types.debug = true)),
    ),
    (
        "subscribe",
        Choice::Set(|d| d.log_type(|types| types.subscribe = true)),
    ),
    (
        "unsubscribe",
        Choice::Set(|d| d.log_type(|types| types.unsubscribe = true)),
    ),
    (
        "internal",
        Choice::Set(|d| d.log_type(|types| types.internal = true)),
    ),
    (
        "websockets",
        Choice::Set(|d| d.log_type(|types| types.websockets = true)),
    ),
];

/// Only a second file can be refused, and these are none.
fn add_dest(draft: &mut Draft, dest: LogDest) {
    let _ = draft.log_to(dest);
}
