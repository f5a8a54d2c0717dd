//! Detectors of personal data and secrets in events, and the JSON tape they walk (POLICY §5 and §6).
//!
//! Pure: text in, findings out; no clock, files, sockets or randomness. What is found is a matter of structure first:
//! every class has a validator written from its public standard, candidates come from one walk over the words of a
//! text, and the names of fields and the words before a value raise or lower what a shape by itself is worth.
//!
//! - [`tape`] parses JSON text once and keeps the place of everything in it.
//! - [`Class`] and [`ClassSet`] name what can be found.
//! - [`Scanner`] looks; a [`Finding`] says what stands where and how sure that is.
//! - [`canonical()`] gives one spelling for each value.
//!
//! ```
//! use meshbridge_detect::{ClassSet, Confidence, Scanner, tape::TapeBuffer};
//!
//! let text = r#"{"data": {"card": "4111 1111 1111 1111"}}"#;
//! let mut buffer = TapeBuffer::new();
//! let tape = buffer.parse(text)?;
//! let mut findings = Vec::new();
//! Scanner::new().scan_json(&tape, &ClassSet::ALL, Confidence::Medium, &mut findings)?;
//! assert_eq!(findings[0].class.name(), "payment.card");
//! assert_eq!(findings[0].range, 19..38);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod block;
mod canonical;
mod checks;
mod class;
mod finding;
mod flat;
mod fold;
mod keys;
mod scanner;
pub mod tape;

pub use canonical::canonical;
pub use class::{Class, ClassSet};
pub use finding::{Confidence, Finding, ScanError};
pub use scanner::Scanner;
