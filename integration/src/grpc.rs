//! The gRPC client of the public `.proto` files.

#[allow(missing_docs, missing_debug_implementations, clippy::all)]
pub mod io {
    pub mod cloudevents {
        pub mod v1 {
            tonic::include_proto!("io.cloudevents.v1");
        }
    }
}

#[allow(missing_docs, missing_debug_implementations, clippy::all)]
pub mod meshbridge {
    pub mod v1 {
        tonic::include_proto!("meshbridge.v1");
    }
}
