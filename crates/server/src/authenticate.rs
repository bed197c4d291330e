//! Who may come in: the port behind which password files, certificates and tokens will stand.
//!
//! It is asked between CONNECT and the hand-off to the Session's worker, so that nobody takes a
//! Session over before they have shown who they are.

use std::sync::Arc;

use dunlin_engine::Principal;
use dunlin_packet::{Connect, ReasonCode};
use dunlin_protocol::auth::AuthMethods;

use crate::settings::ListenerSettings;

/// The answer to a CONNECT.
pub(crate) enum Verdict {
    /// Welcome, as this principal.
    Admit(Principal),
    /// Refused with this Reason Code.
    Refuse(ReasonCode, &'static str),
}

/// Decides about a CONNECT. Without any account known, a listener admits everybody or nobody.
pub(crate) fn check(
    connect: &Connect<'_>,
    listener: &ListenerSettings,
    methods: &AuthMethods,
    peer: &str,
) -> Verdict {
    if let Some(method) = connect.properties.authentication_method() {
        let data = connect.properties.authentication_data().unwrap_or_default();
        // No method is registered in this release, so `begin` knows none.
        if methods.begin(method, data).is_err() && !ignored() {
            return Verdict::Refuse(
                ReasonCode::BadAuthenticationMethod,
                "unknown authentication method",
            );
        }
    }
    if !listener.allow_anonymous {
        return Verdict::Refuse(
            ReasonCode::NotAuthorized,
            "no accounts are configured and allow_anonymous is false",
        );
    }
    Verdict::Admit(Principal {
        user_name: connect.user_name.map(Arc::from),
        address: peer.into(),
    })
}

fn ignored() -> bool {
    dunlin_packet::mutant::is_active(dunlin_packet::mutant::Mutant::AuthMethodIgnored)
}
