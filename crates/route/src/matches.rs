//! The matching rule itself, level by level: the definition that the indexes of this crate are tested against.

/// Whether a Topic Filter matches a Topic Name. Both are taken as valid; the filter of a Shared Subscription comes
/// without its `$share/NAME/`.
pub fn filter_matches(filter: &str, topic: &str) -> bool {
    // v5[MQTT-4.7.2-1]: wildcards in the first level do not match Topic Names that begin with `$`.
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut names = topic.split('/');
    for level in filter.split('/') {
        // `#` also stands for no level at all: `a/#` matches `a`.
        if level == "#" {
            return true;
        }
        match names.next() {
            Some(name) if level == "+" || level == name => {}
            _ => return false,
        }
    }
    names.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_examples_of_the_standard() {
        let sport = "sport/tennis/player1";
        for (filter, topic, expected) in [
            ("sport/tennis/player1/#", sport, true),
            (
                "sport/tennis/player1/#",
                "sport/tennis/player1/ranking",
                true,
            ),
            (
                "sport/tennis/player1/#",
                "sport/tennis/player1/score/wimbledon",
                true,
            ),
            ("sport/#", "sport", true),
            ("sport/#", "sports", false),
            ("#", "sport", true),
            ("#", "/", true),
            ("sport/tennis/+", sport, true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("+/tennis/#", "sport/tennis", true),
            ("sport/+/player1", sport, true),
            ("ACCOUNTS", "Accounts", false),
        ] {
            assert_eq!(
                filter_matches(filter, topic),
                expected,
                "{filter} on {topic}"
            );
        }
    }

    #[test]
    fn leading_wildcards_leave_dollar_topics_alone() {
        for (filter, expected) in [
            ("#", false),
            ("+/monitor/Clients", false),
            ("$SYS/#", true),
            ("$SYS/monitor/+", true),
            ("$SYS/+/+", true),
        ] {
            assert_eq!(
                filter_matches(filter, "$SYS/monitor/Clients"),
                expected,
                "{filter}"
            );
        }
        assert!(filter_matches("+/$a", "x/$a"));
        assert!(filter_matches("x/+", "x/$a"));
    }
}
