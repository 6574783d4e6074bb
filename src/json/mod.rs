//! JSON as bytes; no tree on the request path.
