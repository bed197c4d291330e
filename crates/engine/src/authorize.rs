//! Who may do what: the port behind which password, ACL and dynamic-security files will stand.
//!
//! Without an [`Authorizer`] nothing is asked. With one it is asked when a client publishes, when
//! it subscribes, and again for every message at delivery.

use crate::io::Principal;

/// What a client wants to do with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Publish to a Topic Name (also the Will's).
    Write,
    /// Receive a message with this Topic Name.
    Read,
    /// Subscribe to a Topic Filter.
    Subscribe,
}

/// Decides about access.
pub trait Authorizer: Send + Sync {
    /// Whether `client_id`, speaking for `principal`, may. `topic` is a Topic Filter for `Subscribe`.
    fn allows(&self, principal: &Principal, client_id: &str, access: Access, topic: &str) -> bool;
}
