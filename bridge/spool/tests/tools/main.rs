//! The tools that only read a spool, the format that every later version must go on reading, and bytes that are
//! no spool at all.

mod arbitrary;
mod export;
mod fixture;
mod lost_run;
mod room;
mod scrub;
mod spool;
mod verify;
