pub mod tape;
mod class;
pub use class::*;
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Confidence { Low, Medium, High }
