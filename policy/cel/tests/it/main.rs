//! Claims about conditions, from tables of single expressions to random ones against another interpreter.

mod oracle;
mod properties;
mod refused;
mod support;
mod table;
