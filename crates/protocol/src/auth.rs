//! Enhanced authentication: the AUTH exchange as a state, with methods behind a trait.
//!
//! ```text
//!   CONNECT(method) ──▶ Exchanging ──AUTH 0x18──▶ Exchanging ──▶ Done (CONNACK 0x00)
//!                            └──────── wrong method, failure ──▶ refused
//! ```
//!
//! No method is built in: a CONNECT that names one is refused with 0x8C (Bad authentication
//! method) unless the caller's registry knows it.

use dunlin_packet::ReasonCode;

/// One authentication method, known by the text of the Authentication Method property.
pub trait AuthMethod: Send + Sync {
    /// Its name on the wire, for example `SCRAM-SHA-256`.
    fn name(&self) -> &str;
    /// Starts an exchange with the Authentication Data of CONNECT (or of a re-authenticating AUTH).
    fn start(&self, data: &[u8]) -> (Box<dyn AuthExchange>, AuthStep);
}

/// One running exchange.
pub trait AuthExchange: Send {
    /// Takes the client's next Authentication Data.
    fn step(&mut self, data: &[u8]) -> AuthStep;
}

/// What an exchange wants next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthStep {
    /// Send AUTH 0x18 with this Authentication Data and wait.
    Continue(Vec<u8>),
    /// The client is who it says; the data goes into CONNACK (or AUTH 0x00).
    Done {
        /// The user's name, as later checks see it.
        user_name: String,
        /// Authentication Data for the client.
        data: Vec<u8>,
    },
    /// Refuse with this Reason Code.
    Refuse(ReasonCode),
}

/// The methods that a listener offers.
#[derive(Default)]
pub struct AuthMethods {
    methods: Vec<Box<dyn AuthMethod>>,
}

impl AuthMethods {
    /// Adds a method.
    pub fn register(&mut self, method: Box<dyn AuthMethod>) {
        self.methods.push(method);
    }

    /// Begins the exchange that CONNECT asks for.
    ///
    /// # Errors
    /// 0x8C when no such method is registered.
    pub fn begin(&self, method: &str, data: &[u8]) -> Result<(Exchange, AuthStep), ReasonCode> {
        let found = self.methods.iter().find(|known| known.name() == method);
        let known = found.ok_or(ReasonCode::BadAuthenticationMethod)?;
        let (running, step) = known.start(data);
        Ok((
            Exchange {
                method: method.to_owned(),
                running,
            },
            step,
        ))
    }
}

/// A running exchange, bound to the method that CONNECT named.
pub struct Exchange {
    method: String,
    running: Box<dyn AuthExchange>,
}

impl Exchange {
    /// Takes an AUTH packet of the client. The method must stay the same
    /// (v5[MQTT-4.12.0-5], v5[MQTT-4.12.1-1]).
    pub fn auth(&mut self, method: Option<&str>, data: &[u8]) -> AuthStep {
        if method != Some(self.method.as_str()) {
            return AuthStep::Refuse(ReasonCode::ProtocolError);
        }
        self.running.step(data)
    }

    /// The method that CONNECT named.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Echo;
    struct EchoRun(u8);

    impl AuthMethod for Echo {
        fn name(&self) -> &str {
            "ECHO"
        }
        fn start(&self, data: &[u8]) -> (Box<dyn AuthExchange>, AuthStep) {
            (Box::new(EchoRun(0)), AuthStep::Continue(data.to_vec()))
        }
    }

    impl AuthExchange for EchoRun {
        fn step(&mut self, data: &[u8]) -> AuthStep {
            self.0 += 1;
            match self.0 {
                1 => AuthStep::Continue(data.to_vec()),
                _ => AuthStep::Done {
                    user_name: "u".into(),
                    data: data.to_vec(),
                },
            }
        }
    }

    fn methods() -> AuthMethods {
        let mut methods = AuthMethods::default();
        methods.register(Box::new(Echo));
        methods
    }

    #[test]
    fn an_unknown_method_is_refused() {
        assert_eq!(
            methods().begin("SCRAM", b"").err(),
            Some(ReasonCode::BadAuthenticationMethod)
        );
    }

    #[test]
    fn an_exchange_goes_on_until_done() {
        let (mut exchange, step) = methods().begin("ECHO", b"a").ok().unwrap();
        assert_eq!(step, AuthStep::Continue(b"a".to_vec()));
        assert_eq!(
            exchange.auth(Some("ECHO"), b"b"),
            AuthStep::Continue(b"b".to_vec())
        );
        let done = AuthStep::Done {
            user_name: "u".into(),
            data: b"c".to_vec(),
        };
        assert_eq!(exchange.auth(Some("ECHO"), b"c"), done);
    }

    #[test]
    fn the_method_may_not_change() {
        let (mut exchange, _) = methods().begin("ECHO", b"a").ok().unwrap();
        assert_eq!(
            exchange.auth(Some("OTHER"), b"b"),
            AuthStep::Refuse(ReasonCode::ProtocolError)
        );
        assert_eq!(
            exchange.auth(None, b"b"),
            AuthStep::Refuse(ReasonCode::ProtocolError)
        );
    }
}
