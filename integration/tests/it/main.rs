//! One test binary, one module per promise. Every test runs federations of its own.
mod admin;
mod cli;
mod demo;
mod deploy;
mod examples;
mod failover;
mod grpc;
mod hygiene;
mod identity;
mod interest;
mod malformed;
mod policies;
mod reload;
mod restart;
mod streams;
mod tls;
mod up;
