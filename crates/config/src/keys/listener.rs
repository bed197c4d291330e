//! Rows: where connections are accepted, and the rules for those that come there.

use super::{Key, Scope, Structure, listener, security, structure};
use crate::draft::ListenerOptions;
use crate::kind::{Choice, Kind, Words};
use crate::values::{range, to_u16};

pub(super) const KEYS: &[Key] = &[
    structure(
        "listener",
        "",
        Structure::Listener,
        "`PORT [ADDRESS]` or `0 PATH` (unix socket): accepts connections there; the listener's options follow it.",
    ),
    structure(
        "port",
        "1883",
        Structure::Port,
        "Port of the default listener, 1 to 65535; `listener` is the better way to say it.",
    ),
    structure(
        "bind_address",
        "",
        Structure::BindAddress,
        "Address of the default listener; without it all addresses of this machine.",
    ),
    structure(
        "per_listener_settings",
        "false",
        Structure::PerListenerSettings,
        "Whether security options count for the listener above them; must stand before the first of them.",
    ),
    listener(
        "protocol",
        Scope::Listener,
        "mqtt",
        Kind::Word(PROTOCOLS),
        "What is spoken at this listener.",
    )
    .needs_restart(),
    security(
        "allow_anonymous",
        "false; true in local-only mode",
        Kind::Bool(|s, value| s.allow_anonymous = Some(value)),
        "Whether clients may connect without a user name.",
    ),
    listener(
        "listener_allow_anonymous",
        Scope::BelowListener,
        "as allow_anonymous",
        Kind::Bool(|l, value| l.security.allow_anonymous = Some(value)),
        "Whether clients of this listener may connect without a user name.",
    ),
    listener(
        "max_connections",
        Scope::Listener,
        "-1",
        Kind::Int(
            range(1, u32::MAX as i64).or_zero("no limit").or_negative(),
            |l, value| {
                l.max_connections = Some(value);
            },
        ),
        "Connections that this listener has at one time.",
    ),
    listener(
        "max_qos",
        Scope::Listener,
        "2",
        Kind::Int(range(0, 2), |l, value| l.max_qos = u8::try_from(value).ok()),
        "Highest QoS that clients of this listener may publish at.",
    )
    .alias(&["maximum_qos"]),
    listener(
        "max_topic_alias",
        Scope::BelowListener,
        "10",
        Kind::Int(range(0, 65_535), |l, value| {
            l.max_topic_alias = Some(to_u16(value))
        }),
        "Topic Aliases that an MQTT 5.0 client of this listener may use.",
    ),
    listener(
        "max_topic_alias_broker",
        Scope::BelowListener,
        "10",
        Kind::Int(range(0, 65_535), |l, value| {
            l.max_topic_alias_broker = Some(to_u16(value))
        }),
        "Topic Aliases that the broker uses towards one client, if the client allows as many.",
    ),
    security(
        "allow_zero_length_clientid",
        "true",
        Kind::Bool(|s, value| s.allow_zero_length_clientid = Some(value)),
        "Whether a client may leave the choice of its Client Identifier to the broker.",
    ),
    security(
        "auto_id_prefix",
        "auto-",
        Kind::Text(50, |s, value| s.auto_id_prefix = Some(value)),
        "What a Client Identifier begins with that the broker has chosen.",
    ),
    listener(
        "listener_auto_id_prefix",
        Scope::BelowListener,
        "as auto_id_prefix",
        Kind::Text(50, |l, value| l.security.auto_id_prefix = Some(value)),
        "The same for one listener; in this release all listeners must have the same.",
    ),
];

const PROTOCOLS: Words<ListenerOptions> = &[
    ("mqtt", Choice::Set(|_| {})),
    (
        "websockets",
        Choice::Later("WebSocket listeners come in a later release"),
    ),
    (
        "http_api",
        Choice::Later("the HTTP API comes in a later release"),
    ),
    ("mqttsn", Choice::Later("MQTT-SN is not planned")),
];
