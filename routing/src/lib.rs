//! Link state, interest and forwarding, without sockets, clock or files.
