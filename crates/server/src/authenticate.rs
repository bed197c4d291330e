//! Who may come in: the port behind which password files, certificates and tokens will stand.
//!
//! It is asked between CONNECT and the hand-off to the Session's worker, so that nobody takes a
//! Session over before they have shown who they are.

use std::io;
use std::sync::Arc;

use dunlin_engine::Principal;
use dunlin_packet::mutant::{self, Mutant};
use dunlin_packet::{
    Auth, Connect, Decoded, Packet, PropertiesBuf, Property, ProtocolVersion, ReasonCode, Rules,
    Sender, decode, encode,
};
use dunlin_protocol::auth::{AuthMethods, AuthStep, Exchange};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::settings::ListenerSettings;

/// The answer to a CONNECT.
pub(crate) enum Verdict {
    /// Welcome, as this principal.
    Admit(Principal),
    /// The method that CONNECT names wants to go on.
    Exchange(Exchange, AuthStep),
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
    if let Some(method) = connect.properties.authentication_method()
        && !mutant::is_active(Mutant::AuthMethodIgnored)
    {
        let data = connect.properties.authentication_data().unwrap_or_default();
        return match methods.begin(method, data) {
            Ok((exchange, step)) => Verdict::Exchange(exchange, step),
            Err(reason) => Verdict::Refuse(reason, "unknown authentication method"),
        };
    }
    if !listener.allow_anonymous {
        let why = "no accounts are configured and allow_anonymous is false";
        return Verdict::Refuse(ReasonCode::NotAuthorized, why);
    }
    Verdict::Admit(Principal {
        user_name: connect.user_name.map(Arc::from),
        address: peer.into(),
    })
}

/// Runs an exchange of AUTH packets to its end (v5[MQTT-4.12.0-2], v5[MQTT-4.12.0-4]). `unread` holds
/// what the client has sent behind CONNECT, at most `bytes_max`, and keeps what it sent behind the last AUTH.
///
/// # Errors
/// As reading and writing do.
pub(crate) async fn exchange(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    unread: &mut Vec<u8>,
    bytes_max: usize,
    (mut exchange, mut step): (Exchange, AuthStep),
    peer: &str,
) -> io::Result<Verdict> {
    loop {
        let data = match step {
            AuthStep::Refuse(reason) => {
                return Ok(Verdict::Refuse(reason, "authentication failed"));
            }
            AuthStep::Done { user_name, .. } => {
                let (user_name, address) = (Some(user_name.into()), peer.into());
                return Ok(Verdict::Admit(Principal { user_name, address }));
            }
            AuthStep::Continue(data) => data,
        };
        stream
            .write_all(&challenge(exchange.method(), &data)?)
            .await?;
        step = match read_auth(stream, unread, bytes_max, &mut exchange).await? {
            Some(step) => step,
            None => {
                let why = "no AUTH packet in the exchange";
                return Ok(Verdict::Refuse(ReasonCode::ProtocolError, why));
            }
        };
    }
}

/// AUTH 0x18 with this data (v5[MQTT-3.15.2-2] is about its Reason String, which we do not send).
fn challenge(method: &str, data: &[u8]) -> io::Result<Vec<u8>> {
    let mut properties = PropertiesBuf::new();
    properties.push(Property::AuthenticationMethod(method));
    properties.push(Property::AuthenticationData(data));
    let auth = Auth {
        reason: ReasonCode::ContinueAuthentication,
        properties: properties.as_properties(),
    };
    let mut bytes = Vec::new();
    encode(
        &Packet::Auth(auth),
        ProtocolVersion::V5,
        u32::MAX,
        &mut bytes,
    )
    .map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}

/// The client's next AUTH, taken to the method. `None` for any other packet.
async fn read_auth(
    stream: &mut (impl AsyncRead + Unpin),
    unread: &mut Vec<u8>,
    bytes_max: usize,
    exchange: &mut Exchange,
) -> io::Result<Option<AuthStep>> {
    let rules = Rules {
        version: ProtocolVersion::V5,
        sender: Sender::Client,
        packet_size_max: u32::try_from(bytes_max).unwrap_or(u32::MAX),
    };
    loop {
        let found = match decode(unread, &rules) {
            Ok(Decoded::Packet {
                packet: Packet::Auth(auth),
                len,
            }) => {
                let data = auth.properties.authentication_data().unwrap_or_default();
                Some((
                    exchange.auth(auth.properties.authentication_method(), data),
                    len,
                ))
            }
            Ok(Decoded::Incomplete { .. }) if unread.len() < bytes_max => None,
            _ => return Ok(None),
        };
        if let Some((step, len)) = found {
            unread.drain(..len);
            return Ok(Some(step));
        }
        let mut buffer = [0; 2048];
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        unread.extend_from_slice(buffer.get(..read).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use dunlin_protocol::auth::{AuthExchange, AuthMethod};

    use super::*;

    /// Wants the letters `a`, then `b`.
    struct Letters;

    struct Running(Vec<u8>);

    impl AuthMethod for Letters {
        fn name(&self) -> &str {
            "LETTERS"
        }

        fn start(&self, data: &[u8]) -> (Box<dyn AuthExchange>, AuthStep) {
            (
                Box::new(Running(data.to_vec())),
                AuthStep::Continue(b"next?".to_vec()),
            )
        }
    }

    impl AuthExchange for Running {
        fn step(&mut self, data: &[u8]) -> AuthStep {
            self.0.extend_from_slice(data);
            match self.0.as_slice() {
                b"ab" => AuthStep::Done {
                    user_name: "abc".into(),
                    data: Vec::new(),
                },
                _ => AuthStep::Refuse(ReasonCode::NotAuthorized),
            }
        }
    }

    /// Runs an exchange with a client that sends `bytes`; the verdict, what is unread, what it was sent.
    fn run(bytes: &[u8]) -> (io::Result<Verdict>, Vec<u8>, Vec<u8>) {
        let mut methods = AuthMethods::default();
        methods.register(Box::new(Letters));
        let begun = methods.begin("LETTERS", b"a").ok().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (mut ours, mut theirs) = tokio::io::duplex(4096);
            theirs.write_all(bytes).await.unwrap();
            let mut unread = Vec::new();
            if bytes.is_empty() {
                drop(theirs);
                return (
                    exchange(&mut ours, &mut unread, 500, begun, "peer").await,
                    unread,
                    Vec::new(),
                );
            }
            let verdict = exchange(&mut ours, &mut unread, 500, begun, "peer").await;
            let mut sent = vec![0; 100];
            let read = theirs.read(&mut sent).await.unwrap();
            sent.truncate(read);
            (verdict, unread, sent)
        })
    }

    fn auth(method: &str, data: &[u8]) -> Vec<u8> {
        challenge(method, data).unwrap()
    }

    #[test]
    fn a_finished_exchange_admits_and_keeps_what_came_behind_it() {
        let (verdict, unread, sent) = run(&[auth("LETTERS", b"b"), vec![0xc0, 0]].concat());
        let Ok(Verdict::Admit(principal)) = verdict else {
            panic!("not admitted")
        };
        assert_eq!(principal.user_name.as_deref(), Some("abc"));
        assert_eq!(unread, [0xc0, 0]);
        assert_eq!(sent, auth("LETTERS", b"next?"));
    }

    #[test]
    fn everything_else_is_refused() {
        let cases = [
            (auth("LETTERS", b"x"), ReasonCode::NotAuthorized),
            (auth("OTHER", b"b"), ReasonCode::ProtocolError),
            (vec![0xc0, 0], ReasonCode::ProtocolError),
            (
                vec![0xf0, 0xff, 0xff, 0xff, 0x7f],
                ReasonCode::ProtocolError,
            ),
        ];
        for (bytes, expected) in cases {
            let (verdict, ..) = run(&bytes);
            assert!(matches!(verdict, Ok(Verdict::Refuse(reason, _)) if reason == expected));
        }
        assert!(run(&[]).0.is_err());
    }
}
