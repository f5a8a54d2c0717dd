//! The answer, for people.

use std::fmt;

use super::{Fix, WhyNot};

impl fmt::Display for WhyNot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WhyNot { topic, from, to, verdict, .. } = self;
        if self.passes() {
            return writeln!(f, "{topic} from {from} to {to} passes already");
        }
        write!(f, "{verdict}  {topic}  {from} -> {to}")?;
        match (self.at, self.stopped_by.is_empty()) {
            (Some(at), false) => writeln!(f, "  at {at} by {}", self.stopped_by.join(", "))?,
            _ => writeln!(f)?,
        }
        for (title, fixes) in [
            ("it passes if the publisher would", &self.event),
            ("it passes if the policies would", &self.policy),
            ("it passes if both would change", &self.both),
        ] {
            if !fixes.is_empty() {
                writeln!(f, "\n{title}")?;
                fixes.iter().try_for_each(|fix| write!(f, "{fix}"))?;
            }
        }
        if !self.is_answered() {
            writeln!(f, "\nno change of one or two steps was found that makes it pass")?;
        } else if self.both.is_empty() && self.event.is_empty() {
            writeln!(f, "\nno change of the event was found that is enough")?;
        } else if self.both.is_empty() && self.policy.is_empty() {
            writeln!(f, "\nno one or two changes of the policies are enough")?;
        }
        if self.gave_up {
            writeln!(f, "\nthere was more to try than is tried")?;
        }
        Ok(())
    }
}

impl fmt::Display for Fix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps =
            self.event.iter().map(ToString::to_string).chain(self.policy.iter().map(ToString::to_string));
        for (at, step) in steps.enumerate() {
            writeln!(f, "  {} {step}", if at == 0 { "-" } else { "  and" })?;
        }
        Ok(())
    }
}
