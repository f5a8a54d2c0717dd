//! What a client publishes, on its way into the pipeline: in trains, or in batches that are answered.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::StreamExt;
use meshbridge_topic::Topic;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::super::acks::{self, Answers, Asked};
use super::super::batch::{self, Taken};
use super::super::message::{self, Defaults};
use super::super::parser::Publish;
use super::super::subject;
use super::{Ended, Session, quoted};
use crate::pipeline::{AckLevel, Publication, PublishRefused, TrainTaken, Wish, is_reply};

/// How long a publisher of class best-effort is held back where there is no room, before what it sent is dropped and
/// counted.
const HELD_MAX: Duration = Duration::from_secs(10);
/// The same where the publisher waits for an answer: clients wait so long.
const UNANSWERED_MAX: Duration = Duration::from_secs(5);
/// The first pause while there is no room, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_micros(200), Duration::from_millis(20)];
/// How long reading pauses where a subscriber of this bridge is far behind.
const PRESSED: Duration = Duration::from_millis(2);
/// Topics remembered by their subjects; beyond it the memory starts anew.
const TOPICS_MAX: usize = 1_024;

impl Session {
    pub(super) async fn publish(&mut self, publish: Publish<'_>) -> Result<(), Ended> {
        match self.trains.take(&publish) {
            Taken::Yes => {
                self.ok();
                return Ok(());
            }
            // What is held came before it.
            Taken::Full => self.flush().await?,
            Taken::Other => {}
        }
        if subject::is_of_servers(publish.subject) {
            self.refuse_server_subject(&publish);
            return Ok(());
        }
        let topic = match self.topic(publish.subject) {
            Ok(topic) => topic,
            Err(problem) => {
                self.say(&format!("-ERR 'Invalid Publish Subject: {problem}'\r\n"));
                return Ok(());
            }
        };
        let is_durable = !is_reply(&topic) && self.client().pipeline().is_durable(&topic);
        let is_request = publish.reply.is_some() && !is_durable;
        let reply = match publish.reply.filter(|_| is_request) {
            Some(place) => match self.seal(&topic, place) {
                Some(reply) => Some(reply),
                None => {
                    self.say("-ERR 'Invalid Reply Subject: the subject of the request is too long'\r\n");
                    return Ok(());
                }
            },
            None => None,
        };
        let id = self.trains.next_id();
        let defaults = Defaults { id: &id, source: &self.source, reply: reply.as_ref() };
        let payload = Bytes::copy_from_slice(publish.payload);
        let event = match message::event(publish.headers, payload, &defaults) {
            Ok(event) => event,
            Err(problem) => {
                let asked = Asked::new(publish.reply, publish.subject);
                acks::invalid(self.client(), &problem.message, is_durable, &asked);
                return Ok(());
            }
        };
        let may_be_train = !is_durable && reply.is_none() && !is_reply(&topic);
        if may_be_train {
            self.flush().await?;
        }
        if !may_be_train || !self.trains.begin(&publish, &topic, &event) {
            if !self.trains.is_empty() {
                // What is held already came before the train.
                self.flush().await?;
            }
            if self.held.is_full_for(is_durable, &event) {
                self.flush_held().await?;
            }
            let asked = Asked::new(publish.reply, publish.subject);
            self.held.push(Publication { topic, event }, asked, is_durable);
        }
        self.ok();
        Ok(())
    }

    /// This is no server of NATS that could be asked for its streams or its accounts.
    fn refuse_server_subject(&self, publish: &Publish<'_>) {
        let asked = Asked::new(publish.reply, publish.subject);
        if publish.reply.is_some() && self.tells_no_responders() {
            return acks::nobody(self.client(), &asked);
        }
        let subject = quoted(publish.subject);
        self.say(&format!("-ERR 'Permissions Violation for Publish to \"{subject}\"'\r\n"));
    }

    fn tells_no_responders(&self) -> bool {
        self.connect.no_responders && self.connect.headers
    }

    fn topic(&mut self, text: &str) -> Result<Topic, subject::InvalidSubject> {
        if let Some(topic) = self.topics.get(text) {
            return Ok(topic.clone());
        }
        let topic = subject::topic(text)?;
        if self.topics.len() >= TOPICS_MAX {
            self.topics.clear();
        }
        self.topics.insert(text.into(), topic.clone());
        Ok(topic)
    }

    fn seal(&self, topic: &Topic, place: &str) -> Option<Topic> {
        let place = subject::topic(place).ok()?;
        self.client().pipeline().reply_topic(topic, &place)
    }

    pub(super) async fn flush(&mut self) -> Result<(), Ended> {
        self.flush_held().await?;
        self.flush_train().await
    }

    /// Publishes the train that is being written.
    async fn flush_train(&mut self) -> Result<(), Ended> {
        let Some((topic, train)) = self.trains.finish() else { return Ok(()) };
        let deadline = Instant::now() + HELD_MAX;
        let [mut pause, longest] = PAUSES;
        loop {
            let client = &self.shared.client;
            match client.pipeline().publish_train(client.principal(), &topic, &train) {
                Ok(TrainTaken::Whole { pressed }) => {
                    if pressed {
                        sleep(PRESSED).await;
                    }
                    return Ok(());
                }
                Ok(TrainTaken::Apart) => break,
                Err(PublishRefused::Full { .. }) if Instant::now() < deadline => {
                    self.pause(pause).await;
                    pause = (pause * 2).min(longest);
                }
                Err(PublishRefused::Draining) => return Err(Ended::Gone),
                Err(refused) => {
                    client.pipeline().on_given_up(train.len() as u64);
                    debug!(topic = topic.as_str(), %refused, "Publications of a NATS client were dropped");
                    self.say(&format!("-ERR 'Publication dropped: {}'\r\n", quoted(&refused.to_string())));
                    return Ok(());
                }
            }
        }
        let batch: Vec<Publication> =
            train.events().map(|event| Publication { topic: topic.clone(), event }).collect();
        for part in batch.chunks(batch::EVENTS_MAX) {
            let asked = part.iter().map(|_| Asked::new(None, topic.as_str())).collect();
            // The topic may have become durable since the train was begun.
            let is_durable = self.client().pipeline().is_durable(&topic);
            self.publish_batch(part.to_vec(), asked, is_durable).await?;
        }
        Ok(())
    }

    /// Publishes what is held for its own way: requests, replies, and what is durable.
    async fn flush_held(&mut self) -> Result<(), Ended> {
        let Some((batch, asked, is_durable)) = self.held.take() else { return Ok(()) };
        self.publish_batch(batch, asked, is_durable).await
    }

    /// Publishes a batch, which has its place in the order when this returns; what is durable is answered later. A batch
    /// is taken whole or not at all, a message of NATS stands for itself: where one is refused, or could be counted in vain,
    /// each is taken alone.
    async fn publish_batch(
        &mut self,
        batch: Vec<Publication>,
        asked: Vec<Asked>,
        is_durable: bool,
    ) -> Result<(), Ended> {
        let level = if is_durable { AckLevel::Stored } else { AckLevel::None };
        let wish = Wish { level, ..Wish::default() };
        let answers = Answers { is_durable, tells_no_responders: self.tells_no_responders() };
        let client = self.client().clone();
        let deadline = Instant::now() + UNANSWERED_MAX;
        let is_counted = batch.len() > 1 && batch.iter().any(|one| client.pipeline().counts(&one.topic));
        let whole = match is_counted {
            true => None,
            false => Some(self.take_batch(&batch, wish, deadline).await),
        };
        match whole {
            Some(Ok(whole)) => self.answer(answers, whole, asked).await,
            Some(Err(PublishRefused::Draining)) => return Err(Ended::Gone),
            // Alone already, or there would be no room for one either.
            Some(Err(refused)) if batch.len() == 1 || matches!(refused, PublishRefused::Full { .. }) => {
                asked.iter().for_each(|asked| answers.refuse(&client, &refused, asked));
            }
            Some(Err(_)) | None => {
                for (one, asked) in batch.into_iter().zip(asked) {
                    match self.take_batch(std::slice::from_ref(&one), wish, deadline).await {
                        Ok(alone) => self.answer(answers, alone, vec![asked]).await,
                        Err(refused) => answers.refuse(&client, &refused, &asked),
                    }
                }
            }
        }
        Ok(())
    }

    /// What is durable is answered when it is on disk, and something else is done meanwhile.
    async fn answer(&mut self, answers: Answers, taken: crate::pipeline::Taken, asked: Vec<Asked>) {
        let answering = answers.give(self.client().clone(), taken, asked);
        if answers.is_durable {
            self.waiting.push(Box::pin(answering));
        } else {
            // Class best-effort waits for nothing.
            answering.await;
        }
    }

    /// Tries again while the bridge has no room. What comes later is not read meanwhile, so the order stays.
    async fn take_batch(
        &mut self,
        batch: &[Publication],
        wish: Wish,
        deadline: Instant,
    ) -> Result<crate::pipeline::Taken, PublishRefused> {
        let [mut pause, longest] = PAUSES;
        loop {
            let client = &self.shared.client;
            match client.pipeline().take(client.principal(), batch.to_vec(), wish) {
                Err(PublishRefused::Full { .. }) if Instant::now() < deadline => {
                    self.pause(pause).await;
                    pause = (pause * 2).min(longest);
                }
                done => return done,
            }
        }
    }

    /// Reads nothing for a while; what was taken before is answered meanwhile.
    async fn pause(&mut self, time: Duration) {
        let mut over = pin!(sleep(time));
        loop {
            tokio::select! {
                () = &mut over => return,
                Some(()) = self.waiting.next(), if !self.waiting.is_empty() => {}
            }
        }
    }
}
