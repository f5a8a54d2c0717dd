//! Stand-in.
mod demand;
pub(crate) use demand::{Claim, Declared, Demand};
use meshbridge_event::Event;
use meshbridge_detect::tape::Tape;
use crate::classes::{Class, ClassSet, Confidence};
use crate::keys::{KeyTable, KeyRing};
#[derive(Clone, Debug)]
pub struct Randomness([u8; 32]);
impl Randomness { pub fn new(bytes: [u8; 32]) -> Randomness { Randomness(bytes) } }
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crossing<'a> { pub(crate) to_zone: &'a str, pub(crate) topic: &'a str }
#[derive(Debug, Default)] pub(crate) struct Surveyor;
#[derive(Clone, Copy, Debug)] pub(crate) enum Read<'a> { None, Json(Tape<'a>), Text(&'a str) }
#[derive(Debug, Clone, Copy)] pub(crate) struct CannotRead;
impl std::fmt::Display for CannotRead { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("no") } }
#[derive(Debug)] pub(crate) struct Survey<'a> { pub(crate) content: Result<Read<'a>, CannotRead> }
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found { pub(crate) class: Class, pub(crate) alternatives: ClassSet, pub(crate) confidence: Confidence, pub(crate) declared: bool, pub(crate) undeclared: bool }
impl Found { pub(crate) fn path(&self) -> String { String::new() } }
impl Surveyor { pub(crate) fn look<'a>(&'a mut self, _: &'a Event, _: &str, _: Declared<'a>, _: &KeyTable, _: &ClassSet, _: Confidence) -> Survey<'a> { Survey { content: Ok(Read::None) } } }
impl Survey<'_> { pub(crate) fn findings(&self) -> impl Iterator<Item = Found> { std::iter::empty() } }
#[derive(Debug)] pub(crate) struct CannotProtect;
impl std::fmt::Display for CannotProtect { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("no") } }
pub(crate) fn apply(_: &Event, _: &Survey<'_>, _: &[Claim<'_>], _: &KeyTable, _: &dyn KeyRing, _: &Randomness, _: &Crossing<'_>) -> Result<Option<Event>, CannotProtect> { Ok(None) }
#[derive(Clone, Debug, Default)] pub(crate) struct Numbering;
impl Numbering { pub(crate) fn current(&self, _: u32, index: usize) -> Option<usize> { Some(index) } }
