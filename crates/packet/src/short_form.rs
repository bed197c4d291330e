//! What acknowledgements of PUBLISH, DISCONNECT and AUTH end with on 5.0: a Reason Code and
//! properties, of which the properties, or both, may be left out.

use crate::cursor::Cursor;
use crate::decode::Sender;
use crate::encode::Keep;
use crate::error::DecodeError;
use crate::packet::PacketType;
use crate::properties::Properties;
use crate::property::PropertyHost;
use crate::reason::ReasonCode;
use crate::version::ProtocolVersion;

/// Reads what is left of a packet of 5.0.
#[inline]
pub(crate) fn read<'a>(
    cursor: &mut Cursor<'a>,
    packet_type: PacketType,
    sender: Sender,
) -> Result<(ReasonCode, Properties<'a>), DecodeError> {
    if cursor.is_empty() {
        return Ok((ReasonCode::Success, Properties::EMPTY));
    }
    let reason = ReasonCode::checked(cursor.u8()?, packet_type)?;
    if cursor.is_empty() {
        return Ok((reason, Properties::EMPTY));
    }
    let host = PropertyHost::Packet(packet_type);
    let properties = Properties::read(cursor, ProtocolVersion::V5, host, sender)?;
    Ok((reason, properties))
}

/// Appends as little as says it all.
pub(crate) fn put(reason: ReasonCode, properties: Properties<'_>, keep: Keep, out: &mut Vec<u8>) {
    let kept = keep.apply(properties);
    if kept.is_empty() && reason == ReasonCode::Success {
        return;
    }
    out.push(reason.code());
    if !kept.is_empty() {
        Properties::from_checked(&kept).put(out);
    }
}
