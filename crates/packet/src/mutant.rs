//! Deliberate bugs, one at a time, to prove that the conformance tests would notice them.
//!
//! One list declares name and sentence of each. Without the feature `mutants` the question
//! [`is_active`] is a constant, and nothing of a mutant is left in the program.

#[cfg(feature = "mutants")]
use std::{
    error::Error,
    fmt,
    sync::atomic::{AtomicUsize, Ordering},
};

macro_rules! mutants {
    ($($variant:ident $name:literal $sentence:literal,)+) => {
        /// A deliberate bug.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Mutant {
            $(#[doc = $sentence] $variant,)+
        }

        impl Mutant {
            /// What to call it on a command line, in kebab-case.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Mutant::$variant => $name,)+
                }
            }

            /// What it does wrong.
            pub const fn sentence(self) -> &'static str {
                match self {
                    $(Mutant::$variant => $sentence,)+
                }
            }
        }

        const ALL: &[Mutant] = &[$(Mutant::$variant),+];
    };
}

mutants! {
    AcceptReservedConnectFlag "accept-reserved-connect-flag"
        "CONNECT with its reserved flag set is accepted.",
    AcceptNonMinimalVarint "accept-non-minimal-varint"
        "Variable byte integers longer than they must be are accepted.",
    AcceptNullInString "accept-null-in-string"
        "Strings that contain U+0000 are accepted.",
    AcceptSurrogates "accept-surrogates"
        "A string that is not well-formed UTF-8 is read as a question mark.",
    AcceptQos3 "accept-qos-3"
        "PUBLISH with both QoS bits set is taken as QoS 2.",
    AcceptWildcardTopicName "accept-wildcard-topic-name"
        "PUBLISH to a Topic Name with wildcards is accepted.",
    AcceptSubscribeFlags "accept-subscribe-flags"
        "SUBSCRIBE is accepted whatever its fixed header flags are.",
    AcceptUnsubscribeFlags "accept-unsubscribe-flags"
        "UNSUBSCRIBE is accepted whatever its fixed header flags are.",
    AcceptPubrelFlags "accept-pubrel-flags"
        "PUBREL is accepted whatever its fixed header flags are.",
    AcceptEmptySubscribe "accept-empty-subscribe"
        "SUBSCRIBE without a Topic Filter is accepted.",
    AcceptEmptyUnsubscribe "accept-empty-unsubscribe"
        "UNSUBSCRIBE without a Topic Filter is accepted.",
    AcceptNoLocalOnShared "accept-no-local-on-shared"
        "No Local on a Shared Subscription is accepted.",
    AcceptResponseTopicWildcard "accept-response-topic-wildcard"
        "A Response Topic with wildcards is accepted.",
    AcceptReservedSubscriptionBits "accept-reserved-subscription-bits"
        "Subscription Options with reserved bits set are accepted.",
    AcceptSubscriptionIdFromClient "accept-subscription-id-from-client"
        "A Subscription Identifier in a Client's PUBLISH is accepted.",

    SessionPresentAlways "session-present-always"
        "CONNACK always says that there was a Session.",
    NoWillOnClose "no-will-on-close"
        "The Will is not published when the connection is lost.",
    WillAfterNormalDisconnect "will-after-normal-disconnect"
        "The Will is published after DISCONNECT with Reason Code 0x00.",
    NoTakeoverDisconnect "no-takeover-disconnect"
        "The older connection of a Session gets no DISCONNECT when it is taken over.",
    DupNeverSet "dup-never-set"
        "PUBLISH is sent again without DUP.",
    RetainEmptyKept "retain-empty-kept"
        "A retained message with an empty payload does not remove the older one.",
    RetainFlagKeptWithoutRap "retain-flag-kept-without-rap"
        "RETAIN is forwarded without Retain As Published.",
    IgnoreNoLocal "ignore-no-local"
        "No Local has no effect.",
    IgnoreRetainHandling1 "ignore-retain-handling-1"
        "Retain Handling 1 sends retained messages for a Subscription that existed.",
    MessageExpiryNotReduced "message-expiry-not-reduced"
        "The Message Expiry Interval is forwarded as it was received.",
    AliasAboveMaximum "alias-above-maximum"
        "Topic Aliases are sent beyond the Client's Topic Alias Maximum.",
    ReceiveMaximumIgnored "receive-maximum-ignored"
        "More PUBLISH packets are in flight than the Client's Receive Maximum.",
    PacketTooLargeSent "packet-too-large-sent"
        "Packets beyond the Client's Maximum Packet Size are sent.",
    ReasonStringAlways "reason-string-always"
        "A Reason String is sent although Request Problem Information is 0.",
    DollarMatchesWildcard "dollar-matches-wildcard"
        "A leading wildcard matches Topic Names that begin with $.",
    SubackOrderReversed "suback-order-reversed"
        "The Reason Codes of SUBACK stand in reverse order.",
    UnsubackSuccessForUnknown "unsuback-success-for-unknown"
        "UNSUBACK reports success where no Subscription existed.",
    Qos2DuplicateDelivered "qos2-duplicate-delivered"
        "A repeated QoS 2 PUBLISH is delivered again.",
    SharedToAll "shared-to-all"
        "Every member of a Shared Subscription gets each message.",
    UserPropertiesReordered "user-properties-reordered"
        "User Properties are forwarded in reverse order.",
    SubscriptionIdsDropped "subscription-ids-dropped"
        "Subscription Identifiers are not sent.",
    KeepAliveIgnored "keep-alive-ignored"
        "A silent connection is kept beyond one and a half Keep Alive.",
    SecondConnectIgnored "second-connect-ignored"
        "A second CONNECT is passed over.",
    OrderSwapped "order-swapped"
        "Two messages that follow each other are delivered in reverse order.",
    DowngradeIgnored "downgrade-ignored"
        "Messages are delivered at the publisher's QoS, above the granted one.",
    NoServerKeepAlive "no-server-keep-alive"
        "The Server shortens the Keep Alive without saying so.",
    AuthMethodIgnored "auth-method-ignored"
        "An Authentication Method that is not supported is passed over.",
    UnsubscribeKeeps "unsubscribe-keeps"
        "UNSUBSCRIBE is acknowledged and the Subscription stays.",
    ClientIdNotAssigned "client-id-not-assigned"
        "CONNACK does not tell the Assigned Client Identifier.",
    PubrelNotResent "pubrel-not-resent"
        "PUBREL is not sent again when a Session resumes.",
    WillDelayIgnored "will-delay-ignored"
        "The Will is published at once, whatever its Will Delay Interval.",
}

/// Every mutant there is.
pub const fn all() -> &'static [Mutant] {
    ALL
}

/// Whether this bug is switched on in this process.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub const fn is_active(_: Mutant) -> bool {
    false
}

/// Whether this bug is switched on in this process.
#[cfg(feature = "mutants")]
#[inline(always)]
pub fn is_active(mutant: Mutant) -> bool {
    ACTIVE.load(Ordering::Relaxed) == mutant as usize + 1
}

/// One more than the number of the active mutant; 0 while there is none.
#[cfg(feature = "mutants")]
static ACTIVE: AtomicUsize = AtomicUsize::new(0);

/// Switches one bug on for the whole process, and the one before it off.
///
/// # Errors
///
/// When no mutant has this name.
#[cfg(feature = "mutants")]
pub fn activate(name: &str) -> Result<(), UnknownMutant> {
    let mutant = ALL
        .iter()
        .find(|mutant| mutant.name() == name)
        .ok_or(UnknownMutant)?;
    ACTIVE.store(*mutant as usize + 1, Ordering::Relaxed);
    Ok(())
}

/// No mutant has the name that was asked for.
#[cfg(feature = "mutants")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownMutant;

#[cfg(feature = "mutants")]
impl fmt::Display for UnknownMutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no mutant of this name")
    }
}

#[cfg(feature = "mutants")]
impl Error for UnknownMutant {}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_kebab_case() {
        let names: HashSet<_> = all().iter().map(|mutant| mutant.name()).collect();
        assert_eq!(names.len(), all().len());
        for name in names {
            assert!(
                name.bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            );
        }
        assert!(all().iter().all(|mutant| mutant.sentence().ends_with('.')));
    }

    #[cfg(feature = "mutants")]
    #[test]
    fn an_unknown_name_activates_nothing() {
        assert_eq!(activate("no-such-mutant"), Err(UnknownMutant));
        assert!(!all().iter().any(|mutant| is_active(*mutant)));
    }
}
