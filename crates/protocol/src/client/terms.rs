//! What CONNACK says that a client has to keep to.

use dunlin_packet::{Connack, Property, QoS};

use super::options::ConnectOptions;

/// What a Network Connection runs under, seen from the client, once CONNACK is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTerms {
    /// Keep Alive in force, in seconds; 0 for none. The Server's word is the last (v5[MQTT-3.2.2-21]).
    pub keep_alive_s: u16,
    /// How long the Session outlives the connection, in seconds.
    pub session_expiry_interval_s: u32,
    /// QoS 1 and 2 messages that we may have open.
    pub send_quota: u16,
    /// Largest packet that the Server accepts, in bytes.
    pub packet_size_max: u32,
    /// Topic Aliases that the Server accepts.
    pub topic_alias_maximum: u16,
    /// Highest QoS that we may publish at.
    pub maximum_qos: QoS,
    /// Whether we may publish with RETAIN.
    pub retain_available: bool,
    /// Whether Topic Filters may have wildcards.
    pub wildcard_subscription_available: bool,
    /// Whether Subscription Identifiers may be used.
    pub subscription_identifier_available: bool,
    /// Whether Shared Subscriptions may be used.
    pub shared_subscription_available: bool,
    /// The Client Identifier that the Server chose for us; to be used from now on.
    pub assigned_client_id: Option<String>,
}

impl ServerTerms {
    /// What holds while CONNACK is silent: all of 3.x, and the defaults of 5.0.
    pub(super) fn unanswered(options: &ConnectOptions) -> Self {
        let never_asked = if options.clean_start { 0 } else { u32::MAX };
        let asked = options.session_expiry_interval_s.unwrap_or(0);
        Self {
            keep_alive_s: options.keep_alive_s,
            session_expiry_interval_s: if options.version.is_v5() {
                asked
            } else {
                never_asked
            },
            send_quota: options.inflight_messages_max.max(1),
            packet_size_max: u32::MAX,
            topic_alias_maximum: 0,
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
            wildcard_subscription_available: true,
            subscription_identifier_available: options.version.is_v5(),
            shared_subscription_available: true,
            assigned_client_id: None,
        }
    }

    /// What our wishes and the Server's answer come to.
    pub(super) fn settle(connack: &Connack<'_>, options: &ConnectOptions) -> Self {
        let mut terms = Self::unanswered(options);
        for property in connack.properties {
            match property {
                Property::ServerKeepAlive(seconds) => terms.keep_alive_s = seconds,
                Property::SessionExpiryInterval(seconds) => {
                    terms.session_expiry_interval_s = seconds
                }
                Property::ReceiveMaximum(maximum) => {
                    terms.send_quota = terms.send_quota.min(maximum.max(1))
                }
                Property::MaximumPacketSize(bytes) => terms.packet_size_max = bytes,
                Property::TopicAliasMaximum(maximum) => terms.topic_alias_maximum = maximum,
                Property::MaximumQoS(level) => {
                    terms.maximum_qos = QoS::from_bits(level).unwrap_or(QoS::ExactlyOnce);
                }
                Property::RetainAvailable(flag) => terms.retain_available = flag != 0,
                Property::WildcardSubscriptionAvailable(flag) => {
                    terms.wildcard_subscription_available = flag != 0
                }
                Property::SubscriptionIdentifierAvailable(flag) => {
                    terms.subscription_identifier_available = flag != 0;
                }
                Property::SharedSubscriptionAvailable(flag) => {
                    terms.shared_subscription_available = flag != 0
                }
                Property::AssignedClientIdentifier(id) => {
                    terms.assigned_client_id = Some(id.to_owned())
                }
                _ => {}
            }
        }
        terms
    }
}

#[cfg(test)]
mod tests {
    use dunlin_packet::{PropertiesBuf, ProtocolVersion, ReasonCode};

    use super::*;

    fn settle(options: &ConnectOptions, properties: &[Property<'_>]) -> ServerTerms {
        let mut block = PropertiesBuf::new();
        for property in properties {
            block.push(*property);
        }
        let connack = Connack {
            session_present: false,
            reason: ReasonCode::Success,
            properties: block.as_properties(),
        };
        ServerTerms::settle(&connack, options)
    }

    #[test]
    fn a_silent_connack_leaves_the_defaults() {
        let options = ConnectOptions::new(ProtocolVersion::V5, "c");
        let terms = settle(&options, &[]);
        assert_eq!(terms, ServerTerms::unanswered(&options));
        assert_eq!(
            (terms.send_quota, terms.keep_alive_s, terms.packet_size_max),
            (20, 60, u32::MAX)
        );
    }

    #[test]
    fn the_servers_limits_are_taken_over() {
        let options = ConnectOptions {
            inflight_messages_max: 10,
            ..ConnectOptions::new(ProtocolVersion::V5, "")
        };
        let said = [
            Property::ReceiveMaximum(3),
            Property::MaximumPacketSize(99),
            Property::ServerKeepAlive(7),
            Property::MaximumQoS(1),
            Property::RetainAvailable(0),
            Property::AssignedClientIdentifier("auto-1"),
        ];
        let terms = settle(&options, &said);
        assert_eq!(
            (terms.send_quota, terms.packet_size_max, terms.keep_alive_s),
            (3, 99, 7)
        );
        assert_eq!(
            (terms.maximum_qos, terms.retain_available),
            (QoS::AtLeastOnce, false)
        );
        assert_eq!(terms.assigned_client_id.as_deref(), Some("auto-1"));
        assert_eq!(
            settle(&options, &[Property::ReceiveMaximum(300)]).send_quota,
            10
        );
    }

    #[test]
    fn the_session_of_3x_lives_for_ever_or_not_at_all() {
        let clean = ConnectOptions::new(ProtocolVersion::V311, "c");
        assert_eq!(settle(&clean, &[]).session_expiry_interval_s, 0);
        let kept = ConnectOptions {
            clean_start: false,
            ..clean
        };
        assert_eq!(settle(&kept, &[]).session_expiry_interval_s, u32::MAX);
    }
}
