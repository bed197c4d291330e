//! The finished configuration: what the server reads. Every value here is checked and in range; the
//! defaults stand in [`Config::default`] and, as text, in the table of keys (a test compares them).

use std::path::PathBuf;

use crate::error::Warning;

/// A configuration and what should be said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The checked configuration.
    pub config: Config,
    /// What was accepted but is probably not what was meant, in the order of the file.
    pub warnings: Vec<Warning>,
}

/// Everything that the broker is told before it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where Network Connections are accepted; never empty.
    pub listeners: Vec<Listener>,
    /// No listener was configured: only this host can connect.
    pub local_only: bool,
    /// Number of workers, 1..=1024; `None` is one per core.
    pub workers: Option<u16>,
    /// What an acknowledgement promises.
    pub ack: Ack,
    /// Messages at QoS 1 and 2 in flight towards one client, 1..=65535 (65535 when without limit).
    pub max_inflight_messages: u16,
    /// Bytes in flight towards one client; 0 is without limit.
    pub max_inflight_bytes: u64,
    /// Messages queued for one Session beyond those in flight; 0 is without limit.
    pub max_queued_messages: u32,
    /// Bytes queued for one Session; 0 is without limit.
    pub max_queued_bytes: u64,
    /// What happens to a message that finds the queue full.
    pub queue_full: QueueFull,
    /// Largest accepted MQTT Control Packet in bytes, 20..=268435460.
    pub max_packet_size: u32,
    /// Largest accepted payload of a PUBLISH in bytes; 0 is without limit.
    pub message_size_limit: u32,
    /// Longest Keep Alive that a client may ask for, in seconds, 1..=65535.
    pub max_keepalive_s: u16,
    /// Whether retained messages are accepted.
    pub retain_available: bool,
    /// Whether a client may leave the Client Identifier to the broker.
    pub allow_zero_length_clientid: bool,
    /// What an assigned Client Identifier begins with.
    pub auto_id_prefix: String,
    /// How long a Session that never expires is kept without its client; `None` is for ever.
    pub persistent_client_expiration_s: Option<u64>,
    /// Whether QoS 0 messages are queued for clients that are away.
    pub queue_qos0_messages: bool,
    /// Whether messages are delivered at the QoS of the Subscription even when published lower.
    pub upgrade_outgoing_qos: bool,
    /// Whether small packets are sent without waiting for more.
    pub set_tcp_nodelay: bool,
    /// Receive Maximum that 5.0 clients are told, 1..=65535.
    pub receive_maximum: u16,
    /// Whether exceeding Receive Maximum closes the Network Connection.
    pub receive_maximum_strict: bool,
    /// Which member of a Shared Subscription gets a message.
    pub shared_subscription_strategy: SharedStrategy,
    /// Levels that a Topic Name or Topic Filter may have, 1..=65535.
    pub max_topic_levels: u16,
    /// Subscriptions that one Session may have; 0 is without limit.
    pub max_subscriptions_per_client: u32,
    /// Bytes that may wait in the outgoing buffer of one Network Connection.
    pub outgoing_buffer_max: u32,
    /// Seconds from the accepted connection to its complete CONNECT, 1..=65535.
    pub connect_timeout_s: u16,
    /// Whether payloads that are declared as UTF-8 are checked.
    pub payload_format_check: bool,
    /// Messages that one worker may have outstanding towards another before it stops reading
    /// publishers, at least 1.
    pub worker_queue_max: u32,
    /// Whether the right of a retained message's publisher is checked again at delivery.
    pub check_retain_source: bool,
    /// What is logged, and where.
    pub log: LogConfig,
    /// File that holds the process id while the broker runs.
    pub pid_file: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listeners: Listener::local(1883).to_vec(),
            local_only: true,
            workers: None,
            ack: Ack::Memory,
            max_inflight_messages: 20,
            max_inflight_bytes: 0,
            max_queued_messages: 1000,
            max_queued_bytes: 0,
            queue_full: QueueFull::DropNewest,
            max_packet_size: 2_000_000,
            message_size_limit: 0,
            max_keepalive_s: u16::MAX,
            retain_available: true,
            allow_zero_length_clientid: true,
            auto_id_prefix: "auto-".to_owned(),
            persistent_client_expiration_s: None,
            queue_qos0_messages: false,
            upgrade_outgoing_qos: false,
            set_tcp_nodelay: true,
            receive_maximum: 20,
            receive_maximum_strict: false,
            shared_subscription_strategy: SharedStrategy::RoundRobin,
            max_topic_levels: 128,
            max_subscriptions_per_client: 10_000,
            outgoing_buffer_max: 1_048_576,
            connect_timeout_s: 10,
            payload_format_check: false,
            worker_queue_max: 65_536,
            check_retain_source: true,
            log: LogConfig::default(),
            pid_file: None,
        }
    }
}

impl Config {
    /// The keys whose values differ in `new` but only count after a restart.
    pub fn restart_needed(&self, new: &Config) -> Vec<&'static str> {
        let addresses = |config: &Config| -> Vec<ListenAddress> {
            config
                .listeners
                .iter()
                .map(|listener| listener.address.clone())
                .collect()
        };
        let mut keys = Vec::new();
        if addresses(self) != addresses(new) {
            keys.push("listener");
        }
        if self.workers != new.workers {
            keys.push("workers");
        }
        if self.ack != new.ack {
            keys.push("ack");
        }
        if self.worker_queue_max != new.worker_queue_max {
            keys.push("worker_queue_max");
        }
        if self.pid_file != new.pid_file {
            keys.push("pid_file");
        }
        keys
    }
}

/// One address at which Network Connections are accepted, with the rules for those that come there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where to listen.
    pub address: ListenAddress,
    /// Whether a CONNECT without user name is accepted.
    pub allow_anonymous: bool,
    /// Network Connections at one time; `None` is without limit.
    pub max_connections: Option<u32>,
    /// Highest QoS of a PUBLISH, 0..=2.
    pub max_qos: u8,
    /// Topic Alias Maximum that clients are told.
    pub max_topic_alias: u16,
    /// Topic Aliases that the broker uses towards one client, whatever it offers.
    pub max_topic_alias_broker: u16,
    /// Where it was configured, `FILE:LINE`.
    pub origin: String,
}

impl Listener {
    /// The two loopback listeners of local-only mode.
    pub(crate) fn local(port: u16) -> [Listener; 2] {
        ["127.0.0.1", "::1"].map(|host| Listener {
            address: ListenAddress::Tcp {
                host: Some(host.to_owned()),
                port,
            },
            allow_anonymous: true,
            max_connections: None,
            max_qos: 2,
            max_topic_alias: 10,
            max_topic_alias_broker: 10,
            origin: "local-only mode".to_owned(),
        })
    }
}

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// A TCP port; without a host, all addresses of this machine.
    Tcp {
        /// Host name or address, without brackets.
        host: Option<String>,
        /// 1..=65535 from a file; 0 (any free port) only from the caller.
        port: u16,
    },
    /// A unix socket.
    Unix(PathBuf),
}

/// What an acknowledgement promises about the durable effects of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// They are on the disk.
    Fsync,
    /// The operating system has them.
    Os,
    /// They are in memory.
    Memory,
}

/// What happens to a message for a Session whose queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueFull {
    /// It is dropped for this Session and counted.
    DropNewest,
    /// The publisher is told: 0x97 Quota exceeded.
    Reject,
}

/// Which member of a Shared Subscription gets a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedStrategy {
    /// Each in turn.
    RoundRobin,
    /// The same member for the same publisher.
    Sticky,
    /// The member with the fewest messages in flight.
    LeastInFlight,
}

/// What is logged, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Where lines go; `None` stands alone.
    pub dests: Vec<LogDest>,
    /// Which kinds of lines are written.
    pub types: LogTypes,
    /// Whether a line begins with the time.
    pub timestamp: bool,
    /// The time's format as for strftime; `None` is seconds since 1970.
    pub timestamp_format: Option<String>,
    /// Whether connecting and disconnecting clients are logged.
    pub connection_messages: bool,
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig {
            dests: vec![LogDest::Stderr],
            types: LogTypes::default(),
            timestamp: true,
            timestamp_format: None,
            connection_messages: true,
        }
    }
}

/// One place that log lines go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogDest {
    /// Nowhere.
    None,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The system's log.
    Syslog,
    /// A file, appended to.
    File(PathBuf),
}

/// The kinds of log lines that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogTypes {
    /// What the broker could not do.
    pub error: bool,
    /// What may need attention.
    pub warning: bool,
    /// What happens seldom and is normal.
    pub notice: bool,
    /// What happens in operation.
    pub information: bool,
    /// Packets.
    pub debug: bool,
    /// Every SUBSCRIBE.
    pub subscribe: bool,
    /// Every UNSUBSCRIBE.
    pub unsubscribe: bool,
    /// The broker's own affairs.
    pub internal: bool,
    /// WebSocket connections.
    pub websockets: bool,
}

impl LogTypes {
    /// No kind at all.
    pub const NONE: LogTypes = LogTypes::each(false);
    /// Every kind.
    pub const ALL: LogTypes = LogTypes::each(true);

    const fn each(on: bool) -> LogTypes {
        LogTypes {
            error: on,
            warning: on,
            notice: on,
            information: on,
            debug: on,
            subscribe: on,
            unsubscribe: on,
            internal: on,
            websockets: on,
        }
    }
}

impl Default for LogTypes {
    fn default() -> LogTypes {
        LogTypes {
            error: true,
            warning: true,
            notice: true,
            information: true,
            ..LogTypes::NONE
        }
    }
}
