#![allow(dead_code)]
mod facts; mod failure; mod limits; mod problem; mod reads;
pub use facts::*; pub use failure::{Failure, FailureKind}; pub use limits::{Limits, Scope}; pub use problem::{Problem, ProblemKind}; pub use reads::{Reads, ZoneReads};
#[derive(Clone, Debug)] pub struct Expression(Reads);
pub struct Steps; impl Steps { pub fn new(_: u64) -> Steps { Steps } }
pub fn compile(_: &str, _: &Scope, _: &Limits) -> Result<Expression, Vec<Problem>> { Ok(Expression(Reads::default())) }
impl Expression { pub fn reads(&self) -> &Reads { &self.0 } pub fn is_static(&self) -> bool { self.0.is_static() } pub fn cost(&self) -> u64 { 0 }
 pub fn evaluate(&self, _: &impl Facts, _: &mut Steps) -> Result<bool, Failure> { Ok(true) } }
