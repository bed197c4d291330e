//! The cases, one module per part of the standard.

pub mod acks;
pub mod connack;
pub mod connect;
pub mod connect_limits;
pub mod connect_session;
pub mod data;
pub mod delivery;
pub mod flow_auth_errors;
pub mod hardening;
pub mod hardening_load;
pub mod hardening_names;
pub mod leaving;
pub mod limits;
pub mod limits_queue;
pub mod ordering;
pub mod packet_form;
pub mod ping_disconnect_auth;
pub mod publish;
pub mod publish_flow;
pub mod publish_properties;
pub mod retained;
pub mod session;
pub mod shared;
pub mod subscribe;
pub mod topics;
pub mod unsubscribe;
pub mod v31;
pub mod v311_connect;
pub mod v311_connection;
pub mod v311_publish;
pub mod v311_retained;
pub mod v311_session;
pub mod v311_subscribe;
pub mod v311_topics;
pub mod v311_will;
pub mod will;

use crate::case::Case;

/// The cases of all modules, in the order of the standard's chapters.
pub const MODULES: &[&[Case]] = &[
    data::CASES,
    packet_form::CASES,
    connect::CASES,
    connect_session::CASES,
    will::CASES,
    connect_limits::CASES,
    connack::CASES,
    publish::CASES,
    publish_properties::CASES,
    retained::CASES,
    publish_flow::CASES,
    acks::CASES,
    subscribe::CASES,
    unsubscribe::CASES,
    ping_disconnect_auth::CASES,
    session::CASES,
    delivery::CASES,
    ordering::CASES,
    topics::CASES,
    shared::CASES,
    flow_auth_errors::CASES,
    v311_connect::CASES,
    v311_connection::CASES,
    v311_publish::CASES,
    v311_retained::CASES,
    v311_session::CASES,
    v311_subscribe::CASES,
    v311_topics::CASES,
    v311_will::CASES,
    v31::CASES,
    hardening::CASES,
    hardening_names::CASES,
    hardening_load::CASES,
    limits::CASES,
    limits_queue::CASES,
    leaving::CASES,
];
