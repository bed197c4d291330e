//! Rows: what Mosquitto has and this release has not, each with its area, and what is accepted
//! without effect.

use super::Scope::{BelowListener, Connection, Global, GlobalOrListener, Listener};
use super::{Key, ignored, later, later_unless};

const ACCESS: &str = "password_file and acl_file";
const PLUGINS: &str = "plugins and dynamic security";
const TLS: &str = "TLS";
const PSK: &str = "TLS with pre-shared keys";
const WEBSOCKET: &str = "WebSocket";
const PROXY: &str = "PROXY protocol";
const STORE: &str =
    "persistence: everything is kept in memory, the store comes in the next release";
const LIMITS: &str = "limits of the whole broker";
const LISTENERS: &str = "more options of listeners";
const BRIDGES: &str = "bridges";

/// Values of a switch that is off.
const OFF: &[&str] = &["false", "0"];

pub(super) const IGNORED_KEYS: &[Key] = &[
    ignored(
        "sys_interval",
        "it comes with the $SYS topics",
        "Seconds between updates of $SYS.",
    ),
    ignored(
        "allow_duplicate_messages",
        "overlapping Subscriptions of one Session are merged into one delivery",
        "Deprecated in Mosquitto.",
    ),
    ignored(
        "packet_buffer_size",
        "buffers belong to the workers, not to the connections",
        "Bytes of a buffer.",
    )
    .alias(&["websockets_headers_size"]),
    ignored(
        "log_facility",
        "the system's log gets the facility 'daemon'",
        "Facility of `log_dest syslog`.",
    ),
    ignored(
        "user",
        "the broker does not change its user; start it as the user that it should run as",
        "User that a broker started as root becomes.",
    ),
    ignored(
        "retry_interval",
        "messages are sent again only on a new connection",
        "Not in Mosquitto any more.",
    ),
    ignored(
        "dhparamfile",
        "key exchange needs no such file any more",
        "Not in Mosquitto any more.",
    ),
    ignored(
        "websockets_log_level",
        "there is no separate WebSocket library",
        "Level of that library's log.",
    ),
];

pub(super) const KEYS: &[Key] = &[
    later(
        "password_file",
        GlobalOrListener,
        ACCESS,
        "File of user names and password hashes.",
    ),
    later(
        "acl_file",
        GlobalOrListener,
        ACCESS,
        "File of rights to topics.",
    ),
    later(
        "clientid_prefixes",
        Global,
        ACCESS,
        "What a Client Identifier must begin with.",
    ),
    later("plugin", GlobalOrListener, PLUGINS, "Plugin to load.").alias(&["auth_plugin"]),
    later(
        "global_plugin",
        Global,
        PLUGINS,
        "Plugin to load for all listeners.",
    ),
    later(
        "plugin_load",
        Global,
        PLUGINS,
        "Plugin to load under a name.",
    ),
    later(
        "plugin_use",
        BelowListener,
        PLUGINS,
        "Loaded plugin that this listener uses.",
    ),
    later(
        "plugin_opt_*",
        Global,
        PLUGINS,
        "Option of the plugin above.",
    )
    .alias(&["auth_opt_*"]),
    later(
        "auth_plugin_deny_special_chars",
        Global,
        PLUGINS,
        "Whether names with `+`, `#` or `/` are refused.",
    ),
    later_unless(
        OFF,
        "enable_control_api",
        Global,
        PLUGINS,
        "Whether `$CONTROL` is available.",
    ),
    later(
        "cafile",
        Listener,
        TLS,
        "Certificates of the authorities that clients' certificates come from.",
    ),
    later("capath", Listener, TLS, "Directory of such certificates."),
    later(
        "certfile",
        Listener,
        TLS,
        "The listener's certificate chain.",
    ),
    later("keyfile", Listener, TLS, "The listener's private key."),
    later_unless(
        OFF,
        "require_certificate",
        Listener,
        TLS,
        "Whether clients need a certificate.",
    ),
    later_unless(
        OFF,
        "use_identity_as_username",
        Listener,
        TLS,
        "Whether its common name is the user name.",
    ),
    later_unless(
        OFF,
        "use_subject_as_username",
        Listener,
        TLS,
        "Whether its subject is the user name.",
    ),
    later("crlfile", Listener, TLS, "Certificates that are revoked."),
    later("ciphers", Listener, TLS, "Ciphers up to TLS 1.2."),
    later("ciphers_tls1.3", Listener, TLS, "Ciphers of TLS 1.3."),
    later("tls_version", BelowListener, TLS, "Lowest version of TLS."),
    later_unless(
        OFF,
        "disable_client_cert_date_checks",
        BelowListener,
        TLS,
        "Whether expired ones are accepted.",
    ),
    later("tls_engine", Listener, TLS, "OpenSSL engine."),
    later(
        "tls_engine_kpass_sha1",
        Listener,
        TLS,
        "Hash of its key's password.",
    ),
    later("tls_keyform", Listener, TLS, "Form of the private key."),
    later(
        "psk_file",
        GlobalOrListener,
        PSK,
        "File of identities and keys.",
    ),
    later("psk_hint", Listener, PSK, "Hint that clients get."),
    later(
        "http_dir",
        BelowListener,
        WEBSOCKET,
        "Directory that is served by HTTP.",
    ),
    later(
        "websockets_origin",
        BelowListener,
        WEBSOCKET,
        "Origin that is accepted.",
    ),
    later(
        "enable_proxy_protocol",
        BelowListener,
        PROXY,
        "Version of the PROXY protocol, 1 or 2.",
    ),
    later_unless(
        OFF,
        "proxy_protocol_v2_require_tls",
        BelowListener,
        PROXY,
        "Whether the proxy must see TLS.",
    ),
    later(
        "mount_point",
        BelowListener,
        LISTENERS,
        "What every topic of this listener's clients begins with.",
    ),
    later("socket_domain", Listener, LISTENERS, "ipv4 or ipv6."),
    later(
        "bind_interface",
        Listener,
        LISTENERS,
        "Network interface of this listener.",
    ),
    later_unless(
        OFF,
        "use_username_as_clientid",
        Listener,
        LISTENERS,
        "Whether the user name replaces it.",
    ),
    later_unless(
        &["3,4,5", "3, 4, 5"],
        "accept_protocol_versions",
        BelowListener,
        LISTENERS,
        "Protocol levels that are accepted, of 3, 4 and 5.",
    ),
    later_unless(&["0"], "memory_limit", Global, LIMITS, "Bytes of memory."),
    later_unless(&["-1"], "global_max_clients", Global, LIMITS, "Sessions."),
    later_unless(
        &["-1"],
        "global_max_connections",
        Global,
        LIMITS,
        "Connections.",
    ),
    later(
        "retain_expiry_interval",
        Global,
        LIMITS,
        "Minutes that retained messages are kept.",
    ),
    later(
        "persistence_location",
        Global,
        STORE,
        "Directory of the store.",
    ),
    later("persistence_file", Global, STORE, "File of the store."),
    later(
        "autosave_interval",
        Global,
        STORE,
        "Seconds or changes between saves.",
    ),
    later(
        "autosave_on_changes",
        Global,
        STORE,
        "Whether it counts changes.",
    ),
];

pub(super) const BRIDGE_KEYS: &[Key] = &[
    later(
        "connection",
        Global,
        BRIDGES,
        "Begins a bridge of this name.",
    ),
    later(
        "address",
        Connection,
        BRIDGES,
        "The other brokers' addresses.",
    )
    .alias(&["addresses"]),
    later(
        "topic",
        Connection,
        BRIDGES,
        "Topics that are exchanged, with direction, QoS and prefixes.",
    ),
    later(
        "remote_clientid",
        Connection,
        BRIDGES,
        "Client Identifier there.",
    )
    .alias(&["clientid"]),
    later("remote_username", Connection, BRIDGES, "User name there.").alias(&["username"]),
    later("remote_password", Connection, BRIDGES, "Password there.").alias(&["password"]),
    later(
        "local_clientid",
        Connection,
        BRIDGES,
        "Client Identifier here.",
    ),
    later("local_username", Connection, BRIDGES, "User name here."),
    later("local_password", Connection, BRIDGES, "Password here."),
    later(
        "cleansession",
        Connection,
        BRIDGES,
        "Whether the Session there begins anew.",
    ),
    later(
        "local_cleansession",
        Connection,
        BRIDGES,
        "Whether the Session here begins anew.",
    ),
    later(
        "start_type",
        Connection,
        BRIDGES,
        "automatic, lazy or once.",
    ),
    later(
        "restart_timeout",
        Connection,
        BRIDGES,
        "Seconds before connecting again.",
    ),
    later(
        "keepalive_interval",
        Connection,
        BRIDGES,
        "Keep Alive in seconds.",
    ),
    later(
        "idle_timeout",
        Connection,
        BRIDGES,
        "Seconds before a lazy bridge disconnects.",
    ),
    later(
        "threshold",
        Connection,
        BRIDGES,
        "Messages before a lazy bridge connects.",
    ),
    later(
        "try_private",
        Connection,
        BRIDGES,
        "Whether it says that it is a bridge.",
    ),
    later(
        "notifications",
        Connection,
        BRIDGES,
        "Whether its state is published.",
    ),
    later(
        "notification_topic",
        Connection,
        BRIDGES,
        "Where its state is published.",
    ),
    later(
        "notifications_local_only",
        Connection,
        BRIDGES,
        "Whether only here.",
    ),
    later(
        "round_robin",
        Connection,
        BRIDGES,
        "Whether addresses are taken in turn.",
    ),
    later(
        "bridge_attempt_unsubscribe",
        Connection,
        BRIDGES,
        "Whether old Subscriptions are removed.",
    ),
    later(
        "bridge_protocol_version",
        Connection,
        BRIDGES,
        "mqttv50, mqttv311 or mqttv31.",
    ),
    later(
        "bridge_outgoing_retain",
        Connection,
        BRIDGES,
        "Whether RETAIN is sent on.",
    ),
    later(
        "bridge_max_packet_size",
        Connection,
        BRIDGES,
        "Maximum Packet Size.",
    ),
    later(
        "bridge_max_topic_alias",
        Connection,
        BRIDGES,
        "Topic Alias Maximum.",
    ),
    later(
        "bridge_receive_maximum",
        Connection,
        BRIDGES,
        "Receive Maximum.",
    ),
    later(
        "bridge_session_expiry_interval",
        Connection,
        BRIDGES,
        "Session Expiry Interval.",
    ),
    later(
        "bridge_bind_address",
        Connection,
        BRIDGES,
        "Address that it connects from.",
    ),
    later(
        "bridge_tcp_keepalive",
        Connection,
        BRIDGES,
        "TCP keep-alive: idle, interval, count.",
    ),
    later(
        "bridge_tcp_user_timeout",
        Connection,
        BRIDGES,
        "TCP user timeout in milliseconds.",
    ),
    later(
        "bridge_reload_type",
        Connection,
        BRIDGES,
        "lazy or immediate.",
    ),
    later("bridge_cafile", Connection, BRIDGES, "As cafile."),
    later("bridge_capath", Connection, BRIDGES, "As capath."),
    later("bridge_certfile", Connection, BRIDGES, "As certfile."),
    later("bridge_keyfile", Connection, BRIDGES, "As keyfile."),
    later(
        "bridge_insecure",
        Connection,
        BRIDGES,
        "Whether the name in the certificate is not checked.",
    ),
    later(
        "bridge_tls_version",
        Connection,
        BRIDGES,
        "Lowest version of TLS.",
    ),
    later(
        "bridge_tls_use_os_certs",
        Connection,
        BRIDGES,
        "Whether the system's authorities are trusted.",
    ),
    later(
        "bridge_alpn",
        Connection,
        BRIDGES,
        "Application protocol in TLS.",
    ),
    later(
        "bridge_identity",
        Connection,
        BRIDGES,
        "Identity of a pre-shared key.",
    ),
    later("bridge_psk", Connection, BRIDGES, "The pre-shared key."),
    later(
        "bridge_require_ocsp",
        Connection,
        BRIDGES,
        "Whether revocation is checked.",
    ),
    later(
        "bridge_ciphers",
        Connection,
        BRIDGES,
        "Ciphers up to TLS 1.2.",
    ),
    later(
        "bridge_ciphers_tls1.3",
        Connection,
        BRIDGES,
        "Ciphers of TLS 1.3.",
    ),
];
