//! Decoding: the same bytes, whole and in fragments, give the same packets and the same error; what
//! decodes encodes to something that decodes to the same.
//!
//! The first byte chooses version, sender, limit, and whether the stream begins with CONNECT; the next
//! ones say where the rest is cut.

#![no_main]

use dunlin_fuzz::choices::Choices;
use dunlin_packet::{
    ConnectError, DecodeError, Decoded, Packet, ProtocolVersion, Rules, Sender, decode,
    decode_connect, encode,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| check(data));

fn check(data: &[u8]) {
    let mut choices = Choices::new(data);
    let reader = Reader::chosen(choices.byte());
    let cuts: Vec<usize> = (0..choices.below(16)).map(|_| choices.below(64)).collect();
    let stream = choices.rest();
    let whole = read_whole(reader, stream);
    read_fragments(reader, stream, &cuts, &whole);
}

/// One end of a Network Connection, and what it has to expect next.
#[derive(Clone, Copy)]
struct Reader {
    rules: Rules,
    /// CONNECT is still to come, and will say which version it is.
    connect: bool,
}

enum Step<'a> {
    Packet(Packet<'a>, usize),
    Incomplete(usize),
    Failed(Failure),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    Decode(DecodeError),
    /// Without the version to answer in: a fragment may be too short to tell it.
    Connect(DecodeError),
    UnsupportedProtocolVersion(u8),
    NotMqtt,
}

/// What a stream holds: the places of its packets, and how it ends.
struct Whole {
    places: Vec<(usize, usize)>,
    failure: Option<Failure>,
}

impl Reader {
    fn chosen(byte: u8) -> Reader {
        let version = match byte & 3 {
            0 => ProtocolVersion::V31,
            1 => ProtocolVersion::V311,
            _ => ProtocolVersion::V5,
        };
        let connect = byte & 8 != 0;
        let server = byte & 4 != 0 && !connect;
        let sender = if server {
            Sender::Server
        } else {
            Sender::Client
        };
        let packet_size_max = [u32::MAX, 2_000_000, 100, 20][usize::from((byte >> 4) & 3)];
        Reader {
            rules: Rules {
                version,
                sender,
                packet_size_max,
            },
            connect,
        }
    }

    fn step<'a>(&self, bytes: &'a [u8]) -> Step<'a> {
        let decoded = if self.connect {
            decode_connect(bytes, self.rules.packet_size_max).map_err(|error| match error {
                ConnectError::Decode { error, .. } => Failure::Connect(error),
                ConnectError::UnsupportedProtocolVersion { level } => {
                    Failure::UnsupportedProtocolVersion(level)
                }
                ConnectError::NotMqtt => Failure::NotMqtt,
            })
        } else {
            decode(bytes, &self.rules).map_err(Failure::Decode)
        };
        match decoded {
            Ok(Decoded::Packet { packet, len }) => Step::Packet(packet, len),
            Ok(Decoded::Incomplete { needed }) => Step::Incomplete(needed),
            Err(failure) => Step::Failed(failure),
        }
    }

    /// What holds after a packet.
    fn after(self, packet: &Packet<'_>) -> Reader {
        match packet {
            Packet::Connect(connect) if self.connect => {
                let rules = Rules {
                    version: connect.version,
                    ..self.rules
                };
                Reader {
                    rules,
                    connect: false,
                }
            }
            _ => self,
        }
    }
}

fn read_whole(mut reader: Reader, stream: &[u8]) -> Whole {
    let mut whole = Whole {
        places: Vec::new(),
        failure: None,
    };
    let mut at = 0;
    loop {
        let rest = &stream[at..];
        match reader.step(rest) {
            Step::Packet(packet, len) => {
                assert!(
                    len >= 2 && len <= rest.len(),
                    "{len} of {} bytes",
                    rest.len()
                );
                assert!(len <= reader.rules.packet_size_max as usize);
                assert!(!format!("{packet:?}").is_empty());
                check_round_trip(&packet, &reader.rules);
                check_size_limit(&packet, reader.rules.version);
                whole.places.push((at, len));
                at += len;
                reader = reader.after(&packet);
            }
            Step::Incomplete(needed) => {
                assert!(
                    needed > rest.len(),
                    "{needed} needed, {} are there",
                    rest.len()
                );
                return whole;
            }
            Step::Failed(failure) => {
                check_failure(failure);
                whole.failure = Some(failure);
                return whole;
            }
        }
    }
}

fn check_failure(failure: Failure) {
    if let Failure::Decode(error) | Failure::Connect(error) = failure {
        assert!(error.reason_code().is_error() && !error.to_string().is_empty());
    }
}

/// Reads the stream as it would arrive: `cuts` are the sizes of the fragments, the last one is the rest.
fn read_fragments(mut reader: Reader, stream: &[u8], cuts: &[usize], whole: &Whole) {
    let mut buffer: Vec<u8> = Vec::new();
    let mut given = 0;
    let mut seen = 0;
    // Where in the stream the buffer begins.
    let mut base = 0;
    for size in cuts.iter().copied().chain([stream.len()]) {
        let end = stream.len().min(given + size);
        buffer.extend_from_slice(&stream[given..end]);
        given = end;
        loop {
            let len = match reader.step(&buffer) {
                Step::Packet(packet, len) => {
                    assert_eq!(whole.places.get(seen), Some(&(base, len)));
                    let Step::Packet(reference, _) = reader.step(&stream[base..]) else {
                        panic!("a packet in fragments only")
                    };
                    assert_eq!(packet, reference);
                    reader = reader.after(&packet);
                    len
                }
                Step::Incomplete(needed) => {
                    assert!(needed > buffer.len());
                    if let Some((_, len)) = whole.places.get(seen) {
                        assert!(
                            needed <= *len,
                            "{needed} asked for, the packet has {len} bytes"
                        );
                    }
                    break;
                }
                Step::Failed(failure) => {
                    assert_eq!(seen, whole.places.len());
                    assert_eq!(Some(failure), whole.failure);
                    return;
                }
            };
            buffer.drain(..len);
            base += len;
            seen += 1;
        }
    }
    assert_eq!((seen, None), (whole.places.len(), whole.failure));
}

fn check_round_trip(packet: &Packet<'_>, rules: &Rules) {
    let bytes = encoded(packet, rules.version);
    let again = decode_again(&bytes, rules);
    assert_eq!(*packet, again);
    assert_eq!(encoded(&again, rules.version), bytes);
}

fn encoded(packet: &Packet<'_>, version: ProtocolVersion) -> Vec<u8> {
    let mut out = vec![0xEE];
    encode(packet, version, u32::MAX, &mut out).expect("what was decoded has a form on the wire");
    assert_eq!(out.remove(0), 0xEE, "what was there before stays");
    out
}

fn decode_again<'a>(bytes: &'a [u8], rules: &Rules) -> Packet<'a> {
    let decoded = if bytes[0] == 0x10 {
        // CONNECT carries its own version, which need not be that of the connection.
        decode_connect(bytes, u32::MAX).map_err(|error| error.to_string())
    } else {
        let rules = Rules {
            packet_size_max: u32::MAX,
            ..*rules
        };
        decode(bytes, &rules).map_err(|error| error.to_string())
    };
    match decoded {
        Ok(Decoded::Packet { packet, len }) if len == bytes.len() => packet,
        other => panic!("{bytes:02x?} was encoded and is read as {other:?}"),
    }
}

/// A limit of one byte less than needed: either something was left out, or nothing was written.
fn check_size_limit(packet: &Packet<'_>, version: ProtocolVersion) {
    let size = encoded(packet, version).len();
    let mut out = vec![0xEE];
    let limit = size as u32 - 1;
    match encode(packet, version, limit, &mut out) {
        Ok(()) => {
            let len = out.len() - 1;
            assert!(
                (2..size).contains(&len),
                "{len} bytes, the limit is {limit}"
            );
            assert_eq!(out[1], encoded(packet, version)[0]);
        }
        Err(_) => assert_eq!(out, [0xEE]),
    }
}
