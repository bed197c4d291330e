//! What the configuration means to the workers.

use std::sync::Arc;
use std::time::Duration;

use dunlin_config::{Config, QueueFull, SharedStrategy};
use dunlin_engine::Limits;
use dunlin_engine::limits;
use dunlin_packet::QoS;
use dunlin_packet::publish_wire::PACKET_SIZE_MAX;
use dunlin_protocol::ServerOffer;

/// The reloadable part of the configuration, as the workers use it.
pub(crate) struct Settings {
    pub(crate) limits: Arc<Limits>,
    /// By listener number.
    pub(crate) listeners: Vec<ListenerSettings>,
    pub(crate) connect_timeout: Duration,
    pub(crate) nodelay: bool,
}

/// What one listener means to its connections.
pub(crate) struct ListenerSettings {
    pub(crate) offer: Arc<ServerOffer>,
    pub(crate) allow_anonymous: bool,
}

impl Settings {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            limits: Arc::new(engine_limits(config)),
            listeners: config
                .listeners
                .iter()
                .map(|listener| listener_settings(config, listener))
                .collect(),
            connect_timeout: Duration::from_secs(u64::from(config.connect_timeout_s)),
            nodelay: config.set_tcp_nodelay,
        }
    }
}

fn engine_limits(config: &Config) -> Limits {
    Limits {
        queue_messages_max: config.max_queued_messages,
        queue_bytes_max: config.max_queued_bytes,
        queue_full: match config.queue_full {
            QueueFull::DropNewest => limits::QueueFull::DropNewest,
            QueueFull::Reject => limits::QueueFull::Reject,
        },
        queue_qos0: config.queue_qos0_messages,
        inflight_bytes_max: config.max_inflight_bytes,
        payload_bytes_max: config.message_size_limit,
        topic_levels_max: config.max_topic_levels,
        subscriptions_max: config.max_subscriptions_per_client,
        outgoing_bytes_max: config.outgoing_buffer_max,
        worker_queue_max: config.worker_queue_max,
        receive_maximum_strict: config.receive_maximum_strict,
        upgrade_outgoing_qos: config.upgrade_outgoing_qos,
        payload_format_check: config.payload_format_check,
        auto_id_prefix: config.auto_id_prefix.clone(),
        shared_strategy: match config.shared_subscription_strategy {
            SharedStrategy::RoundRobin => limits::SharedStrategy::RoundRobin,
            SharedStrategy::Sticky => limits::SharedStrategy::Sticky,
            SharedStrategy::LeastInFlight => limits::SharedStrategy::LeastInFlight,
        },
        tell_connections: config.log.connection_messages && config.log.types.notice,
        tell_subscriptions: config.log.types.subscribe || config.log.types.unsubscribe,
        ..Limits::default()
    }
}

fn listener_settings(config: &Config, listener: &dunlin_config::Listener) -> ListenerSettings {
    let offer = ServerOffer {
        receive_maximum: config.receive_maximum,
        // The largest that the protocol knows is no limit, and need not be announced.
        maximum_packet_size: if config.max_packet_size < PACKET_SIZE_MAX {
            config.max_packet_size
        } else {
            0
        },
        topic_alias_maximum: listener.max_topic_alias,
        topic_alias_maximum_broker: listener.max_topic_alias_broker,
        // The longest that the protocol knows is no limit.
        keep_alive_max_s: if config.max_keepalive_s == u16::MAX {
            0
        } else {
            config.max_keepalive_s
        },
        maximum_qos: QoS::from_bits(listener.max_qos).unwrap_or(QoS::ExactlyOnce),
        retain_available: config.retain_available,
        zero_length_client_id: config.allow_zero_length_clientid,
        session_expiry_max_s: config
            .persistent_client_expiration_s
            .map(|s| u32::try_from(s).unwrap_or(u32::MAX)),
        inflight_messages_max: config.max_inflight_messages,
    };
    ListenerSettings {
        offer: Arc::new(offer),
        allow_anonymous: listener.allow_anonymous,
    }
}
