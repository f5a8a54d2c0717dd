//! Own events that go on under other keys: numbers of the run that they were accepted in were used twice (M22).

use std::collections::HashMap;

use meshbridge_routing::{EventKey, Run};

use super::producers::Given;
use super::{Effect, State};

impl State {
    /// Their pairs do not end, and stay on the same accounts. A destination that has one of them stored and not ended,
    /// where the bytes are still here, gets it again: an event has one key.
    pub(super) fn on_keys_anew(&mut self, run: Run, events: &[(u64, u64)], effects: &mut Vec<Effect>) {
        let mut keys = HashMap::with_capacity(events.len());
        for (body, seq) in events {
            let Some(event) = self.events.get_mut(body).filter(|event| event.key.origin == self.own) else {
                continue;
            };
            let from = event.key.clone();
            let to = EventKey { run, seq: *seq, ..from.clone() };
            event.key = to.clone();
            let (size, local_open) = (event.size, event.local_open);
            let destinations = event.destinations.clone();
            if let Some(choices) = &mut event.choices {
                // A member may have been offered it under the other key.
                choices.attempts = choices.attempts.max(1);
                event.attempts = event.attempts.max(1);
            }
            if let Some(body) = self.retained.remove(&(from.run, from.lane, from.seq)) {
                self.retained.insert((to.run, to.lane, to.seq), body);
            }
            self.note_run(run);
            self.note_given(run, to.lane, to.seq);
            let (before, now) = ((from.run, from.seq), (run, *seq));
            let goes_on = destinations.into_iter().filter(|bridge| {
                let destination = self.destinations.get_mut(bridge);
                destination.is_some_and(|d| d.renumber(from.lane, before, now, (*body, size)))
            });
            let pairs = goes_on.collect::<Vec<_>>().into_iter().chain(local_open.then(|| self.own.clone()));
            effects.extend(pairs.map(|destination| {
                let (from, to) = (from.clone(), to.clone());
                Effect::Moved { from, to, body: *body, destination, group: None }
            }));
            let (lane, old_seq) = (from.lane, from.seq);
            keys.insert((from.run, lane, old_seq), Given { run, lane, seq: *seq });
        }
        self.producers.renumber(|given| keys.get(&(given.run, given.lane, given.seq)).copied());
        self.drop_idle_runs();
    }
}
