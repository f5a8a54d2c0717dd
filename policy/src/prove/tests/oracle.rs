//! Concrete runs.
