//! How a subscription with memory treats its events; kept with it in the spool.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a client may ask for when it makes a subscription. Times are in seconds.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Wished {
    pub(crate) lease: Option<f64>,
    pub(crate) max_attempts: Option<u32>,
    pub(crate) backoff_min: Option<f64>,
    pub(crate) backoff_max: Option<f64>,
    pub(crate) on_retry: Option<OnRetry>,
}

/// What a retry does to the events behind it in its lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnRetry {
    #[default]
    Continue,
    /// They wait until it has ended.
    Block,
}

/// The settings in force.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct SubscriptionSettings {
    /// What is not acknowledged so long comes again.
    pub(crate) lease: f64,
    /// Then it is a dead letter.
    pub(crate) max_attempts: u32,
    pub(crate) backoff_min: f64,
    pub(crate) backoff_max: f64,
    pub(crate) on_retry: OnRetry,
}

impl Default for SubscriptionSettings {
    fn default() -> SubscriptionSettings {
        SubscriptionSettings {
            lease: 30.0,
            max_attempts: 20,
            backoff_min: 1.0,
            backoff_max: 300.0,
            on_retry: OnRetry::Continue,
        }
    }
}

/// A wish outside its limits, or one that does not fit another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SettingsProblem {
    #[error("`{0}` is a number of seconds from {1} to {2}")]
    Seconds(&'static str, &'static str, &'static str),
    #[error("`maxAttempts` is a number from 1 to 1000")]
    MaxAttempts,
    #[error("`backoffMin` is more than `backoffMax`")]
    Backoff,
    #[error("`onRetry: block` is for a single reader: the members of a group work beside each other")]
    BlockedGroup,
}

impl SubscriptionSettings {
    /// The defaults, changed as wished.
    pub(crate) fn of(wished: &Wished) -> Result<SubscriptionSettings, SettingsProblem> {
        let default = SubscriptionSettings::default();
        let backoff_min = wished.backoff_min.unwrap_or(default.backoff_min);
        let settings = SubscriptionSettings {
            lease: wished.lease.unwrap_or(default.lease),
            max_attempts: wished.max_attempts.unwrap_or(default.max_attempts),
            backoff_min,
            backoff_max: wished.backoff_max.unwrap_or(default.backoff_max.max(backoff_min)),
            on_retry: wished.on_retry.unwrap_or_default(),
        };
        let within = |value: f64, min: f64, max: f64| (min..=max).contains(&value);
        if !within(settings.lease, 1.0, 3_600.0) {
            return Err(SettingsProblem::Seconds("lease", "1", "3600"));
        }
        if !within(settings.backoff_min, 0.1, 3_600.0) {
            return Err(SettingsProblem::Seconds("backoffMin", "0.1", "3600"));
        }
        if !within(settings.backoff_max, 0.1, 86_400.0) {
            return Err(SettingsProblem::Seconds("backoffMax", "0.1", "86400"));
        }
        if !(1..=1_000).contains(&settings.max_attempts) {
            return Err(SettingsProblem::MaxAttempts);
        }
        if settings.backoff_min > settings.backoff_max {
            return Err(SettingsProblem::Backoff);
        }
        Ok(settings)
    }

    /// What is wished for is what there is; who wishes for nothing takes what there is.
    pub(crate) fn fits(&self, wished: &Wished) -> bool {
        wished.lease.is_none_or(|lease| lease == self.lease)
            && wished.max_attempts.is_none_or(|attempts| attempts == self.max_attempts)
            && wished.backoff_min.is_none_or(|min| min == self.backoff_min)
            && wished.backoff_max.is_none_or(|max| max == self.backoff_max)
            && wished.on_retry.is_none_or(|on_retry| on_retry == self.on_retry)
    }

    pub(super) fn lease(&self) -> Duration {
        Duration::from_secs_f64(self.lease)
    }

    /// How long to wait after this many failed attempts, without jitter.
    pub(super) fn pause(&self, attempts: u32) -> Duration {
        let doubled = self.backoff_min * f64::from(1_u32 << attempts.saturating_sub(1).min(20));
        Duration::from_secs_f64(doubled.min(self.backoff_max))
    }

    /// As the spool keeps them, beside the URL that events are pushed to and the strategy of a consumer group.
    pub(super) fn encode(&self, push: Option<&str>, group: Option<&str>) -> String {
        let mut kept = serde_json::to_value(self).unwrap_or_default();
        if let Some(url) = push {
            kept["push"] = url.into();
        }
        if let Some(strategy) = group {
            kept["group"] = strategy.into();
        }
        kept.to_string()
    }

    pub(super) fn decode(kept: &str) -> SubscriptionSettings {
        serde_json::from_str(kept).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_have_limits_and_survive_the_spool() {
        let wish = |wished: Wished| SubscriptionSettings::of(&wished);
        assert_eq!(wish(Wished::default()), Ok(SubscriptionSettings::default()));
        assert!(wish(Wished { lease: Some(0.5), ..Wished::default() }).is_err());
        assert!(wish(Wished { lease: Some(f64::NAN), ..Wished::default() }).is_err());
        assert!(wish(Wished { max_attempts: Some(0), ..Wished::default() }).is_err());
        let crossed = Wished { backoff_min: Some(9.0), backoff_max: Some(3.0), ..Wished::default() };
        assert_eq!(wish(crossed), Err(SettingsProblem::Backoff));
        let block = Wished { on_retry: Some(OnRetry::Block), lease: Some(5.0), ..Wished::default() };
        let settings = wish(block.clone()).expect("within limits");
        assert_eq!(SubscriptionSettings::decode(&settings.encode(Some("https://a.example"), None)), settings);
        assert_eq!(SubscriptionSettings::decode(""), SubscriptionSettings::default());
        assert!(settings.fits(&block) && settings.fits(&Wished::default()));
        assert!(!settings.fits(&Wished { lease: Some(6.0), ..Wished::default() }));
        assert_eq!(settings.pause(40), Duration::from_secs(300));
    }
}
