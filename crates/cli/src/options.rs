//! The flags of `dunlin pub` and `dunlin sub`, which are those of mosquitto_pub and mosquitto_sub.
//!
//! The table is in `table`, where each value is checked by itself; what depends on several flags is
//! checked here.

mod table;

use std::ffi::OsString;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use dunlin_packet::{PropertiesBuf, ProtocolVersion, QoS};
use dunlin_protocol::client::{ConnectOptions, WillOptions};

use crate::connection::Runner;
use crate::flags::{Asked, Programs, help, parse, version};
use crate::output::{self, Format, Output};

use self::table::FLAGS;

/// One of the two tools, by the name that it was called by.
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    program: Programs,
    summary: &'static str,
    usage: &'static str,
}

/// The bits of the table.
const PUB: Programs = Programs(1);
const SUB: Programs = Programs(2);

impl Tool {
    pub(crate) fn publish(name: &'static str) -> Self {
        Self {
            name,
            program: PUB,
            summary: "publishes messages and ends.",
            usage: "-t TOPIC {-m MESSAGE | -f FILE | -l | -n | -s} [FLAGS]",
        }
    }

    pub(crate) fn subscribe(name: &'static str) -> Self {
        Self {
            name,
            program: SUB,
            summary: "subscribes to topics and prints the messages that come.",
            usage: "-t TOPIC [-t TOPIC ...] [FLAGS]",
        }
    }

    /// Reads the arguments. `Err` is the status to end with: what there is to say has been said.
    pub(crate) fn read(&self, arguments: &[OsString]) -> Result<Options, ExitCode> {
        let mut options = Options::default();
        let asked = parse(FLAGS, self.program, arguments, &mut options);
        match asked.and_then(|asked| self.check(asked, &options)) {
            Ok(Asked::Work) => Ok(options),
            Ok(Asked::Help) => {
                let (name, flags) = (self.name, help(FLAGS, self.program));
                output::print(&format!(
                    "{name} {}\n\nUsage: {name} {}\n\n{flags}",
                    self.summary, self.usage
                ));
                Err(ExitCode::SUCCESS)
            }
            Ok(Asked::Version) => {
                output::print(&version(self.name));
                Err(ExitCode::SUCCESS)
            }
            Err(error) => {
                output::complain(&format!(
                    "{error}\n\nUse '{} --help' to see usage.",
                    self.name
                ));
                Err(ExitCode::FAILURE)
            }
        }
    }

    /// Looks at all flags together.
    fn check(&self, asked: Asked, options: &Options) -> Result<Asked, String> {
        let publishes = self.program.0 == PUB.0;
        let complaint = if asked != Asked::Work {
            None
        } else if options.client_id.is_some() && options.id_prefix.is_some() {
            Some("-i and -I argument cannot be used together.")
        } else if options.keep_session && options.client_id.is_none() {
            Some("You must provide a client id if you are using the -c option.")
        } else if options.will.topic.is_none() && options.will.payload.is_some() {
            Some("Will payload given, but no will topic given.")
        } else if options.will.topic.is_none() && options.will.retain {
            Some("Will retain given, but no will topic given.")
        } else if options.password.is_some()
            && options.user_name.is_none()
            && !options.version.is_v5()
        {
            Some("A password (-P) needs a username (-u) before MQTT 5.0.")
        } else if publishes && (options.topics.is_empty() || options.source.is_none()) {
            Some("Both topic and message must be supplied.")
        } else if options.topics.is_empty() {
            Some("You must specify a topic to subscribe to.")
        } else {
            None
        };
        complaint.map_or(Ok(asked), |text| Err(text.to_owned()))
    }
}

/// What the flags say.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) version: ProtocolVersion,
    pub(crate) client_id: Option<String>,
    pub(crate) id_prefix: Option<String>,
    pub(crate) user_name: Option<String>,
    pub(crate) password: Option<Vec<u8>>,
    pub(crate) keep_alive_s: u16,
    /// `-c`.
    pub(crate) keep_session: bool,
    /// `-x`.
    pub(crate) session_expiry_s: Option<u32>,
    pub(crate) will: Will,
    pub(crate) qos: QoS,
    /// The topic of pub, the Topic Filters of sub.
    pub(crate) topics: Vec<String>,
    pub(crate) retain: bool,
    pub(crate) source: Option<Source>,
    pub(crate) repeat: u32,
    pub(crate) repeat_delay: Duration,
    pub(crate) filtered_out: Vec<String>,
    pub(crate) format: Format,
    /// `-R`.
    pub(crate) no_retained: bool,
    /// `-C`.
    pub(crate) messages_max: Option<u32>,
    /// `-W`.
    pub(crate) timeout: Option<Duration>,
    /// `-E`.
    pub(crate) until_subscribed: bool,
    pub(crate) debug: bool,
    pub(crate) quiet: bool,
}

/// The Will, as far as the flags have told it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Will {
    pub(crate) topic: Option<String>,
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
}

/// Where the payload comes from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source {
    /// `-m`.
    Argument(Vec<u8>),
    /// `-n`.
    Empty,
    /// `-f`.
    File(PathBuf),
    /// `-s`.
    Stdin,
    /// `-l`.
    Lines,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            host: "localhost".to_owned(),
            port: 1883,
            version: ProtocolVersion::V311,
            client_id: None,
            id_prefix: None,
            user_name: None,
            password: None,
            keep_alive_s: 60,
            keep_session: false,
            session_expiry_s: None,
            will: Will {
                topic: None,
                payload: None,
                qos: QoS::AtMostOnce,
                retain: false,
            },
            qos: QoS::AtMostOnce,
            topics: Vec::new(),
            retain: false,
            source: None,
            repeat: 1,
            repeat_delay: Duration::ZERO,
            filtered_out: Vec::new(),
            format: Format::default(),
            no_retained: false,
            messages_max: None,
            timeout: None,
            until_subscribed: false,
            debug: false,
            quiet: false,
        }
    }
}

impl Options {
    /// A runner for a tool with these options.
    pub(crate) fn runner(&self) -> Runner {
        let output = Output::new(self.quiet);
        Runner::new(
            &self.host,
            self.port,
            self.connect_options(),
            output,
            self.debug,
        )
    }

    fn connect_options(&self) -> ConnectOptions {
        let client_id = match (&self.client_id, &self.id_prefix) {
            (Some(client_id), _) => client_id.clone(),
            (None, Some(prefix)) => format!("{prefix}{}", std::process::id()),
            // 3.1 has no empty Client Identifier.
            (None, None) if self.version == ProtocolVersion::V31 => random_client_id(),
            (None, None) => String::new(),
        };
        let for_ever = (self.keep_session && self.version.is_v5()).then_some(u32::MAX);
        let messages_max = self
            .messages_max
            .and_then(|count| u16::try_from(count).ok());
        let will = self.will.topic.as_ref().map(|topic| WillOptions {
            topic: topic.clone(),
            payload: self.will.payload.clone().unwrap_or_default(),
            qos: self.will.qos,
            retain: self.will.retain,
            properties: PropertiesBuf::new(),
        });
        ConnectOptions {
            clean_start: !self.keep_session,
            keep_alive_s: self.keep_alive_s,
            session_expiry_interval_s: self.session_expiry_s.or(for_ever),
            // No more than are wanted: what is left over waits in the Session.
            receive_maximum: messages_max.unwrap_or(RECEIVE_MAXIMUM).min(RECEIVE_MAXIMUM),
            user_name: self.user_name.clone(),
            password: self.password.clone(),
            will,
            ..ConnectOptions::new(self.version, &client_id)
        }
    }

    /// Remembers where the message comes from.
    ///
    /// # Errors
    /// When it comes from somewhere else already.
    fn take_source(&mut self, source: Source) -> Result<(), String> {
        if self.source.is_some() {
            return Err("Only one type of message can be sent at once.".to_owned());
        }
        self.source = Some(source);
        Ok(())
    }
}

/// Messages at QoS 1 and 2 that the broker may have open towards a tool.
const RECEIVE_MAXIMUM: u16 = 20;

/// A Client Identifier that nobody else has, as Mosquitto's library makes it for 3.1.
fn random_client_id() -> String {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    // What seeds a hash table is random enough for a name, and needs no other source.
    let random: Vec<u64> = (0..2)
        .map(|_| RandomState::new().build_hasher().finish())
        .collect();
    let letters = random
        .iter()
        .flat_map(|number| (0..9).map(move |digit| (number >> (digit * 6)) % 62));
    let letters = letters.filter_map(|index| LETTERS.get(usize::try_from(index).ok()?));
    format!(
        "mosq-{}",
        letters
            .map(|letter| char::from(*letter))
            .collect::<String>()
    )
}

#[cfg(test)]
mod tests;
