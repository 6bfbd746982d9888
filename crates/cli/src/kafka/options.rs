//! Arguments as Kafka's tools take them: `--name value`, `--name=value`, unique beginnings of names.

/// How an option takes its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arity {
    /// None.
    Flag,
    /// One; the option may be repeated.
    Value,
    /// One that may be left out.
    Optional,
}

/// The options of a tool.
#[derive(Debug)]
pub(super) struct Spec {
    /// One line about the tool.
    pub(super) about: &'static str,
    pub(super) flags: &'static [&'static str],
    pub(super) values: &'static [&'static str],
    pub(super) optional: &'static [&'static str],
}

/// Options that were given.
#[derive(Debug, Default)]
pub(super) struct Options {
    given: Vec<(&'static str, Option<String>)>,
    /// What is no option.
    pub(super) words: Vec<String>,
}

impl Spec {
    /// The names and how they take a value.
    fn all(&self) -> impl Iterator<Item = (&'static str, Arity)> {
        let with = |names: &'static [&'static str], arity| names.iter().map(move |n| (*n, arity));
        with(self.flags, Arity::Flag)
            .chain(with(self.values, Arity::Value))
            .chain(with(self.optional, Arity::Optional))
            .chain([("help", Arity::Flag), ("version", Arity::Flag)])
    }

    /// The option of this name, or the only one that begins so.
    fn find(&self, name: &str) -> Result<(&'static str, Arity), String> {
        if let Some(exact) = self.all().find(|(known, _)| *known == name) {
            return Ok(exact);
        }
        let mut beginning = self.all().filter(|(known, _)| known.starts_with(name));
        match (beginning.next(), beginning.next()) {
            (Some(one), None) => Ok(one),
            (None, _) => Err(format!("{name} is not a recognized option")),
            (Some(_), Some(_)) => Err(format!("{name} is not a unique option")),
        }
    }

    /// What there is.
    pub(super) fn help(&self) -> String {
        let mut names: Vec<_> = self.all().collect();
        names.sort_unstable_by_key(|(name, _)| *name);
        let line = |(name, arity)| match arity {
            Arity::Flag => format!("  --{name}"),
            Arity::Value => format!("  --{name} <value>"),
            Arity::Optional => format!("  --{name} [value]"),
        };
        let lines: Vec<_> = names.into_iter().map(line).collect();
        format!("{}\nOptions, as in Apache Kafka:\n{}", self.about, lines.join("\n"))
    }
}

impl Options {
    pub(super) fn parse(spec: &Spec, arguments: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut rest = arguments.iter().peekable();
        while let Some(argument) = rest.next() {
            let Some(name) = argument.strip_prefix("--").filter(|name| !name.is_empty()) else {
                options.words.push(argument.clone());
                continue;
            };
            let (name, inline) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (name, None),
            };
            let (name, arity) = spec.find(name)?;
            let value = match arity {
                Arity::Flag => None,
                Arity::Value => {
                    let value = inline.or_else(|| rest.next().cloned());
                    Some(value.ok_or_else(|| format!("Option {name} requires an argument"))?)
                }
                Arity::Optional => {
                    inline.or_else(|| rest.next_if(|next| !next.starts_with("--")).cloned())
                }
            };
            options.given.push((name, value));
        }
        Ok(options)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.given.iter().any(|(given, _)| *given == name)
    }

    /// The last value of an option.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.values(name).last().copied()
    }

    /// Every value of an option, in their order.
    pub(super) fn values(&self, name: &str) -> Vec<&str> {
        let of_name = self.given.iter().filter(|(given, _)| *given == name);
        of_name.filter_map(|(_, value)| value.as_deref()).collect()
    }

    /// Every option, in their order.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (&'static str, Option<&str>)> {
        self.given.iter().map(|(name, value)| (*name, value.as_deref()))
    }

    /// Properties of options given as `name=value`.
    pub(super) fn pairs(&self, names: &[&str]) -> Vec<(String, String)> {
        let values = names.iter().flat_map(|name| self.values(name));
        let pair = |text: &str| match text.split_once('=') {
            Some((key, value)) => (key.to_owned(), value.to_owned()),
            None => (text.to_owned(), String::new()),
        };
        values.map(pair).collect()
    }

    /// A number.
    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, String> {
        let parse = |text: &str| {
            text.parse().map_err(|_| format!("Cannot parse argument '{text}' of option {name}"))
        };
        self.value(name).map(parse).transpose()
    }

    /// The only action of several; an error names them.
    pub(super) fn action<'a>(&self, actions: &[&'a str]) -> Result<&'a str, String> {
        let mut given = actions.iter().filter(|action| self.has(action));
        match (given.next(), given.next()) {
            (Some(action), None) => Ok(action),
            _ => {
                let list: Vec<_> = actions.iter().map(|action| format!("--{action}")).collect();
                let list = list.join(", ");
                Err(format!("Command must include exactly one action: {list}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: Spec = Spec {
        about: "",
        flags: &["list", "describe", "delete"],
        values: &["topic", "config"],
        optional: &["state"],
    };

    fn parse(line: &str) -> Result<Options, String> {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&SPEC, &words)
    }

    #[test]
    fn values_follow_or_are_joined_and_names_may_be_cut() {
        let options = parse("--list --topic a --top=b --config x=1 --state --desc word").unwrap();
        assert!(options.has("list") && options.has("describe") && options.has("state"));
        assert_eq!(options.values("topic"), ["a", "b"]);
        assert_eq!(options.pairs(&["config"]), [("x".to_owned(), "1".to_owned())]);
        assert_eq!(options.value("state"), None);
        assert_eq!(options.words, ["word"]);
        assert_eq!(parse("--state Stable").unwrap().value("state"), Some("Stable"));
    }

    #[test]
    fn what_is_no_option_is_named() {
        let error = |line| parse(line).unwrap_err();
        assert_eq!(error("--nope"), "nope is not a recognized option");
        assert_eq!(error("--de"), "de is not a unique option");
        assert_eq!(error("--topic"), "Option topic requires an argument");
        let actions = parse("--list --delete").unwrap().action(&["list", "delete"]).unwrap_err();
        assert_eq!(actions, "Command must include exactly one action: --list, --delete");
    }
}
