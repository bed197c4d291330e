//! The cases, one module per part of the standard.

pub mod acks;
pub mod chapter4;
pub mod connack;
pub mod connect;
pub mod connect_limits;
pub mod connect_session;
pub mod data;
pub mod hardening;
pub mod ping_disconnect_auth;
pub mod publish;
pub mod publish_flow;
pub mod subscribe;
pub mod unsubscribe;
pub mod v31;
pub mod v311;
pub mod will;

use crate::case::Case;

/// The cases of all modules, in the order of the standard's chapters.
pub const MODULES: &[&[Case]] = &[
    data::CASES,
    connect::CASES,
    connect_session::CASES,
    will::CASES,
    connect_limits::CASES,
    connack::CASES,
    publish::CASES,
    publish_flow::CASES,
    acks::CASES,
    subscribe::CASES,
    unsubscribe::CASES,
    ping_disconnect_auth::CASES,
    chapter4::CASES,
    v311::CASES,
    v31::CASES,
    hardening::CASES,
];
