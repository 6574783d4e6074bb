//! Sockets, TLS and HTTP/1.1: what lies between the kernel and one request.

pub mod http;
