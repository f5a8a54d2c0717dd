//! Rules and events, as plain data: each engine writes them in its own language.
//!
//! Everything may pass, but for what a rule denies: events of a part that were created for marketing, and all orders
//! for marketing. Only one part of a thousand is ever met by an event, as in a company where each team has its rules.

/// An event as rules see it.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// Three tokens.
    pub(crate) topic: [String; 3],
    pub(crate) purpose: &'static str,
    /// What every engine has to say.
    pub(crate) passes: bool,
}

/// Denies events of `topic`, with any token for `None`, that have this purpose.
#[derive(Clone, Debug)]
pub(crate) struct Deny {
    pub(crate) topic: [Option<String>; 3],
    pub(crate) purpose: &'static str,
}

/// What is to be decided.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    pub(crate) rules: Vec<Deny>,
    pub(crate) events: Vec<Facts>,
}

const MARKETING: &str = "marketing";
const CONTRACT: &str = "contract";

impl Workload {
    /// With `count` rules, the one about orders among them.
    pub(crate) fn new(count: usize) -> Workload {
        let parts = (1..count).map(|part| Deny {
            topic: [Some(format!("part-{part}")), None, Some("created".to_owned())],
            purpose: MARKETING,
        });
        let orders = Deny { topic: [Some("orders".to_owned()), None, None], purpose: MARKETING };
        let rules: Vec<Deny> = parts.chain([orders]).collect();
        let topics = [
            ["orders", "eu", "created"],
            ["orders", "us", "settled"],
            ["part-1", "eu", "created"],
            ["part-7", "eu", "deleted"],
            ["part-700", "us", "created"],
            ["billing", "eu", "created"],
        ];
        let events = topics.iter().flat_map(|topic| [CONTRACT, MARKETING].map(|purpose| (topic, purpose)));
        let events = events.map(|(topic, purpose)| {
            let topic = topic.map(str::to_owned);
            let passes = !rules.iter().any(|rule| rule.denies(&topic, purpose));
            Facts { topic, purpose, passes }
        });
        let events = events.collect();
        Workload { rules, events }
    }
}

impl Deny {
    fn denies(&self, topic: &[String; 3], purpose: &str) -> bool {
        let fits =
            |(wanted, token): (&Option<String>, &String)| wanted.as_ref().is_none_or(|one| one == token);
        self.topic.iter().zip(topic).all(fits) && self.purpose == purpose
    }

    /// The tokens that are not left open, with their places.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = (usize, &str)> {
        self.topic.iter().enumerate().filter_map(|(at, token)| Some((at, token.as_deref()?)))
    }
}
