//! Medians with their spread: what several rounds of one measurement come to.

use serde::Serialize;

/// Several rounds of one figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) rounds: usize,
}

impl Summary {
    /// `None` where nothing was measured. Values that are no numbers do not count.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Summary> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let upper = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(values[upper - 1], values[upper])
        } else {
            values[upper]
        };
        Some(Summary { median, min, max, rounds: values.len() })
    }

    /// Half the range, as a percentage of the median: `± 3 %`.
    pub(crate) fn spread_percent(&self) -> f64 {
        if self.median == 0.0 { 0.0 } else { (self.max - self.min) / 2.0 / self.median * 100.0 }
    }
}

/// How many times `base` fits into `value`; `None` where that says nothing.
pub(crate) fn ratio(value: f64, base: f64) -> Option<f64> {
    (base > 0.0 && value.is_finite()).then(|| value / base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_of_rounds_is_between_the_middle_two() {
        let summary = Summary::of([4.0, 1.0, 3.0, 2.0]).expect("four values");
        assert_eq!((summary.median, summary.min, summary.max, summary.rounds), (2.5, 1.0, 4.0, 4));
        assert_eq!(summary.spread_percent(), 60.0);
    }

    #[test]
    fn one_slow_round_does_not_move_the_median() {
        let summary = Summary::of([100.0, 101.0, 3.0, 99.0, 102.0]).expect("five values");
        assert_eq!(summary.median, 100.0);
    }

    #[test]
    fn nothing_measured_is_no_figure() {
        assert_eq!(Summary::of([]), None);
        assert_eq!(Summary::of([f64::NAN]), None);
        assert_eq!(ratio(1.0, 0.0), None);
        assert_eq!(ratio(3.0, 2.0), Some(1.5));
    }
}
