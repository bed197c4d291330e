//! The properties of a PUBLISH that go on to its receivers.

use dunlin_packet::mutant::{self, Mutant};
use dunlin_packet::{Properties, property_id};

/// Whether a property of PUBLISH goes on to every receiver as it is
/// (v5[MQTT-3.3.2-4], v5[MQTT-3.3.2-15], v5[MQTT-3.3.2-16], v5[MQTT-3.3.2-17], v5[MQTT-3.3.2-20]).
fn is_forwarded(id: u8) -> bool {
    matches!(
        id,
        property_id::PayloadFormatIndicator
            | property_id::ContentType
            | property_id::ResponseTopic
            | property_id::CorrelationData
            | property_id::UserProperty
    )
}

/// The properties to pass on, in their order (v5[MQTT-3.3.2-18]): the packet's own bytes where what is left out
/// does not stand between them, otherwise a copy in `scratch`.
pub(crate) fn forwarded<'a>(properties: Properties<'a>, scratch: &'a mut Vec<u8>) -> &'a [u8] {
    if mutant::is_active(Mutant::UserPropertiesReordered) {
        *scratch = forwarded_properties(properties);
        return scratch;
    }
    let (mut start, mut end, mut at) = (0, 0, 0);
    let mut is_whole = true;
    for (id, part) in properties.parts() {
        if is_forwarded(id) {
            if start == end {
                start = at;
            } else if end != at {
                is_whole = false;
            }
            end = at + part.len();
        }
        at += part.len();
    }
    if is_whole {
        return properties.as_bytes().get(start..end).unwrap_or_default();
    }
    let parts = properties.parts().filter(|(id, _)| is_forwarded(*id));
    parts.for_each(|(_, part)| scratch.extend_from_slice(part));
    scratch
}

/// The properties to pass on, copied.
pub(crate) fn forwarded_properties(properties: Properties<'_>) -> Vec<u8> {
    let parts = properties.parts().filter(|(id, _)| is_forwarded(*id));
    let mut kept: Vec<&[u8]> = parts.map(|(_, part)| part).collect();
    if mutant::is_active(Mutant::UserPropertiesReordered) {
        kept.reverse();
    }
    kept.concat()
}

#[cfg(test)]
mod tests {
    use dunlin_packet::{PropertiesBuf, Property};

    use super::*;

    fn block(properties: &[Property<'_>]) -> PropertiesBuf {
        let mut block = PropertiesBuf::new();
        properties.iter().for_each(|property| block.push(*property));
        block
    }

    #[test]
    fn what_is_passed_on_keeps_its_order_whatever_stands_between() {
        let own = [Property::TopicAlias(7), Property::MessageExpiryInterval(60)];
        let passed = [
            Property::UserProperty("a", "1"),
            Property::ContentType("text"),
            Property::UserProperty("a", "2"),
            Property::CorrelationData(&[0, 255]),
        ];
        let mut scratch = Vec::new();
        // Each of ours at each place, and everything that is passed on cut short at each length.
        for len in 0..=passed.len() {
            let expected = block(&passed[..len]);
            for (first, second) in (0..=len).flat_map(|a| (0..=len).map(move |b| (a, b))) {
                let mut all = passed[..len].to_vec();
                all.insert(first, own[0]);
                all.insert(second, own[1]);
                let all = block(&all);
                let kept = forwarded(all.as_properties(), &mut scratch);
                assert_eq!(kept, expected.as_properties().as_bytes(), "{all:?}");
                scratch.clear();
                let copied = forwarded_properties(all.as_properties());
                assert_eq!(copied, expected.as_properties().as_bytes(), "{all:?}");
            }
        }
        assert_eq!(forwarded(Properties::EMPTY, &mut scratch), b"");
    }
}
