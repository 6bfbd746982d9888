//! Names of the schema as Rust names.

/// `TopicData` as `topic_data`, `KRaftVersion` as `kraft_version`; a keyword gets an underscore.
pub(crate) fn snake(name: &str) -> String {
    let name = name.replace("KRaft", "Kraft");
    let letters: Vec<char> = name.chars().collect();
    let mut out = String::new();
    for (i, &letter) in letters.iter().enumerate() {
        if letter.is_ascii_uppercase() && i > 0 {
            let after_word = !letters[i - 1].is_ascii_uppercase();
            let before_word = letters.get(i + 1).is_some_and(char::is_ascii_lowercase);
            if after_word || before_word {
                out.push('_');
            }
        }
        out.push(letter.to_ascii_lowercase());
    }
    if matches!(
        out.as_str(),
        "type" | "match" | "move" | "ref" | "self" | "use" | "where" | "in" | "loop" | "enum"
    ) {
        out.push('_');
    }
    out
}

/// The name as Kafka's JSON has it: `BrokerId` becomes `brokerId`.
pub(crate) fn camel(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}
